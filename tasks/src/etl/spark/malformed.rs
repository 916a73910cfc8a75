//! Malformed records of files, kept beside what goes to Spark until the query's columns are known.

use super::scratch::Scratch;
use crate::engine::scan::malformed::{Aside, Malformed as Records, Sluice};
use crate::etl::constants;
use crate::etl::options::EtlOptions;
use crate::etl::rejects::{RAW, REASON};
use crate::etl::session::Session;
use crate::places::StageWriter;
use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Schema};
use async_trait::async_trait;
use datafusion::common::{DataFusionError, Result, ScalarValue};
use datafusion::prelude::{DataFrame, SessionContext};
use orchestrator::attempt::TaskError;
use std::sync::Arc;
use tokio::sync::Mutex;

const PART: &str = "malformed";

/// Malformed records of all inputs, as a part of the scratch.
pub(super) struct Malformed;

impl Malformed {
    /// Takes malformed records, through the sluice.
    pub(super) fn aside(scratch: &Scratch) -> Result<(Arc<ToScratch>, Arc<Sluice>), TaskError> {
        let field = |name| Field::new(name, DataType::Utf8, true);
        let schema = Arc::new(Schema::new(vec![field(REASON), field(RAW)]));
        let writer = scratch.writer(PART, &schema)?;
        let aside = Arc::new(ToScratch { schema, writer: Mutex::new(Some(writer)) });
        Ok((aside.clone(), Sluice::new(aside)))
    }

    /// Each with its reason and its text.
    pub(super) async fn read(
        &self,
        scratch: &Scratch,
        ctx: &SessionContext,
    ) -> Result<DataFrame, TaskError> {
        let rows = scratch.read(ctx, PART).await?;
        rows.ok_or_else(|| TaskError::permanent("the malformed records are gone from the scratch"))
    }
}

pub(super) struct ToScratch {
    schema: Arc<Schema>,
    /// Until all inputs have been read.
    writer: Mutex<Option<StageWriter>>,
}

impl ToScratch {
    pub(super) async fn finish(&self) -> Result<Option<Malformed>, TaskError> {
        let Some(writer) = self.writer.lock().await.take() else { return Ok(None) };
        Ok((writer.finish().await?.rows > 0).then_some(Malformed))
    }
}

#[async_trait]
impl Aside for ToScratch {
    async fn take(&self, malformed: Records) -> Result<()> {
        let (reasons, raw): (Vec<_>, Vec<_>) = malformed.rows.into_iter().unzip();
        let columns: Vec<ArrayRef> = vec![
            Arc::new(StringArray::from_iter_values(reasons)),
            Arc::new(StringArray::from_iter_values(raw)),
        ];
        let batch = RecordBatch::try_new(self.schema.clone(), columns)?;
        let failed = |error: TaskError| DataFusionError::External(Box::new(error));
        match self.writer.lock().await.as_mut() {
            Some(writer) => writer.write(&batch).await.map_err(failed),
            None => Err(failed(TaskError::permanent("records came after the last input"))),
        }
    }
}

/// The columns of the query that are the same in every row, as far as DataFusion knows the query
/// too: malformed records have these values.
pub(super) async fn constants(
    session: &Session<'_>,
    path: &str,
    sql: &str,
    options: &EtlOptions,
) -> Vec<Option<ScalarValue>> {
    let Ok(frame) = session.plan(path, sql, options).await else { return Vec::new() };
    match frame.create_physical_plan().await {
        Ok(plan) => constants::constants(&plan),
        Err(_) => Vec::new(),
    }
}
