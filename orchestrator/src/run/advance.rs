//! What happens next in a run.

use super::retry;
use super::state::{Phase, RunState};
use crate::event::{Event, RunEnd, TaskEnd};
use crate::plan::TriggerRule;
use jiff::Timestamp;

/// Evaluates what a `when` can only know once earlier tasks have ended.
pub trait Conditions {
    /// The truth of the expression in the state, or what is wrong with it.
    fn holds(&self, state: &RunState, expression: &str) -> Result<bool, String>;
}

/// Whether a task runs, now that all before it is decided.
enum Verdict {
    Run,
    End(TaskEnd, Option<String>),
}

impl RunState {
    /// The events that follow from the state at the time `now`, already applied. The caller makes
    /// them durable, then performs their effects: [`Event::AttemptStarted`] is an attempt to start.
    pub fn advance(&mut self, now: Timestamp, conditions: &dyn Conditions) -> Vec<Event> {
        let mut events = Vec::new();
        if self.end().is_some() {
            return events;
        }
        self.schedule_retries(now, &mut events);
        self.judge_fresh(conditions, &mut events);
        self.wake(now);
        self.start_ready(&mut events);
        if self.unfinished == 0 {
            let state = self.final_state();
            self.follow(Event::RunEnded { state }, &mut events);
        }
        events
    }

    /// When [`RunState::advance`] has more to say without another event.
    pub fn wakes_at(&self) -> Option<Timestamp> {
        self.sleeping.first().map(|(at, _)| *at)
    }

    fn follow(&mut self, event: Event, events: &mut Vec<Event>) {
        self.apply(&event).expect("an event derived from the state fits it");
        events.push(event);
    }

    fn name(&self, task: usize) -> String {
        self.plan.tasks[task].name.clone()
    }

    fn schedule_retries(&mut self, now: Timestamp, events: &mut Vec<Event>) {
        while let Some(&task) = self.failing.first() {
            let failures = self.tasks[task].failures;
            let pause = retry::pause(
                &self.plan.tasks[task].retry,
                failures,
                (&self.run_id, &self.plan.tasks[task].name),
            );
            let at = now.checked_add(pause).unwrap_or(Timestamp::MAX);
            self.follow(Event::RetryScheduled { task: self.name(task), at }, events);
        }
    }

    fn judge_fresh(&mut self, conditions: &dyn Conditions, events: &mut Vec<Event>) {
        while let Some(task) = self.fresh.pop_front() {
            if self.tasks[task].phase != Phase::Waiting {
                continue;
            }
            match self.judge(task, conditions) {
                Verdict::Run => self.make_ready(task),
                // Released early by a stream: how its writer ends may still change the reason, and
                // with it what comes after. It is looked at again then.
                Verdict::End(state, _) if self.waits_for_upstream(task, state) => {}
                Verdict::End(state, reason) => {
                    let task = self.name(task);
                    self.follow(Event::TaskEnded { task, state, reason }, events);
                }
            }
        }
    }

    fn waits_for_upstream(&self, task: usize, state: TaskEnd) -> bool {
        self.tasks[task].upstream_open > 0 && (state != TaskEnd::Cancelled || self.cancel.is_none())
    }

    fn judge(&self, task: usize, conditions: &dyn Conditions) -> Verdict {
        let planned = &self.plan.tasks[task];
        let upstream = self.tasks[task].upstream;
        if self.cancel.is_some() && planned.trigger_rule != TriggerRule::Always {
            return Verdict::End(TaskEnd::Cancelled, None);
        }
        match planned.trigger_rule {
            TriggerRule::AllSuccess => {
                if upstream.failed.is_some() {
                    return Verdict::End(TaskEnd::UpstreamFailed, self.blame(task));
                }
                if let Some(other) = upstream.cancelled {
                    let reason = format!("`{}` was cancelled", self.name(other));
                    return Verdict::End(TaskEnd::Cancelled, Some(reason));
                }
                if let Some(other) = upstream.skipped {
                    let reason = format!("`{}` was skipped", self.name(other));
                    return Verdict::End(TaskEnd::Skipped, Some(reason));
                }
            }
            TriggerRule::AnyFailed if upstream.failed.is_none() => {
                let reason = "none of the tasks before it failed".to_owned();
                return Verdict::End(TaskEnd::Skipped, Some(reason));
            }
            TriggerRule::AnyFailed | TriggerRule::AllDone | TriggerRule::Always => {}
        }
        // An attempt was made already: its conditions held.
        if self.tasks[task].attempts > 0 {
            return Verdict::Run;
        }
        if let Some(reason) = &planned.skip {
            return Verdict::End(TaskEnd::Skipped, Some(reason.clone()));
        }
        match planned.when.as_deref().map(|when| (when, conditions.holds(self, when))) {
            None | Some((_, Ok(true))) => Verdict::Run,
            Some((when, Ok(false))) => {
                Verdict::End(TaskEnd::Skipped, Some(format!("`{when}` is false")))
            }
            Some((when, Err(error))) => {
                Verdict::End(TaskEnd::Failed, Some(format!("`when: {when}`: {error}")))
            }
        }
    }

    /// Moves the tasks whose pause is over to the ready ones.
    fn wake(&mut self, now: Timestamp) {
        while let Some(&(at, task)) = self.sleeping.first() {
            if at > now {
                break;
            }
            self.sleeping.pop_first();
            self.make_ready(task);
        }
    }

    fn start_ready(&mut self, events: &mut Vec<Event>) {
        while let Some(task) = self.next_startable() {
            let attempt = self.tasks[task].attempts + 1;
            self.follow(Event::AttemptStarted { task: self.name(task), attempt }, events);
        }
    }

    /// The first ready task for which there is room; a reader of a stream needs none.
    fn next_startable(&self) -> Option<usize> {
        let has_room = self.slots_used < self.jobs;
        let first = self.ready.first().filter(|_| has_room);
        first.or_else(|| self.ready_readers.first()).map(|(_, task)| *task)
    }

    fn final_state(&self) -> RunEnd {
        let any = |state| self.tasks.iter().any(|task| task.phase == Phase::Ended(state));
        if any(TaskEnd::Cancelled) {
            RunEnd::Cancelled
        } else if any(TaskEnd::Failed) || any(TaskEnd::UpstreamFailed) {
            RunEnd::Failed
        } else {
            RunEnd::Succeeded
        }
    }
}
