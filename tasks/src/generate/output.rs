//! Writing what is made to its outputs: chunks of rows on many threads, taken in order.

use super::csv;
use super::orders::{Orders, Settings};
use super::plan::{Plan, Role};
use super::source;
use crate::places::{Places, StageOptions, Staged, publish_table};
use bytes::Bytes;
use datafusion::execution::TaskContext;
use futures::{Stream, StreamExt, stream};
use orchestrator::attempt::{Attempt, TaskError};
use orchestrator::dataset::Scheme;
use orchestrator::event::Published;
use std::ops::Range;
use std::sync::Arc;

/// What all chunks are made from.
pub(super) struct Job {
    pub(super) orders: Orders,
    pub(super) settings: Settings,
}

/// What an output gets of the rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Orders,
    Truth,
}

/// Rows made at a time: their text is some 7 MB, and a burst of fraud has room among them.
const CHUNK_ROWS: usize = 65_536;
/// A little more than what a row of orders takes on average.
const ROW_BYTES: usize = 116;

/// The chunks of a part, in order. They depend on nothing but the part, so that the rows do not.
pub(super) fn chunks(part: &Range<u64>) -> impl Iterator<Item = Range<u64>> + Send + use<> {
    let end = part.end;
    part.clone().step_by(CHUNK_ROWS).map(move |start| start..(start + CHUNK_ROWS as u64).min(end))
}

/// Runs what burns CPU where it may, and its log lines still belong to the attempt.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, TaskError> {
    let span = tracing::Span::current();
    let joined = tokio::task::spawn_blocking(move || span.in_scope(work)).await;
    joined.map_err(|error| TaskError::permanent(format!("making orders broke off: {error}")))
}

/// A chunk of an output as text.
struct Made {
    text: Vec<u8>,
    /// Lines of the text.
    rows: u64,
}

/// Writes outputs of an attempt.
pub(super) struct Writing<'a> {
    pub(super) attempt: &'a Attempt,
    pub(super) places: &'a Places,
    pub(super) job: &'a Arc<Job>,
    pub(super) threads: usize,
}

impl Writing<'_> {
    /// Makes the output's content from these parts of the rows, and publishes it.
    pub(super) async fn write(
        &self,
        output: &str,
        content: Content,
        parts: &[Range<u64>],
    ) -> Result<(), TaskError> {
        let chunks: Vec<Range<u64>> = parts.iter().flat_map(chunks).collect();
        match self.attempt.outputs[output].dataset().scheme() {
            Scheme::Table => {
                let staged = self.stage(output, content, &chunks);
                publish_table(self.attempt, self.places, output, staged).await.map(drop)
            }
            _ => self.write_file(output, content, chunks).await,
        }
    }

    async fn stage(
        &self,
        output: &str,
        content: Content,
        chunks: &[Range<u64>],
    ) -> Result<Vec<Staged>, TaskError> {
        let Attempt { progress, outputs, .. } = self.attempt;
        let planned = &outputs[output].planned;
        let options = StageOptions {
            partition_by: planned.partition_by.clone(),
            progress: (content == Content::Orders).then(|| progress.clone()),
            ..StageOptions::default()
        };
        let plan = source::plan(self.job, content, chunks, self.threads, progress)
            .map_err(|error| TaskError::permanent(format!("can't plan the rows: {error}")))?;
        let (name, publication) = (planned.dataset.name(), self.attempt.publication(output));
        let task = Arc::new(TaskContext::default());
        let tables = self.places.tables();
        Ok(vec![tables.stage(name, &publication, plan, task, &options).await?])
    }

    async fn write_file(
        &self,
        output: &str,
        content: Content,
        chunks: Vec<Range<u64>>,
    ) -> Result<(), TaskError> {
        let attempt = self.attempt;
        let mut sink = self.places.files().create(attempt.outputs[output].dataset().name()).await?;
        let header = match content {
            Content::Orders => csv::HEADER,
            Content::Truth => csv::TRUTH_HEADER,
        };
        sink.write(Bytes::from_static(header.as_bytes())).await?;
        attempt.progress.add_bytes_out(header.len() as u64);
        let job = self.job.clone();
        let mut made = self.stream(chunks, move |chunk| make(&job, content, chunk));
        let mut rows = 0;
        while let Some(chunk) = next(attempt, &mut made).await? {
            let Made { text, rows: lines } = chunk;
            let bytes = text.len() as u64;
            sink.write(text.into()).await?;
            rows += lines;
            attempt.progress.add_bytes_out(bytes);
            if content == Content::Orders {
                attempt.progress.add_done(lines);
                attempt.progress.add_rows_out(lines);
            }
        }
        let bytes = sink.finish().await?;
        let published = Published { version: None, rows, bytes, schema: Vec::new() };
        attempt.published(output, published).await
    }

    /// What `make` makes of each chunk, in order; some chunks ahead of the one that is taken.
    fn stream<T, M>(
        &self,
        chunks: Vec<Range<u64>>,
        make: M,
    ) -> impl Stream<Item = Result<T, TaskError>> + Send + Unpin + use<T, M>
    where
        T: Send + 'static,
        M: Fn(Range<u64>) -> T + Clone + Send + 'static,
    {
        stream::iter(chunks)
            .map(move |chunk| {
                let make = make.clone();
                blocking(move || make(chunk))
            })
            .buffered(self.threads + 1)
    }
}

/// The next chunk, unless the attempt should stop.
async fn next<T>(
    attempt: &Attempt,
    made: &mut (impl Stream<Item = Result<T, TaskError>> + Unpin),
) -> Result<Option<T>, TaskError> {
    tokio::select! {
        biased;
        () = attempt.cancel.cancelled() => Err(TaskError::Cancelled),
        chunk = made.next() => chunk.transpose(),
    }
}

fn make(job: &Job, content: Content, chunk: Range<u64>) -> Made {
    let rows = chunk.end - chunk.start;
    let plan = Plan::new(&job.orders, &job.settings, chunk);
    match content {
        Content::Orders => {
            let mut text = Vec::with_capacity(rows as usize * ROW_BYTES);
            let mut writer = csv::Writer::new();
            plan.for_each(&job.orders, |order| writer.write(order, &mut text));
            Made { text, rows }
        }
        Content::Truth => {
            let (mut text, mut rows) = (Vec::new(), 0);
            for (row, role) in &plan.special {
                if let Role::Fraud(fraud) = role {
                    csv::write_truth(&job.orders, *row, fraud, &mut text);
                    rows += 1;
                }
            }
            Made { text, rows }
        }
    }
}
