//! Staging: the rows of a publication as durable files that no version refers to yet.

use super::failure::failed;
use super::newest::Newest;
use super::parquet_file::{Layout, ParquetFile, Target};
use super::partition::{PartitionColumns, PartitionKey};
use super::schema::Storage;
use super::{Publication, Tables};
use arrow::array::RecordBatch;
use arrow::datatypes::{Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::expressions::col;
use datafusion::physical_expr::{LexOrdering, Partitioning, PhysicalSortExpr};
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::sorts::sort::SortExec;
use datafusion::physical_plan::sorts::sort_preserving_merge::SortPreservingMergeExec;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, execute_stream_partitioned,
};
use deltalake_core::kernel::Add;
use futures::StreamExt;
use futures::future::try_join_all;
use object_store::path::Path as StorePath;
use orchestrator::attempt::{Progress, TaskError};
use orchestrator::kind::Write;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// A batch's worth of checks between two looks at how much memory all open files take.
const ROWS_BETWEEN_MEMORY_CHECKS: u64 = 256 << 10;
/// Of one writer's open files; beyond it the largest is written out early.
const MEMORY_LIMIT: usize = 128 << 20;
/// Streams that one plan may be written by.
const MAX_STREAMS: usize = 16;

/// How a publication's files are written.
#[derive(Clone, Debug, Default)]
pub struct StageOptions {
    /// Columns whose values tell the table's partitions. Kept in the log, not in the files.
    pub partition_by: Vec<String>,
    /// Rows are sorted by these, and files made for looking rows up by them.
    pub sort_by: Vec<String>,
    /// For rows that are staged in pieces and may be found again by [`Tables::staged`].
    pub file_prefix: Option<String>,
    /// For `write: merge`: rows are sorted by these, and of rows with one key only the newest is
    /// kept. (By [`Tables::stage`]; rows that are handed to a writer are sorted and chosen among
    /// when they are published.)
    pub key: Vec<String>,
    /// As in [`Publication::newest_by`](super::Publication::newest_by).
    pub newest_by: Option<String>,
    /// Told of rows and bytes as they are written.
    pub progress: Option<Arc<Progress>>,
}

impl StageOptions {
    /// What a publication asks of its files.
    pub fn of(publication: &Publication) -> StageOptions {
        let merges = publication.write == Write::Merge;
        StageOptions {
            partition_by: publication.partition_by.clone(),
            key: if merges { publication.key.clone() } else { Vec::new() },
            newest_by: publication.newest_by.clone().filter(|_| merges),
            ..StageOptions::default()
        }
    }

    fn sorts(&self) -> &[String] {
        if self.key.is_empty() { &self.sort_by } else { &self.key }
    }
}

/// Durable files of a publication that is not committed yet.
#[derive(Clone, Debug)]
pub struct Staged {
    pub(crate) adds: Vec<Add>,
    pub rows: u64,
    /// Size as stored.
    pub bytes: u64,
    /// The columns as the table keeps them, those of partitions included.
    pub schema: SchemaRef,
    /// The `file_prefix` that they were staged under.
    pub prefix: Option<String>,
    /// Set if all rows are in this key's order, with each key once.
    pub(crate) unique_by: Option<Vec<String>>,
    /// Where they ran, for operators that a commit may need.
    pub(crate) task: Option<Arc<TaskContext>>,
}

impl Tables {
    /// Runs `plan` and writes its rows as files of the publication. When this returns they are
    /// durable, and invisible until [`Tables::publish`]. No rows give no files, but the schema.
    ///
    /// Each partition of the plan runs on a blocking thread of its own: encoding burns CPU, and on
    /// the runtime's workers the streams would often share one core. Dropping the future stops them.
    pub async fn stage(
        &self,
        name: &str,
        publication: &str,
        plan: Arc<dyn ExecutionPlan>,
        task: Arc<TaskContext>,
        options: &StageOptions,
    ) -> Result<Staged, TaskError> {
        let doing = || format!("can't write `table:{name}`");
        let schema = plan.schema();
        let plan = arrange(plan, options.sorts()).map_err(|error| failed(doing(), &error))?;
        let streams = execute_stream_partitioned(plan, task.clone())
            .map_err(|error| failed(doing(), &error))?;
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let mut writers = Vec::new();
        for (index, stream) in streams.into_iter().enumerate() {
            let options = StageOptions {
                file_prefix: options.file_prefix.as_ref().map(|prefix| format!("{prefix}.{index}")),
                ..options.clone()
            };
            let newest = newest(&schema, &options).map_err(|error| failed(doing(), &error))?;
            // The marker of a piece is written once for all streams, below.
            let writer = self.writer(name, publication, &schema, &options)?;
            writers.push(on_a_thread(drain(stream, newest, writer, stop.clone())));
        }
        let parts = try_join_all(writers).await.map_err(|error| error.context(doing()))?;
        drop(guard);
        let mut staged = Staged {
            adds: Vec::new(),
            rows: 0,
            bytes: 0,
            schema: Storage::of(&schema).map_err(|error| error.context(doing()))?.table,
            prefix: options.file_prefix.clone(),
            unique_by: Some(options.key.clone()).filter(|key| !key.is_empty()),
            task: Some(task),
        };
        for part in parts {
            staged.rows += part.rows;
            staged.bytes += part.bytes;
            staged.adds.extend(part.adds);
        }
        self.mark(name, publication, &staged).await?;
        Ok(staged)
    }

    /// The same for rows that are made batch by batch. `schema` is that of the batches.
    pub fn stage_writer(
        &self,
        name: &str,
        publication: &str,
        schema: &Schema,
        options: &StageOptions,
    ) -> Result<StageWriter, TaskError> {
        let mut writer = self.writer(name, publication, schema, options)?;
        writer.marks = true;
        Ok(writer)
    }

    fn writer(
        &self,
        name: &str,
        publication: &str,
        schema: &Schema,
        options: &StageOptions,
    ) -> Result<StageWriter, TaskError> {
        let doing = |error: TaskError| error.context(format!("can't write `table:{name}`"));
        let storage = Storage::of(schema).map_err(doing)?;
        let partitions =
            PartitionColumns::new(&storage.table, &options.partition_by).map_err(doing)?;
        let mut layout = if options.sorts().is_empty() { Layout::SCAN } else { Layout::LOOKUP };
        if !options.partition_by.is_empty() {
            layout.part_bytes = 512 << 10;
        }
        Ok(StageWriter {
            tables: self.clone(),
            name: name.to_owned(),
            publication: publication.to_owned(),
            directory: publication_directory(publication),
            written: partitions.without(&storage.written),
            storage,
            partitions,
            layout,
            options: options.clone(),
            open: HashMap::new(),
            adds: Vec::new(),
            rows: 0,
            rows_at_check: 0,
            files: 0,
            marks: false,
        })
    }
}

/// Sorts, or makes sure that there are not too many streams.
fn arrange(
    plan: Arc<dyn ExecutionPlan>,
    sort_by: &[String],
) -> Result<Arc<dyn ExecutionPlan>, datafusion::error::DataFusionError> {
    if let Some(ordering) = ordering(&plan.schema(), sort_by)? {
        let sort = SortExec::new(ordering.clone(), plan).with_preserve_partitioning(true);
        return Ok(Arc::new(SortPreservingMergeExec::new(ordering, Arc::new(sort))));
    }
    if plan.output_partitioning().partition_count() > MAX_STREAMS {
        let partitioning = Partitioning::RoundRobinBatch(MAX_STREAMS);
        return Ok(Arc::new(RepartitionExec::try_new(plan, partitioning)?));
    }
    Ok(plan)
}

/// The ordering by these columns, or `None` for none.
pub(crate) fn ordering(
    schema: &Schema,
    columns: &[String],
) -> Result<Option<LexOrdering>, datafusion::error::DataFusionError> {
    let mut sorts = Vec::with_capacity(columns.len());
    for column in columns {
        sorts.push(PhysicalSortExpr::new(col(column, schema)?, Default::default()));
    }
    Ok(LexOrdering::new(sorts))
}

/// The publication's directory below the table's: one level for each part of the id.
pub(crate) fn publication_directory(publication: &str) -> String {
    let mut directory = String::from("data");
    for part in publication.split('/') {
        directory.push('/');
        directory.push_str(&safe_name(part));
    }
    directory
}

/// A text as one plain segment of a path: itself, if it is one; else what is plain in it, with a
/// hash so that different texts stay different.
pub(crate) fn safe_name(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let is_plain =
        (1..=100).contains(&text.len()) && text.chars().all(plain) && !text.starts_with('.');
    if is_plain {
        return text.to_owned();
    }
    // FNV-1a: the same for ever, as directories are looked up by it.
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let kept: String = text.chars().filter(|c| plain(*c) && *c != '.').take(60).collect();
    format!("{kept}-{hash:016x}")
}

/// Drives `work` on a blocking thread; log lines keep their place in the attempt's log.
pub(crate) async fn on_a_thread<T: Send + 'static>(
    work: impl Future<Output = Result<T, TaskError>> + Send + 'static,
) -> Result<T, TaskError> {
    let span = tracing::Span::current();
    let handle = Handle::current();
    let joined = tokio::task::spawn_blocking(move || span.in_scope(|| handle.block_on(work))).await;
    joined.map_err(|error| TaskError::permanent(format!("a writer broke off: {error}")))?
}

/// Chooses among rows of one key, if the options ask for it.
fn newest(schema: &Schema, options: &StageOptions) -> Result<Option<Newest>, ArrowError> {
    if options.key.is_empty() {
        return Ok(None);
    }
    let place = |name: &String| schema.index_of(name);
    let key = options.key.iter().map(place).collect::<Result<_, _>>()?;
    let order = options.newest_by.iter().map(place).collect::<Result<_, _>>()?;
    Newest::new(schema, key, order).map(Some)
}

/// Writes a stream's rows; with `newest`, those that it lets through. Columns beyond the writer's
/// were only there to choose by.
pub(crate) async fn drain(
    mut stream: SendableRecordBatchStream,
    mut newest: Option<Newest>,
    mut writer: StageWriter,
    stop: CancellationToken,
) -> Result<Staged, TaskError> {
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return Err(TaskError::Cancelled),
            next = stream.next() => next,
        };
        let Some(batch) = next else { break };
        let batch = batch.map_err(|error| failed("the rows could not be made", &error))?;
        match &mut newest {
            None => writer.write(&batch).await?,
            Some(newest) => {
                let chosen = newest.push(&batch);
                if let Some(batch) = chosen.map_err(|error| failed("can't merge", &error))? {
                    writer.write(&writer.own_columns(&batch)?).await?;
                }
            }
        }
    }
    if let Some(batch) = newest.as_mut().and_then(Newest::finish) {
        writer.write(&writer.own_columns(&batch)?).await?;
    }
    writer.finish().await
}

/// Writes rows as files of a publication. Dropped before [`StageWriter::finish`], it leaves
/// nothing that counts.
///
/// Encodes on the thread that calls it.
pub struct StageWriter {
    tables: Tables,
    name: String,
    publication: String,
    /// Below the table's directory.
    directory: String,
    storage: Storage,
    partitions: PartitionColumns,
    /// The batches' columns without those of partitions.
    written: SchemaRef,
    layout: Layout,
    options: StageOptions,
    open: HashMap<PartitionKey, ParquetFile>,
    adds: Vec<Add>,
    rows: u64,
    rows_at_check: u64,
    files: usize,
    marks: bool,
}

impl StageWriter {
    /// Rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// The columns as the table will keep them.
    pub fn schema(&self) -> &SchemaRef {
        &self.storage.table
    }

    /// Takes a batch with the columns of the announced schema, in its order.
    pub async fn write(&mut self, batch: &RecordBatch) -> Result<(), TaskError> {
        if batch.num_rows() == 0 {
            return Ok(());
        }
        let batch = self.storage.convert(batch).map_err(|error| self.told(error))?;
        let parts = self.partitions.split(&batch).map_err(|error| self.told(error))?;
        for (key, rows) in parts {
            let file = match self.open.remove(&key) {
                Some(file) => file,
                None => self.file(&key),
            };
            let file = self.open.entry(key.clone()).or_insert(file);
            file.write(rows).await?;
            if file.is_full()
                && let Some(full) = self.open.remove(&key)
            {
                self.close(full).await?;
            }
        }
        self.rows += batch.num_rows() as u64;
        if let Some(progress) = &self.options.progress {
            progress.add_rows_out(batch.num_rows() as u64);
        }
        if self.rows - self.rows_at_check >= ROWS_BETWEEN_MEMORY_CHECKS {
            self.rows_at_check = self.rows;
            self.limit_memory().await?;
        }
        Ok(())
    }

    /// Completes the files; they are durable when this returns.
    pub async fn finish(mut self) -> Result<Staged, TaskError> {
        for (_, file) in std::mem::take(&mut self.open) {
            self.close(file).await?;
        }
        let staged = Staged {
            bytes: self.adds.iter().map(|add| add.size as u64).sum(),
            adds: self.adds,
            rows: self.rows,
            schema: self.storage.table,
            prefix: self.options.file_prefix,
            unique_by: None,
            task: None,
        };
        if self.marks {
            self.tables.mark(&self.name, &self.publication, &staged).await?;
        }
        Ok(staged)
    }

    fn own_columns(&self, batch: &RecordBatch) -> Result<RecordBatch, TaskError> {
        let own: Vec<usize> = (0..self.storage.table.fields().len()).collect();
        batch.project(&own).map_err(|error| failed("can't write rows", &error))
    }

    fn told(&self, error: TaskError) -> TaskError {
        error.context(format!("can't write `table:{}`", self.name))
    }

    fn file(&mut self, key: &PartitionKey) -> ParquetFile {
        // Names never repeat, so that a later attempt can't overwrite what an earlier one may
        // have committed.
        let unique = Uuid::now_v7().simple();
        let prefix = self.options.file_prefix.as_deref().map_or("part".into(), safe_name);
        let mut relative = self.directory.clone();
        for directory in self.partitions.directories(key) {
            relative.push('/');
            relative.push_str(&directory);
        }
        relative.push_str(&format!("/{prefix}-{:04}-{unique}.parquet", self.files));
        self.files += 1;
        let target = Target {
            path: self.tables.table_path(&self.name).join_all(&relative),
            relative,
            partition: self.partitions.values(key),
        };
        ParquetFile::new(self.tables.store(), target, self.written.clone(), self.layout)
    }

    async fn close(&mut self, file: ParquetFile) -> Result<(), TaskError> {
        let add = file.finish(&self.storage.table).await?;
        if let Some(progress) = &self.options.progress {
            progress.add_bytes_out(add.size as u64);
        }
        self.adds.push(add);
        Ok(())
    }

    /// Many open partitions must not take memory without bound.
    async fn limit_memory(&mut self) -> Result<(), TaskError> {
        if self.open.len() < 2 {
            return Ok(());
        }
        let mut sizes: Vec<(usize, PartitionKey)> =
            self.open.iter().map(|(key, file)| (file.memory(), key.clone())).collect();
        let mut total: usize = sizes.iter().map(|(size, _)| size).sum();
        sizes.sort_by_key(|(size, _)| std::cmp::Reverse(*size));
        for (size, key) in sizes {
            if total <= MEMORY_LIMIT {
                break;
            }
            if let Some(file) = self.open.get_mut(&key) {
                file.flush().await?;
                total -= size;
            }
        }
        Ok(())
    }
}

/// Joins a relative path of plain segments.
pub(crate) trait JoinAll {
    fn join_all(&self, relative: &str) -> StorePath;
}

impl JoinAll for StorePath {
    fn join_all(&self, relative: &str) -> StorePath {
        relative.split('/').fold(self.clone(), |path, part| path.join(part))
    }
}
