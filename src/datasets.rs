//! `tidemill datasets`

use crate::arguments::among;
use crate::completions;
use crate::output::{self, Align, Table};
use crate::pipeline;
use crate::stdout::{print, print_json};
use crate::{Common, Format, OK};
use anyhow::{Result, bail};
use orchestrator::dataset::DatasetName;
use orchestrator::store::DatasetVersion;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill datasets                      all, with their newest versions
  tidemill datasets table:clean_orders   one: versions, columns, writers
  tidemill datasets -o json | jq '.[] | [.dataset, .rows]'")]
pub struct Arguments {
    /// Only this dataset, such as table:clean_orders
    #[arg(add = completions::datasets())]
    name: Option<DatasetName>,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let (mut store, _) = pipeline::open_store(common)?;
    let versions = store.dataset_versions(arguments.name.as_ref())?;
    if let (Some(name), true) = (&arguments.name, versions.is_empty()) {
        let all = store.dataset_versions(None)?;
        let known: BTreeSet<String> = all.into_iter().map(|version| version.dataset).collect();
        bail!(
            "no run has written `{name}`; {}",
            among(&name.to_string(), known.iter().map(String::as_str))
        );
    }
    if arguments.output == Format::Json {
        let json: Vec<_> = versions.iter().map(as_json).collect();
        print_json(&json)?;
        return Ok(OK);
    }
    match &arguments.name {
        Some(_) => print(&history(&versions))?,
        None => print(&newest(&versions))?,
    }
    Ok(OK)
}

fn as_json(version: &DatasetVersion) -> serde_json::Value {
    json!({
        "dataset": version.dataset,
        "version": version.version,
        "rows": version.rows,
        "bytes": version.bytes,
        "written_at": version.at,
        "run": version.run,
        "task": version.task,
        "schema": version.schema.iter()
            .map(|(name, kind)| json!({"name": name, "type": kind}))
            .collect::<Vec<_>>(),
    })
}

/// Each dataset with its newest version.
fn newest(versions: &[DatasetVersion]) -> String {
    let mut newest: BTreeMap<&str, (&DatasetVersion, usize)> = BTreeMap::new();
    for version in versions {
        // They come newest first.
        newest.entry(&version.dataset).or_insert((version, 0)).1 += 1;
    }
    let mut table = Table::new(&[
        ("dataset", Align::Left),
        ("version", Align::Right),
        ("rows", Align::Right),
        ("bytes", Align::Right),
        ("written", Align::Left),
        ("by", Align::Left),
        ("times", Align::Right),
    ]);
    for (dataset, (version, times)) in newest {
        table.row(vec![
            dataset.to_owned(),
            version.version.map(|number| number.to_string()).unwrap_or_default(),
            output::exact(version.rows),
            output::bytes(version.bytes),
            output::time(version.at),
            version.task.clone(),
            times.to_string(),
        ]);
    }
    let table = table.without(&["bytes", "by", "times"]);
    format!("{table}\ntimes: {}\n", output::zone())
}

/// All versions of one dataset, and the columns of the newest.
fn history(versions: &[DatasetVersion]) -> String {
    let mut table = Table::new(&[
        ("version", Align::Right),
        ("rows", Align::Right),
        ("bytes", Align::Right),
        ("written", Align::Left),
        ("by", Align::Left),
        ("run", Align::Left),
    ]);
    for version in versions {
        table.row(vec![
            version.version.map(|number| number.to_string()).unwrap_or_default(),
            output::exact(version.rows),
            output::bytes(version.bytes),
            output::time(version.at),
            version.task.clone(),
            output::run_id(&version.run).to_owned(),
        ]);
    }
    let mut text = format!("{}\n\n{table}\n", versions[0].dataset);
    if !versions[0].schema.is_empty() {
        let mut columns = Table::new(&[("column", Align::Left), ("type", Align::Left)]);
        for (name, kind) in &versions[0].schema {
            columns.row(vec![name.clone(), kind.clone()]);
        }
        let _ = writeln!(text, "{columns}");
    }
    let _ = writeln!(text, "times: {}", output::zone());
    text
}
