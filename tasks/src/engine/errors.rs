//! Errors of DataFusion and of object stores as errors of a task.

use datafusion::common::DataFusionError;
use orchestrator::attempt::{TaskError, chain};
use std::error::Error;
use std::io;

/// An object store's error: transient unless trying again can't help.
pub(crate) fn store_error(doing: impl std::fmt::Display, error: &object_store::Error) -> TaskError {
    use object_store::Error as Store;
    if let Some(io) = causes(error).find_map(|cause| cause.downcast_ref::<io::Error>()) {
        // What the store says of its cause; the store's own words are "generic error".
        let cause = causes(error).nth(1).map_or_else(|| io.to_string(), ToString::to_string);
        return match TaskError::io("", io) {
            TaskError::Transient(_) => TaskError::Transient(format!("{doing}: {cause}")),
            _ => TaskError::Permanent(format!("{doing}: {cause}")),
        };
    }
    let message = format!("{doing}: {}", chain(error));
    match error {
        Store::Generic { .. } | Store::JoinError { .. } => TaskError::Transient(message),
        _ => TaskError::Permanent(message),
    }
}

/// What an error of a query means for the task: lack of memory says what to raise, errors of
/// files and stores are transient where a retry can help, all others are permanent.
pub fn task_error(doing: impl std::fmt::Display, error: &DataFusionError) -> TaskError {
    for cause in causes(error) {
        if let Some(own) = cause.downcast_ref::<TaskError>() {
            return match own {
                TaskError::Transient(message) => TaskError::Transient(message.clone()),
                TaskError::Permanent(message) => TaskError::Permanent(message.clone()),
                TaskError::Cancelled => TaskError::Cancelled,
            };
        }
        if let Some(DataFusionError::ResourcesExhausted(what)) = cause.downcast_ref() {
            return TaskError::permanent(format!(
                "{doing}: not enough memory ({}); give the task more, such as `memory: 2GiB` \
                 under `with:`",
                first_line(what)
            ));
        }
        if let Some(store) = cause.downcast_ref::<object_store::Error>() {
            return store_error(doing, store);
        }
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return TaskError::io(doing, io);
        }
    }
    TaskError::permanent(format!("{doing}: {}", message(error)))
}

/// An error and what caused it, the wrappers that DataFusion puts around errors included.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| next_cause(*error))
}

fn next_cause<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error.downcast_ref() {
        Some(DataFusionError::Shared(inner)) => Some(inner.as_ref()),
        Some(DataFusionError::External(inner)) => Some(inner.as_ref()),
        Some(DataFusionError::Collection(errors)) => {
            errors.first().map(|error| error as &(dyn Error + 'static))
        }
        _ => error.source(),
    }
}

/// An error's text without what DataFusion puts before and behind it.
pub(crate) fn message(error: &DataFusionError) -> String {
    match error {
        DataFusionError::Execution(text)
        | DataFusionError::Plan(text)
        | DataFusionError::NotImplemented(text)
        | DataFusionError::Configuration(text)
        | DataFusionError::ResourcesExhausted(text) => first_line(text).to_owned(),
        DataFusionError::ArrowError(error, _) => first_line(&error.to_string()).to_owned(),
        DataFusionError::Shared(error) => message(error),
        DataFusionError::Context(_, error) | DataFusionError::Diagnostic(_, error) => {
            message(error)
        }
        DataFusionError::Collection(errors) => {
            errors.iter().map(message).collect::<Vec<_>>().join("; ")
        }
        DataFusionError::SchemaError(error, _) => first_line(&error.to_string()).to_owned(),
        _ => chain(error),
    }
}

/// The rest may be a backtrace.
fn first_line(text: &str) -> &str {
    text.split_once("\n\nbacktrace:").map_or(text, |(text, _)| text).trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    fn check(error: DataFusionError, expect: &TaskError) {
        let wrapped = DataFusionError::Shared(Arc::new(error.context("somewhere")));
        let got = task_error("can't run", &wrapped);
        assert_eq!(format!("{got:?}"), format!("{expect:?}"));
    }

    #[test]
    fn causes_decide_the_class() {
        check(
            DataFusionError::IoError(io::Error::from(io::ErrorKind::TimedOut)),
            &TaskError::Transient("can't run: timed out".into()),
        );
        check(
            DataFusionError::ObjectStore(Box::new(object_store::Error::Generic {
                store: "hdfs",
                source: Box::new(io::Error::from(io::ErrorKind::StorageFull)),
            })),
            &TaskError::Permanent("can't run: no storage space".into()),
        );
        check(
            DataFusionError::External(Box::new(TaskError::Transient("broker gone".into()))),
            &TaskError::Transient("broker gone".into()),
        );
        check(
            DataFusionError::Execution("division by zero".into()),
            &TaskError::Permanent("can't run: division by zero".into()),
        );
        let exhausted = DataFusionError::ResourcesExhausted("the sort wants 2 GB".into());
        let message = task_error("can't run", &exhausted).to_string();
        assert!(message.contains("the sort wants 2 GB") && message.contains("`memory: 2GiB`"));
    }
}
