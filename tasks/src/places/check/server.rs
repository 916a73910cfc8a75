//! What goes wrong with any server before its protocol begins.

use super::Finding;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::panic::resume_unwind;
use std::time::Duration;

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(3);
/// How long a web server may take to begin its answer.
const PAGE: Duration = Duration::from_secs(2);

/// What remedies call a server.
pub(in crate::places) struct Server {
    /// The key in a profile, which is also what `cargo xtask cluster up` calls it.
    pub(in crate::places) what: &'static str,
    /// The services of `docker-compose.yml` that are this server.
    pub(in crate::places) compose: &'static str,
    /// The option with the address.
    pub(in crate::places) option: &'static str,
    /// What an address looks like.
    pub(in crate::places) example: &'static str,
    /// The process to look for.
    pub(in crate::places) process: &'static str,
    /// What to do where it answers, but not as it should.
    pub(in crate::places) wrong_protocol: &'static str,
    /// What to do where it takes connections, but does not answer.
    pub(in crate::places) stuck: &'static str,
}

impl Server {
    /// What is wrong where nothing takes connections at `host:port`, which it may take seconds to
    /// know; `None` if all is well.
    pub(in crate::places) fn dial(&self, address: &str) -> Option<Finding> {
        connect(address).err().map(|error| self.unreached(address, &error))
    }

    /// [`Server::dial`] for several at the same time.
    pub(in crate::places) fn dial_all(&self, addresses: &[String]) -> Vec<Option<Finding>> {
        std::thread::scope(|scope| {
            let threads: Vec<_> =
                addresses.iter().map(|address| scope.spawn(move || self.dial(address))).collect();
            threads
                .into_iter()
                .map(|thread| thread.join().unwrap_or_else(|panic| resume_unwind(panic)))
                .collect()
        })
    }

    /// What an address that can't be connected to says about itself.
    fn unreached(&self, address: &str, error: &io::Error) -> Finding {
        let Server { what, compose, option, example, process, .. } = self;
        let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
        let (found, remedy) = match error.kind() {
            ErrorKind::InvalidInput => (
                "the address is not of the form HOST:PORT".to_owned(),
                format!("write `{option}` in tidemill.yaml as in `{example}`"),
            ),
            ErrorKind::ConnectionRefused => (
                "nothing listens there (connection refused)".to_owned(),
                format!(
                    "start {process}: `docker compose up -d {compose}`, or `cargo xtask cluster up \
                     {what}`; if it runs elsewhere, correct `{option}` in tidemill.yaml"
                ),
            ),
            ErrorKind::TimedOut => (
                "the host does not answer".to_owned(),
                format!(
                    "is `{host}` up, and does a firewall let connections through to its port? \
                     Otherwise correct `{option}` in tidemill.yaml"
                ),
            ),
            ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => (
                format!("no way leads there ({error})"),
                format!(
                    "is this machine in the network of `{host}`? Otherwise correct `{option}` in \
                     tidemill.yaml"
                ),
            ),
            _ => (
                format!("the host name can't be resolved ({error})"),
                format!(
                    "correct `{option}` in tidemill.yaml, or make `{host}` known to this machine \
                     (DNS, /etc/hosts); names of Docker services are known only inside their network"
                ),
            ),
        };
        Finding::fail(what, found, remedy).at(address)
    }

    /// The finding where something answers at `address` that does not speak the protocol.
    pub(in crate::places) fn speaks_otherwise(&self, address: &str, said: &str) -> Finding {
        self.web_server(address).unwrap_or_else(|| {
            let found = format!("something answers there, but not as it should: {said}");
            Finding::fail(self.what, found, self.wrong_protocol).at(address)
        })
    }

    /// The finding where a web server answers: the port of a service's pages is the one most often
    /// mistaken.
    pub(in crate::places) fn web_server(&self, address: &str) -> Option<Finding> {
        let answers = get(address, "/").is_ok_and(|answer| answer.starts_with("HTTP/"));
        let found = "a web server answers there, not the service itself";
        answers.then(|| Finding::fail(self.what, found, self.wrong_protocol).at(address))
    }

    /// The finding where an option can't be used at all.
    pub(in crate::places) fn unusable(&self, why: &str) -> Finding {
        let remedy = match why {
            why if why.contains("environment variable") => {
                "set the variable where tidemill is started, or keep the secret in a file and name \
                 it with `{file: PATH}`"
            }
            why if why.contains("can't read") => {
                "make the file, readable for the user that runs tidemill, or correct its path"
            }
            _ => "correct the option in tidemill.yaml; docs/profiles.md has every option",
        };
        Finding::fail(self.what, why, remedy)
    }
}

fn connect(address: &str) -> io::Result<TcpStream> {
    let mut last = io::Error::other("the name has no address");
    for address in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&address, CONNECT) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// All that is answered to a request for a page; HTTP 1.0, so that it ends with the connection.
pub(in crate::places) fn get(address: &str, path: &str) -> io::Result<String> {
    const MOST: u64 = 1 << 20;
    let mut stream = connect(address)?;
    stream.set_read_timeout(Some(PAGE))?;
    stream.set_write_timeout(Some(PAGE))?;
    // In one piece: some answer to its beginning and close, and the rest could not be sent.
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes())?;
    let mut answer = Vec::new();
    // What has come before an error is enough to know who it is.
    match stream.take(MOST).read_to_end(&mut answer) {
        Err(error) if answer.is_empty() => return Err(error),
        _ => {}
    }
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// Works on a thread that may wait. The thread goes on when this future is dropped.
pub(in crate::places) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> T {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => resume_unwind(error.into_panic()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    const SERVER: Server = Server {
        what: "kafka",
        compose: "broker",
        option: "kafka.brokers",
        example: "localhost:9092",
        process: "a broker",
        wrong_protocol: "give the other port",
        stuck: "look at its log",
    };

    fn check(finding: &Finding, found: &str, remedy: &str) {
        assert!(finding.found.contains(found), "{finding:?}");
        assert!(finding.remedy.as_ref().unwrap().contains(remedy), "{finding:?}");
    }

    #[test]
    fn each_wrong_address_has_its_remedy() {
        let dial = |address: &str| SERVER.dial(address).unwrap();
        check(&dial("127.0.0.1:9"), "refused", "`cargo xtask cluster up kafka`");
        check(&dial("127.0.0.1:9"), "refused", "`docker compose up -d broker`");
        check(&dial("localhost"), "HOST:PORT", "`localhost:9092`");
        check(&dial("localhost:x"), "HOST:PORT", "`kafka.brokers`");
        check(&dial("no-such-host.invalid:9092"), "resolved", "`no-such-host.invalid`");
        let finding = SERVER.unreached("a:1", &ErrorKind::TimedOut.into());
        check(&finding, "does not answer", "firewall");
    }

    /// A server that answers each connection with the same text.
    fn answering(text: &'static str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let _ = stream.read(&mut [0; 1024]);
                stream.write_all(text.as_bytes()).unwrap();
            }
        });
        address
    }

    #[test]
    fn a_web_server_is_known_as_one() {
        let web = answering("HTTP/1.0 200 OK\r\n\r\nhello");
        check(&SERVER.speaks_otherwise(&web, "eof"), "web server", "the other port");
        assert!(get(&web, "/jmx").unwrap().ends_with("hello"));
        let other = answering("SSH-2.0-x\r\n");
        check(&SERVER.speaks_otherwise(&other, "eof"), "as it should: eof", "the other port");
    }

    #[test]
    fn what_is_missing_is_asked_for() {
        let unset = "the setting `p`: the environment variable `X` is not set";
        check(&SERVER.unusable(unset), "`X`", "set the variable");
        check(&SERVER.unusable("the setting `p`: can't read `/s`"), "`/s`", "make the file");
        check(&SERVER.unusable("no such option"), "no such option", "docs/profiles.md");
    }
}
