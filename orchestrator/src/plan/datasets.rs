//! Properties of datasets, with their conditions rendered.

use super::PlannedOutput;
use super::expressions::{Place, Rendered, Scope};
use super::planner::Planner;
use crate::dataset::{DatasetName, Scheme};
use crate::diagnostic::Code;
use crate::kind::Write;
use crate::spec::Dataset;
use serde_json::Value;
use std::collections::HashMap;

/// What a dataset's properties come to.
pub(super) struct Properties<'a> {
    written: &'a Dataset,
    /// The rendered `where`.
    condition: Option<String>,
}

pub(super) type Datasets<'a> = HashMap<&'a DatasetName, Properties<'a>>;

pub(super) fn resolve<'a>(planner: &mut Planner<'a>, scope: &mut Scope<'_>) -> Datasets<'a> {
    let mut datasets = Datasets::new();
    let spec = planner.spec;
    for (entry, (name, written)) in spec.entries("datasets").iter().zip(&spec.pipeline.datasets) {
        let mut condition = None;
        if let Some(text) = &written.condition {
            let place = Place {
                span: entry.node.place(&["where"]),
                root: ["datasets", &entry.key, "where"],
                pointer: "",
                task: None,
            };
            condition = match scope.text(text, &place, &mut planner.problems) {
                Rendered::Value(Value::String(text)) => Some(text),
                Rendered::Value(value) => Some(value.to_string()),
                // What is wrong is reported; the text stands for it in further checks.
                Rendered::Plain | Rendered::Late(_) | Rendered::Unknown => Some(text.clone()),
            };
        }
        for (key, message, help) in misfits(name, written) {
            let path = ["datasets", entry.key.as_str(), key];
            let span = entry.node.place(&[key]);
            planner.error(Code::BadWrite, span, &path, message, help.map(str::to_owned));
        }
        datasets.insert(name, Properties { written, condition });
    }
    datasets
}

/// Properties that do not fit the dataset or each other: the key, what is wrong, what to do.
fn misfits(
    name: &DatasetName,
    written: &Dataset,
) -> Vec<(&'static str, String, Option<&'static str>)> {
    let scheme = name.scheme();
    let mut found = Vec::new();
    if let Some(write) = written.write
        && !ways(scheme).contains(&write)
    {
        let all: Vec<&str> = ways(scheme).iter().map(|way| word(*way)).collect();
        let message = format!("a {scheme}: dataset can't be written by `{}`", word(write));
        found.push(("write", format!("{message}, only by `{}`", all.join("`, `")), None));
    }
    if !written.partition_by.is_empty() && scheme != Scheme::Table {
        let message = format!("a {scheme}: dataset has no partitions by column");
        found.push(("partition_by", message, None));
    }
    let replaces = written.write == Some(Write::ReplaceWhere);
    if replaces && written.condition.is_none() {
        let message = "`replace_where` needs `where`, the condition on what is replaced".into();
        found.push((
            "write",
            message,
            Some("for example where: \"night = '${{ interval.date }}'\""),
        ));
    }
    if written.condition.is_some() && !replaces {
        let message = "`where` only has a meaning with `write: replace_where`".into();
        found.push(("where", message, Some("add `write: replace_where`, or remove `where`")));
    }
    if written.write == Some(Write::Merge) && scheme == Scheme::Table && written.key.is_empty() {
        let message = "`merge` needs `key`, the columns that tell rows apart".into();
        found.push(("write", message, Some("for example key: [order_id]")));
    }
    found
}

/// How datasets of a scheme can be written.
const fn ways(scheme: Scheme) -> &'static [Write] {
    match scheme {
        Scheme::Table => &[Write::Overwrite, Write::Append, Write::ReplaceWhere, Write::Merge],
        Scheme::Kv => &[Write::Merge],
        Scheme::Topic => &[Write::Append],
        Scheme::File => &[Write::Overwrite, Write::Append],
        Scheme::Artifact => &[Write::Overwrite],
    }
}

pub(super) const fn word(write: Write) -> &'static str {
    match write {
        Write::Overwrite => "overwrite",
        Write::Append => "append",
        Write::ReplaceWhere => "replace_where",
        Write::Merge => "merge",
    }
}

/// How a kind that writes by `default` writes datasets of a scheme: a port for any scheme can't
/// know the one way in which some are written.
pub(super) fn usual_way(scheme: Scheme, default: Write) -> Write {
    let ways = ways(scheme);
    if ways.contains(&default) { default } else { ways[0] }
}

/// An output with its dataset's properties; `default` is how the kind writes it.
pub(super) fn output(
    datasets: &Datasets<'_>,
    dataset: &DatasetName,
    default: Write,
) -> PlannedOutput {
    let properties = datasets.get(dataset);
    let written = properties.map(|properties| properties.written);
    PlannedOutput {
        dataset: dataset.clone(),
        write: written
            .and_then(|written| written.write)
            .unwrap_or_else(|| usual_way(dataset.scheme(), default)),
        replace_where: properties.and_then(|properties| properties.condition.clone()),
        partition_by: written.map_or(Vec::new(), |written| written.partition_by.clone()),
        key: written.map_or(Vec::new(), |written| written.key.clone()),
    }
}
