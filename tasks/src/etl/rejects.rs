//! Where rejected rows go: beside the pass, to a table of their own.

use super::constants::repeated;
use crate::engine::scan::execution;
use crate::engine::scan::malformed::{Aside, Malformed};
use arrow::array::{ArrayRef, RecordBatch, StringArray, new_null_array};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use async_trait::async_trait;
use datafusion::common::{Result, ScalarValue};
use indexmap::IndexMap;
use orchestrator::attempt::Progress;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use tokio::sync::mpsc::{Receiver, Sender, channel};

/// Why a row was rejected: the name of a rule, `duplicate`, `malformed_price` and the like.
pub(super) const REASON: &str = "reason";
/// The text of a record that did not fit its columns; null for other rows.
pub(super) const RAW: &str = "raw";

/// Takes rejected rows, and counts them by reason.
pub(super) struct Rejects {
    /// Of the rejected rows: the query's columns, the reason and the raw text. Set when the
    /// query is planned, before any row is read.
    schema: OnceLock<SchemaRef>,
    /// The query's columns that are the same in every row. Set with its plan.
    constants: OnceLock<Vec<Option<ScalarValue>>>,
    state: Mutex<State>,
    progress: Arc<Progress>,
}

#[derive(Default)]
struct State {
    by_reason: IndexMap<Arc<str>, u64>,
    /// Records that never came to the query.
    malformed: u64,
    route: Route,
    /// Whether the pass has come to its end without an error.
    complete: bool,
}

/// Where rejected rows go.
#[derive(Default)]
enum Route {
    /// Nowhere: they are only counted.
    #[default]
    Counted,
    To(Sender<RecordBatch>),
}

impl Rejects {
    pub(super) fn new(progress: Arc<Progress>) -> Arc<Self> {
        Arc::new(Rejects {
            schema: OnceLock::new(),
            constants: OnceLock::new(),
            state: Mutex::default(),
            progress,
        })
    }

    /// Sets the columns of the query. A column of the same name as one that rejected rows get
    /// is an error.
    pub(super) fn set_query_schema(&self, query: &Schema) -> Result<SchemaRef> {
        let own = [(REASON, false), (RAW, true)];
        for (name, _) in own {
            if query.column_with_name(name).is_some() {
                return Err(execution(format!(
                    "the query has a column `{name}`, which rejected rows need for themselves; \
                     give it another name with `as`"
                )));
            }
        }
        let fields = query.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
        let own = own.map(|(name, nullable)| Field::new(name, DataType::Utf8, nullable));
        let schema: SchemaRef = Arc::new(Schema::new(fields.chain(own).collect::<Vec<_>>()));
        Ok(self.schema.get_or_init(|| schema).clone())
    }

    /// Malformed records have these values too.
    pub(super) fn set_constants(&self, constants: Vec<Option<ScalarValue>>) {
        self.constants.get_or_init(|| constants);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the rejected rows instead of only counting them.
    pub(super) fn open(&self) -> Receiver<RecordBatch> {
        const BATCHES_AHEAD: usize = 16;
        let (sender, receiver) = channel(BATCHES_AHEAD);
        self.state().route = Route::To(sender);
        receiver
    }

    /// Ends the pass: whoever takes the rows then knows that no more will come.
    pub(super) fn close(&self, complete: bool) {
        let mut state = self.state();
        state.complete = complete;
        state.route = Route::Counted;
    }

    pub(super) fn complete(&self) -> bool {
        self.state().complete
    }

    pub(super) fn malformed(&self) -> u64 {
        self.state().malformed
    }

    /// The number of rejected rows by reason, in the order in which the reasons were met.
    pub(super) fn by_reason(&self) -> Vec<(String, u64)> {
        let state = self.state();
        state.by_reason.iter().map(|(reason, count)| (reason.to_string(), *count)).collect()
    }

    /// Rows of the query that were rejected, each with its reason.
    pub(super) async fn rows(&self, rows: &RecordBatch, reasons: &[Arc<str>]) -> Result<()> {
        let raw = new_null_array(&DataType::Utf8, reasons.len());
        self.send(rows.columns().to_vec(), reasons, raw).await
    }

    async fn send(
        &self,
        mut columns: Vec<ArrayRef>,
        reasons: &[Arc<str>],
        raw: ArrayRef,
    ) -> Result<()> {
        let sender = {
            let mut state = self.state();
            for reason in reasons {
                match state.by_reason.get_mut(reason) {
                    Some(count) => *count += 1,
                    None => {
                        state.by_reason.insert(reason.clone(), 1);
                    }
                }
            }
            match &state.route {
                Route::Counted => return Ok(()),
                Route::To(sender) => sender.clone(),
            }
        };
        let schema = self.schema.get().ok_or_else(|| execution("rows came before the query"))?;
        columns.push(Arc::new(StringArray::from_iter_values(reasons)));
        columns.push(raw);
        let batch = RecordBatch::try_new(schema.clone(), columns)?;
        sender.send(batch).await.map_err(|_| execution("nobody takes the rejected rows"))
    }
}

#[async_trait]
impl Aside for Rejects {
    async fn take(&self, malformed: Malformed) -> Result<()> {
        let (reasons, raw): (Vec<_>, Vec<_>) = malformed.rows.into_iter().unzip();
        self.progress.add_rows_in(reasons.len() as u64);
        self.state().malformed += reasons.len() as u64;
        let schema = self.schema.get().ok_or_else(|| execution("rows came before the query"))?;
        let query = &schema.fields()[..schema.fields().len() - 2];
        let constants = self.constants.get().map_or(&[][..], Vec::as_slice);
        let values = query.iter().enumerate().map(|(column, field)| {
            let constant = constants.get(column).and_then(Option::as_ref);
            repeated(constant, field.data_type(), reasons.len())
        });
        let raw: ArrayRef = Arc::new(StringArray::from_iter_values(raw));
        self.send(values.collect::<Result<_>>()?, &reasons, raw).await
    }
}
