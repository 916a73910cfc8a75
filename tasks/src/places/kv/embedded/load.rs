//! Loading: new rows and those that they meet, merged in the order of their keys.

use super::collapse::Collapse;
use super::ranges::{Ranges, Rewrite};
use super::{OLDER_CELLS, TIMESTAMP, cells, schema};
use crate::engine::told::ToldExec;
use crate::places::kv::{Load, ROW_KEY};
use crate::places::tables::{
    Publication, Scan, StageOptions, StageWriter, Staged, TableSnapshot, Tables,
};
use crate::places::tables::{failed, ordering};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::execution::SendableRecordBatchStream;
use datafusion::physical_expr::expressions::{CastExpr, Literal, col};
use datafusion::physical_expr::{LexOrdering, PhysicalExpr};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use futures::StreamExt;
use orchestrator::attempt::{Progress, TaskError};
use orchestrator::event::Published;
use orchestrator::failpoint;
use orchestrator::kind::Write;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// How often a load begins anew because another one has come first.
const MAX_TRIES: u32 = 10;
/// Merged batches that wait for the writer.
const BATCHES_AHEAD: usize = 16;
const SOURCE: &str = "source";

pub(super) async fn load(
    tables: &Tables,
    table: &str,
    mut load: Load,
) -> Result<Published, TaskError> {
    load.publication = Publication {
        write: Write::Merge,
        key: vec![ROW_KEY.into()],
        partition_by: Vec::new(),
        ..load.publication
    };
    let base = load.publication.base;
    for _ in 0..MAX_TRIES {
        if let Some(found) = tables.find(table, &load.publication.id, base).await? {
            return Ok(found);
        }
        let snapshot = match tables.latest(table).await? {
            Some(version) => Some(tables.read(table, version).await?),
            None => None,
        };
        let rewrite = match &snapshot {
            Some(snapshot) if !snapshot.files.is_empty() => touched(snapshot, &load).await?,
            _ => Rewrite::default(),
        };
        let merged = merge(tables, table, snapshot.as_ref(), &rewrite, &load).await?;
        if merged.repeated > 0 {
            tracing::warn!("{} rows have a key that another row has too", merged.repeated);
        }
        failpoint::hit("kv.before_commit");
        let version = snapshot.map(|snapshot| snapshot.version);
        let gone: Vec<&str> = rewrite.files.iter().map(|file| file.relative.as_str()).collect();
        let published = tables
            .publish_rewrite(table, &load.publication, merged.staged, version, &gone, merged.rows)
            .await?;
        if let Some(published) = published {
            failpoint::hit("kv.after_commit");
            return Ok(published);
        }
        tracing::info!("another load came first; merging with what it wrote");
    }
    Err(TaskError::transient(format!("others loaded first {MAX_TRIES} times in a row")))
}

/// Which files the new keys fall into.
async fn touched(snapshot: &TableSnapshot, load: &Load) -> Result<Rewrite, TaskError> {
    let doing = "can't read the keys";
    let ranges = Ranges::new(&snapshot.files);
    let mut touch = ranges.touch();
    let task = load.session.task_ctx();
    let mut keys =
        execute_stream(load.keys.clone(), task).map_err(|error| failed(doing, &error))?;
    while let Some(batch) = keys.next().await {
        let batch = batch.map_err(|error| failed(doing, &error))?;
        batch.column(0).as_string::<i32>().iter().flatten().for_each(|key| touch.count(key));
    }
    Ok(touch.rewrite())
}

struct Merged {
    staged: Vec<Staged>,
    /// Keys among the new rows.
    rows: u64,
    repeated: u64,
}

/// Merges and writes, each on a thread of its own. Dropping the future stops it.
async fn merge(
    tables: &Tables,
    table: &str,
    snapshot: Option<&TableSnapshot>,
    rewrite: &Rewrite,
    load: &Load,
) -> Result<Merged, TaskError> {
    let doing = |error: &DataFusionError| failed("can't merge the rows", error);
    let old = snapshot.map(|snapshot| snapshot.schema.clone());
    let known: Vec<&str> = old.iter().flat_map(|schema| cells(schema)).collect();
    let sent = load.rows.schema();
    let sent = sent.fields().iter().skip(1).map(|field| field.name().as_str());
    let added = sent.filter(|cell| !known.contains(cell));
    let schema = schema(known.iter().copied().chain(added));
    let plan = plan(tables, &schema, old.as_ref(), rewrite, load).await.map_err(|e| doing(&e))?;
    let stream = execute_stream(plan, load.session.task_ctx()).map_err(|error| doing(&error))?;
    let options = StageOptions { sort_by: vec![ROW_KEY.into()], ..StageOptions::default() };
    let files = Files {
        tables: tables.clone(),
        table: table.to_owned(),
        publication: load.publication.id.clone(),
        schema: schema.clone(),
        options,
        borders: rewrite.borders.clone(),
        writer: None,
        staged: Vec::new(),
    };
    let stop = load.publication.cancel.child_token();
    let guard = stop.clone().drop_guard();
    let (sender, receiver) = mpsc::channel(BATCHES_AHEAD);
    let merging = on_a_thread(collapse(stream, Collapse::new(schema), sender, stop));
    let writing = on_a_thread(write(files, receiver, load.progress.clone()));
    let (merged, staged) = tokio::join!(merging, writing);
    drop(guard);
    // Where both failed, merging is the cause: the writer only missed the end.
    let collapse = merged?;
    Ok(Merged { staged: staged?, rows: collapse.new_rows(), repeated: collapse.repeated() })
}

/// Sends batches in which each key is there once, with the number of new keys so far.
async fn collapse(
    mut stream: SendableRecordBatchStream,
    mut collapse: Collapse,
    sender: mpsc::Sender<Next>,
    stop: CancellationToken,
) -> Result<Collapse, TaskError> {
    let doing = "can't merge the rows";
    loop {
        if stop.is_cancelled() {
            return Err(TaskError::Cancelled);
        }
        let next = stream.next().await;
        let last = next.is_none();
        let batch = match next {
            Some(batch) => collapse.push(batch.map_err(|error| failed(doing, &error))?),
            None => collapse.finish(),
        };
        let batch = batch.map_err(|error| failed(doing, &error))?;
        let next = Next { batch, new_rows: collapse.new_rows(), last };
        // The writer has failed, and will say so.
        let gone = sender.send(next).await.is_err();
        if last || gone {
            return Ok(collapse);
        }
    }
}

struct Next {
    batch: RecordBatch,
    new_rows: u64,
    last: bool,
}

/// Encodes and writes, while the next rows are merged.
async fn write(
    mut files: Files,
    mut receiver: mpsc::Receiver<Next>,
    progress: Arc<Progress>,
) -> Result<Vec<Staged>, TaskError> {
    let mut told = 0;
    while let Some(Next { batch, new_rows, last }) = receiver.recv().await {
        files.write(batch).await?;
        progress.add_rows_out(new_rows - told);
        progress.add_done(new_rows - told);
        told = new_rows;
        if last {
            let staged = files.finish().await?;
            progress.add_bytes_out(staged.iter().map(|staged| staged.bytes).sum());
            return Ok(staged);
        }
    }
    Err(TaskError::Cancelled)
}

/// Drives work that computes on a thread for such work.
async fn on_a_thread<T: Send + 'static>(
    work: impl Future<Output = Result<T, TaskError>> + Send + 'static,
) -> Result<T, TaskError> {
    let (span, handle) = (tracing::Span::current(), Handle::current());
    tokio::task::spawn_blocking(move || span.in_scope(|| handle.block_on(work)))
        .await
        .map_err(|error| TaskError::permanent(format!("merging broke off: {error}")))?
}

/// All rows by their key: the old ones as their files have them, the new ones sorted.
async fn plan(
    tables: &Tables,
    schema: &SchemaRef,
    old: Option<&SchemaRef>,
    rewrite: &Rewrite,
    load: &Load,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let by_key = |schema: &Schema| -> Result<LexOrdering, DataFusionError> {
        let ordering = ordering(schema, &[ROW_KEY.to_owned()])?;
        ordering.ok_or_else(|| DataFusionError::Plan("rows without a key".into()))
    };
    let rows = ToldExec::progress(load.rows.clone(), load.progress.clone());
    let sort = SortExec::new(by_key(&rows.schema())?, rows);
    let sorted = Arc::new(sort.with_preserve_partitioning(true));
    let at = load.at.as_microsecond();
    let new: Arc<dyn ExecutionPlan> = unify(sorted, schema, Some(at))?;
    let mut inputs = vec![new];
    if let (Some(old), false) = (old, rewrite.files.is_empty()) {
        let state = load.session.state();
        let url = tables.register(state.runtime_env());
        let scan = Scan::new(old, &[], &rewrite.files, url, false)?;
        let rows = scan.plan(&state, None, None, Some(by_key(old)?)).await?;
        inputs.push(unify(rows, schema, None)?);
    }
    let all = if inputs.len() > 1 { UnionExec::try_new(inputs)? } else { inputs.remove(0) };
    Ok(Arc::new(SortPreservingMergeExec::new(by_key(&all.schema())?, all)))
}

/// Rows with all columns of the table, and one that tells new rows, which get their timestamp
/// `at`, from old ones.
fn unify(
    rows: Arc<dyn ExecutionPlan>,
    schema: &Schema,
    at: Option<i64>,
) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
    let from = rows.schema();
    let mut columns: Vec<(Arc<dyn PhysicalExpr>, String)> = Vec::new();
    for field in schema.fields() {
        let name = field.name().as_str();
        let constant = match (name, at) {
            (TIMESTAMP, Some(at)) => {
                Some(ScalarValue::TimestampMicrosecond(Some(at), Some("UTC".into())))
            }
            (OLDER_CELLS, Some(_)) => Some(ScalarValue::Utf8(None)),
            _ if from.field_with_name(name).is_err() => Some(ScalarValue::Utf8(None)),
            _ => None,
        };
        let column = match constant {
            Some(value) => Arc::new(Literal::new(value)) as Arc<dyn PhysicalExpr>,
            None => col(name, &from)?,
        };
        // Cells become text only behind the sort: until then their own types take less memory.
        let column: Arc<dyn PhysicalExpr> = match column.data_type(&from)? == *field.data_type() {
            true => column,
            false => Arc::new(CastExpr::new(column, field.data_type().clone(), None)),
        };
        columns.push((column, name.to_owned()));
    }
    let source = ScalarValue::Int8(Some(i8::from(at.is_some())));
    debug_assert_eq!(source.data_type(), DataType::Int8);
    columns.push((Arc::new(Literal::new(source)), SOURCE.to_owned()));
    Ok(Arc::new(ProjectionExec::try_new(columns, rows)?))
}

/// The files of a load.
struct Files {
    tables: Tables,
    table: String,
    publication: String,
    schema: SchemaRef,
    options: StageOptions,
    /// Keys that no file may reach across, those that are passed left out.
    borders: Vec<String>,
    writer: Option<StageWriter>,
    staged: Vec<Staged>,
}

impl Files {
    async fn write(&mut self, batch: RecordBatch) -> Result<(), TaskError> {
        let mut rest = batch;
        while rest.num_rows() > 0 {
            let keys = rest.column(0).as_string::<i32>();
            let passed = self.borders.partition_point(|border| border.as_str() <= keys.value(0));
            if passed > 0 {
                self.borders.drain(..passed);
                self.complete().await?;
            }
            let count = match self.borders.first() {
                Some(border) => first_at_least(keys, border),
                None => rest.num_rows(),
            };
            let writer = match &mut self.writer {
                Some(writer) => writer,
                none => none.insert(self.tables.stage_writer(
                    &self.table,
                    &self.publication,
                    &self.schema,
                    &self.options,
                )?),
            };
            writer.write(&rest.slice(0, count)).await?;
            rest = rest.slice(count, rest.num_rows() - count);
        }
        Ok(())
    }

    async fn complete(&mut self) -> Result<(), TaskError> {
        if let Some(writer) = self.writer.take() {
            self.staged.push(writer.finish().await?);
        }
        Ok(())
    }

    /// A load without rows stages the columns at least.
    async fn finish(mut self) -> Result<Vec<Staged>, TaskError> {
        if self.writer.is_none() && self.staged.is_empty() {
            let writer = self.tables.stage_writer(
                &self.table,
                &self.publication,
                &self.schema,
                &self.options,
            )?;
            self.writer = Some(writer);
        }
        self.complete().await?;
        Ok(self.staged)
    }
}

/// The first of the sorted keys that is not less than `border`.
fn first_at_least(keys: &arrow::array::StringArray, border: &str) -> usize {
    let (mut low, mut high) = (0, keys.len());
    while low < high {
        let middle = low.midpoint(high);
        if keys.value(middle) < border { low = middle + 1 } else { high = middle }
    }
    low
}
