//! A server on a free port: a thread per connection, one function that answers.
//!
//! # Invariants
//! 1. A dropped server has closed its port and all its connections.

use std::io::{self, BufReader, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sys::socket::{setsockopt, sockopt::Linger};

use super::message::{Request, Response};

/// What a server does about a request.
#[derive(Debug)]
pub enum Answer {
    /// Answers.
    Send(Response),
    /// Sends the first half of its bytes, then closes the connection.
    Cut(Response),
    /// Says nothing for so long, then closes the connection.
    Hold(Duration),
    /// Takes whatever else comes and never says anything, until the caller closes the connection.
    Swallow,
    /// Closes the connection.
    HangUp,
    /// Resets the connection.
    Reset,
}

type Handler = dyn Fn(Request) -> Answer + Send + Sync;

/// The server.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: Option<JoinHandle<()>>,
}

struct Shared {
    handler: Box<Handler>,
    stopped: AtomicBool,
    connections: Mutex<Vec<TcpStream>>,
}

impl Server {
    /// Serves on a free port of this machine until it is dropped. `handler` is called by many
    /// threads at once, and may block.
    pub fn start(handler: impl Fn(Request) -> Answer + Send + Sync + 'static) -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound socket has an address");
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            stopped: AtomicBool::new(false),
            connections: Mutex::default(),
        });
        let acceptor = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || accept(&listener, &shared))
        };
        Server { address, shared, acceptor: Some(acceptor) }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its address as a URL.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // Wakes the acceptor.
        let _ = TcpStream::connect(self.address);
        if let Some(acceptor) = self.acceptor.take() {
            let _ = acceptor.join();
        }
        for connection in self.shared.connections.lock().expect("no panic while held").drain(..) {
            let _ = connection.shutdown(Shutdown::Both);
        }
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for stream in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(stream) = stream else { continue };
        let Ok(clone) = stream.try_clone() else { continue };
        let mut connections = shared.connections.lock().expect("no panic while held");
        connections.retain(|connection| connection.peer_addr().is_ok());
        connections.push(clone);
        let shared = Arc::clone(shared);
        std::thread::spawn(move || serve(stream, &shared));
    }
}

fn serve(stream: TcpStream, shared: &Shared) {
    let _ = stream.set_nodelay(true);
    let mut reader = BufReader::new(&stream);
    while let Ok(Some(request)) = Request::read(&mut reader) {
        let answer = (shared.handler)(request);
        if shared.stopped.load(Ordering::SeqCst) {
            break;
        }
        match answer {
            Answer::Send(response) => {
                if response.write(&mut &stream).is_err() {
                    break;
                }
            }
            Answer::Cut(response) => {
                let mut bytes = Vec::new();
                let _ = response.write(&mut bytes);
                let _ = (&stream).write_all(&bytes[..bytes.len() / 2]);
                break;
            }
            Answer::Hold(pause) => {
                std::thread::sleep(pause);
                break;
            }
            Answer::Swallow => {
                let _ = io::copy(&mut reader, &mut io::sink());
                break;
            }
            Answer::HangUp => break,
            Answer::Reset => {
                // Closing with no time to linger sends a reset. The other handle of this socket
                // must go too.
                let at_once = nix::libc::linger { l_onoff: 1, l_linger: 0 };
                let _ = setsockopt(&stream, Linger, &at_once);
                break;
            }
        }
    }
    let peer = stream.peer_addr().ok();
    let mut connections = shared.connections.lock().expect("no panic while held");
    connections.retain(|connection| connection.peer_addr().ok() != peer);
    drop(connections);
}
