//! A connection to the Thrift server, which is made anew when it breaks.

use super::errors::{Failure, task_error};
use hbase_thrift::hbase::HbaseSyncClient;
use orchestrator::attempt::TaskError;
use std::io::{BufReader, BufWriter};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};
use thrift::protocol::{TBinaryInputProtocol, TBinaryOutputProtocol};
use tokio_util::sync::CancellationToken;

const CONNECT: Duration = Duration::from_secs(10);
/// A put waits in the server while a region moves; 49 s were seen.
const ANSWER: Duration = Duration::from_secs(150);
/// The library's own buffer of 4 KiB costs a packet each.
const BUFFER: usize = 1 << 18;

pub(super) type Client = HbaseSyncClient<
    TBinaryInputProtocol<BufReader<TcpStream>>,
    TBinaryOutputProtocol<BufWriter<TcpStream>>,
>;

pub(super) struct Connection {
    address: String,
    /// How long a server that is away is waited for.
    patience: Duration,
    /// How long one has for an answer.
    answer: Duration,
    /// Ends the waiting.
    stop: CancellationToken,
    client: Option<Client>,
}

impl Connection {
    /// Connects at the first call.
    pub(super) fn new(address: &str, patience: Duration, stop: CancellationToken) -> Self {
        let address = address.to_owned();
        Connection { address, patience, answer: ANSWER, stop, client: None }
    }

    /// For a server of which it is not known whether it answers at all.
    pub(super) fn answering_within(self, answer: Duration) -> Self {
        Connection { answer, ..self }
    }

    /// A call that may be repeated, and is for as long as a server that is away is waited for; in
    /// any case once more where the connection turns out to be an old, broken one.
    pub(super) fn call<T>(
        &mut self,
        doing: &str,
        mut work: impl FnMut(&mut Client) -> thrift::Result<T>,
    ) -> Result<T, TaskError> {
        let begun = Instant::now();
        let mut is_old = self.client.is_some();
        let mut pause = Duration::from_millis(200);
        loop {
            if self.stop.is_cancelled() {
                return Err(TaskError::Cancelled);
            }
            match self.attempt(&mut work) {
                Err(Failure::Transport(_)) if std::mem::take(&mut is_old) => {}
                Err(failure) if failure.can_pass() && begun.elapsed() < self.patience => {
                    tracing::warn!("{doing}: HBase at `{}`: {failure}; trying again", self.address);
                    std::thread::sleep(pause);
                    pause = (pause * 2).min(Duration::from_secs(5));
                }
                result => {
                    return result.map_err(|failure| task_error(doing, &self.address, &failure));
                }
            }
        }
    }

    /// A call that means this connection and no other.
    pub(super) fn once<T>(
        &mut self,
        doing: &str,
        work: impl FnMut(&mut Client) -> thrift::Result<T>,
    ) -> Result<T, TaskError> {
        self.attempt(work).map_err(|failure| task_error(doing, &self.address, &failure))
    }

    fn attempt<T>(
        &mut self,
        mut work: impl FnMut(&mut Client) -> thrift::Result<T>,
    ) -> Result<T, Failure> {
        let client = match &mut self.client {
            Some(client) => client,
            None => self.client.insert(connect(&self.address, self.answer)?),
        };
        work(client).map_err(|error| {
            let failure = Failure::of(error);
            // Also after a time-out: what comes later would be taken for the next answer.
            if matches!(failure, Failure::Transport(_)) {
                self.client = None;
            }
            failure
        })
    }
}

fn connect(address: &str, answer: Duration) -> Result<Client, Failure> {
    let mut last = std::io::Error::other("the name has no address");
    for address in address.to_socket_addrs().map_err(Failure::connect)? {
        let made = TcpStream::connect_timeout(&address, CONNECT).and_then(|stream| {
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(answer))?;
            stream.set_write_timeout(Some(answer))?;
            Ok((stream.try_clone()?, stream))
        });
        match made {
            Ok((read, write)) => {
                return Ok(HbaseSyncClient::new(
                    TBinaryInputProtocol::new(BufReader::with_capacity(BUFFER, read), true),
                    TBinaryOutputProtocol::new(BufWriter::with_capacity(BUFFER, write), true),
                ));
            }
            Err(error) => last = error,
        }
    }
    Err(Failure::connect(last))
}
