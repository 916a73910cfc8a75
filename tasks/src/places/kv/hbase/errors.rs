//! What HBase's errors mean: whether it is worth to try again.

use hbase_thrift::hbase::{AlreadyExists, IOError, IllegalArgument};
use orchestrator::attempt::TaskError;
use std::fmt;

/// Why a call to HBase failed.
#[derive(Debug)]
pub(super) enum Failure {
    /// The connection is of no use any more.
    Transport(String),
    /// HBase has answered with an error.
    Server { text: String, can_pass: bool },
    /// What was to be made is there.
    Exists,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Transport(text) | Failure::Server { text, .. } => f.write_str(text),
            Failure::Exists => f.write_str("it exists already"),
        }
    }
}

/// Words of errors that are the same next time. HBase's own `canRetry` says true for most of them.
const PERMANENT: [&str; 7] = [
    "NoSuchColumnFamily",
    "TableNotFound",
    // A put into a table that does not exist.
    "servers with issues: null",
    "NamespaceNotFound",
    "AccessDenied",
    "IllegalArgument",
    "DoNotRetryIOException",
];

impl Failure {
    pub(super) fn connect(error: std::io::Error) -> Self {
        Failure::Transport(format!("it can't be reached: {error}"))
    }

    pub(super) fn of(error: thrift::Error) -> Self {
        match error {
            thrift::Error::User(error) => {
                if error.is::<AlreadyExists>() {
                    return Failure::Exists;
                }
                if let Some(error) = error.downcast_ref::<IllegalArgument>() {
                    let text = first_line(error.message.as_deref().unwrap_or("bad argument"));
                    return Failure::Server { text, can_pass: false };
                }
                let message = error.downcast_ref::<IOError>().and_then(|e| e.message.clone());
                let text = message.unwrap_or_else(|| error.to_string());
                let can_pass = !PERMANENT.iter().any(|word| text.contains(word));
                Failure::Server { text: first_line(&text), can_pass }
            }
            // The server did not understand: a column without a family, an empty key.
            thrift::Error::Application(error) => {
                Failure::Server { text: error.message, can_pass: false }
            }
            thrift::Error::Transport(error) => Failure::Transport(error.message),
            thrift::Error::Protocol(error) => Failure::Transport(error.message),
        }
    }

    pub(super) fn can_pass(&self) -> bool {
        match self {
            Failure::Transport(_) => true,
            Failure::Server { can_pass, .. } => *can_pass,
            Failure::Exists => false,
        }
    }
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().trim().to_owned()
}

pub(super) fn task_error(doing: &str, address: &str, failure: &Failure) -> TaskError {
    let text = format!("{doing}: HBase at `{address}`: {failure}");
    match failure.can_pass() {
        true => TaskError::transient(text),
        false => TaskError::permanent(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let check = |error: thrift::Error, permanent: bool, words: &str| {
            let error = task_error("can't load", "h:1", &Failure::of(error));
            assert_eq!(matches!(error, TaskError::Permanent(_)), permanent, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        };
        let io = |text: &str| {
            let error = IOError { message: Some(text.into()), can_retry: Some(true) };
            thrift::Error::User(Box::new(error))
        };
        let family = "org.apache.hadoop.hbase.NoSuchColumnFamilyException: family x\n\tat a.b";
        check(io(family), true, "NoSuchColumnFamilyException: family x");
        check(io("Zookeeper GET could not be completed in 10000 ms"), false, "Zookeeper");
        let ended = thrift::TransportError::new(thrift::TransportErrorKind::EndOfFile, "eof");
        check(thrift::Error::Transport(ended), false, "HBase at `h:1`: eof");
    }
}
