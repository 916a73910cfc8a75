//! Errors of Delta, DataFusion, Parquet and object stores, told as a task's errors.

use datafusion::error::DataFusionError;
use orchestrator::attempt::{TaskError, chain};
use std::error::Error;
use std::fmt::Display;

/// What went wrong while `doing`. An input or output error deep inside decides whether a retry can
/// help; an operator's own [`TaskError`] keeps its class and text.
pub(crate) fn failed(doing: impl Display, error: &(dyn Error + 'static)) -> TaskError {
    let mut source = Some(error);
    while let Some(cause) = source {
        if let Some(task) = cause.downcast_ref::<TaskError>() {
            return match task {
                TaskError::Transient(text) => TaskError::Transient(text.clone()),
                TaskError::Permanent(text) => TaskError::Permanent(text.clone()),
                TaskError::Cancelled => TaskError::Cancelled,
            };
        }
        // One that only wraps another error says nothing by its kind.
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && io.get_ref().is_none()
        {
            return match TaskError::io("", io) {
                TaskError::Transient(_) => TaskError::Transient(told(doing, error)),
                _ => TaskError::Permanent(told(doing, error)),
            };
        }
        source = hidden(cause).or_else(|| cause.source());
    }
    TaskError::Permanent(told(doing, error))
}

/// The error inside one that doesn't show it as its source, or skips it there.
fn hidden<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    if let Some(io) = cause.downcast_ref::<std::io::Error>() {
        return io.get_ref().map(|inner| inner as &(dyn Error + 'static));
    }
    match cause.downcast_ref::<DataFusionError>()? {
        DataFusionError::External(inner) => Some(inner.as_ref()),
        DataFusionError::Context(_, inner) | DataFusionError::Diagnostic(_, inner) => {
            Some(inner.as_ref())
        }
        DataFusionError::Shared(inner) => Some(inner.as_ref()),
        _ => None,
    }
}

fn told(doing: impl Display, error: &dyn Error) -> String {
    let text = chain(error).replace('\n', " ");
    format!("{doing}: {}", text.trim_end_matches('.'))
}
