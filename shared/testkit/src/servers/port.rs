//! A port for a server that is told its port, without a race between tests.
//!
//! Asking the system for a free port and giving it back leaves a gap in which somebody else takes
//! it. Ports here come from a range below the system's own; a locked file in a folder that all
//! tests share says that one is taken, for as long as the handle lives. A lock goes with its
//! process, however that ends.

use std::{
    fs::{self, File},
    net::TcpListener,
};

const FIRST: u16 = 20_000;
const COUNT: u16 = 10_000;

/// A port of 127.0.0.1 that nobody else uses while this handle lives.
#[derive(Debug)]
pub struct Port {
    number: u16,
    _lock: File,
}

impl Port {
    /// A port that nobody listens on and no other test has. Panics when there is none.
    pub fn free() -> Port {
        let folder = std::env::temp_dir().join("tidemill-test-ports");
        if let Err(error) = fs::create_dir_all(&folder) {
            panic!("cannot make the folder {}: {error}", folder.display());
        }
        // Processes begin at different places, so that they seldom meet.
        let begin = std::process::id().wrapping_mul(37);
        for step in 0..u32::from(COUNT) {
            let offset = begin.wrapping_add(step) % u32::from(COUNT);
            let Ok(offset) = u16::try_from(offset) else { continue };
            let number = FIRST + offset;
            let Ok(lock) = File::create(folder.join(number.to_string())) else { continue };
            if lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok() {
                return Port { number, _lock: lock };
            }
        }
        panic!("no port from {FIRST} to {} is free", FIRST + COUNT - 1);
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }
}
