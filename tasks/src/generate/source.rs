//! What is made, as a plan that a table's writer runs: each of its partitions makes the rows of
//! some consecutive chunks, batch by batch, on the thread that writes them.

use super::batch::{OrderBatch, order_schema, truth, truth_schema};
use super::output::{Content, Job};
use super::plan::{Plan, Role};
use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::stream::RecordBatchStreamAdapter;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use futures::stream;
use orchestrator::attempt::Progress;
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

const BATCH_ROWS: usize = 8_192;

struct Source {
    job: Arc<Job>,
    content: Content,
    chunks: Vec<Range<u64>>,
    progress: Arc<Progress>,
    schema: SchemaRef,
}

/// The rows of these chunks, in at most `partitions` streams.
pub(super) fn plan(
    job: &Arc<Job>,
    content: Content,
    chunks: &[Range<u64>],
    partitions: usize,
    progress: &Arc<Progress>,
) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = match content {
        Content::Orders => order_schema(),
        Content::Truth => truth_schema(),
    };
    let source = |chunks: &[Range<u64>]| -> Arc<dyn PartitionStream> {
        Arc::new(Source {
            job: job.clone(),
            content,
            chunks: chunks.to_vec(),
            progress: progress.clone(),
            schema: schema.clone(),
        })
    };
    let each = chunks.len().div_ceil(partitions).max(1);
    let mut sources: Vec<_> = chunks.chunks(each).map(source).collect();
    if sources.is_empty() {
        sources.push(source(&[]));
    }
    Ok(Arc::new(StreamingTableExec::try_new(schema.clone(), sources, None, [], false, None)?))
}

impl PartitionStream for Source {
    fn schema(&self) -> &SchemaRef {
        &self.schema
    }

    fn execute(&self, _context: Arc<TaskContext>) -> SendableRecordBatchStream {
        let (job, content, progress) = (self.job.clone(), self.content, self.progress.clone());
        let batches = self.chunks.clone().into_iter().flat_map(move |chunk| {
            let rows = chunk.end - chunk.start;
            let made = match content {
                Content::Orders => orders(&job, chunk),
                Content::Truth => fraud(&job, chunk).map(|batch| vec![batch]),
            };
            if content == Content::Orders {
                progress.add_done(rows);
            }
            match made {
                Ok(batches) => batches.into_iter().map(Ok).collect(),
                Err(error) => vec![Err(DataFusionError::from(error))],
            }
        });
        Box::pin(RecordBatchStreamAdapter::new(self.schema.clone(), stream::iter(batches)))
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({:?} of {} chunks)", self.content, self.chunks.len())
    }
}

fn orders(job: &Job, chunk: Range<u64>) -> std::result::Result<Vec<RecordBatch>, ArrowError> {
    let plan = Plan::new(&job.orders, &job.settings, chunk);
    let mut rows = OrderBatch::default();
    let mut batches = Vec::new();
    plan.for_each(&job.orders, |order| {
        rows.push(order);
        if rows.len() == BATCH_ROWS {
            batches.push(rows.take());
        }
    });
    if rows.len() > 0 {
        batches.push(rows.take());
    }
    batches.into_iter().collect()
}

fn fraud(job: &Job, chunk: Range<u64>) -> std::result::Result<RecordBatch, ArrowError> {
    let plan = Plan::new(&job.orders, &job.settings, chunk);
    let fraud = |(row, role): &(u64, Role)| match role {
        Role::Fraud(fraud) => Some((*row, *fraud)),
        Role::Defect(_) => None,
    };
    truth(&job.orders, &plan.special.iter().filter_map(fraud).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use crate::generate::Generate;
    use crate::places::Places;
    use arrow::array::RecordBatch;
    use arrow::util::display::array_value_to_string;
    use datafusion::prelude::SessionContext;
    use orchestrator::attempt::testing::attempt;
    use orchestrator::kind::Kind;
    use serde_json::json;
    use std::path::Path;

    async fn read(root: &Path, table: &str) -> Vec<RecordBatch> {
        let places = Places::embedded(&root.join("data")).unwrap();
        let version = places.tables().latest(table).await.unwrap().unwrap();
        let snapshot = places.tables().read(table, version).await.unwrap();
        let context = SessionContext::new();
        let provider = snapshot.provider(&context.state()).await.unwrap();
        context.read_table(provider).unwrap().collect().await.unwrap()
    }

    /// Rows as CSV, sorted; `hundredths` are the columns with two digits behind the point.
    fn lines(batches: &[RecordBatch], hundredths: &[usize]) -> Vec<String> {
        let mut lines = Vec::new();
        for batch in batches {
            for row in 0..batch.num_rows() {
                let value = |column: usize| {
                    let text = array_value_to_string(batch.column(column), row).unwrap();
                    match text.parse::<f64>() {
                        Ok(number) if hundredths.contains(&column) => format!("{number:.2}"),
                        _ => text,
                    }
                };
                let values: Vec<String> = (0..batch.num_columns()).map(value).collect();
                lines.push(values.join(","));
            }
        }
        lines.sort();
        lines
    }

    #[tokio::test]
    async fn tables_hold_what_files_do() {
        let root = tempfile::tempdir().unwrap();
        let options = json!({"rows": 70_000, "dirty": 0.02});
        let generate = Generate::with_threads(2);
        let outputs = [("orders", "table:orders"), ("truth", "table:fraud")];
        let (to_tables, journal) = attempt(root.path(), options.clone(), &[], &outputs);
        let outcome = generate.run(&to_tables).await.unwrap();
        assert_eq!(to_tables.progress.counts().rows_out, 70_000);
        // For each of the two outputs: the intent, and that it is published.
        assert_eq!(journal.0.lock().unwrap().len(), 4);
        let files = [("orders", "file:orders.csv"), ("truth", "file:fraud.csv")];
        let (to_files, _) = attempt(root.path(), options, &[], &files);
        assert_eq!(generate.run(&to_files).await.unwrap(), outcome);
        for (name, hundredths) in [("orders", &[4, 12][..]), ("fraud", &[])] {
            let file = root.path().join(format!("data/files/{name}.csv"));
            let text = std::fs::read_to_string(file).unwrap();
            let mut expect: Vec<&str> = text.lines().skip(1).collect();
            expect.sort_unstable();
            let got = lines(&read(root.path(), name).await, hundredths);
            assert_eq!(got.len(), expect.len());
            for (got, expect) in got.iter().zip(expect) {
                assert_eq!(got, expect);
            }
        }
    }
}
