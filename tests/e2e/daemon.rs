//! A daemon, and its pages over plain HTTP.

use crate::project::{Project, signal, wait_until};
use rustix::process::Signal;
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::Duration;

/// A daemon that is killed with its test.
pub(crate) struct Daemon(pub(crate) Child);

impl Daemon {
    /// What it says is in `daemon.log`.
    pub(crate) fn start(project: &Project, arguments: &[&str]) -> Daemon {
        Daemon::start_with(project, arguments, [])
    }

    /// With variables in its environment.
    pub(crate) fn start_with<const N: usize>(
        project: &Project,
        arguments: &[&str],
        variables: [(&str, String); N],
    ) -> Daemon {
        let log = File::options().create(true).append(true).open(project.path("daemon.log"));
        let mut command = project.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.args(arguments).envs(variables).stdout(Stdio::null()).stderr(log.unwrap());
        Daemon(command.spawn().unwrap())
    }

    pub(crate) fn id(&self) -> u32 {
        self.0.id()
    }

    pub(crate) fn kill(mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }

    /// Stops it as a service manager does; waits until it has ended.
    pub(crate) fn stop(mut self) {
        signal(&self.0, Signal::TERM);
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where the pages of a daemon are.
#[derive(Clone, Debug)]
pub(crate) struct Site(pub(crate) String);

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Site {
    /// Of the newest daemon of a project, when it is ready.
    pub(crate) fn of(project: &Project) -> Site {
        let address = || {
            let log = project.read("daemon.log");
            let (_, rest) = log.rsplit_once("ready: http://")?;
            Some(rest.split_once(',')?.0.to_owned())
        };
        wait_until("the pages are there", || address().is_some());
        Site(address().unwrap())
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(&self.0).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        stream
    }

    /// Sends a request as it is, and reads until the connection is closed.
    pub(crate) fn raw(&self, request: &[u8]) -> Answer {
        let mut stream = self.connect();
        // The server may close before it has read all.
        let _ = stream.write_all(request);
        let mut bytes = Vec::new();
        let _ = stream.read_to_end(&mut bytes);
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
        Answer { status, head: head.to_owned(), body: body.to_owned() }
    }

    /// A request with more headers, lines each.
    pub(crate) fn ask(&self, method: &str, path: &str, headers: &str, body: &str) -> Answer {
        let host = if headers.to_lowercase().contains("host:") {
            String::new()
        } else {
            format!("Host: {}\r\n", self.0)
        };
        let length = body.len();
        // HTTP/1.0: the answer comes in one piece.
        let request = format!(
            "{method} {path} HTTP/1.0\r\n{host}{headers}Content-Length: {length}\r\n\r\n{body}"
        );
        self.raw(request.as_bytes())
    }

    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, "Accept: text/html\r\n", "")
    }

    /// Sends a form.
    pub(crate) fn post(&self, path: &str, form: &str) -> Answer {
        let kind = "Content-Type: application/x-www-form-urlencoded\r\n";
        self.ask("POST", path, kind, form)
    }

    /// Asks the API.
    pub(crate) fn api(&self, method: &str, path: &str, body: &str) -> (u16, Value) {
        let kind = "Content-Type: application/json\r\n";
        let answer = self.ask(method, &format!("/api/v1{path}"), kind, body);
        (answer.status, serde_json::from_str(&answer.body).unwrap_or(Value::Null))
    }
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = lines.filter(|(key, _)| key.eq_ignore_ascii_case(name));
        found.next().map(|(_, value)| value)
    }
}
