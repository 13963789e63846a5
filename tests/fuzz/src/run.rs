//! A run of a target on seeds and on inputs made of them, without coverage and on any toolchain.
//!
//! Each input is written to a file before it is tried: what ends the whole process (a stack that
//! overflows, memory that is used up) leaves it there. What panics is made smaller first.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{Seek, Write};
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::path::{Path, PathBuf};
use std::sync::Once;

use tidemill_testkit::Rng;

use crate::corpus::{seeds, words};
use crate::mutate::Material;
use crate::{Reached, TARGETS, Target};

/// What a run did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ran {
    /// Inputs that were tried.
    pub inputs: usize,
    /// How many of them the entry point took.
    pub accepted: usize,
}

/// The target of a name.
///
/// # Panics
/// When there is none.
pub fn target(name: &str) -> Target {
    *TARGETS.iter().find(|target| target.name == name).expect("a target of this name")
}

/// Tries every seed, and `inputs` more that are made of them; `folder` is where failures are left.
///
/// # Panics
/// When the target does, with the input made smaller and where it was left.
pub fn run(target: &Target, seed: u64, inputs: usize, folder: &Path) -> Ran {
    let seeds: Vec<Vec<u8>> = seeds(target.name).into_iter().map(|(_, bytes)| bytes).collect();
    let material = Material { seeds: seeds.clone(), words: words(target.name) };
    let mut rng = Rng::new(seed);
    let made = std::iter::repeat_with(|| material.input(&mut rng)).take(inputs);
    let last = folder.join(format!("{}.last", target.name));
    let mut file = File::create(&last).unwrap();
    let mut ran = Ran { inputs: 0, accepted: 0 };
    for input in seeds.into_iter().chain(made) {
        file.set_len(0).unwrap();
        file.rewind().unwrap();
        file.write_all(&input).unwrap();
        ran.inputs += 1;
        match attempt(target, &input) {
            Ok(reached) => ran.accepted += usize::from(reached == Reached::Accepted),
            Err(reason) => {
                let input = smaller(target, input);
                let file = left(target, &input, folder);
                panic!(
                    "{}: input {} fails: {reason}\nmade smaller: {}\nleft in {}",
                    target.name,
                    ran.inputs,
                    input.escape_ascii(),
                    file.display()
                );
            }
        }
    }
    fs::remove_file(&last).unwrap();
    ran
}

thread_local! {
    static TRIES: Cell<bool> = const { Cell::new(false) };
}

/// Lets the panics of inputs that are tried go without a message: there may be hundreds.
fn silence_tries() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let loud = take_hook();
        set_hook(Box::new(move |panic| {
            if !TRIES.get() {
                loud(panic);
            }
        }));
    });
}

fn attempt(target: &Target, input: &[u8]) -> Result<Reached, String> {
    silence_tries();
    TRIES.set(true);
    let tried = catch_unwind(AssertUnwindSafe(|| (target.run)(input)));
    TRIES.set(false);
    tried.map_err(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        text.or_else(|| panic.downcast_ref::<&str>().map(|text| text.to_string()))
            .unwrap_or_else(|| "a panic without a text".to_string())
    })
}

/// A shorter input that fails too, found by leaving out ever shorter parts.
fn smaller(target: &Target, mut input: Vec<u8>) -> Vec<u8> {
    let mut attempts = 500;
    let mut part = input.len() / 2;
    while part > 0 {
        let mut at = 0;
        while at < input.len() && attempts > 0 {
            let mut less = input.clone();
            less.drain(at..(at + part).min(less.len()));
            attempts -= 1;
            match attempt(target, &less) {
                Ok(_) => at += part,
                Err(_) => input = less,
            }
        }
        part /= 2;
    }
    input
}

fn left(target: &Target, input: &[u8], folder: &Path) -> PathBuf {
    let file = folder.join(format!("{}.failed", target.name));
    fs::write(&file, input).unwrap();
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_made_smaller_and_left_in_a_file() {
        fn run_it(input: &[u8]) -> Reached {
            assert!(!input.windows(2).any(|pair| pair == b"{\""), "an object");
            Reached::Rejected
        }
        let target = Target { run: run_it, ..target("schedule_event") };
        let folder = std::env::temp_dir().join(format!("tidemill-fuzz-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let failed = catch_unwind(|| run(&target, 1, 10, &folder)).unwrap_err();
        let message = failed.downcast_ref::<String>().unwrap();
        assert!(message.contains("made smaller: {\\\"\n"), "{message}");
        assert_eq!(fs::read(folder.join("schedule_event.failed")).unwrap(), b"{\"");
        fs::remove_dir_all(&folder).unwrap();
    }
}
