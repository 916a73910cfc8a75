//! Which task comes after which, and why.

use super::planner::Planner;
use super::tasks::Draft;
use super::{Edge, EdgeReason, TriggerRule};
use crate::dataset::{DatasetName, Scheme};
use crate::diagnostic::{Code, Diagnostic};
use crate::yaml::{Node, Span};
use std::collections::{BTreeMap, HashSet};

/// An edge, and the place in the file that makes it.
#[derive(Debug)]
pub(super) struct Placed {
    pub(super) edge: Edge,
    pub(super) span: Span,
}

/// An output of a task.
#[derive(Clone, Copy)]
struct Writer<'d> {
    task: usize,
    output: &'d str,
    dataset: &'d DatasetName,
}

/// Writers by scheme and name. In the name `/` is the lowest character, so that what lies in a
/// directory follows it without anything in between.
type Writers<'d> = BTreeMap<(Scheme, String), Writer<'d>>;

pub(super) fn infer(planner: &mut Planner<'_>, drafts: &[Draft]) -> Vec<Placed> {
    let writers = writers(planner, drafts);
    let mut edges = Vec::new();
    for (to, draft) in drafts.iter().enumerate() {
        let first = edges.len();
        needs(planner, drafts, to, &mut edges);
        reads(planner, draft, to, &writers, &mut edges);
        for task in &draft.uses {
            // A name that does not exist is reported where it stands.
            let Some(from) = planner.spec.pipeline.tasks.get_index_of(task) else { continue };
            let span = planner.task_entries()[to].key_span;
            edges.push(Placed { edge: Edge { from, to, reason: EdgeReason::Expression }, span });
        }
        if edges.len() > first + 1 {
            drop_repeated(&mut edges, first);
        }
        if edges.len() == first {
            waits_for_nothing(planner, to);
        }
    }
    edges
}

/// Drops edges from `first` on that are there before.
fn drop_repeated(edges: &mut Vec<Placed>, first: usize) {
    let added = edges.split_off(first);
    let mut seen: HashSet<Edge> = HashSet::with_capacity(added.len());
    edges.extend(added.into_iter().filter(|placed| seen.insert(placed.edge.clone())));
}

fn needs(planner: &mut Planner<'_>, drafts: &[Draft], to: usize, edges: &mut Vec<Placed>) {
    let spec = planner.spec;
    let name = &drafts[to].task.name;
    let entry = &spec.entries("tasks")[to];
    for (at, need) in spec.pipeline.tasks[to].needs.iter().enumerate() {
        let span = entry.node.place(&["needs", &at.to_string()]);
        let path = ["tasks", name.as_str(), "needs"];
        match spec.pipeline.tasks.get_index_of(need) {
            Some(from) if from == to => {
                let message = format!("`{name}` needs itself");
                planner.error(Code::Cycle, span, &path, message, Some("remove it".into()));
            }
            Some(from) => {
                edges.push(Placed { edge: Edge { from, to, reason: EdgeReason::Needs }, span })
            }
            None if spec.broken.contains(need) => {}
            None => {
                let known = spec.pipeline.tasks.keys().map(String::as_str);
                let help = planner.suggest(need, known);
                let message = format!("there is no task `{need}`");
                planner.error(Code::UnknownTask, span, &path, message, help);
            }
        }
    }
}

fn reads(
    planner: &mut Planner<'_>,
    draft: &Draft,
    to: usize,
    writers: &Writers<'_>,
    edges: &mut Vec<Placed>,
) {
    let written = planner.spec.entries("tasks")[to].node.get("inputs").and_then(Node::as_map);
    for ((input, dataset), entry) in draft.task.inputs.iter().zip(written.unwrap_or_default()) {
        let span = entry.value_span();
        for writer in writers_of(writers, dataset) {
            if writer.task == to {
                let name = &draft.task.name;
                let message = format!("`{name}` reads `{dataset}`, which it writes itself");
                let help = Some("write to another dataset".to_owned());
                let path = ["tasks", name.as_str(), "inputs", input.as_str()];
                planner.error(Code::Cycle, span, &path, message, help);
                continue;
            }
            let reason = match dataset.scheme() {
                Scheme::Topic => {
                    starts_with_its_writer(planner, draft, to, dataset);
                    EdgeReason::Stream(dataset.clone())
                }
                _ => EdgeReason::Dataset(dataset.clone()),
            };
            edges.push(Placed { edge: Edge { from: writer.task, to, reason }, span });
        }
    }
}

/// Reports a rule that could only be applied when the writer of the stream has ended.
fn starts_with_its_writer(
    planner: &mut Planner<'_>,
    draft: &Draft,
    to: usize,
    dataset: &DatasetName,
) {
    if draft.task.trigger_rule == TriggerRule::AllSuccess {
        return;
    }
    let name = &draft.task.name;
    let span = planner.spec.entries("tasks")[to].node.place(&["trigger_rule"]);
    let message = format!(
        "`{name}` starts together with the writer of `{dataset}`, so it can't depend on how that \
         ends"
    );
    let help = Some("leave `trigger_rule` out".to_owned());
    let path = ["tasks", name.as_str(), "trigger_rule"];
    planner.error(Code::BadOption, span, &path, message, help);
}

/// Reports a rule that waits for a failure where no task comes before.
fn waits_for_nothing(planner: &mut Planner<'_>, to: usize) {
    let task = &planner.spec.pipeline.tasks[to];
    if task.trigger_rule != TriggerRule::AnyFailed || !task.needs.is_empty() {
        return;
    }
    let entry = &planner.spec.entries("tasks")[to];
    let span = entry.node.place(&["trigger_rule"]);
    let message = format!("`{}` never runs: no task comes before it that could fail", entry.key);
    let help = Some("say in `needs` whose failure it waits for".to_owned());
    planner.error(Code::BadOption, span, &["tasks", &entry.key, "trigger_rule"], message, help);
}

/// The writers of a dataset, of directories that it lies in, and of what lies in it.
fn writers_of<'w, 'd>(
    writers: &'w Writers<'d>,
    dataset: &DatasetName,
) -> impl Iterator<Item = &'w Writer<'d>> {
    let scheme = dataset.scheme();
    let name = key(dataset);
    let outer: Vec<_> = name
        .match_indices('\0')
        .filter_map(|(at, _)| writers.get(&(scheme, name[..at].to_owned())))
        .collect();
    // Only files lie in directories.
    let inner = (scheme == Scheme::File)
        .then(|| writers.range((scheme, format!("{name}\0"))..(scheme, format!("{name}\u{1}"))));
    let exact = writers.get(&(scheme, name));
    outer.into_iter().chain(exact).chain(inner.into_iter().flatten().map(|(_, writer)| writer))
}

fn key(dataset: &DatasetName) -> String {
    dataset.name().replace('/', "\0")
}

/// All writers; those of what another one writes already are reported.
fn writers<'d>(planner: &mut Planner<'_>, drafts: &'d [Draft]) -> Writers<'d> {
    let mut writers = Writers::new();
    for (task, draft) in drafts.iter().enumerate() {
        for (output, planned) in &draft.task.outputs {
            let dataset = &planned.dataset;
            let writer = Writer { task, output, dataset };
            match writers.get(&(dataset.scheme(), key(dataset))) {
                Some(first) => {
                    let message = format!("`{dataset}` has two writers");
                    let help = "remove one of the two, or let each write a dataset of its own";
                    let first = *first;
                    conflict(planner, drafts, Code::TwoWriters, message, help, (first, writer));
                }
                None => drop(writers.insert((dataset.scheme(), key(dataset)), writer)),
            }
        }
    }
    overlaps(planner, drafts, &writers);
    writers
}

fn overlaps(planner: &mut Planner<'_>, drafts: &[Draft], writers: &Writers<'_>) {
    // The directories around the current one, from the outermost.
    let mut around: Vec<Writer<'_>> = Vec::new();
    for writer in writers.values() {
        while around.last().is_some_and(|outer| !outer.dataset.overlaps(writer.dataset)) {
            around.pop();
        }
        if let Some(outer) = around.last() {
            let message = format!("`{}` lies in `{}`", writer.dataset, outer.dataset);
            let help = "let the two lie beside each other: overwriting one would remove the other";
            let pair = (*outer, *writer);
            conflict(planner, drafts, Code::OverlappingPaths, message, help, pair);
        }
        around.push(*writer);
    }
}

fn conflict(
    planner: &mut Planner<'_>,
    drafts: &[Draft],
    code: Code,
    message: String,
    help: &str,
    (first, second): (Writer<'_>, Writer<'_>),
) {
    let place = |writer: Writer<'_>| {
        planner.task_entries()[writer.task].node.place(&["outputs", writer.output])
    };
    let other = &drafts[first.task].task.name;
    let path = format!("tasks.{}.outputs.{}", drafts[second.task].task.name, second.output);
    let problem = Diagnostic::error(code, message)
        .at(planner.file(), place(second))
        .path(path)
        .help(help)
        .related(planner.file(), place(first), format!("`{other}` writes this"));
    planner.problems.push(problem);
}
