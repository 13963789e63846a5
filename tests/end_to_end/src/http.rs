//! As much HTTP/1.1 as the servers and clients of these tests need: one request at a time on a
//! connection that is kept, bodies by length or in chunks.
//!
//! Not here: TLS, pipelining, upgrades, `Expect`.

mod client;
mod message;
mod server;

pub use client::Client;
pub use message::{Request, Response};
pub use server::{Answer, Server};

#[cfg(test)]
mod tests {
    use std::io::{BufReader, ErrorKind, Read, Write};
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;

    fn echo() -> Server {
        Server::start(|request: Request| match request.path.as_str() {
            "/hang-up" => Answer::HangUp,
            "/reset" => Answer::Reset,
            "/hold" => Answer::Hold(Duration::from_millis(1)),
            "/cut" => Answer::Cut(Response::new(200, request.body)),
            "/swallow" => Answer::Swallow,
            _ => Answer::Send(Response::new(200, request.body)),
        })
    }

    #[test]
    fn a_connection_serves_request_after_request() {
        let server = echo();
        let mut client = Client::new(server.address());
        for body in [&b"one"[..], b"", b"three\r\n\r\n"] {
            let answer = client.send("POST", "/", &[], body).unwrap();
            assert_eq!((answer.status, answer.body.as_slice()), (200, body));
        }
    }

    #[test]
    fn a_body_in_chunks_is_read() {
        let server = echo();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        stream
            .write_all(b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2;x=1\r\nde\r\n0\r\n\r\n")
            .unwrap();
        let answer = Response::read(&mut BufReader::new(stream)).unwrap();
        assert_eq!(answer.body, b"abcde");
    }

    #[test]
    fn a_client_connects_again_when_its_connection_is_gone() {
        let server = echo();
        let mut client = Client::new(server.address());
        assert!(client.send("POST", "/hang-up", &[], b"").is_err());
        assert!(client.send("POST", "/reset", &[], b"").is_err());
        assert!(client.send("POST", "/hold", &[], b"").is_err());
        assert!(client.send("POST", "/cut", &[], b"a body of some length").is_err());
        assert_eq!(client.send("POST", "/", &[], b"back").unwrap().body, b"back");
    }

    #[test]
    fn a_swallowing_connection_takes_everything_and_stays_open() {
        let server = echo();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        for _ in 0..3 {
            stream.write_all(b"POST /swallow HTTP/1.1\r\nContent-Length: 0\r\n\r\n").unwrap();
        }
        stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
        let error = stream.read(&mut [0]).unwrap_err();
        assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    }

    #[test]
    fn a_dropped_server_leaves_nobody_waiting() {
        let server = echo();
        let mut stream = TcpStream::connect(server.address()).unwrap();
        drop(server);
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    }
}
