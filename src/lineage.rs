//! `tidemill lineage`

use crate::completions;
use crate::pipeline;
use crate::stdout::{print, print_json};
use crate::{Common, Format, OK};
use anyhow::{Result, bail};
use orchestrator::dataset::DatasetName;
use orchestrator::store::LineageEdge;
use serde_json::json;
use std::collections::BTreeSet;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill lineage table:clean_orders   from what, and for what
  tidemill lineage artifact:sales -o json")]
pub struct Arguments {
    /// The dataset, such as table:clean_orders
    #[arg(add = completions::datasets())]
    dataset: DatasetName,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

#[derive(Clone, Copy)]
enum Way {
    Up,
    Down,
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let (mut store, _) = pipeline::open_store(common)?;
    let edges = store.lineage()?;
    let name = arguments.dataset.to_string();
    let known = |edge: &LineageEdge| edge.to == name || edge.from.as_ref() == Some(&name);
    if !edges.iter().any(known) {
        bail!("no run has read or written `{name}`; `tidemill datasets` lists what there is");
    }
    if arguments.output == Format::Json {
        let json: Vec<_> = edges
            .iter()
            .map(|e| json!({"from": e.from, "pipeline": e.pipeline, "task": e.task, "to": e.to}))
            .collect();
        print_json(&json)?;
        return Ok(OK);
    }
    let bold = anstyle::Style::new().bold();
    let mut text = format!("{bold}{name}{bold:#}\n\nmade of\n");
    let before = text.len();
    branch(&mut text, &edges, &name, Way::Up, "  ", &mut BTreeSet::new());
    if text.len() == before {
        text.push_str("  nothing that tidemill knows of\n");
    }
    text.push_str("\nused for\n");
    let before = text.len();
    branch(&mut text, &edges, &name, Way::Down, "  ", &mut BTreeSet::new());
    if text.len() == before {
        text.push_str("  nothing yet\n");
    }
    print(&text)?;
    Ok(OK)
}

/// The datasets next to one, and behind each of them those next to it.
fn branch(
    text: &mut String,
    edges: &[LineageEdge],
    dataset: &str,
    way: Way,
    indent: &str,
    seen: &mut BTreeSet<String>,
) {
    let next: Vec<(&LineageEdge, Option<&String>)> = edges
        .iter()
        .filter_map(|edge| match way {
            Way::Up => (edge.to == dataset).then_some((edge, edge.from.as_ref())),
            Way::Down => (edge.from.as_deref() == Some(dataset)).then_some((edge, Some(&edge.to))),
        })
        .collect();
    for (position, (edge, other)) in next.iter().enumerate() {
        let last = position + 1 == next.len();
        let corner = if last { "└─" } else { "├─" };
        let dim = anstyle::Style::new().dimmed();
        let by = format!("{dim}by {} in {}{dim:#}", edge.task, edge.pipeline);
        let Some(other) = other else {
            text.push_str(&format!("{indent}{corner} {by}\n"));
            continue;
        };
        let again = !seen.insert((*other).clone());
        let note = if again { " (see above)" } else { "" };
        text.push_str(&format!("{indent}{corner} {other} {by}{note}\n"));
        if !again {
            let bar = if last { "   " } else { "│  " };
            branch(text, edges, other, way, &format!("{indent}{bar}"), seen);
        }
    }
}
