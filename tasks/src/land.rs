//! `uses: land`: the messages of a topic as rows of a table, or of plain files.

mod columns;
mod dead_letters;
mod decode;
mod landing;
mod plain_files;
mod roll;
mod sink;
#[cfg(test)]
mod tests;

use crate::engine::Columns;
use crate::engine::offline::{columns_of, kept};
use crate::options;
use crate::places::Places;
use crate::places::topics::{Content, Format};
use async_trait::async_trait;
use columns::{Layout, METADATA};
use indexmap::IndexMap;
use orchestrator::attempt::{Attempt, Outcome, TaskError};
use orchestrator::dataset::Scheme;
use orchestrator::kind::{self, Kind, Known, Port, Ports, Problem, Write};
use orchestrator::plan::PlannedTask;
use plain_files::FileFormat;
use serde::Deserialize;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::Duration;

const INPUT: &str = "topic";
const DEAD_LETTERS: &str = "dead_letters";

/// Takes a topic to a table or to plain files.
pub struct Land;

#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// Types of columns. A column that is not named here stays text, so that dirty values are
    /// there to be seen by whoever cleans them. If the messages do not bring the names of their
    /// columns, these are all of them, in order.
    #[serde(default)]
    columns: Columns,
    /// What a message is; by default what its sender said.
    message_format: Option<Format>,
    /// What the files are, where rows go to a directory of files: `csv` if nothing is said.
    format: Option<FileFormat>,
    /// Columns that are the same in all rows, dead letters among them, such as the night that they
    /// belong to.
    #[serde(default)]
    add: IndexMap<String, String>,
    /// Adds `topic_partition`, `topic_offset` and `topic_timestamp`, which say where a row came
    /// from.
    #[serde(default)]
    metadata: bool,
    /// When what has been read becomes durable.
    #[serde(default)]
    roll: RollOptions,
}

/// A roll is written when it has reached one of these.
#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct RollOptions {
    /// Messages.
    rows: NonZeroU64,
    /// Bytes of messages.
    bytes: NonZeroU64,
    /// Time since its first message, such as `30s`.
    every: String,
}

impl Default for RollOptions {
    fn default() -> Self {
        RollOptions {
            rows: NonZeroU64::new(500_000).expect("not zero"),
            bytes: NonZeroU64::new(64 << 20).expect("not zero"),
            every: "30s".into(),
        }
    }
}

impl RollOptions {
    fn every(&self) -> Result<Duration, String> {
        let parsed = self.every.parse::<jiff::SignedDuration>().ok();
        let every = parsed.and_then(|every| Duration::try_from(every).ok());
        every
            .filter(|every| !every.is_zero())
            .ok_or_else(|| format!("`{}` is not a duration; write it as `30s` or `5m`", self.every))
    }
}

/// What the table of a task will consist of, if the columns of the messages are known and nothing
/// else is in it.
fn layout(
    task: &PlannedTask,
    options: &Options,
    known: &Known,
) -> Option<Result<Option<Layout>, TaskError>> {
    let (_, output) = task.outputs.iter().find(|(name, _)| *name != DEAD_LETTERS)?;
    if output.dataset.scheme() != Scheme::Table || output.write != Write::Overwrite {
        return None;
    }
    let names = known.get(INPUT)?.keys().cloned().collect();
    let content = Content { format: Format::default(), columns: names };
    let constants = Arc::new(options.add.clone());
    Some(Layout::new(Some(&content), None, &options.columns, &constants, options.metadata))
}

#[async_trait]
impl Kind for Land {
    fn name(&self) -> &'static str {
        "land"
    }

    fn summary(&self) -> &'static str {
        "takes the messages of a topic to a table or to plain files"
    }

    fn description(&self) -> &'static str {
        "Starts together with the task that writes the topic, and ends when that one has \
succeeded and all that it has sent is landed. Messages of other runs in between are left \
to them. On a topic that no task of the pipeline writes, it lands what is there at its start.

**Rows.** A message is a CSV record or a JSON object, as its sender says. Its columns stay text \
unless `columns` gives them a type; an empty field is null. A message that does not parse (wrong \
number of fields, quotes that do not fit, not UTF-8, a column that nobody knows, a value that is \
not of its declared type) goes to the output `dead_letters` with reason, topic, partition, \
offset, timestamp, run, key and payload. Without that output it fails the task.

**Rolls.** Rows are written in rolls, each with the offsets it has reached; an interrupted task \
goes on behind its last roll, and no message is landed twice. What becomes visible when is the \
choice of the output's `write`:
- `overwrite` (the default) and `replace_where`: all rolls at once, at the end.
- `append`: each roll as soon as it is written. On a topic that others write, a run goes on where \
the last one ended; say `append` there, or each run lands the whole topic anew. A directory of \
files is always written so.

**Plain files.** An output `file:…` is a directory of CSV, JSON lines or Parquet, as `format` says, \
for whoever reads it with other tools. A roll makes a file for each partition of the topic, named \
by topic, partition, first and last offset, such as \
`orders-0-00000000000000000000-00000000000000499999.csv`. A file is there whole or not at all, and \
never changes. Beside the directory `NAME`, a hidden one `.NAME.landing` remembers what has been \
landed, so that files can be taken away; to land the topic anew, remove both. A topic without \
messages makes no file.

With `replace_where`, the condition is about columns that the table is partitioned by; `add` can \
make one: `add: {night: \"${{ interval.date }}\"}`."
    }

    fn example(&self) -> &'static str {
        r#"name: land_example
datasets:
  table:landed_orders: {write: append}
tasks:
  land:
    uses: land
    inputs: {topic: topic:orders}
    outputs: {orders: table:landed_orders, dead_letters: table:dead_letters}
    with:
      columns: {order_id: integer, price: number}
      roll: {rows: 100000, every: 30s}
"#
    }

    fn options(&self) -> schemars::Schema {
        schemars::schema_for!(Options)
    }

    fn ports(&self) -> Ports {
        Ports {
            inputs: vec![Port::named(INPUT, &[Scheme::Topic], "the messages")],
            outputs: vec![
                Port::named(
                    DEAD_LETTERS,
                    &[Scheme::Table],
                    "messages that can't be landed, with the reason",
                )
                .optional(),
                Port::any(&[Scheme::Table], "a row for each message; there is one such output"),
                Port::any(&[Scheme::File], "a directory of files, in place of the table")
                    .write(Write::Append),
            ],
        }
    }

    fn check(&self, task: &PlannedTask, _files: &kind::Files, known: &Known) -> Vec<Problem> {
        let mut problems = options::check_conditions(task);
        let rows = || task.outputs.iter().filter(|(name, _)| *name != DEAD_LETTERS);
        let count = rows().count();
        if count != 1 {
            problems.push(
                Problem::new(["outputs"], format!("there are {count} outputs for the rows"))
                    .help("give the task one output besides `dead_letters`, under any name"),
            );
        }
        for (name, output) in &task.outputs {
            if output.write == Write::Merge {
                let message = format!("`{}` can't be landed by `write: merge`", output.dataset);
                problems.push(
                    Problem::new(["outputs", name], message)
                        .help("use `overwrite`, `append` or `replace_where`, and merge what is landed with `etl`"),
                );
            }
        }
        if let Some(options) = options::read::<Options>(task, &mut problems) {
            let late = task.late.iter().any(|pointer| pointer == "/roll/every");
            if let (Err(error), false) = (options.roll.every(), late) {
                problems.push(Problem::new(["with", "roll", "every"], error));
            }
            if let (Some(_), Some((_, output))) = (options.format, rows().next())
                && output.dataset.scheme() != Scheme::File
            {
                let message =
                    format!("`format` is that of files, and `{}` has none", output.dataset);
                problems.push(
                    Problem::new(["with", "format"], message)
                        .help("what the messages are is said by `message_format`"),
                );
            }
            for name in options.add.keys().filter(|name| METADATA.contains(&name.as_str())) {
                let message = format!("`{name}` is the name of a column of `metadata: true`");
                problems.push(Problem::new(["with", "add", name.as_str()], message));
            }
            if let Some(Err(error)) = layout(task, &options, known) {
                problems.push(Problem::new(["with", "columns"], error.to_string()));
            }
        }
        problems
    }

    fn columns(&self, task: &PlannedTask, _files: &kind::Files, known: &Known) -> Known {
        let options = options::read::<Options>(task, &mut Vec::new());
        let layout = options.and_then(|options| layout(task, &options, known)?.ok().flatten());
        let columns = layout.and_then(|layout| kept(&columns_of(&layout.schema))?.ok());
        let rows = task.outputs.keys().find(|name| *name != DEAD_LETTERS);
        rows.cloned().zip(columns).into_iter().collect()
    }

    async fn run(&self, attempt: &Attempt) -> Result<Outcome, TaskError> {
        let places = Places::open(&attempt.run)?;
        landing::run(attempt, &places).await
    }
}
