//! Text files in order: queries that only filter and compute, row by row, over scans of text
//! files. Their rows have a known order, that of the files as the query names them, and can be
//! computed chunk by chunk, in parallel, without losing it.

use crate::engine::scan::chunks::{Chunk, Chunks};
use crate::engine::scan::{TextExec, TextScan};
use arrow::array::{ArrayRef, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::Result;
use datafusion::physical_expr::PhysicalExpr;
use datafusion::physical_plan::coalesce_partitions::CoalescePartitionsExec;
use datafusion::physical_plan::coop::CooperativeExec;
use datafusion::physical_plan::filter::{FilterExec, batch_filter};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::repartition::RepartitionExec;
use datafusion::physical_plan::union::UnionExec;
use datafusion::physical_plan::{ExecutionPlan, ExecutionPlanProperties, Partitioning};
use std::sync::Arc;
use tokio::sync::Mutex;

/// The chunks of some text files in order, and what the query does with each.
pub(super) struct Feed {
    parts: Vec<Part>,
    schema: SchemaRef,
    position: Mutex<Position>,
}

/// A scan and the steps above it, the lowest first.
#[derive(Clone)]
struct Part {
    scan: Arc<TextScan>,
    steps: Vec<Step>,
}

#[derive(Clone)]
enum Step {
    Filter(Arc<dyn PhysicalExpr>),
    Take(Vec<usize>),
    Compute { expressions: Vec<Arc<dyn PhysicalExpr>>, schema: SchemaRef },
}

#[derive(Default)]
struct Position {
    part: usize,
    chunks: Option<Chunks>,
    number: u64,
}

/// A chunk with its place in the order: 0, 1, 2 and so on.
pub(super) struct Numbered {
    pub(super) number: u64,
    part: usize,
    chunk: Chunk,
}

impl Numbered {
    /// How much text it is; never 0.
    pub(super) fn bytes(&self) -> u64 {
        self.chunk.bytes.max(1)
    }
}

impl Feed {
    /// The plan as a feed, if it is one.
    pub(super) fn of(plan: &Arc<dyn ExecutionPlan>) -> Option<Feed> {
        let parts = parts(plan)?;
        Some(Feed { parts, schema: plan.schema(), position: Mutex::default() })
    }

    /// The size of all text.
    pub(super) fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.scan.bytes).sum()
    }

    pub(super) async fn next(&self) -> Result<Option<Numbered>> {
        let position = &mut *self.position.lock().await;
        while let Some(part) = self.parts.get(position.part) {
            let chunks = position.chunks.get_or_insert_with(|| part.scan.chunks());
            if let Some(chunk) = chunks.next().await? {
                let numbered = Numbered { number: position.number, part: position.part, chunk };
                position.number += 1;
                return Ok(Some(numbered));
            }
            position.part += 1;
            position.chunks = None;
        }
        Ok(None)
    }

    /// The rows that the query gives of a chunk.
    pub(super) async fn read(&self, numbered: Numbered) -> Result<RecordBatch> {
        let part = &self.parts[numbered.part];
        let mut rows = part.scan.read(numbered.chunk).await?;
        for step in &part.steps {
            rows = step.apply(rows)?;
        }
        // The parts of a union may differ in names and in what may be null.
        with_schema(&self.schema, rows.columns().to_vec(), rows.num_rows())
    }
}

impl Step {
    fn apply(&self, rows: RecordBatch) -> Result<RecordBatch> {
        match self {
            Step::Filter(predicate) => batch_filter(&rows, predicate),
            Step::Take(columns) => Ok(rows.project(columns)?),
            Step::Compute { expressions, schema } => {
                let count = rows.num_rows();
                let columns = expressions
                    .iter()
                    .map(|expression| expression.evaluate(&rows)?.into_array(count))
                    .collect::<Result<Vec<_>>>()?;
                with_schema(schema, columns, count)
            }
        }
    }
}

fn with_schema(schema: &SchemaRef, columns: Vec<ArrayRef>, count: usize) -> Result<RecordBatch> {
    let options = RecordBatchOptions::new().with_row_count(Some(count));
    Ok(RecordBatch::try_new_with_options(schema.clone(), columns, &options)?)
}

fn parts(plan: &Arc<dyn ExecutionPlan>) -> Option<Vec<Part>> {
    if plan.fetch().is_some() {
        return None;
    }
    if let Some(scan) = plan.downcast_ref::<TextExec>() {
        return Some(vec![Part { scan: scan.scan.clone(), steps: Vec::new() }]);
    }
    if let Some(union) = plan.downcast_ref::<UnionExec>() {
        let parts = union.inputs().iter().map(parts).collect::<Option<Vec<_>>>()?;
        return Some(parts.concat());
    }
    if let Some(filter) = plan.downcast_ref::<FilterExec>() {
        let take = filter.projection().as_ref().map(|columns| Step::Take(columns.to_vec()));
        let steps = std::iter::once(Step::Filter(filter.predicate().clone())).chain(take);
        return above(filter.input(), steps.collect());
    }
    if let Some(projection) = plan.downcast_ref::<ProjectionExec>() {
        let expressions = projection.expr().iter().map(|column| column.expr.clone()).collect();
        let compute = Step::Compute { expressions, schema: plan.schema() };
        return above(projection.input(), vec![compute]);
    }
    // These only move rows between partitions, which a feed does itself.
    let moves = plan.is::<CooperativeExec>()
        || plan.is::<CoalescePartitionsExec>()
        || (plan.is::<RepartitionExec>()
            && matches!(plan.output_partitioning(), Partitioning::RoundRobinBatch(_)));
    match plan.children()[..] {
        [input] if moves => parts(input),
        _ => None,
    }
}

fn above(input: &Arc<dyn ExecutionPlan>, steps: Vec<Step>) -> Option<Vec<Part>> {
    let mut parts = parts(input)?;
    parts.iter_mut().for_each(|part| part.steps.extend(steps.iter().cloned()));
    Some(parts)
}
