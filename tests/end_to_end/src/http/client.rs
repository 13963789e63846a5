//! A client that keeps its connection.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use super::message::{Response, is_about_length};

/// Longest that a request may take.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Sends requests to one server, one at a time.
pub struct Client {
    address: SocketAddr,
    connection: Option<BufReader<TcpStream>>,
}

impl Client {
    /// A client of the server at `address`. Nothing is sent.
    pub fn new(address: SocketAddr) -> Client {
        Client { address, connection: None }
    }

    /// Sends a request and waits for its answer. After an error nobody knows whether the server
    /// has acted.
    pub fn send(
        &mut self,
        method: &str,
        path: &str,
        headers: &[(String, String)],
        body: &[u8],
    ) -> io::Result<Response> {
        let mut connection = match self.connection.take() {
            // A server may close a connection that is silent: then the end can be read.
            Some(connection) if is_open(&connection) => connection,
            _ => {
                let stream = TcpStream::connect(self.address)?;
                stream.set_nodelay(true)?;
                stream.set_read_timeout(Some(TIMEOUT))?;
                BufReader::new(stream)
            }
        };
        let mut message = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
        for (name, value) in headers.iter().filter(|(name, _)| !is_about_length(name)) {
            write!(message, "{name}: {value}\r\n")?;
        }
        if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
            write!(message, "Host: {}\r\n", self.address)?;
        }
        write!(message, "Content-Length: {}\r\n\r\n", body.len())?;
        message.extend_from_slice(body);
        connection.get_mut().write_all(&message)?;
        let response = Response::read(&mut connection)?;
        let closes = super::message::header(&response.headers, "connection")
            .is_some_and(|value| value.eq_ignore_ascii_case("close"));
        if !closes {
            self.connection = Some(connection);
        }
        Ok(response)
    }
}

/// Whether the server has not closed an idle connection.
fn is_open(connection: &BufReader<TcpStream>) -> bool {
    let stream = connection.get_ref();
    if stream.set_nonblocking(true).is_err() {
        return false;
    }
    let silent = matches!(
        stream.peek(&mut [0]),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock
    );
    stream.set_nonblocking(false).is_ok() && silent
}
