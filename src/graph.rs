//! `tidemill graph`

mod rails;

use crate::output;
use crate::stdout::{print, print_json};
use crate::{INVALID, OK};
use crate::{arguments, pipeline};
use anstyle::Style;
use anyhow::Result;
use jiff::Timestamp;
use orchestrator::load;
use orchestrator::plan::{Edge, EdgeReason, Plan, PlannedTask};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill graph pipelines/ecommerce.yaml
  tidemill graph pipelines/ecommerce.yaml -o mermaid                for Markdown
  tidemill graph pipelines/ecommerce.yaml -o dot | dot -Tsvg > graph.svg
  tidemill graph pipelines/ecommerce.yaml -o json | jq '.edges[]'   with reasons")]
pub struct Arguments {
    /// The pipeline's YAML file
    #[arg(value_parser = arguments::pipeline_path())]
    file: PathBuf,
    /// How it is drawn
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    /// A line for each task, with rails from those before it
    Text,
    /// A flowchart of Mermaid
    Mermaid,
    /// A digraph of Graphviz
    Dot,
    /// An object: tasks, and edges with their reasons
    Json,
}

pub fn run(arguments: &Arguments) -> Result<u8> {
    let plan = match load::validate(&arguments.file, &pipeline::kinds(), Timestamp::now()) {
        Ok((plan, warnings)) => {
            pipeline::complain(&warnings);
            plan
        }
        Err(problems) => {
            pipeline::complain(&problems);
            return Ok(INVALID);
        }
    };
    match arguments.output {
        Output::Text => print(&text(&plan))?,
        Output::Mermaid => print(&mermaid(&plan))?,
        Output::Dot => print(&dot(&plan))?,
        Output::Json => print_json(&as_json(&plan))?,
    }
    Ok(OK)
}

fn as_json(plan: &Plan) -> Value {
    let task = |task: &PlannedTask| json!({"task": task.name, "kind": task.kind});
    let edge = |Edge { from, to, reason }: &Edge| {
        let (reason, dataset) = match reason {
            EdgeReason::Needs => ("needs", None),
            EdgeReason::Dataset(dataset) => ("dataset", Some(dataset)),
            EdgeReason::Stream(dataset) => ("stream", Some(dataset)),
            EdgeReason::Expression => ("expression", None),
        };
        let (from, to) = (&plan.tasks[*from].name, &plan.tasks[*to].name);
        json!({"from": from, "to": to, "reason": reason, "dataset": dataset})
    };
    json!({
        "pipeline": plan.pipeline,
        "tasks": plan.tasks.iter().map(task).collect::<Vec<_>>(),
        "edges": plan.edges.iter().map(edge).collect::<Vec<_>>(),
    })
}

fn text(plan: &Plan) -> String {
    let (bold, dim) = (Style::new().bold(), Style::new().dimmed());
    let lines = rails::lines(plan);
    let width = |text: &str| text.chars().count();
    let rails = lines.iter().map(|line| width(&line.rails)).max().unwrap_or(0);
    let name = plan.tasks.iter().map(|task| width(&task.name)).max().unwrap_or(0);
    let kind = plan.tasks.iter().map(|task| width(&task.kind)).max().unwrap_or(0);
    let mut text = String::new();
    for line in lines {
        let Some(task) = line.task.map(|task| &plan.tasks[task]) else {
            let _ = writeln!(text, "{}", line.rails);
            continue;
        };
        let pad = |written: &str, to: usize| " ".repeat(to.saturating_sub(width(written)));
        let outputs: Vec<String> =
            task.outputs.values().map(|output| output.dataset.to_string()).collect();
        let written = format!(
            "{}{}  {bold}{}{bold:#}{}  {dim}{}{dim:#}{}  {}",
            line.rails,
            pad(&line.rails, rails),
            task.name,
            pad(&task.name, name),
            task.kind,
            pad(&task.kind, kind),
            fitting(&outputs, rails + name + kind + 6)
        );
        let _ = writeln!(text, "{}", written.trim_end());
    }
    text
}

/// As many of the names as fit behind `taken` columns of the screen, and how many more there are.
fn fitting(names: &[String], taken: usize) -> String {
    let all = names.join(", ");
    let Some(room) = output::screen().map(|columns| columns.saturating_sub(taken)) else {
        return all;
    };
    let shortened = (1..names.len())
        .rev()
        .map(|count| format!("{} and {} more", names[..count].join(", "), names.len() - count));
    std::iter::once(all.clone()).chain(shortened).find(|text| text.len() <= room).unwrap_or(all)
}

/// The edges between two tasks as one: what leads from one to the other, and whether all of it
/// streams.
fn links(plan: &Plan) -> BTreeMap<(usize, usize), (Vec<String>, bool)> {
    let mut links: BTreeMap<(usize, usize), (Vec<String>, bool)> = BTreeMap::new();
    for Edge { from, to, reason } in &plan.edges {
        let (datasets, streams) = links.entry((*from, *to)).or_insert((Vec::new(), true));
        match reason {
            EdgeReason::Dataset(dataset) | EdgeReason::Stream(dataset) => {
                datasets.push(dataset.to_string());
            }
            EdgeReason::Needs | EdgeReason::Expression => {}
        }
        *streams &= matches!(reason, EdgeReason::Stream(_));
    }
    links
}

/// <https://mermaid.js.org/syntax/flowchart.html>
fn mermaid(plan: &Plan) -> String {
    let mut text = String::from("flowchart LR\n");
    for (index, task) in plan.tasks.iter().enumerate() {
        let kind =
            if task.kind == task.name { String::new() } else { format!("<br>{}", task.kind) };
        let _ = writeln!(text, "  t{index}[\"{}{kind}\"]", task.name);
    }
    for ((from, to), (datasets, streams)) in links(plan) {
        let arrow = if streams { "-.->" } else { "-->" };
        let label = match datasets.as_slice() {
            [] => String::new(),
            some => format!("|\"{}\"|", some.join("<br>")),
        };
        let _ = writeln!(text, "  t{from} {arrow}{label} t{to}");
    }
    text
}

/// <https://graphviz.org/doc/info/lang.html>
fn dot(plan: &Plan) -> String {
    let mut text =
        format!("digraph \"{}\" {{\n  rankdir=LR;\n  node [shape=box];\n", plan.pipeline);
    for task in &plan.tasks {
        let _ = writeln!(text, "  \"{}\" [tooltip=\"{}\"];", task.name, task.kind);
    }
    for ((from, to), (datasets, streams)) in links(plan) {
        let (from, to) = (&plan.tasks[from].name, &plan.tasks[to].name);
        let style = if streams { ", style=dotted" } else { "" };
        let _ =
            writeln!(text, "  \"{from}\" -> \"{to}\" [label=\"{}\"{style}];", datasets.join("\\n"));
    }
    text.push_str("}\n");
    text
}
