//! What becomes of the times at which runs are due. Pure: state and time in, a decision out.
//!
//! Every fire time of a schedule is decided once: a run is to be made, or it is left out for a
//! reason. The store keeps how far a pipeline is decided, so that a daemon that was away, and a
//! clock that was set, lose and repeat nothing.

#[cfg(test)]
mod tests;

use crate::plan::{Interval, Plan};
use crate::schedule::Timetable;
use crate::spec::{CatchUp, Overlap, Schedule};
use jiff::{SignedDuration, Timestamp};

/// A fire that is decided within this time was not missed.
const ON_TIME: SignedDuration = SignedDuration::from_secs(60);

/// The schedule of a pipeline, and what its runs may do to each other.
#[derive(Clone, Debug)]
pub struct Scheduled {
    timetable: Timetable,
    /// What the fire times depend on.
    identity: String,
    overlap: Overlap,
    catch_up: CatchUp,
    window: Option<SignedDuration>,
    max_active_runs: usize,
}

/// How things stand with a pipeline, as the store tells it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Standing {
    /// All fire times up to here are decided.
    pub decided_until: Timestamp,
    pub paused: bool,
    /// The intervals, each up to its fire time, that wait for their run, oldest first.
    pub queued: Vec<Interval>,
    /// The runs that are active.
    pub active: Vec<String>,
}

/// What is to be written down, and then to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Decision {
    /// From now on all fire times up to here are decided.
    pub decided_until: Timestamp,
    /// The intervals of those that are to become runs, oldest first.
    pub queue: Vec<Interval>,
    /// Those that are not.
    pub left_out: Vec<LeftOut>,
    /// Whether those that have waited so far are left out in favour of a newer one.
    pub replaces_queued: bool,
    /// Active runs that are to be cancelled.
    pub cancel: Vec<String>,
}

/// Fire times in a row that are not run, all for one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeftOut {
    pub first: Timestamp,
    pub last: Timestamp,
    pub count: u64,
    pub why: Why,
}

/// Why no run is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Nobody was there when it was due, and `catch_up` does not make up for it.
    Missed,
    /// It was missed longer ago than `window`.
    TooOld,
    /// Another run was active, and `overlap` is `skip`.
    Overlap,
    /// A newer one took its place, by `overlap: cancel_running`.
    Replaced,
    /// The schedule was paused.
    Paused,
}

impl Why {
    pub const ALL: [Why; 5] = [Why::Missed, Why::TooOld, Why::Overlap, Why::Replaced, Why::Paused];

    pub const fn as_str(self) -> &'static str {
        match self {
            Why::Missed => "missed",
            Why::TooOld => "too_old",
            Why::Overlap => "overlap",
            Why::Replaced => "replaced",
            Why::Paused => "paused",
        }
    }

    /// As a sentence that continues "not run: ".
    pub const fn sentence(self) -> &'static str {
        match self {
            Why::Missed => "no daemon was running when it was due, and `catch_up` leaves it out",
            Why::TooOld => "it was missed longer ago than the `window` of the schedule",
            Why::Overlap => "an earlier run was still active, and `overlap` is `skip`",
            Why::Replaced => "a newer run took its place, since `overlap` is `cancel_running`",
            Why::Paused => "the schedule was paused",
        }
    }
}

impl Scheduled {
    /// `None`: the pipeline has no schedule.
    pub fn of(plan: &Plan) -> Option<Scheduled> {
        let (schedule, timetable) = (plan.schedule.as_ref()?, plan.timetable.clone()?);
        Some(Scheduled::new(schedule, timetable, plan.max_active_runs as usize))
    }

    fn new(schedule: &Schedule, timetable: Timetable, max_active_runs: usize) -> Scheduled {
        let Schedule { cron, timezone, every, .. } = schedule;
        Scheduled {
            timetable,
            identity: serde_json::json!([cron, timezone, every]).to_string(),
            overlap: schedule.overlap,
            catch_up: schedule.catch_up,
            window: schedule.window.map(|window| window.0),
            max_active_runs,
        }
    }

    pub fn timetable(&self) -> &Timetable {
        &self.timetable
    }

    /// A text that is another for a schedule of other fire times.
    pub fn identity(&self) -> &str {
        &self.identity
    }

    /// When something is to be decided next.
    pub fn next(&self, standing: &Standing) -> Option<Timestamp> {
        self.timetable.next(standing.decided_until)
    }

    /// How many runs of the pipeline there may be at once.
    pub fn max_active_runs(&self) -> usize {
        self.max_active_runs
    }

    /// How many of the queued fires may start now.
    pub fn room(&self, standing: &Standing) -> usize {
        self.max_active_runs.saturating_sub(standing.active.len())
    }

    /// Decides what has become due. What has been due since `here` was not missed, however late it
    /// is: somebody was there, and was kept from deciding.
    pub fn decide(&self, standing: &Standing, now: Timestamp, here: Timestamp) -> Decision {
        let decided_until = standing.decided_until.max(now);
        let mut decision = Decision { decided_until, ..Decision::default() };
        // By `catch_up: latest`: the last one that was missed, until a later one is due.
        let mut latest = None;
        let due = self.timetable.after(standing.decided_until).take_while(|due| *due <= now);
        for due in due {
            if let Some(earlier) = latest.take() {
                decision.leave_out(earlier, Why::Missed);
            }
            let age = now.duration_since(due);
            let too_old = self.window.is_some_and(|window| age > window);
            match self.catch_up {
                _ if standing.paused => decision.leave_out(due, Why::Paused),
                _ if age <= ON_TIME || due >= here => self.on_time(due, standing, &mut decision),
                CatchUp::None => decision.leave_out(due, Why::Missed),
                _ if too_old => decision.leave_out(due, Why::TooOld),
                CatchUp::Latest => latest = Some(due),
                CatchUp::All => decision.queue.push(self.timetable.interval(due)),
            }
        }
        decision.queue.extend(latest.map(|due| self.timetable.interval(due)));
        decision
    }

    fn on_time(&self, due: Timestamp, standing: &Standing, decision: &mut Decision) {
        let waiting = match decision.replaces_queued {
            true => decision.queue.len(),
            false => decision.queue.len() + standing.queued.len(),
        };
        let is_free = waiting < self.room(standing);
        match self.overlap {
            Overlap::Skip if !is_free => decision.leave_out(due, Why::Overlap),
            Overlap::CancelRunning if !is_free => {
                for earlier in std::mem::take(&mut decision.queue) {
                    decision.leave_out(earlier.end, Why::Replaced);
                }
                decision.replaces_queued = true;
                decision.cancel.clone_from(&standing.active);
                decision.queue.push(self.timetable.interval(due));
            }
            _ => decision.queue.push(self.timetable.interval(due)),
        }
    }
}

impl Decision {
    fn leave_out(&mut self, due: Timestamp, why: Why) {
        // A fire that is replaced may lie before ones that are left out already.
        let follows = |last: &&mut LeftOut| last.why == why && last.last < due;
        match self.left_out.last_mut().filter(follows) {
            Some(row) => {
                row.last = due;
                row.count += 1;
            }
            None => self.left_out.push(LeftOut { first: due, last: due, count: 1, why }),
        }
    }
}
