//! One request to a server of this machine: enough of HTTP to ask how it is.

use super::ports::LOOPBACK;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

/// A connection that gives up: a server that is just starting may accept and never answer.
pub(super) fn connect(port: u16, patience: Duration) -> Result<TcpStream> {
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let stream = TcpStream::connect_timeout(&address, Duration::from_secs(2))?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    Ok(stream)
}

/// The body of the answer; an error unless it is a 200.
pub(super) fn request(method: &str, port: u16, target: &str, patience: Duration) -> Result<String> {
    let mut stream = connect(port, patience)?;
    // An answer in HTTP/1.0 ends with the connection and is never in chunks.
    let head =
        format!("{method} {target} HTTP/1.0\r\nHost: {LOOPBACK}\r\nContent-Length: 0\r\n\r\n");
    stream.write_all(head.as_bytes())?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    body(&String::from_utf8_lossy(&answer)).map(str::to_owned)
}

fn body(answer: &str) -> Result<&str> {
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is cut")?;
    let status = head.lines().next().unwrap_or_default();
    match status.split(' ').nth(1) {
        Some("200") => Ok(body),
        _ => bail!("the answer is `{status}` {body}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_200_has_a_body() {
        assert_eq!(body("HTTP/1.1 200 OK\r\nA: b\r\n\r\n{}").unwrap(), "{}");
        assert!(body("HTTP/1.1 200 OK\r\nA: b").is_err());
        let refused = body("HTTP/1.1 403 Forbidden\r\n\r\nno").unwrap_err().to_string();
        assert_eq!(refused, "the answer is `HTTP/1.1 403 Forbidden` no");
    }
}
