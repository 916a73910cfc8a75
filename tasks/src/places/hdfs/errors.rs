//! What HDFS's errors mean: whether it is worth to try again.

use super::ANSWER;
use hdfs_native::HdfsError;
use orchestrator::attempt::TaskError;
use std::io::{self, ErrorKind};

/// Why a call to HDFS failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    #[error("{}", told(.0))]
    Hdfs(HdfsError),
    #[error("HDFS has not answered for {} s", ANSWER.as_secs())]
    TimedOut,
}

impl Failure {
    /// Of the local file system's kinds the one that says the same.
    pub(super) fn kind(&self) -> ErrorKind {
        let Failure::Hdfs(error) = self else { return ErrorKind::TimedOut };
        match error {
            // The kind of this one has no name: the resolver may be away, as a server may.
            HdfsError::IOError(error) if error.to_string().contains("lookup address") => {
                ErrorKind::NotConnected
            }
            HdfsError::IOError(error) => error.kind(),
            HdfsError::DataTransferError(_) | HdfsError::BlocksNotFound(_) => {
                ErrorKind::ConnectionAborted
            }
            HdfsError::AlreadyExists(text) if is_leased(text) => ErrorKind::ResourceBusy,
            HdfsError::AlreadyExists(_) => ErrorKind::AlreadyExists,
            HdfsError::FileNotFound(_) => ErrorKind::NotFound,
            HdfsError::IsADirectoryError(_) => ErrorKind::IsADirectory,
            HdfsError::InvalidPath(_) => ErrorKind::InvalidInput,
            HdfsError::RPCError(class, text) | HdfsError::FatalRPCError(class, text) => {
                kind_of_class(class, text)
            }
            _ => ErrorKind::Other,
        }
    }

    /// The NameNode can't be reached, or does not work yet: it has done nothing.
    pub(super) fn is_away(&self) -> bool {
        let starting = ["SafeModeException", "RetriableException", "StandbyException"];
        match self {
            Failure::Hdfs(HdfsError::IOError(error)) => {
                error.kind() == ErrorKind::ConnectionRefused
            }
            Failure::Hdfs(HdfsError::RPCError(class, _)) => {
                starting.iter().any(|name| class.ends_with(name))
            }
            _ => false,
        }
    }

    pub(super) fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }
}

fn is_leased(text: &str) -> bool {
    text.contains("lease")
}

/// The server's exceptions come by the names of their classes.
fn kind_of_class(class: &str, text: &str) -> ErrorKind {
    match class.rsplit(['.', '$']).next().unwrap_or(class) {
        "FileNotFoundException" => ErrorKind::NotFound,
        "AccessControlException" => ErrorKind::PermissionDenied,
        "FileAlreadyExistsException" => ErrorKind::AlreadyExists,
        "AlreadyBeingCreatedException" => ErrorKind::ResourceBusy,
        "SafeModeException" | "RetriableException" | "StandbyException" => ErrorKind::ResourceBusy,
        "DSQuotaExceededException"
        | "NSQuotaExceededException"
        | "QuotaByStorageTypeExceededException" => ErrorKind::QuotaExceeded,
        "ParentNotDirectoryException" => ErrorKind::NotADirectory,
        "PathIsNotEmptyDirectoryException" => ErrorKind::DirectoryNotEmpty,
        // Too few DataNodes for a block: they may come back.
        "IOException" if text.contains("could only be written to") => ErrorKind::ConnectionAborted,
        _ if is_leased(text) => ErrorKind::ResourceBusy,
        _ => ErrorKind::Other,
    }
}

/// The first line of what the server says: the rest is a stack trace.
fn told(error: &HdfsError) -> String {
    match error {
        HdfsError::RPCError(class, text) | HdfsError::FatalRPCError(class, text) => {
            let class = class.rsplit('.').next().unwrap_or(class);
            let line = text.lines().next().unwrap_or_default();
            format!("HDFS says {class}: {line}")
        }
        HdfsError::IOError(error) => format!("HDFS can't be reached: {error}"),
        other => format!("HDFS: {other}"),
    }
}

pub(super) fn task_error(doing: String, failure: &Failure) -> TaskError {
    let class = TaskError::io("", &io::Error::from(failure.kind()));
    let text = format!("{doing}: {failure}");
    match class {
        TaskError::Transient(_) => TaskError::Transient(text),
        _ => TaskError::Permanent(text),
    }
}

/// A failure as the source of an object store's error: by its kind, those above see its class.
#[derive(Debug, thiserror::Error)]
#[error("{failure}")]
struct Classed {
    failure: Failure,
    #[source]
    kind: io::Error,
}

pub(super) fn store_error(path: String, failure: Failure) -> object_store::Error {
    use object_store::Error;
    let kind = failure.kind();
    let source = Box::new(Classed { failure, kind: io::Error::from(kind) });
    match kind {
        ErrorKind::NotFound => Error::NotFound { path, source },
        ErrorKind::AlreadyExists => Error::AlreadyExists { path, source },
        ErrorKind::PermissionDenied => Error::PermissionDenied { path, source },
        _ => Error::Generic { store: "HDFS", source },
    }
}

/// Whether what failed was not even begun.
pub(super) fn is_away(error: &object_store::Error) -> bool {
    match error {
        object_store::Error::Generic { source, .. } => {
            source.downcast_ref::<Classed>().is_some_and(|classed| classed.failure.is_away())
        }
        _ => false,
    }
}

/// The inner store's error, with the class of what HDFS said.
pub(super) fn reclassed(path: String, error: object_store::Error) -> object_store::Error {
    match error {
        object_store::Error::NotFound { source, .. }
        | object_store::Error::AlreadyExists { source, .. }
        | object_store::Error::Generic { source, .. }
            if source.is::<HdfsError>() =>
        {
            match source.downcast::<HdfsError>() {
                Ok(error) => store_error(path, Failure::Hdfs(*error)),
                Err(source) => object_store::Error::Generic { store: "HDFS", source },
            }
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes() {
        let check = |error: HdfsError, permanent: bool, words: &str| {
            let error = task_error("can't write `file:a`".into(), &Failure::Hdfs(error));
            assert_eq!(matches!(error, TaskError::Permanent(_)), permanent, "{error}");
            assert!(error.to_string().contains(words), "{error}");
        };
        let rpc = |class: &str, text: &str| HdfsError::RPCError(class.into(), text.into());
        let denied = "Permission denied: user=eve, access=WRITE\n\tat org.apache.hadoop";
        check(
            rpc("org.apache.hadoop.security.AccessControlException", denied),
            true,
            "HDFS says AccessControlException: Permission denied: user=eve, access=WRITE",
        );
        let quota = "org.apache.hadoop.hdfs.protocol.DSQuotaExceededException";
        check(rpc(quota, "The DiskSpace quota of /a is exceeded"), true, "quota of /a");
        let safe = "org.apache.hadoop.hdfs.server.namenode.SafeModeException";
        check(rpc(safe, "Name node is in safe mode."), false, "safe mode");
        let refused = io::Error::from(ErrorKind::ConnectionRefused);
        check(HdfsError::IOError(refused), false, "HDFS can't be reached: connection refused");
        check(HdfsError::DataTransferError("All nodes failed".into()), false, "All nodes");
        check(HdfsError::AlreadyExists("/a".into()), true, "/a");
        let lease = "the lease is currently owned by DFSClient_1";
        check(HdfsError::AlreadyExists(lease.into()), false, "lease");
    }
}
