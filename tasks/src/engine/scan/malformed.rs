//! Records that do not fit their columns.

use async_trait::async_trait;
use datafusion::common::{DataFusionError, Result};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Records of a chunk that do not fit, each with its reason and its text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Malformed {
    pub(crate) rows: Vec<(Arc<str>, String)>,
}

impl Malformed {
    pub(super) fn push(&mut self, reason: Arc<str>, raw: String) {
        self.rows.push((reason, raw));
    }
}

/// Takes malformed records aside.
#[async_trait]
pub(crate) trait Aside: Send + Sync {
    async fn take(&self, malformed: Malformed) -> Result<()>;
}

/// What a scan does with malformed records.
#[derive(Clone)]
pub(crate) enum OnMalformed {
    /// The scan fails at the first.
    Fail,
    /// The scan goes on, and hands them to the sluice.
    Aside(Arc<Sluice>),
}

/// Hands the malformed records of one input on, once: a query may scan an input more than once,
/// and only the first scan that is planned after [`Sluice::open`] reports them.
pub(crate) struct Sluice {
    open: AtomicBool,
    aside: Arc<dyn Aside>,
}

impl Sluice {
    pub(crate) fn new(aside: Arc<dyn Aside>) -> Arc<Self> {
        Arc::new(Sluice { open: AtomicBool::new(false), aside })
    }

    /// Lets the next scan report.
    pub(crate) fn open(&self) {
        self.open.store(true, Ordering::SeqCst);
    }
}

/// What one planned scan does with malformed records.
#[derive(Clone)]
pub(super) enum Disposal {
    Fail,
    Report(Arc<dyn Aside>),
    /// Another scan of the same input reports them.
    Ignore,
}

impl OnMalformed {
    pub(super) fn plan(&self) -> Disposal {
        match self {
            OnMalformed::Fail => Disposal::Fail,
            OnMalformed::Aside(sluice) if sluice.open.swap(false, Ordering::SeqCst) => {
                Disposal::Report(sluice.aside.clone())
            }
            OnMalformed::Aside(_) => Disposal::Ignore,
        }
    }
}

impl Disposal {
    pub(super) async fn dispose(&self, file: &str, malformed: Malformed) -> Result<()> {
        match (self, malformed.rows.first()) {
            (_, None) | (Disposal::Ignore, _) => Ok(()),
            (Disposal::Report(aside), _) => aside.take(malformed).await,
            (Disposal::Fail, Some((reason, raw))) => Err(DataFusionError::Execution(format!(
                "`{file}` has a record that does not fit its columns ({reason}): `{}`; clean the \
                 file with an etl task that has `from` and `rules` first, or declare the column \
                 as string",
                excerpt(raw)
            ))),
        }
    }
}

/// Some hundred characters at most.
fn excerpt(text: &str) -> String {
    const MOST: usize = 200;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// A record's text; bytes that are not UTF-8 are written as `\xFF`, so that none is lost.
pub(super) fn printable(text: &[u8]) -> String {
    use fmt::Write;
    let mut printed = String::with_capacity(text.len());
    for part in text.utf8_chunks() {
        printed.push_str(part.valid());
        for byte in part.invalid() {
            let _ = write!(printed, "\\x{byte:02X}");
        }
    }
    printed
}
