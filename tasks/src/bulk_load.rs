//! `uses: bulk_load`: rows of a table as rows of a wide-column table.

mod rows;
#[cfg(test)]
mod tests;

use crate::engine::offline::Offline;
use crate::engine::sql::{check_expression, missing};
use crate::engine::{Engine, Memory};
use crate::options;
use crate::places::Places;
use crate::places::kv::{Load, Row, Scan};
use crate::places::tables::Publication;
use async_trait::async_trait;
use indexmap::IndexMap;
use orchestrator::attempt::{Attempt, Outcome, TaskError};
use orchestrator::dataset::Scheme;
use orchestrator::kind::{self, Columns, Kind, Known, Port, Ports, Problem, Write};
use orchestrator::plan::PlannedTask;
use rows::Rows;
use serde::Deserialize;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;

const INPUT: &str = "rows";
const OUTPUT: &str = "table";

/// Puts rows into a `kv:` dataset.
pub struct BulkLoad {
    engine: Arc<Engine>,
}

impl BulkLoad {
    pub fn new(engine: Arc<Engine>) -> Self {
        BulkLoad { engine }
    }
}

#[derive(Clone, Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The columns whose texts, joined by `separator`, are the row key.
    row_key: Vec<String>,
    /// Stands between the columns of a row key.
    #[serde(default = "separator")]
    separator: String,
    /// How many digits a column of the row key is filled up to with zeros, so that numbers sort
    /// as numbers. Without it, a key is its plain text: `10` comes before `9`.
    #[serde(default)]
    pad: IndexMap<String, u32>,
    /// The columns of each family; a column's name is the qualifier of its cells.
    families: IndexMap<String, Vec<String>>,
    /// What to do about rows that lack a part of their key.
    #[serde(default)]
    on_missing_key: OnMissingKey,
    /// Which rows to load, as a condition in SQL. By default all.
    #[serde(rename = "where")]
    condition: Option<String>,
    /// Values for the condition, which names them as `$night`.
    #[serde(default)]
    parameters: IndexMap<String, Value>,
    /// Memory for sorting the rows by their keys, such as `1GiB`; what does not fit spills to
    /// disk. By default 256 MiB.
    #[serde(default)]
    memory: Option<Memory>,
}

/// Each row is read once and written once.
const WORK_PER_ROW: u64 = 2;
/// More saves little: sorted runs on disk are read once, in order.
const SORT_BYTES: usize = 256 << 20;

fn separator() -> String {
    "#".into()
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
enum OnMissingKey {
    /// Load nothing.
    #[default]
    Fail,
    /// Load the others.
    Skip,
}

#[async_trait]
impl Kind for BulkLoad {
    fn name(&self) -> &'static str {
        "bulk_load"
    }

    fn summary(&self) -> &'static str {
        "loads rows into a wide-column table by row key"
    }

    fn description(&self) -> &'static str {
        "Puts each row under its key, with a cell `family:column` for each column of `families`. \
Cells are texts; a null is no cell. Columns that no family names are left out.

**Keys.** The row key is the text of one column, or of several with `separator` between them. \
Keys sort as texts do, byte by byte; `pad: {order_id: 12}` makes numbers sort as numbers. A row \
without a key (null, or an empty text) fails the task before anything is loaded; with \
`on_missing_key: skip` it is left out and counted.

**Again and again.** All cells carry the end of the run's interval as their timestamp, and in each \
place the newest cell counts. Loading an interval again changes nothing but what it has new; \
loading an old one never hides a newer one. If several rows of one load have the same key, one \
cell of each column stays, and the log says how many there were."
    }

    fn example(&self) -> &'static str {
        r#"name: bulk_load_example
tasks:
  load:
    uses: bulk_load
    inputs: {rows: table:clean_orders}
    outputs: {table: kv:orders}
    with:
      row_key: [order_id]
      families:
        basic_info: [customer_id, order_timestamp]
        product: [product_id, product_category, price, quantity]
"#
    }

    fn options(&self) -> schemars::Schema {
        schemars::schema_for!(Options)
    }

    fn ports(&self) -> Ports {
        Ports {
            inputs: vec![Port::named(INPUT, &[Scheme::Table], "the rows")],
            outputs: vec![
                Port::named(OUTPUT, &[Scheme::Kv], "a row for each key").write(Write::Merge),
            ],
        }
    }

    fn check(&self, task: &PlannedTask, _files: &kind::Files, known: &Known) -> Vec<Problem> {
        let mut problems = Vec::new();
        // Options with templates in them are checked by the attempt.
        if let Some(options) = options::read::<Options>(task, &mut problems)
            && task.late.is_empty()
        {
            problems.extend(options.problems());
            problems.extend(options.unknown_columns(&self.engine, known.get(INPUT)));
        }
        for (name, output) in &task.outputs {
            if output.write != Write::Merge {
                problems.push(
                    Problem::new(
                        ["outputs", name],
                        format!("`{}` is always merged", output.dataset),
                    )
                    .help("leave `write` out; to begin anew, load into another table"),
                );
            }
        }
        problems
    }

    async fn run(&self, attempt: &Attempt) -> Result<Outcome, TaskError> {
        let places = Places::open(&attempt.run)?;
        run(attempt, &self.engine, &places).await
    }
}

impl Options {
    /// Columns that the input does not have, if its columns are known; and the condition.
    fn unknown_columns(&self, engine: &Engine, known: Option<&Columns>) -> Vec<Problem> {
        let mut problems = Vec::new();
        let row_key = self.row_key.iter().enumerate();
        let row_key =
            row_key.map(|(at, column)| (vec!["row_key".to_owned(), at.to_string()], column));
        let families = self.families.iter().flat_map(|(family, columns)| {
            let place = |at: usize| vec!["families".to_owned(), family.clone(), at.to_string()];
            columns.iter().enumerate().map(move |(at, column)| (place(at), column))
        });
        for (path, column) in row_key.chain(families) {
            let path = std::iter::once("with".to_owned()).chain(path);
            if let Some(known) = known.filter(|known| !known.contains_key(column)) {
                let (message, help) = missing("column", column, known.keys().map(String::as_str));
                let message = format!("the input has {message}");
                problems.push(Problem { help, ..Problem::new(path, message) });
            }
        }
        if let Some(condition) = &self.condition {
            let offline = Offline::new(engine, &Known::new());
            let over = |known| offline.condition(condition, Some(INPUT), known, &self.parameters);
            let fault = check_expression(condition).err().or_else(|| known.and_then(over));
            if let Some(fault) = fault {
                problems.push(options::at(["with", "where"], fault));
            }
        }
        problems
    }

    fn problems(&self) -> Vec<Problem> {
        let mut problems = Vec::new();
        let mut problem = |path: &[&str], message: String| {
            let path = ["with"].into_iter().chain(path.iter().copied());
            problems.push(Problem::new(path, message));
        };
        if self.row_key.is_empty() {
            problem(&["row_key"], "a row key has at least one column".into());
        }
        if self.row_key.len() > 1 && self.separator.is_empty() {
            let message = "several columns need a separator, or different keys could look the same";
            problem(&["separator"], message.into());
        }
        for (column, width) in &self.pad {
            if !self.row_key.contains(column) {
                let message = format!("`{column}` is no column of the row key");
                problem(&["pad", column.as_str()], message);
            } else if !(1..=64).contains(width) {
                let message = format!("`{width}` is no number of digits from 1 to 64");
                problem(&["pad", column.as_str()], message);
            }
        }
        if self.families.values().all(Vec::is_empty) {
            problem(&["families"], "there are no columns to load".into());
        }
        let mut family_of: HashMap<&str, &str> = HashMap::new();
        for (family, columns) in &self.families {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
            if family.is_empty() || family.starts_with('.') || !family.chars().all(plain) {
                let message =
                    format!("`{family}` can't be a family; use letters, digits, `_`, `-` and `.`");
                problem(&["families", family.as_str()], message);
            }
            for column in columns {
                if let Some(other) = family_of.insert(column, family) {
                    let message = format!("`{column}` is in `{other}` and in `{family}`");
                    problem(&["families", family.as_str()], message);
                }
            }
        }
        problems
    }
}

async fn run(attempt: &Attempt, engine: &Engine, places: &Places) -> Result<Outcome, TaskError> {
    let options: Options = attempt.options()?;
    if let Some(problem) = options.problems().into_iter().next() {
        let message = format!("{}: {}", problem.path.join("."), problem.message);
        return Err(TaskError::permanent(message));
    }
    let output = &attempt.outputs[OUTPUT];
    let mut outcome = Outcome::default();
    let published = match output.published.clone() {
        Some(published) => published,
        None => {
            let work = load(attempt, &options, engine, places, &mut outcome);
            let published = tokio::select! {
                biased;
                () = attempt.cancel.cancelled() => return Err(TaskError::Cancelled),
                published = work => published?,
            };
            attempt.published(OUTPUT, published.clone()).await?;
            published
        }
    };
    outcome.values.insert("rows".into(), published.rows.into());
    outcome.report.insert("rows".into(), published.rows.into());
    Ok(outcome)
}

async fn load(
    attempt: &Attempt,
    options: &Options,
    engine: &Engine,
    places: &Places,
    outcome: &mut Outcome,
) -> Result<orchestrator::event::Published, TaskError> {
    let memory = options.memory.map_or(SORT_BYTES, |memory| memory.bytes);
    let session = engine.session_limited(attempt.scratch()?, memory)?;
    engine.register(&session, attempt, places, INPUT, None).await?;
    let rows = Rows::new(&session, INPUT, options).await?;
    let checked = rows.check().await?;
    if checked.skipped > 0 {
        tracing::warn!("{} rows have no key and are left out", checked.skipped);
        outcome.report.insert("rows_without_key".into(), checked.skipped.into());
    }
    attempt.progress.set_total(checked.rows * WORK_PER_ROW);
    let table = attempt.outputs[OUTPUT].dataset().name();
    let newest = places.kv().summary(table).await?.and_then(|summary| summary.version);
    let base = attempt.intend(OUTPUT, newest).await?;
    let load = Load {
        publication: Publication::of(attempt, OUTPUT, base),
        at: attempt.run.interval.end,
        rows: rows.plan().await?,
        keys: rows.keys().await?,
        session,
        progress: attempt.progress.clone(),
    };
    let published = places.kv().load(table, load).await?;
    attempt.progress.add_rows_in(checked.rows);
    Ok(published)
}

/// The row of a key, for people.
pub async fn kv_get(places: &Places, table: &str, key: &str) -> Result<Option<Row>, TaskError> {
    places.kv().get(table, key).await
}

/// The first rows whose keys begin with `prefix`, for people.
pub async fn kv_scan(
    places: &Places,
    table: &str,
    prefix: &str,
    limit: usize,
) -> Result<Vec<Row>, TaskError> {
    places.kv().scan(table, &Scan::prefix(prefix, limit)).await
}
