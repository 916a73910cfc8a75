//! `uses: generate`: makes the orders of a shop.

mod batch;
mod calendar;
mod catalogue;
mod csv;
mod customers;
mod options;
mod orders;
mod output;
mod plan;
mod random;
mod source;

use self::batch::{order_schema, truth_schema};
use self::options::{Options, TRUTH};
use self::orders::{Orders, Pattern, Settings};
use self::output::{Content, Job, Writing};
use self::plan::{DEFECTS, Plan, Tally};
use crate::engine::offline::{columns_of, kept};
use crate::places::Places;
use async_trait::async_trait;
use orchestrator::attempt::{Attempt, Outcome, TaskError};
use orchestrator::dataset::Scheme;
use orchestrator::kind::{Files, Kind, Known, Port, Ports, Problem, Write};
use orchestrator::plan::PlannedTask;
use serde_json::{Map, Value, json};
use std::ops::Range;
use std::sync::Arc;

/// Makes orders with seasons, popular products, returning customers, fraud and dirt.
///
/// Every row is a function of the seed, the period and the row's number; therefore threads work on
/// chunks of rows in any order, and the bytes are the same whatever their number.
pub struct Generate {
    threads: usize,
}

impl Default for Generate {
    /// As many threads as the machine has cores.
    fn default() -> Self {
        Generate { threads: std::thread::available_parallelism().map_or(1, usize::from) }
    }
}

impl Generate {
    /// At most `threads` chunks of rows are made at the same time.
    pub fn with_threads(threads: usize) -> Self {
        Generate { threads: threads.max(1) }
    }
}

const DATA: &[Scheme] = &[Scheme::File, Scheme::Table];

#[async_trait]
impl Kind for Generate {
    fn name(&self) -> &'static str {
        "generate"
    }

    fn summary(&self) -> &'static str {
        "makes realistic e-commerce orders, with known dirt and known fraud"
    }

    fn description(&self) -> &'static str {
        include_str!("generate/manual.md")
    }

    fn example(&self) -> &'static str {
        include_str!("generate/example.yaml")
    }

    fn options(&self) -> schemars::Schema {
        schemars::schema_for!(Options)
    }

    fn ports(&self) -> Ports {
        Ports {
            inputs: Vec::new(),
            outputs: vec![
                Port::named(TRUTH, DATA, "Which orders are fraudulent, and in what way").optional(),
                Port::any(
                    DATA,
                    "Orders; with several outputs, each gets the rows after the last's",
                ),
            ],
        }
    }

    fn check(&self, task: &PlannedTask, _files: &Files, _known: &Known) -> Vec<Problem> {
        let outputs: Vec<&str> = order_outputs(task.outputs.keys());
        let Some(options) = known_options(task) else {
            return Vec::new();
        };
        let mut problems = Vec::new();
        problems.extend(options.until().err());
        problems.extend(options.split(&outputs).err().unwrap_or_default());
        problems
    }

    fn columns(&self, task: &PlannedTask, _files: &Files, _known: &Known) -> Known {
        let overwritten =
            task.outputs.iter().filter(|(_, output)| output.write == Write::Overwrite);
        let schema = |name: &str| if name == TRUTH { truth_schema() } else { order_schema() };
        // Of a file, only the names count: what reads it says of which types they are.
        let columns = |name: &str| kept(&columns_of(&schema(name)))?.ok();
        overwritten.filter_map(|(name, _)| Some((name.clone(), columns(name)?))).collect()
    }

    async fn run(&self, attempt: &Attempt) -> Result<Outcome, TaskError> {
        let options: Options = attempt.options()?;
        let settings = options.settings(attempt.run.interval.end).map_err(permanent)?;
        let names: Vec<String> =
            order_outputs(attempt.outputs.keys()).into_iter().map(str::to_owned).collect();
        let outputs: Vec<&str> = names.iter().map(String::as_str).collect();
        let parts = options.split(&outputs).map_err(|problems| {
            TaskError::permanent(problems.into_iter().map(text).collect::<Vec<_>>().join("; "))
        })?;
        tracing::info!(
            "makes {} orders from {} to {}",
            settings.rows,
            csv::timestamp(settings.start),
            csv::timestamp(settings.end)
        );
        let job = Arc::new(Job { orders: Orders::new(&settings), settings });
        let tallies = tally(attempt, &job, &parts).await?;
        let unpublished = |name: &str| attempt.outputs[name].published.is_none();
        let missing = outputs.iter().zip(&tallies).filter(|(name, _)| unpublished(name));
        attempt.progress.set_total(missing.map(|(_, tally)| tally.rows).sum());
        let places = Places::open(&attempt.run)?;
        let writing = Writing { attempt, places: &places, job: &job, threads: self.threads };
        for (output, part) in outputs.iter().zip(&parts).filter(|(output, _)| unpublished(output)) {
            writing.write(output, Content::Orders, std::slice::from_ref(part)).await?;
        }
        if attempt.outputs.contains_key(TRUTH) && unpublished(TRUTH) {
            writing.write(TRUTH, Content::Truth, &parts).await?;
        }
        Ok(outcome(&job.settings, &outputs, &tallies))
    }
}

/// The outputs that get orders, in the order of the file.
fn order_outputs<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    names.map(String::as_str).filter(|name| *name != TRUTH).collect()
}

/// The options without those that only the attempt can render, which then have their defaults.
fn known_options(task: &PlannedTask) -> Option<Options> {
    let mut options = task.options.clone();
    if let Some(map) = options.as_object_mut() {
        for pointer in &task.late {
            let key = pointer.trim_start_matches('/').split('/').next().unwrap_or_default();
            map.shift_remove(key);
        }
    }
    // The schema has its own say about options of a wrong type.
    if options.is_null() { Some(Options::default()) } else { serde_json::from_value(options).ok() }
}

fn text(problem: Problem) -> String {
    let help = problem.help.map(|help| format!("; {help}")).unwrap_or_default();
    format!("{}: {}{help}", problem.path.join("."), problem.message)
}

fn permanent(problem: Problem) -> TaskError {
    TaskError::permanent(text(problem))
}

/// Counts what each part will hold. That is known without making a row.
async fn tally(
    attempt: &Attempt,
    job: &Arc<Job>,
    parts: &[Range<u64>],
) -> Result<Vec<Tally>, TaskError> {
    let (job, parts, cancel) = (job.clone(), parts.to_vec(), attempt.cancel.clone());
    let count = move || {
        let mut tallies = vec![Tally::default(); parts.len()];
        for (part, tally) in parts.iter().zip(&mut tallies) {
            for chunk in output::chunks(part) {
                if cancel.is_cancelled() {
                    return Err(TaskError::Cancelled);
                }
                tally.add(&Plan::new(&job.orders, &job.settings, chunk).tally);
            }
        }
        Ok(tallies)
    };
    output::blocking(count).await?
}

fn outcome(settings: &Settings, outputs: &[&str], tallies: &[Tally]) -> Outcome {
    let mut sum = Tally::default();
    tallies.iter().for_each(|tally| sum.add(tally));
    let clean_rows = sum.rows - sum.dirty_rows();
    let by_kind = |tally: &Tally| -> Map<String, Value> {
        let counts = DEFECTS.iter().zip(tally.dirty);
        counts.map(|(name, count)| ((*name).to_owned(), count.into())).collect()
    };
    let by_output = |value: &dyn Fn(&Tally) -> Value| -> Map<String, Value> {
        outputs
            .iter()
            .zip(tallies)
            .map(|(name, tally)| ((*name).to_owned(), value(tally)))
            .collect()
    };
    let fraud: Map<String, Value> = Pattern::ALL
        .iter()
        .zip(sum.fraud)
        .map(|(pattern, count)| (pattern.as_str().to_owned(), count.into()))
        .collect();
    let fraud_rows: u64 = sum.fraud.iter().sum();
    let report = json!({
        "from": csv::timestamp(settings.start),
        "until": csv::timestamp(settings.end),
        "rows": by_output(&|tally| tally.rows.into()),
        "clean_rows": clean_rows,
        "dirty_rows": sum.dirty_rows(),
        "dirty": by_kind(&sum),
        "dirty_by_output": by_output(&|tally| by_kind(tally).into()),
        "fraud_rows": fraud_rows,
        "fraud": fraud,
    });
    let values = json!({
        "rows": sum.rows,
        "clean_rows": clean_rows,
        "dirty_rows": sum.dirty_rows(),
        "fraud_rows": fraud_rows,
    });
    let map = |value: Value| value.as_object().cloned().unwrap_or_default();
    Outcome { values: map(values), report: map(report) }
}

#[cfg(test)]
mod tests;
