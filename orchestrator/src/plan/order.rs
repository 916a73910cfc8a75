//! An order of the tasks, or the cycle that there is none for.

use super::EdgeReason;
use super::edges::Placed;
use super::planner::Planner;
use crate::diagnostic::{Code, Diagnostic};
use petgraph::algo::kosaraju_scc;
use petgraph::graph::{DiGraph, NodeIndex};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};

/// The tasks' indices, each after all that it depends on and otherwise as in the file. `None` if
/// there is a cycle, which is reported.
pub(super) fn sort(
    planner: &mut Planner<'_>,
    count: usize,
    edges: &[Placed],
) -> Option<Vec<usize>> {
    let mut waits_for = vec![0usize; count];
    let mut after = vec![Vec::new(); count];
    for Placed { edge, .. } in edges {
        waits_for[edge.to] += 1;
        after[edge.from].push(edge.to);
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..count).filter(|task| waits_for[*task] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(count);
    while let Some(Reverse(task)) = ready.pop() {
        order.push(task);
        for next in &after[task] {
            waits_for[*next] -= 1;
            if waits_for[*next] == 0 {
                ready.push(Reverse(*next));
            }
        }
    }
    if order.len() == count {
        return Some(order);
    }
    for cycle in cycles(count, edges) {
        report(planner, &cycle, edges);
    }
    None
}

/// For each knot of tasks that wait for each other, the shortest cycle through its first task, as
/// indices of edges.
fn cycles(count: usize, edges: &[Placed]) -> Vec<Vec<usize>> {
    let mut graph: DiGraph<(), usize> = DiGraph::with_capacity(count, edges.len());
    let nodes: Vec<NodeIndex> = (0..count).map(|_| graph.add_node(())).collect();
    for (index, Placed { edge, .. }) in edges.iter().enumerate() {
        graph.add_edge(nodes[edge.from], nodes[edge.to], index);
    }
    let knots = kosaraju_scc(&graph).into_iter().filter(|knot| knot.len() > 1);
    let mut starts: Vec<NodeIndex> = knots.filter_map(|knot| knot.into_iter().min()).collect();
    starts.sort_unstable();
    starts.into_iter().filter_map(|start| shortest(&graph, start)).collect()
}

fn shortest(graph: &DiGraph<(), usize>, start: NodeIndex) -> Option<Vec<usize>> {
    // The edge and task by which each task was reached.
    let mut reached: HashMap<NodeIndex, (usize, NodeIndex)> = HashMap::new();
    let mut queue = VecDeque::from([start]);
    while let Some(node) = queue.pop_front() {
        let mut outgoing = graph.neighbors(node).detach();
        let mut found: Vec<(usize, NodeIndex)> = Vec::new();
        while let Some((edge, next)) = outgoing.next(graph) {
            found.push((graph[edge], next));
        }
        found.sort_unstable();
        for (edge, next) in found {
            if reached.contains_key(&next) {
                continue;
            }
            reached.insert(next, (edge, node));
            if next == start {
                return Some(trace(&reached, start));
            }
            queue.push_back(next);
        }
    }
    None
}

fn trace(reached: &HashMap<NodeIndex, (usize, NodeIndex)>, start: NodeIndex) -> Vec<usize> {
    let mut cycle = Vec::new();
    let mut at = start;
    loop {
        let (edge, before) = reached[&at];
        cycle.push(edge);
        at = before;
        if at == start {
            cycle.reverse();
            return cycle;
        }
    }
}

/// Names all tasks of a cycle and, for each of its edges, why it is there.
fn report(planner: &mut Planner<'_>, cycle: &[usize], edges: &[Placed]) {
    const SHOWN: usize = 12;
    let entries = planner.task_entries();
    let name = |task: usize| entries[task].key.as_str();
    let first = edges[cycle[0]].edge.from;
    let mut tasks: Vec<&str> = cycle.iter().map(|edge| name(edges[*edge].edge.from)).collect();
    tasks.push(name(first));
    let left_out = tasks.len().saturating_sub(SHOWN + 1);
    let mut chain: Vec<String> = tasks.iter().map(|task| format!("`{task}`")).collect();
    if left_out > 0 {
        chain.splice(SHOWN - 1..SHOWN - 1 + left_out, [format!("… ({left_out} more)")]);
    }
    let message = format!("these tasks wait for each other: {}", chain.join(" -> "));
    let mut problem = Diagnostic::error(Code::Cycle, message)
        .at(planner.file(), entries[first].key_span)
        .path(format!("tasks.{}", name(first)))
        .help("an arrow leads to the task that waits; take one of them away");
    for edge in cycle.iter().take(SHOWN) {
        let Placed { edge, span } = &edges[*edge];
        let (from, to) = (name(edge.from), name(edge.to));
        let reason = match &edge.reason {
            EdgeReason::Needs => format!("`{to}` needs `{from}`"),
            EdgeReason::Dataset(dataset) | EdgeReason::Stream(dataset) => {
                format!("`{to}` reads `{dataset}`, which `{from}` writes")
            }
            EdgeReason::Expression => format!("`{to}` uses a result of `{from}`"),
        };
        problem = problem.related(planner.file(), *span, reason);
    }
    planner.problems.push(problem);
}
