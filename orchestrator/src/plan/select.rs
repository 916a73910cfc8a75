//! Leaving out tasks that a run is not asked for.

use super::planner::Planner;
use super::{Edge, EdgeReason, Plan};
use crate::diagnostic::{Code, Diagnostic};
use crate::schema::instead_of;

/// The plan of the tasks asked for by `only` and `from`. Edges from tasks left out vanish.
pub(super) fn select(planner: &mut Planner<'_>, plan: Plan) -> Plan {
    let request = planner.request;
    if request.only.is_empty() && request.from.is_empty() {
        return plan;
    }
    let mut kept = vec![false; plan.tasks.len()];
    for name in &request.only {
        if let Some(task) = find(planner, &plan, "--only", name) {
            kept[task] = true;
        }
    }
    let mut below = vec![false; plan.tasks.len()];
    for name in &request.from {
        if let Some(task) = find(planner, &plan, "--from", name) {
            below[task] = true;
        }
    }
    let mut after = vec![Vec::new(); plan.tasks.len()];
    for edge in &plan.edges {
        after[edge.from].push(edge.to);
    }
    for task in &plan.order {
        if below[*task] {
            kept[*task] = true;
            after[*task].iter().for_each(|next| below[*next] = true);
        }
    }
    for edge in &plan.edges {
        if edge.reason == EdgeReason::Expression && kept[edge.to] && !kept[edge.from] {
            let (from, to) = (&plan.tasks[edge.from].name, &plan.tasks[edge.to].name);
            let message = format!("`{to}` uses a result of `{from}`, which is left out");
            let path = ["tasks", to.as_str()];
            let span = planner.task_entries()[edge.to].key_span;
            let help = Some(format!("run `{from}` too"));
            planner.error(Code::UnknownTask, span, &path, message, help);
        }
    }
    keep(plan, &kept)
}

fn find(planner: &mut Planner<'_>, plan: &Plan, option: &str, name: &str) -> Option<usize> {
    let found = plan.tasks.iter().position(|task| task.name == name);
    if found.is_none() {
        let known = plan.tasks.iter().map(|task| task.name.as_str());
        let message = format!("{option}: there is no task `{name}`");
        let span = planner.spec.tree.entry("tasks").map(|tasks| tasks.key_span);
        let problem = Diagnostic::error(Code::UnknownTask, message)
            .at(planner.file(), span.unwrap_or_default())
            .path("tasks")
            .help(instead_of(name, known));
        planner.problems.push(problem);
    }
    found
}

fn keep(plan: Plan, kept: &[bool]) -> Plan {
    let mut index = Vec::with_capacity(kept.len());
    let mut next = 0;
    for keep in kept {
        index.push(keep.then_some(next));
        next += usize::from(*keep);
    }
    let edges = plan.edges.into_iter().filter_map(|edge| {
        Some(Edge { from: index[edge.from]?, to: index[edge.to]?, reason: edge.reason })
    });
    let tasks = plan.tasks.into_iter().zip(kept).filter(|(_, keep)| **keep);
    Plan {
        edges: edges.collect(),
        tasks: tasks.map(|(task, _)| task).collect(),
        order: plan.order.into_iter().filter_map(|task| index[task]).collect(),
        ..plan
    }
}
