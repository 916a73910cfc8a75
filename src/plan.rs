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
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill plan pipelines/ecommerce.yaml
  tidemill plan pipelines/ecommerce_nightly.yaml --date 2026-11-23 --from clean
  tidemill plan pipelines/ecommerce.yaml --diff latest    what has changed since the newest run")]
pub struct Arguments {
    /// The pipeline's YAML file
    #[arg(value_parser = arguments::pipeline_path())]
    file: PathBuf,
    #[command(flatten)]
    choice: pipeline::Choice,
    /// Print what differs from the definition of an earlier run, instead of the plan
    #[arg(long, value_name = "RUN", allow_negative_numbers = true, add = completions::runs())]
    diff: Option<String>,
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
    let bold = anstyle::Style::new().bold();
    let mut text = format!(
        "{bold}{}{bold:#} for {}, profile {}\n",
        plan.pipeline,
        pipeline::interval(plan.interval, &plan.zone()),
        plan.profile
    );
    for (name, value) in &plan.params {
        let _ = writeln!(text, "  {name} = {}", inline(value));
    }
    for (position, task) in plan.order.iter().enumerate() {
        text.push('\n');
        describe(&mut text, plan, position + 1, *task);
    }
    let datasets = datasets(plan);
    if !datasets.is_empty() {
        let mut places = Table::new(&[("dataset", Align::Left), ("place", Align::Left)]);
        for dataset in datasets {
            places.row(vec![dataset.to_string(), catalog.locate(&dataset)]);
        }
        let _ = write!(text, "\n{places}");
    }
    print(&text)?;
    Ok(OK)
}

/// One task: what it is, why it comes here, its options, what it reads and writes.
fn describe(text: &mut String, plan: &Plan, position: usize, index: usize) {
    let task: &PlannedTask = &plan.tasks[index];
    let (bold, dim) = (anstyle::Style::new().bold(), anstyle::Style::new().dimmed());
    let _ = writeln!(text, "{position:>3}. {bold}{}{bold:#} {dim}{}{dim:#}", task.name, task.kind);
    let mut line = |word: &str, rest: &str| {
        let _ = writeln!(text, "     {word:<8} {rest}");
    };
    for edge in plan.edges.iter().filter(|edge| edge.to == index) {
        let from = &plan.tasks[edge.from].name;
        match &edge.reason {
            EdgeReason::Needs => line("after", &format!("{from}, which it needs")),
            EdgeReason::Dataset(dataset) => {
                line("after", &format!("{from}, which writes {dataset}"))
            }
            EdgeReason::Stream(dataset) => {
                line("beside", &format!("{from}, which streams {dataset}"))
            }
            EdgeReason::Expression => line("after", &format!("{from}, whose results it uses")),
        }
    }
    for (name, dataset) in &task.inputs {
        line("reads", &format!("{dataset} as {name}"));
    }
    for (name, output) in &task.outputs {
        let write = serde_json::to_value(output.write).unwrap_or_default();
        let write = write.as_str().unwrap_or_default();
        let condition = output.replace_where.as_ref().map(|c| format!(" {c}")).unwrap_or_default();
        line("writes", &format!("{} as {name} ({write}{condition})", output.dataset));
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
    for (key, value) in task.options.as_object().into_iter().flatten() {
        line("with", &format!("{key}: {}", inline(value)));
    }
}

/// A value on one line; text of several lines is continued below.
fn inline(value: &Value) -> String {
    match value {
        Value::String(text) if text.contains('\n') => text
            .trim_end()
            .lines()
            .fold(String::from("|"), |all, line| format!("{all}\n                {line}")),
        Value::String(text) => text.clone(),
        value => value.to_string(),
    }
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
