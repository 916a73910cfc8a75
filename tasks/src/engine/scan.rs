//! Scans of text files, CSV and JSON lines, into typed columns.
//!
//! DataFusion's own readers fail the whole query at the first value that does not parse, and
//! give no order across their partitions. These put malformed records aside with a reason, and
//! number the chunks, so that an operator above can take rows in the order of the files although
//! they are parsed in parallel.

pub(crate) mod chunks;
mod column;
mod csv;
mod json;
pub(crate) mod malformed;
pub(crate) mod open;
#[cfg(test)]
mod tests;
pub(crate) mod texts;
mod values;

use crate::engine::columns::{ColumnType, Columns, arrow_schema};
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use async_trait::async_trait;
use chunks::{Chunk, Chunks, Source};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::common::{DataFusionError, Result};
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::{Expr, TableType};
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::execution_plan::{Boundedness, EmissionType, SchedulingType};
use datafusion::physical_plan::stream::RecordBatchReceiverStreamBuilder;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, Partitioning, PlanProperties,
};
use malformed::{Disposal, OnMalformed};
use object_store::ObjectStore;
use orchestrator::attempt::Progress;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use tokio::sync::Mutex;
use tokio::sync::mpsc::Sender;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TextFormat {
    Csv,
    JsonLines,
}

/// Text files as a table.
pub(crate) struct TextTable {
    format: TextFormat,
    store: Arc<dyn ObjectStore>,
    sources: Arc<[Source]>,
    columns: Columns,
    /// Whether a key that is no column makes a JSON line malformed.
    closed: bool,
    settings: ScanSettings,
    schema: SchemaRef,
    scanned: AtomicBool,
}

/// What does not follow from the files.
#[derive(Clone)]
pub(crate) struct ScanSettings {
    pub(crate) chunk_bytes: u64,
    pub(crate) on_malformed: OnMalformed,
    pub(crate) meter: Option<Arc<Meter>>,
}

/// Tells an attempt's progress what the scans read.
pub(crate) struct Meter {
    progress: Arc<Progress>,
    total_bytes: AtomicU64,
    /// Whether rows are counted here, or by who takes them.
    counts_rows: bool,
}

impl Meter {
    pub(crate) fn new(progress: Arc<Progress>, counts_rows: bool) -> Self {
        Meter { progress, total_bytes: AtomicU64::new(0), counts_rows }
    }

    fn planned(&self, bytes: u64) {
        let total = self.total_bytes.fetch_add(bytes, Ordering::Relaxed) + bytes;
        self.progress.set_total(total);
    }

    fn read(&self, bytes: u64) {
        self.progress.add_done(bytes);
    }

    pub(crate) fn rows(&self, rows: u64) {
        if self.counts_rows {
            self.progress.add_rows_in(rows);
        }
    }
}

/// What the parsers need to know of the columns.
pub(crate) struct Layout {
    /// All columns of the table.
    schema: SchemaRef,
    kinds: Vec<ColumnType>,
    /// Whether a column's values are read at all.
    reads: Vec<bool>,
    /// The columns that the scan gives, and their schema.
    projection: Vec<usize>,
    projected: SchemaRef,
    /// Why a record goes aside if a column's value does not fit.
    reasons: Vec<Arc<str>>,
    closed: bool,
}

impl TextTable {
    pub(crate) fn new(
        format: TextFormat,
        store: Arc<dyn ObjectStore>,
        opened: open::Opened,
        settings: ScanSettings,
    ) -> Self {
        let open::Opened { columns, sources, closed } = opened;
        let schema = arrow_schema(&columns);
        let (sources, scanned) = (sources.into(), AtomicBool::new(false));
        TextTable { format, store, sources, columns, closed, settings, schema, scanned }
    }
    /// A scan of some of the columns, or of all.
    fn plan(&self, projection: Option<&Vec<usize>>) -> Result<TextScan> {
        let bytes = self.sources.iter().map(|source| source.size - source.start).sum();
        if let Some(meter) = &self.settings.meter {
            meter.planned(bytes);
        }
        Ok(TextScan {
            format: self.format,
            store: self.store.clone(),
            sources: self.sources.clone(),
            bytes,
            layout: self.layout(projection)?,
            disposal: self.settings.on_malformed.plan(),
            settings: self.settings.clone(),
            first: !self.scanned.swap(true, Ordering::Relaxed),
        })
    }

    fn layout(&self, projection: Option<&Vec<usize>>) -> Result<Layout> {
        let all = self.columns.len();
        let projection = projection.cloned().unwrap_or_else(|| (0..all).collect());
        // Where malformed records go aside, whether a record is malformed must not depend on
        // what a query reads of it: another scan may read more, and would count it again.
        let reads = match &self.settings.on_malformed {
            OnMalformed::Aside(_) => vec![true; all],
            OnMalformed::Fail => (0..all).map(|column| projection.contains(&column)).collect(),
        };
        Ok(Layout {
            schema: self.schema.clone(),
            kinds: self.columns.values().copied().collect(),
            reads,
            projected: Arc::new(self.schema.project(&projection)?),
            projection,
            reasons: self.columns.keys().map(|name| format!("malformed_{name}").into()).collect(),
            closed: self.closed,
        })
    }
}

impl fmt::Debug for TextTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextTable").field("format", &self.format).finish_non_exhaustive()
    }
}

#[async_trait]
impl TableProvider for TextTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let scan = self.plan(projection)?;
        Ok(Arc::new(TextExec::new(Arc::new(scan), session.config().target_partitions())))
    }
}

/// One planned scan of text files.
pub(crate) struct TextScan {
    format: TextFormat,
    store: Arc<dyn ObjectStore>,
    sources: Arc<[Source]>,
    /// How much text there is.
    pub(crate) bytes: u64,
    layout: Layout,
    disposal: Disposal,
    settings: ScanSettings,
    /// Whether no scan of the same table came before, which has counted the rows.
    first: bool,
}

impl TextScan {
    pub(crate) fn chunks(&self) -> Chunks {
        let quotes = self.format == TextFormat::Csv;
        let chunk_bytes = self.settings.chunk_bytes;
        Chunks::new(self.store.clone(), self.sources.clone(), chunk_bytes, quotes)
    }

    /// The records of a chunk that fit; the others are disposed of.
    pub(crate) async fn read(&self, chunk: Chunk) -> Result<RecordBatch> {
        let source = &self.sources[chunk.source];
        let parsed = match self.format {
            TextFormat::Csv => csv::parse(chunk.data, &source.fields, &self.layout)?,
            TextFormat::JsonLines => json::parse(chunk.data, &self.layout)?,
        };
        self.disposal.dispose(&source.name, parsed.malformed).await?;
        if let Some(meter) = &self.settings.meter {
            meter.read(chunk.bytes);
            if self.first {
                meter.rows(parsed.batch.num_rows() as u64);
            }
        }
        Ok(parsed.batch)
    }
}

/// The operator that scans. Its partitions take chunks from one reader as they get to them.
pub(crate) struct TextExec {
    pub(crate) scan: Arc<TextScan>,
    chunks: Arc<Mutex<Chunks>>,
    properties: Arc<PlanProperties>,
}

impl TextExec {
    fn new(scan: Arc<TextScan>, partitions: usize) -> Self {
        let chunks = Arc::new(Mutex::new(scan.chunks()));
        let properties = Arc::new(leaf_properties(&scan.layout.projected, partitions));
        TextExec { scan, chunks, properties }
    }
}

/// The properties of an operator that gives its rows in no order that a planner could use.
pub(crate) fn leaf_properties(schema: &SchemaRef, partitions: usize) -> PlanProperties {
    PlanProperties::new(
        EquivalenceProperties::new(schema.clone()),
        Partitioning::UnknownPartitioning(partitions),
        EmissionType::Incremental,
        Boundedness::Bounded,
    )
    // Batches come from a channel of tokio's, which takes part in cooperative scheduling.
    .with_scheduling_type(SchedulingType::Cooperative)
}

impl fmt::Debug for TextExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TextExec").field("format", &self.scan.format).finish_non_exhaustive()
    }
}

impl DisplayAs for TextExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let files: Vec<_> = self.scan.sources.iter().map(|source| source.name.as_str()).collect();
        write!(f, "TextExec: {:?}, files=[{}]", self.scan.format, files.join(", "))
    }
}

impl ExecutionPlan for TextExec {
    fn name(&self) -> &'static str {
        "TextExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        Vec::new()
    }

    fn apply_expressions(
        &self,
        _: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        _: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        Ok(self)
    }

    fn reset_state(self: Arc<Self>) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = self.properties.output_partitioning().partition_count();
        Ok(Arc::new(TextExec::new(self.scan.clone(), partitions)))
    }

    fn execute(&self, _: usize, context: Arc<TaskContext>) -> Result<SendableRecordBatchStream> {
        let (scan, chunks) = (self.scan.clone(), self.chunks.clone());
        let rows = context.session_config().batch_size();
        Ok(on_thread(self.schema(), move |output| async move {
            loop {
                let Some(chunk) = chunks.lock().await.next().await? else { return Ok(()) };
                let batch = scan.read(chunk).await?;
                if !send(&output, batch, rows).await {
                    return Ok(());
                }
            }
        }))
    }
}

/// Sends the rows in batches of at most `rows`. False: nobody wants them any more.
pub(crate) async fn send(
    output: &Sender<Result<RecordBatch>>,
    batch: RecordBatch,
    rows: usize,
) -> bool {
    for start in (0..batch.num_rows()).step_by(rows) {
        let part = batch.slice(start, rows.min(batch.num_rows() - start));
        if output.send(Ok(part)).await.is_err() {
            return false;
        }
    }
    true
}

/// A stream of what `produce` sends, which runs on a thread of its own: it computes for long
/// stretches, and goes on whether or not the stream is polled. It is stopped when the stream is
/// dropped.
pub(crate) fn on_thread<F, P>(schema: SchemaRef, produce: P) -> SendableRecordBatchStream
where
    F: Future<Output = Result<()>>,
    P: FnOnce(Sender<Result<RecordBatch>>) -> F + Send + 'static,
{
    const BATCHES_AHEAD: usize = 4;
    let mut builder = RecordBatchReceiverStreamBuilder::new(schema, BATCHES_AHEAD);
    let output = builder.tx();
    let (handle, span) = (tokio::runtime::Handle::current(), tracing::Span::current());
    builder.spawn_blocking(move || {
        span.in_scope(|| {
            handle.block_on(async {
                let closed = output.clone();
                tokio::select! {
                    biased;
                    () = closed.closed() => Ok(()),
                    result = produce(output) => result,
                }
            })
        })
    });
    builder.build()
}

/// An error that has no other place than its message.
pub(crate) fn execution(message: impl Into<String>) -> DataFusionError {
    DataFusionError::Execution(message.into())
}
