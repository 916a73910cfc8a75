//! The operator that routes rows: those that break no rule, and are no duplicate, go on; the
//! others go to the rejected rows with their reason.

use super::feed::Feed;
use super::held::Held;
use super::keys::{KeyEncoder, KeyTable};
use super::pick::pick;
use super::rejects::Rejects;
use super::turnstile::{Turnstile, Worker};
use crate::engine::scan::{execution, leaf_properties, on_thread, send};
use arrow::array::{Array, AsArray, BooleanArray, RecordBatch};
use arrow::buffer::BooleanBuffer;
use arrow::compute::filter_record_batch;
use arrow::datatypes::{DataType, SchemaRef};
use datafusion::common::Result;
use datafusion::common::tree_node::TreeNodeRecursion;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::{
    DisplayAs, DisplayFormatType, ExecutionPlan, ExecutionPlanProperties, PlanProperties,
};
use futures::StreamExt;
use orchestrator::attempt::Progress;
use std::fmt;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::mpsc::Sender;

/// The reason of a row whose key another row has too.
pub(super) const DUPLICATE: &str = "duplicate";

/// A condition that every valid row meets.
#[derive(Clone)]
pub(super) struct Rule {
    pub(super) name: Arc<str>,
    pub(super) condition: Arc<dyn PhysicalExpr>,
}

/// The rules of a batch's rows: for each row the index of the first rule that it breaks, or
/// [`KEPT`].
pub(super) struct Verdicts(Vec<u32>);

const KEPT: u32 = u32::MAX;

impl Verdicts {
    pub(super) fn kept(&self) -> Vec<bool> {
        self.0.iter().map(|broken| *broken == KEPT).collect()
    }
}

/// Which rows break a rule. A condition that is null is broken.
pub(super) fn judge(rules: &[Rule], rows: &RecordBatch) -> Result<Verdicts> {
    let mut broken = vec![KEPT; rows.num_rows()];
    let mut all_kept = true;
    for (index, rule) in rules.iter().enumerate() {
        let held = match holds(rule, rows) {
            Ok(held) => held,
            // It may fail only for rows that an earlier rule sorts out, such as a division by
            // a quantity that must not be zero.
            Err(error) if all_kept => return Err(error),
            Err(_) => holds_for_kept(rule, rows, &broken)?,
        };
        if held.count_set_bits() == rows.num_rows() {
            continue;
        }
        all_kept = false;
        for (row, broken) in broken.iter_mut().enumerate() {
            if *broken == KEPT && !held.value(row) {
                *broken = index as u32;
            }
        }
    }
    Ok(Verdicts(broken))
}

fn holds(rule: &Rule, rows: &RecordBatch) -> Result<BooleanBuffer> {
    let held = rule.condition.evaluate(rows)?.into_array(rows.num_rows())?;
    let held = held.as_boolean_opt().ok_or_else(|| execution("a rule gave no boolean"))?;
    Ok(match held.nulls() {
        Some(valid) => held.values() & valid.inner(),
        None => held.values().clone(),
    })
}

/// As [`holds`], for the rows that are kept so far; for the others it tells nothing.
fn holds_for_kept(rule: &Rule, rows: &RecordBatch, broken: &[u32]) -> Result<BooleanBuffer> {
    let kept: BooleanArray = broken.iter().map(|broken| Some(*broken == KEPT)).collect();
    let held = holds(rule, &filter_record_batch(rows, &kept)?)?;
    let mut held = held.iter();
    Ok(kept.values().iter().map(|kept| !kept || held.next().unwrap_or(false)).collect())
}

/// How repeated keys are told.
pub(super) enum Dedupe {
    /// The first row of a key that comes is kept; in a feed, they come in order.
    First { encoder: KeyEncoder, table: Mutex<KeyTable> },
    /// The smallest row of a key is kept.
    Smallest(Held),
}

/// What all partitions of the operator share.
pub(super) struct Router {
    pub(super) rules: Vec<Rule>,
    pub(super) dedupe: Option<Dedupe>,
    pub(super) rejects: Arc<Rejects>,
    pub(super) progress: Arc<Progress>,
    /// Rows of the query.
    pub(super) rows_in: Arc<AtomicU64>,
    pub(super) duplicate: Arc<str>,
}

impl Router {
    /// The valid ones of some rows. With a turn, keys are told when all earlier ones have been.
    async fn route(
        &self,
        rows: RecordBatch,
        turn: Option<(&Turnstile, u64)>,
    ) -> Result<RecordBatch> {
        let count = rows.num_rows();
        self.progress.add_rows_in(count as u64);
        self.rows_in.fetch_add(count as u64, Ordering::SeqCst);
        let verdicts = judge(&self.rules, &rows)?;
        let mut keep = verdicts.kept();
        let mut held = None;
        match &self.dedupe {
            Some(Dedupe::First { encoder, table }) => {
                let keys = encoder.encode(&rows)?;
                if let Some((turnstile, number)) = turn {
                    turnstile.wait(number).await?;
                }
                // The table is whole whenever a panic may happen.
                table.lock().unwrap_or_else(PoisonError::into_inner).keep_new(&keys, &mut keep)?;
                if let Some((turnstile, _)) = turn {
                    turnstile.advance();
                }
            }
            Some(Dedupe::Smallest(repeats)) => held = Some(repeats.hold(&rows, &mut keep)?),
            None => {}
        }
        let kept: BooleanArray = keep.into();
        let kept_count = kept.values().count_set_bits();
        if kept_count == count {
            return Ok(rows);
        }
        self.reject(&rows, &kept, &verdicts, held.as_deref()).await?;
        Ok(filter_record_batch(&rows, &kept)?)
    }

    /// Rejects the rows that are neither kept nor held until all rows are known.
    async fn reject(
        &self,
        rows: &RecordBatch,
        kept: &BooleanArray,
        verdicts: &Verdicts,
        held: Option<&[bool]>,
    ) -> Result<()> {
        let is_out = |row: &u32| {
            let row = *row as usize;
            !kept.value(row) && held.is_none_or(|held| !held[row])
        };
        let out: Vec<u32> = (0..rows.num_rows() as u32).filter(is_out).collect();
        if out.is_empty() {
            return Ok(());
        }
        let reason = |row: &u32| match self.rules.get(verdicts.0[*row as usize] as usize) {
            Some(rule) => rule.name.clone(),
            None => self.duplicate.clone(),
        };
        let reasons: Vec<_> = out.iter().map(reason).collect();
        self.rejects.rows(&pick(rows, &out)?, &reasons).await
    }
}

/// Where the operator takes its rows from.
#[derive(Clone)]
pub(super) enum Source {
    /// In order, chunk by chunk.
    Feed { feed: Arc<Feed>, turnstile: Arc<Turnstile> },
    /// As they come.
    Plan(Arc<dyn ExecutionPlan>),
}

/// The operator. Its rows are the valid ones.
pub(super) struct RouteExec {
    source: Source,
    router: Arc<Router>,
    /// Partitions that have not come to their end.
    running: Arc<AtomicUsize>,
    properties: Arc<PlanProperties>,
}

impl RouteExec {
    /// `partitions`: how many a feed is taken in at the same time.
    pub(super) fn new(
        source: Source,
        router: Arc<Router>,
        schema: &SchemaRef,
        partitions: usize,
    ) -> Self {
        let partitions = match &source {
            Source::Feed { .. } => partitions,
            Source::Plan(plan) => plan.output_partitioning().partition_count(),
        };
        RouteExec {
            source,
            router,
            running: Arc::new(AtomicUsize::new(partitions)),
            properties: Arc::new(leaf_properties(schema, partitions)),
        }
    }
}

/// One partition at work.
struct Work {
    router: Arc<Router>,
    running: Arc<AtomicUsize>,
    output: Sender<Result<RecordBatch>>,
    batch_rows: usize,
}

impl Work {
    async fn take_feed(self, feed: &Feed, turnstile: &Turnstile) -> Result<()> {
        while let Some(chunk) = feed.next().await? {
            let (number, bytes) = (chunk.number, chunk.bytes());
            let rows = feed.read(chunk).await?;
            if number == 0 {
                self.expect_keys(rows.num_rows() as u64 * feed.bytes() / bytes);
            }
            let valid = self.router.route(rows, Some((turnstile, number))).await?;
            if !send(&self.output, valid, self.batch_rows).await {
                return Ok(());
            }
        }
        self.end().await
    }

    async fn take_plan(self, mut input: SendableRecordBatchStream) -> Result<()> {
        while let Some(rows) = input.next().await {
            let valid = self.router.route(rows?, None).await?;
            if !send(&self.output, valid, self.batch_rows).await {
                return Ok(());
            }
        }
        self.end().await
    }

    /// Makes room for as many keys as there will be, if the whole text is like the first chunk.
    fn expect_keys(&self, keys: u64) {
        if let Some(Dedupe::First { table, .. }) = &self.router.dedupe {
            let keys = usize::try_from(keys).unwrap_or(usize::MAX);
            // Without the memory for all of them at once, the table grows step by step.
            let _ = table.lock().unwrap_or_else(PoisonError::into_inner).reserve(keys);
        }
    }

    /// The last partition to end gives the held rows.
    async fn end(self) -> Result<()> {
        if self.running.fetch_sub(1, Ordering::SeqCst) != 1 {
            return Ok(());
        }
        let Some(Dedupe::Smallest(held)) = &self.router.dedupe else { return Ok(()) };
        let Some((valid, duplicates)) = held.release()? else { return Ok(()) };
        let reasons = vec![self.router.duplicate.clone(); duplicates.num_rows()];
        self.router.rejects.rows(&duplicates, &reasons).await?;
        send(&self.output, valid, self.batch_rows).await;
        Ok(())
    }
}

impl fmt::Debug for RouteExec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RouteExec").finish_non_exhaustive()
    }
}

impl DisplayAs for RouteExec {
    fn fmt_as(&self, _: DisplayFormatType, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rules: Vec<_> = self.router.rules.iter().map(|rule| rule.name.as_ref()).collect();
        write!(f, "RouteExec: rules=[{}]", rules.join(", "))
    }
}

impl ExecutionPlan for RouteExec {
    fn name(&self) -> &'static str {
        "RouteExec"
    }

    fn properties(&self) -> &Arc<PlanProperties> {
        &self.properties
    }

    fn children(&self) -> Vec<&Arc<dyn ExecutionPlan>> {
        match &self.source {
            Source::Feed { .. } => Vec::new(),
            Source::Plan(plan) => vec![plan],
        }
    }

    fn apply_expressions(
        &self,
        f: &mut dyn FnMut(&Arc<dyn PhysicalExpr>) -> Result<TreeNodeRecursion>,
    ) -> Result<TreeNodeRecursion> {
        for rule in &self.router.rules {
            if f(&rule.condition)? == TreeNodeRecursion::Stop {
                return Ok(TreeNodeRecursion::Stop);
            }
        }
        Ok(TreeNodeRecursion::Continue)
    }

    fn with_new_children(
        self: Arc<Self>,
        mut children: Vec<Arc<dyn ExecutionPlan>>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let source = match children.pop() {
            Some(plan) => Source::Plan(plan),
            None => self.source.clone(),
        };
        let partitions = self.properties.output_partitioning().partition_count();
        Ok(Arc::new(RouteExec::new(source, self.router.clone(), &self.schema(), partitions)))
    }

    fn execute(
        &self,
        partition: usize,
        context: Arc<TaskContext>,
    ) -> Result<SendableRecordBatchStream> {
        let (router, running) = (self.router.clone(), self.running.clone());
        let batch_rows = context.session_config().batch_size();
        match &self.source {
            Source::Feed { feed, turnstile } => {
                let (feed, turnstile) = (feed.clone(), turnstile.clone());
                // Made here and not on the thread, which may never begin.
                let worker = Worker::new(turnstile.clone());
                Ok(on_thread(self.schema(), move |output| async move {
                    let work = Work { router, running, output, batch_rows };
                    let result = work.take_feed(&feed, &turnstile).await;
                    worker.end(result)
                }))
            }
            Source::Plan(plan) => {
                let input = plan.execute(partition, context)?;
                Ok(on_thread(self.schema(), move |output| async move {
                    Work { router, running, output, batch_rows }.take_plan(input).await
                }))
            }
        }
    }
}

/// Whether a condition gives a boolean for the columns.
pub(super) fn is_boolean(condition: &Arc<dyn PhysicalExpr>, schema: &SchemaRef) -> Result<bool> {
    Ok(matches!(condition.data_type(schema)?, DataType::Boolean | DataType::Null))
}
