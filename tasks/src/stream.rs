//! `uses: stream`: the rows of a file as records of a topic, at a pace.

pub(crate) mod cut;
mod encode;
mod rate;
mod source;
#[cfg(test)]
mod tests;

use crate::engine::sql::missing;
use crate::places::Places;
use crate::places::files::Files;
use crate::places::topics::{Content, Format, Origin, Producer, Topics};
use async_trait::async_trait;
use encode::{Encoder, Limit};
use orchestrator::attempt::{Attempt, Outcome, TaskError};
use orchestrator::dataset::Scheme;
use orchestrator::event::Published;
use orchestrator::kind::{self, Kind, Known, Port, Ports, Problem};
use orchestrator::plan::PlannedTask;
use rate::{Pace, Rate};
use serde::Deserialize;
use serde_json::Value;
use source::Source;
use std::num::{NonZeroU32, NonZeroU64};
use std::sync::Arc;
use std::time::Instant;

const INPUT: &str = "rows";
const OUTPUT: &str = "topic";
/// A transaction holds no more, however long its rows are.
const TRANSACTION_BYTES: usize = 8 << 20;

/// Sends the rows of files to a topic.
pub struct Stream;

#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The column whose value is the key of a record: records of one key stay in order, in one
    /// partition. Without it, records go to all partitions in turn.
    key: Option<String>,
    /// How fast: `1000 rows / 10s` sends 1000 rows, and the next 1000 no earlier than 10 seconds
    /// later. `unlimited`: as fast as it goes.
    #[serde(default = "unlimited")]
    rate: String,
    /// Rows that are committed together, at most. An interrupted task goes on behind the last
    /// ones that were.
    #[serde(default = "transaction_rows")]
    transaction_rows: NonZeroU64,
    /// Partitions of the topic, if it does not exist yet; 1 by default. Those of a topic that
    /// exists can't be changed.
    #[schemars(range(min = 1, max = 1000))]
    partitions: Option<NonZeroU32>,
    /// What a message is: the CSV row as it stands in the file, or a JSON object of texts by
    /// column. By default the form of the file.
    format: Option<Format>,
}

fn unlimited() -> String {
    "unlimited".into()
}

fn transaction_rows() -> NonZeroU64 {
    NonZeroU64::new(50_000).expect("not zero")
}

#[async_trait]
impl Kind for Stream {
    fn name(&self) -> &'static str {
        "stream"
    }

    fn summary(&self) -> &'static str {
        "sends the rows of a file to a topic, at a pace"
    }

    fn description(&self) -> &'static str {
        "Reads CSV files with a header, or JSON lines (`.jsonl`, `.ndjson`, `.json`), and sends \
each row as a message. A directory is read file by file, in the order of their names.

Tasks that read the topic start together with this one, and end when they have read all that it \
sent.

**Restarts.** Rows and the position behind them are committed together. A retry, or a resumed \
run, goes on with the next row: none is lost, none is sent twice. If the file has changed in \
between, the task fails instead of mixing two files.

**What is sent.** A row is sent as it stands, also one with broken quotes or too many fields: \
whoever reads the topic decides about it. With `format: json`, such a row is sent as it stands \
too, and is not JSON then. Blank lines are skipped. A missing or empty key is no key.

**Partitions.** A key's partition is chosen as Kafka's own clients choose it."
    }

    fn example(&self) -> &'static str {
        r#"name: stream_example
tasks:
  stream:
    uses: stream
    inputs: {rows: file:raw/orders.csv}
    outputs: {topic: topic:orders}
    with: {key: order_id, rate: 1000 rows / 10s, partitions: 3}
"#
    }

    fn options(&self) -> schemars::Schema {
        schemars::schema_for!(Options)
    }

    fn ports(&self) -> Ports {
        Ports {
            inputs: vec![Port::named(
                INPUT,
                &[Scheme::File],
                "a CSV file with a header, JSON lines, or a directory of such files",
            )],
            outputs: vec![Port::named(OUTPUT, &[Scheme::Topic], "a message for each row")],
        }
    }

    fn check(&self, task: &PlannedTask, _files: &kind::Files, known: &Known) -> Vec<Problem> {
        let late = task.late.iter().any(|pointer| pointer == "/rate");
        let rate = task.options.get("rate").and_then(Value::as_str).filter(|_| !late);
        let error = rate.and_then(|rate| rate.parse::<Rate>().err());
        let mut problems: Vec<Problem> =
            error.into_iter().map(|e| Problem::new(["with", "rate"], e.to_string())).collect();
        let late = task.late.iter().any(|pointer| pointer == "/key");
        let key = task.options.get("key").and_then(Value::as_str).filter(|_| !late);
        if let (Some(key), Some(columns)) = (key, known.get(INPUT))
            && !columns.contains_key(key)
        {
            let (message, help) = missing("column", key, columns.keys().map(String::as_str));
            let message = format!("`{}` has {message}", task.inputs[INPUT]);
            problems.push(Problem { help, ..Problem::new(["with", "key"], message) });
        }
        problems
    }

    fn columns(&self, _task: &PlannedTask, _files: &kind::Files, known: &Known) -> Known {
        // A run reads of the topic what it wrote itself.
        known.get(INPUT).map(|columns| (OUTPUT.to_owned(), columns.clone())).into_iter().collect()
    }

    async fn run(&self, attempt: &Attempt) -> Result<Outcome, TaskError> {
        let places = Places::open(&attempt.run)?;
        run(attempt, places.files(), places.topics()).await
    }
}

async fn run(
    attempt: &Attempt,
    files: &dyn Files,
    topics: &dyn Topics,
) -> Result<Outcome, TaskError> {
    let options: Options = attempt.options()?;
    let rate: Rate =
        options.rate.parse().map_err(|e: rate::RateError| TaskError::permanent(e.to_string()))?;
    let input = &attempt.inputs[INPUT].dataset;
    let topic = attempt.outputs[OUTPUT].dataset();
    attempt.pin(INPUT, None).await?;
    let context = |error: TaskError| error.context(input);
    let mut source = Source::open(files, input.name()).await.map_err(context)?;
    let key = options.key.as_deref();
    let encoder = Encoder::new(source.input(), options.format, source.columns(), key)?;
    let content = Content { format: encoder.output(), columns: source.columns().to_vec() };
    let origin = Origin { run: attempt.run.id.clone(), task: attempt.task.clone(), content };
    let partitions = options.partitions.map(NonZeroU32::get);
    let mut producer = topics.producer(topic.name(), origin, partitions).await?;
    let start = attempt.stream_opened(OUTPUT, producer.end().clone()).await?;
    if start.iter().any(|(partition, at)| producer.end().get(partition) < Some(at)) {
        return Err(TaskError::permanent(format!(
            "`{topic}` has lost records since this run began to write it; start a new run"
        )));
    }
    let before = producer.position().map_or(0, |position| position.next);
    let published = match attempt.outputs[OUTPUT].published.clone() {
        Some(published) => published,
        None => {
            if let Some(position) = producer.position() {
                source.go_on_behind(position)?;
                tracing::info!("goes on behind row {}", position.next);
            }
            let pace = Pace::new(rate, before, Instant::now());
            let rows = options.transaction_rows.get();
            send(attempt, &mut source, Arc::new(encoder), &mut *producer, pace, rows).await?;
            let rows = producer.position().map_or(0, |position| position.next);
            let schema = source.columns().iter().map(|name| (name.clone(), "varchar".into()));
            let schema = schema.collect();
            let published = Published { version: None, rows, bytes: source.total_bytes(), schema };
            attempt.published(OUTPUT, published.clone()).await?;
            published
        }
    };
    attempt.stream_closed(OUTPUT, producer.end().clone()).await?;
    let mut outcome = Outcome::default();
    outcome.values.insert("rows".into(), published.rows.into());
    outcome.report.insert("rows".into(), published.rows.into());
    if before > 0 {
        outcome.report.insert("rows_of_earlier_attempts".into(), before.into());
    }
    Ok(outcome)
}

/// Sends all that is left: commits one transaction while the next one is read.
async fn send(
    attempt: &Attempt,
    source: &mut Source,
    encoder: Arc<Encoder>,
    producer: &mut dyn Producer,
    mut pace: Pace,
    transaction_rows: u64,
) -> Result<(), TaskError> {
    let progress = &attempt.progress;
    progress.set_total(source.total_bytes());
    progress.add_done(source.done_bytes());
    let partitions = producer.partitions();
    let limit = |pace: &Pace| Limit {
        rows: transaction_rows.min(pace.allowance()),
        bytes: TRANSACTION_BYTES,
    };
    let mut next = source.next(&encoder, limit(&pace), partitions).await?;
    while let Some(portion) = next {
        if let Some(due) = pace.due() {
            tokio::select! {
                () = tokio::time::sleep_until(due.into()) => {}
                () = attempt.cancel.cancelled() => {}
            }
        }
        attempt.check_cancelled()?;
        let (rows, bytes) = (portion.records.rows() as u64, portion.records.bytes() as u64);
        pace.take(rows, Instant::now());
        progress.add_rows_in(rows);
        let (committed, following) = tokio::join!(
            producer.commit(portion.records, portion.position),
            source.next(&encoder, limit(&pace), partitions),
        );
        committed?;
        progress.add_rows_out(rows);
        progress.add_bytes_out(bytes);
        progress.add_done(portion.bytes);
        next = following?;
    }
    Ok(())
}
