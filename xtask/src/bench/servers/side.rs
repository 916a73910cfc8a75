//! One side of a comparison, and both of them in turn.

use super::super::Gathered;
use super::super::measure::Measured;
use anyhow::{Context, Result, ensure};
use serde_json::Value;
use std::collections::BTreeMap;

/// What one run of a tool took, and what it has done.
#[derive(Debug)]
pub(super) struct Side {
    /// From the start of its process to its end.
    whole_s: f64,
    /// Without what it takes to start: Java and Spark, or tidemill up to its first task.
    working_s: f64,
    peak_mib: f64,
    /// Counts that must be the same on both sides.
    pub(super) done: BTreeMap<&'static str, u64>,
    /// Rows that it has committed at a time, where that is a choice.
    pub(super) rows_per_commit: Option<f64>,
}

impl Side {
    pub(super) fn new(run: &Measured, working_s: f64) -> Side {
        let (done, rows_per_commit) = (BTreeMap::new(), None);
        Side { whole_s: run.seconds, working_s, peak_mib: run.peak_mib, done, rows_per_commit }
    }

    /// A program that prints how many seconds it took once it had started.
    pub(super) fn of_printed(run: &Measured) -> Result<Side> {
        let last = run.out.lines().last().context("the program printed nothing")?;
        let working_s = last.trim().parse();
        Ok(Side::new(run, working_s.with_context(|| format!("`{last}` is no number"))?))
    }
}

/// The same work, done by us and by somebody else. A side is measured alone, and afterwards asked
/// what it has done.
pub(super) trait Contest {
    /// The part of the bench and the rival, as they stand in the names of figures.
    const NAMES: (&'static str, &'static str);
    fn rounds(&self) -> usize;
    /// How many rows a round is about.
    fn rows(&self) -> u64;
    fn ours(&mut self, round: usize) -> Result<Side>;
    fn theirs(&mut self, round: usize) -> Result<Side>;
}

/// Measures both sides in turn; who begins changes from round to round.
pub(super) fn alternate<C: Contest>(contest: &mut C, gathered: &mut Gathered) -> Result<()> {
    let (part, rival) = C::NAMES;
    for round in 0..contest.rounds() {
        let (ours, theirs) = if round % 2 == 0 {
            let ours = contest.ours(round)?;
            (ours, contest.theirs(round)?)
        } else {
            let theirs = contest.theirs(round)?;
            (contest.ours(round)?, theirs)
        };
        ensure!(
            ours.done == theirs.done,
            "not the same work in {part}: {:?} here, {:?} by {rival}",
            ours.done,
            theirs.done
        );
        eprintln!(
            "{part} {}/{}: {:.1} s here, {:.1} s by {rival}",
            round + 1,
            contest.rounds(),
            ours.whole_s,
            theirs.whole_s
        );
        for (name, side) in [("tidemill", &ours), (rival, &theirs)] {
            add_side(gathered, &format!("servers.{part}.{name}"), side, contest.rows());
        }
        let mut ratio = |of: &str, ratio| {
            gathered.add(format!("servers.{part}.ratio.{of}"), "times as fast", ratio);
        };
        ratio("whole", theirs.whole_s / ours.whole_s);
        ratio("working", theirs.working_s / ours.working_s);
    }
    Ok(())
}

fn add_side(gathered: &mut Gathered, name: &str, side: &Side, rows: u64) {
    gathered.add(format!("{name}.whole.seconds"), "s", side.whole_s);
    gathered.add(format!("{name}.working.seconds"), "s", side.working_s);
    let speed = rows as f64 / side.working_s;
    gathered.add(format!("{name}.working.rows_per_s"), "rows/s", speed);
    gathered.add(format!("{name}.peak.mib"), "MiB", side.peak_mib);
    if let Some(rows) = side.rows_per_commit {
        gathered.add(format!("{name}.rows_per_commit"), "rows", rows);
    }
}

/// How long the tasks of a run took, which came one after the other.
pub(super) fn task_seconds(summary: &Value) -> Result<f64> {
    let tasks = summary["tasks"].as_array().context("the run names no tasks")?;
    let taken = tasks.iter().map(|task| task["duration_ms"].as_f64().unwrap_or(0.0));
    let seconds = taken.sum::<f64>() / 1e3;
    ensure!(seconds > 0.0, "the run took no time: {summary}");
    Ok(seconds)
}

/// How many rows a task of a run has put out.
pub(super) fn rows_out(summary: &Value, task: &str, output: &str) -> Result<u64> {
    let tasks = summary["tasks"].as_array().into_iter().flatten();
    let mut outputs = tasks.filter(|one| one["task"] == task).map(|one| &one["outputs"][output]);
    let rows = outputs.next().and_then(|output| output["rows"].as_u64());
    rows.with_context(|| format!("the run has no task `{task}` with an output `{output}`"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn run(out: &str) -> Measured {
        Measured { seconds: 8.0, peak_mib: 100.0, out: out.into() }
    }

    struct Race {
        order: String,
        theirs_done: u64,
    }

    impl Race {
        fn side(&mut self, who: char, seconds: f64, rows: u64) -> Result<Side> {
            self.order.push(who);
            let measured = Measured { seconds, ..run("") };
            let done = BTreeMap::from([("rows", rows)]);
            Ok(Side { done, ..Side::new(&measured, seconds / 2.0) })
        }
    }

    impl Contest for Race {
        const NAMES: (&'static str, &'static str) = ("race", "hare");
        fn rounds(&self) -> usize {
            3
        }
        fn rows(&self) -> u64 {
            10
        }
        fn ours(&mut self, round: usize) -> Result<Side> {
            self.side('o', [1.0, 2.0, 4.0][round], 10)
        }
        fn theirs(&mut self, _round: usize) -> Result<Side> {
            self.side('t', 4.0, self.theirs_done)
        }
    }

    #[test]
    fn both_sides_begin_in_turn_and_more_than_one_is_faster() {
        let mut race = Race { order: String::new(), theirs_done: 10 };
        let mut gathered = Gathered::default();
        alternate(&mut race, &mut gathered).unwrap();
        assert_eq!(race.order, "ottoot");
        let figures = gathered.figures();
        let ratio = &figures["servers.race.ratio.whole"];
        assert_eq!((ratio.min, ratio.median, ratio.max), (1.0, 2.0, 4.0));
        assert_eq!(figures["servers.race.hare.working.rows_per_s"].median, 5.0);
    }

    #[test]
    fn different_work_is_an_error() {
        let mut race = Race { order: String::new(), theirs_done: 9 };
        let error = alternate(&mut race, &mut Gathered::default()).unwrap_err().to_string();
        assert_eq!(error, "not the same work in race: {\"rows\": 10} here, {\"rows\": 9} by hare");
    }

    #[test]
    fn a_program_prints_its_seconds_last() {
        assert_eq!(Side::of_printed(&run("some words\n2.5\n")).unwrap().working_s, 2.5);
        for out in ["", "2.5\nfailed\n"] {
            assert!(Side::of_printed(&run(out)).is_err(), "{out:?}");
        }
    }

    #[test]
    fn a_run_says_how_long_its_tasks_took_and_what_they_wrote() {
        let summary = json!({"duration_ms": 999, "tasks": [
            {"task": "clean", "duration_ms": 1500, "outputs": {"valid": {"rows": 7}}},
            {"task": "aggregate", "duration_ms": 250, "outputs": {}},
        ]});
        assert_eq!(task_seconds(&summary).unwrap(), 1.75);
        assert_eq!(rows_out(&summary, "clean", "valid").unwrap(), 7);
        let error = rows_out(&summary, "aggregate", "daily").unwrap_err().to_string();
        assert_eq!(error, "the run has no task `aggregate` with an output `daily`");
        assert!(task_seconds(&json!({"tasks": []})).is_err());
    }
}
