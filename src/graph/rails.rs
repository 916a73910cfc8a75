//! A graph of tasks as lines of text: a line for each task, beside it rails that lead from a task to
//! those that come after it.
//!
//! As in histories of version control: a rail leads to one task, and ends there; all that comes
//! before that task joins its rail.

use orchestrator::plan::{EdgeReason, Plan};
use std::fmt::Write as _;

/// A line: the rails, and the task whose line it is; between tasks, rails alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    pub rails: String,
    pub task: Option<usize>,
}

/// A rail.
#[derive(Clone, Copy)]
struct Rail {
    to: usize,
    /// Whether all that it stands for are streams.
    stream: bool,
}

/// What of a character cell is drawn.
#[derive(Clone, Copy, Default)]
struct Cell {
    up: bool,
    down: bool,
    left: bool,
    right: bool,
    /// A rail that is not touched by what crosses it.
    passing: bool,
    stream: bool,
}

impl Cell {
    fn sign(self) -> char {
        match (self.up, self.down, self.left, self.right) {
            _ if self.passing && self.stream => '┊',
            _ if self.passing => '│',
            (false, false, false, false) => ' ',
            (false, false, ..) => '─',
            (true, true, false, false) if self.stream => '┊',
            (true, true, false, false) => '│',
            (true, true, false, true) => '├',
            (true, true, true, false) => '┤',
            (true, true, true, true) => '┼',
            (true, false, false, true) => '╰',
            (true, false, true, false) => '╯',
            (true, false, true, true) => '┴',
            (false, true, false, true) => '╭',
            (false, true, true, false) => '╮',
            (false, true, true, true) => '┬',
            (true, false, false, false) => '╵',
            (false, true, false, false) => '╷',
        }
    }
}

/// The lines of a plan's graph, in the order of the plan.
pub fn lines(plan: &Plan) -> Vec<Line> {
    let mut rails: Vec<Option<Rail>> = Vec::new();
    let mut lines = Vec::new();
    let mut position = vec![0; plan.tasks.len()];
    for (at, task) in plan.order.iter().enumerate() {
        position[*task] = at;
    }
    for task in &plan.order {
        let own = rails
            .iter()
            .position(|rail| rail.is_some_and(|rail| rail.to == *task))
            .unwrap_or_else(|| free(&mut rails));
        rails[own] = None;
        lines.push(Line { rails: task_line(&rails, own), task: Some(*task) });
        let mut after: Vec<Rail> = Vec::new();
        for edge in plan.edges.iter().filter(|edge| edge.from == *task) {
            let stream = matches!(edge.reason, EdgeReason::Stream(_));
            match after.iter_mut().find(|rail| rail.to == edge.to) {
                Some(rail) => rail.stream &= stream,
                None => after.push(Rail { to: edge.to, stream }),
            }
        }
        after.sort_by_key(|rail| position[rail.to]);
        let before = rails.clone();
        let reached = lead(&mut rails, own, &after);
        let goes_on = reached.iter().all(|(at, _)| *at == own);
        if !goes_on || after.iter().any(|rail| rail.stream) {
            lines.push(Line { rails: joint(&before, &rails, own, &reached), task: None });
        }
    }
    lines
}

/// The leftmost place without a rail.
fn free(rails: &mut Vec<Option<Rail>>) -> usize {
    rails.iter().position(Option::is_none).unwrap_or_else(|| {
        rails.push(None);
        rails.len() - 1
    })
}

/// Leads rails from a task to those after it: where each is, and whether it was there before.
fn lead(rails: &mut Vec<Option<Rail>>, own: usize, after: &[Rail]) -> Vec<(usize, bool)> {
    let mut reached = Vec::new();
    for rail in after {
        let known = rails.iter_mut().enumerate().find_map(|(at, known)| {
            let known = known.as_mut().filter(|known| known.to == rail.to)?;
            known.stream &= rail.stream;
            Some(at)
        });
        let at = known.unwrap_or_else(|| {
            let at = if rails[own].is_none() { own } else { free(rails) };
            rails[at] = Some(*rail);
            at
        });
        reached.push((at, known.is_some()));
    }
    reached
}

fn task_line(rails: &[Option<Rail>], own: usize) -> String {
    let mut text = String::new();
    for (at, rail) in rails.iter().enumerate() {
        let sign = match rail {
            _ if at == own => '●',
            Some(rail) if rail.stream => '┊',
            Some(_) => '│',
            None => ' ',
        };
        let _ = write!(text, "{sign} ");
    }
    text.trim_end().to_owned()
}

/// The line on which rails part from a task's place, or join others.
fn joint(
    before: &[Option<Rail>],
    rails: &[Option<Rail>],
    own: usize,
    reached: &[(usize, bool)],
) -> String {
    let ends = reached.iter().map(|(at, _)| *at).chain([own]);
    let (first, last) = ends.fold((own, own), |(low, high), at| (low.min(at), high.max(at)));
    let mut text = String::new();
    for (at, rail) in rails.iter().enumerate() {
        let touched = at == own || reached.iter().any(|(other, _)| *other == at);
        let cell = Cell {
            up: at == own || before.get(at).is_some_and(Option::is_some),
            down: rail.is_some(),
            left: (first + 1..=last).contains(&at),
            right: (first..last).contains(&at),
            passing: !touched && rail.is_some(),
            stream: rail.is_some_and(|rail| rail.stream),
        };
        let between = if (first..last).contains(&at) { '─' } else { ' ' };
        let _ = write!(text, "{}{between}", cell.sign());
    }
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use orchestrator::plan::{Edge, PlannedTask, Retry};

    fn drawn(names: &str, edges: &[(usize, usize)]) -> Vec<String> {
        let task = |name: char| {
            serde_json::from_value::<PlannedTask>(serde_json::json!({
                "name": name.to_string(), "kind": "shell", "options": {}, "late": [],
                "inputs": {}, "outputs": {}, "when": null, "skip": null,
                "trigger_rule": "all_success", "retry": Retry::default(), "timeout": null,
            }))
            .unwrap()
        };
        let edge =
            |(from, to): &(usize, usize)| Edge { from: *from, to: *to, reason: EdgeReason::Needs };
        let plan = Plan {
            tasks: names.chars().map(task).collect(),
            edges: edges.iter().map(edge).collect(),
            order: (0..names.len()).collect(),
            ..Plan::default()
        };
        let name = |task: Option<usize>| task.map(|task| plan.tasks[task].name.clone());
        let line = |line: Line| match name(line.task) {
            Some(name) => format!("{} {name}", line.rails),
            None => line.rails,
        };
        lines(&plan).into_iter().map(line).collect()
    }

    #[test]
    fn a_chain_and_a_task_alone() {
        assert_eq!(drawn("abc", &[(0, 1)]), ["● a", "● b", "● c"]);
    }

    #[test]
    fn a_diamond() {
        let edges = [(0, 1), (0, 2), (1, 3), (2, 3)];
        assert_eq!(drawn("abcd", &edges), ["● a", "├─╮", "● │ b", "│ ● c", "├─╯", "● d"]);
    }

    #[test]
    fn a_fan_in_shares_a_rail() {
        let edges = [(0, 3), (1, 3), (2, 3)];
        assert_eq!(drawn("abcd", &edges), ["● a", "│ ● b", "├─╯", "│ ● c", "├─╯", "● d"]);
    }

    #[test]
    fn a_rail_that_is_crossed_is_not_touched() {
        let edges = [(0, 3), (0, 4), (0, 2), (1, 2), (2, 4), (1, 5)];
        let all = drawn("abcdef", &edges);
        assert_eq!(all[..2], ["● a", "├─┬─╮"]);
        assert_eq!(all.iter().filter(|line| line.contains('●')).count(), 6);
    }
}
