//! `tidemill plan`

use crate::output::{self, Align, Table};
use crate::stdout::{print, print_json};
use crate::{Common, Format, INVALID, OK, completions, diff};
use crate::{arguments, pipeline};
use anyhow::Result;
use jiff::Timestamp;
use orchestrator::dataset::DatasetName;
use orchestrator::kind::Catalog;
use orchestrator::plan::{EdgeReason, Plan, PlannedTask};
use orchestrator::store::{DatasetVersion, Store};
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill plan pipelines/ecommerce.yaml
  tidemill plan pipelines/ecommerce_nightly.yaml --date 2026-11-23 --from clean
  tidemill plan pipelines/ecommerce.yaml --diff latest   what has changed")]
pub struct Arguments {
    /// The pipeline's YAML file
    #[arg(value_parser = arguments::pipeline_path())]
    file: PathBuf,
    #[command(flatten)]
    choice: pipeline::Choice,
    /// Print what differs from the definition of an earlier run, instead of the plan
    #[arg(long, value_name = "RUN", allow_negative_numbers = true, add = completions::runs())]
    diff: Option<String>,
    /// Also print the files that tasks name, such as SQL
    #[arg(long, conflicts_with = "diff")]
    sql: bool,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let Some(prepared) = pipeline::prepare(&arguments.file, &arguments.choice, Timestamp::now())
    else {
        return Ok(INVALID);
    };
    if let Some(run) = &arguments.diff {
        let (mut store, _) = pipeline::open_store(common)?;
        let row = store.find_run(run)?;
        let earlier = pipeline::restore(&store.stored_run(&row.id)?)?;
        let differs = diff::differences(&earlier, &prepared);
        match (arguments.output, differs.text().as_str()) {
            (Format::Json, _) => print_json(&json!({"run": row.id, "definition": differs}))?,
            (Format::Text, "") => {
                print(&format!("nothing differs from the definition of run {}\n", row.id))?;
            }
            (Format::Text, text) => print(text)?,
        }
        return Ok(OK);
    }
    let data_dir = pipeline::data_dir(common, arguments.file.parent().unwrap_or(Path::new(".")))?;
    let catalog = tasks::catalog(&prepared.profile(), &data_dir)?;
    let plan = &prepared.plan;
    if arguments.output == Format::Json {
        let mut json = serde_json::to_value(plan.as_ref())?;
        json["places"] = datasets(plan)
            .iter()
            .map(|dataset| (dataset.to_string(), catalog.locate(dataset).into()))
            .collect::<serde_json::Map<String, Value>>()
            .into();
        print_json(&json)?;
        return Ok(OK);
    }
    let known = known_versions(&data_dir)?;
    let bold = anstyle::Style::new().bold();
    let mut text = format!(
        "{bold}{}{bold:#} for {}, profile {}\n",
        plan.pipeline,
        pipeline::interval(plan.interval, &plan.zone()),
        plan.profile
    );
    for (name, value) in &plan.params {
        let _ = writeln!(text, "  {name} = {}", scalar(value));
    }
    for (position, task) in plan.order.iter().enumerate() {
        text.push('\n');
        describe(&mut text, plan, &known, position + 1, *task);
    }
    if arguments.sql {
        for (name, sql) in &prepared.definition.files {
            let name = prepared.definition.shown_path(name);
            let _ = write!(text, "\n{bold}{name}{bold:#}\n{}\n", sql.trim_end());
        }
    }
    let datasets = datasets(plan);
    if !datasets.is_empty() {
        let here = std::env::current_dir().unwrap_or_default();
        let mut places = Table::new(&[("dataset", Align::Left), ("place", Align::Left)]);
        for dataset in datasets {
            let place = catalog.locate(&dataset);
            let near = Path::new(&place).strip_prefix(&here).ok();
            let place = near.map_or(place.clone(), |near| near.display().to_string());
            places.row(vec![dataset.to_string(), place]);
        }
        let _ = write!(text, "\n{places}");
    }
    print(&text)?;
    Ok(OK)
}

/// The newest versions that runs of this data directory have written, where there were any.
fn known_versions(data_dir: &Path) -> Result<HashMap<String, DatasetVersion>> {
    let Some(mut store) = Store::open_existing(data_dir)? else { return Ok(HashMap::new()) };
    let versions = store.newest_versions()?;
    Ok(versions.into_iter().map(|version| (version.dataset.clone(), version)).collect())
}

/// One task: what it is, why it comes here, its options, what it reads and writes.
fn describe(
    text: &mut String,
    plan: &Plan,
    known: &HashMap<String, DatasetVersion>,
    position: usize,
    index: usize,
) {
    let task: &PlannedTask = &plan.tasks[index];
    let (bold, dim) = (anstyle::Style::new().bold(), anstyle::Style::new().dimmed());
    let _ = writeln!(text, "{position:>3}. {bold}{}{bold:#} {dim}{}{dim:#}", task.name, task.kind);
    let mut last = "";
    let mut line = |word: &'static str, rest: &str| {
        let shown = if word == last { "" } else { word };
        let _ = writeln!(text, "     {shown:<8} {rest}");
        last = word;
    };
    let before = |wanted: &dyn Fn(&EdgeReason) -> bool| {
        let edges = plan.edges.iter().filter(|edge| edge.to == index && wanted(&edge.reason));
        edges.map(|edge| plan.tasks[edge.from].name.as_str()).collect::<Vec<_>>()
    };
    for name in before(&|reason| *reason == EdgeReason::Needs) {
        line("after", &format!("{name}, which it needs"));
    }
    for name in before(&|reason| *reason == EdgeReason::Expression) {
        line("after", &format!("{name}, whose results it uses"));
    }
    let version = |dataset: &DatasetName| {
        let version = known.get(&dataset.to_string())?.version;
        Some(version.map_or_else(|| "it".to_owned(), |number| format!("version {number}")))
    };
    for (name, dataset) in &task.inputs {
        let writers = before(
            &|reason| matches!(reason, EdgeReason::Dataset(read) | EdgeReason::Stream(read) if read == dataset),
        );
        let streams = plan
            .edges
            .iter()
            .any(|edge| edge.to == index && edge.reason == EdgeReason::Stream(dataset.clone()));
        let why = match (writers.as_slice(), version(dataset)) {
            ([], Some(version)) if version != "it" => format!(", {version}"),
            ([], _) => String::new(),
            (some, _) if streams => format!(", while {} writes it", some.join(", ")),
            (some, _) => format!(", which {} writes", some.join(", ")),
        };
        line("reads", &format!("{name}: {dataset}{why}"));
    }
    for (name, output) in &task.outputs {
        let write = serde_json::to_value(output.write).unwrap_or_default();
        let write = write.as_str().unwrap_or_default();
        let condition = output.replace_where.as_ref().map(|c| format!(" {c}")).unwrap_or_default();
        let there = version(&output.dataset).map(|version| format!("; {version} is there"));
        let there = there.unwrap_or_default();
        line("writes", &format!("{name}: {} ({write}{condition}{there})", output.dataset));
    }
    if let Some(why) = &task.skip {
        line("skipped", why);
    }
    if let Some(when) = &task.when {
        line("when", when);
    }
    if task.retry.attempts > 1 {
        let retry = &task.retry;
        let (delay, most) = (output::duration(retry.delay), output::duration(retry.max_delay));
        line("retries", &format!("{} attempts, {delay} to {most} apart", retry.attempts));
    }
    if let Some(timeout) = task.timeout {
        line("timeout", &output::duration(timeout));
    }
    let mut options = Vec::new();
    for (key, value) in task.options.as_object().into_iter().flatten() {
        block(&mut options, 0, key, value);
    }
    for option in options {
        line("with", &option);
    }
}

/// Columns before an option.
const MARGIN: usize = 14;

/// An option as YAML, on one line if it fits.
fn block(lines: &mut Vec<String>, depth: usize, key: &str, value: &Value) {
    let indent = "  ".repeat(depth);
    let whole = format!("{indent}{key}: {}", flow(value));
    match value {
        Value::String(text) if text.contains('\n') => {
            lines.push(format!("{indent}{key}: |"));
            lines.extend(text.trim_end().lines().map(|line| format!("{indent}  {line}")));
        }
        Value::Object(map) if MARGIN + whole.len() > output::line_width() => {
            lines.push(format!("{indent}{key}:"));
            for (key, value) in map {
                block(lines, depth + 1, key, value);
            }
        }
        Value::Array(items) if MARGIN + whole.len() > output::line_width() => {
            lines.push(format!("{indent}{key}:"));
            lines.extend(items.iter().map(|item| format!("{indent}  - {}", flow(item))));
        }
        _ => lines.push(whole),
    }
}

/// A value on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{key}: {}", flow(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        // Within brackets, these signs need quotes.
        Value::String(text) if text.contains(['{', '}', '[', ']', ',', '#', '"', ':']) => {
            value.to_string()
        }
        other => scalar(other),
    }
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn datasets(plan: &Plan) -> BTreeSet<DatasetName> {
    let tasks = plan.tasks.iter();
    tasks
        .flat_map(|task| {
            let outputs = task.outputs.values().map(|output| &output.dataset);
            task.inputs.values().chain(outputs).cloned()
        })
        .collect()
}
