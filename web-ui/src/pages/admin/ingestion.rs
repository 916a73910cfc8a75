//! How fast messages come in by topics, and how far they have been landed.

use crate::Site;
use crate::runs::RunView;
use crate::words::Clock;
use jiff::Timestamp;
use orchestrator::dataset::{DatasetName, Scheme};
use orchestrator::event::Offsets;
use orchestrator::figures::exact;
use orchestrator::run::{Phase, TaskState};
use orchestrator::store::{Ingestion, RunRow, RunStatus, Store};
use std::collections::{BTreeMap, BTreeSet};

/// Runs at work that are looked at.
const MOST_RUNS: usize = 10;
/// Partitions whose offsets are shown one by one.
const MOST_PARTITIONS: usize = 4;

pub struct Topic {
    pub name: String,
    pub state: &'static str,
    pub word: String,
    pub rows: String,
    pub written_rate: String,
    pub landed: String,
    pub landed_rate: String,
    /// The offset of each partition that the next message to be landed has.
    pub offsets: String,
    /// Messages that are written and not landed yet.
    pub lag: String,
    pub dead: String,
}

/// What the newest runs do with a topic.
#[derive(Default)]
struct Flows {
    written: Option<Flow>,
    read: Option<Flow>,
}

/// One task's newest attempt at writing a topic, or at reading it.
struct Flow {
    started: Timestamp,
    at_work: bool,
    rate: String,
    /// Where it has ended: behind what it wrote, or what it has landed.
    end: Option<Offsets>,
    /// Messages it has still to read, while it is at work.
    left: Option<u64>,
}

pub fn topics(
    site: &Site,
    store: &mut Store,
    came_in: &[Ingestion],
    at_work: &[RunRow],
    clock: &Clock,
) -> Vec<Topic> {
    let mut ids: BTreeSet<&str> =
        at_work.iter().take(MOST_RUNS).map(|run| run.id.as_str()).collect();
    ids.extend(came_in.iter().flat_map(|topic| &topic.runs).map(String::as_str));
    let mut flows = BTreeMap::new();
    for id in ids {
        // One that can't be shown tells so on its own page.
        if let Ok(run) = RunView::load(site, store, id) {
            look(&run, clock, &mut flows);
        }
    }
    let none = Flows::default();
    let row = |topic: &Ingestion| row(topic, flows.get(&topic.topic).unwrap_or(&none), clock);
    came_in.iter().map(row).collect()
}

/// Finds what a run does with topics, where nothing newer is known.
fn look(run: &RunView, clock: &Clock, flows: &mut BTreeMap<String, Flows>) {
    let is_topic = |dataset: &DatasetName| dataset.scheme() == Scheme::Topic;
    for (planned, (name, task)) in run.plan().tasks.iter().zip(run.state.tasks()) {
        let Some(attempt) = run.timeline.attempts(name).last() else { continue };
        let at_work = task.phase == Phase::Running && run.status == RunStatus::Running;
        let flow = |end, left| Flow {
            started: attempt.started,
            at_work,
            rate: run.rate(name, task, clock.now).unwrap_or_default(),
            end,
            left,
        };
        for (output, known) in &planned.outputs {
            if is_topic(&known.dataset) {
                let end = task.outputs.get(output).and_then(|output| output.closed.clone());
                let of_topic = flows.entry(known.dataset.to_string()).or_default();
                newer(&mut of_topic.written, flow(end, None));
            }
        }
        for dataset in planned.inputs.values().filter(|dataset| is_topic(dataset)) {
            let left = run.share(name, task).map(|share| {
                let read = run.counts(name, task).rows_in as f64;
                (read / share - read).max(0.0).round() as u64
            });
            let of_topic = flows.entry(dataset.to_string()).or_default();
            newer(&mut of_topic.read, flow(landed(task), left));
        }
    }
}

fn newer(known: &mut Option<Flow>, flow: Flow) {
    if known.as_ref().is_none_or(|known| known.started < flow.started) {
        *known = Some(flow);
    }
}

/// The offsets that a `land` task reports.
fn landed(task: &TaskState) -> Option<Offsets> {
    let offsets = task.report.get("offsets")?.as_object()?;
    offsets
        .iter()
        .map(|(partition, offset)| Some((partition.parse().ok()?, offset.as_u64()?)))
        .collect()
}

fn row(topic: &Ingestion, flows: &Flows, clock: &Clock) -> Topic {
    let Flows { written, read } = flows;
    let at_work = |flow: &Option<Flow>| flow.as_ref().is_some_and(|flow| flow.at_work);
    // A few always come.
    let many_are_dead = topic.dead_letters * 100 > topic.rows.max(topic.landed);
    let (state, word) = match (at_work(written), at_work(read)) {
        (true, true) => ("running", "written and landed now".to_owned()),
        (true, false) => ("running", "written now".to_owned()),
        (false, true) => ("running", "landed now".to_owned()),
        (false, false) => (
            if many_are_dead { "warning" } else { "succeeded" },
            format!("written {}", clock.when(topic.at)),
        ),
    };
    let rate = |flow: &Option<Flow>| flow.as_ref().map_or(String::new(), |flow| flow.rate.clone());
    let written_to = written.as_ref().and_then(|flow| flow.end.as_ref());
    let landed_to = read.as_ref().and_then(|flow| flow.end.as_ref());
    let lag = match read {
        Some(Flow { at_work: true, left, .. }) => *left,
        _ => written_to.zip(landed_to).map(|(written, landed)| lag(written, landed)),
    };
    Topic {
        name: topic.topic.clone(),
        state,
        word,
        rows: exact(topic.rows),
        written_rate: rate(written),
        landed: exact(topic.landed),
        landed_rate: rate(read),
        offsets: landed_to.map(offsets).unwrap_or_default(),
        lag: lag.map(exact).unwrap_or_default(),
        dead: exact(topic.dead_letters),
    }
}

/// Messages that lie between what is landed and what is written.
fn lag(written: &Offsets, landed: &Offsets) -> u64 {
    let behind = |(partition, end): (&u32, &u64)| {
        end.saturating_sub(landed.get(partition).copied().unwrap_or(0))
    };
    written.iter().map(behind).sum()
}

/// `1,024 · 998`: by partition, in their order.
fn offsets(offsets: &Offsets) -> String {
    match offsets.len() {
        0..=MOST_PARTITIONS => {
            offsets.values().map(|offset| exact(*offset)).collect::<Vec<_>>().join(" · ")
        }
        many => format!("{} in {many} partitions", exact(offsets.values().sum())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lag_is_what_is_written_and_not_landed() {
        let written = Offsets::from([(0, 10), (1, 7), (2, 4)]);
        assert_eq!(lag(&written, &written), 0);
        // A partition that nobody has landed yet, and one that others have written further.
        assert_eq!(lag(&written, &Offsets::from([(0, 12), (1, 3)])), 4 + 4);
    }

    #[test]
    fn offsets_of_few_partitions_are_shown_one_by_one() {
        assert_eq!(offsets(&Offsets::from([(0, 1024), (1, 998)])), "1,024 · 998");
        let many = (0..12).map(|partition| (partition, 100)).collect();
        assert_eq!(offsets(&many), "1,200 in 12 partitions");
    }
}
