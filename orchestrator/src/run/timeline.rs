//! When the tasks of a run were at work: a fold over its events.

use crate::event::{AttemptResult, Event};
use crate::store::Record;
use jiff::{SignedDuration, Timestamp};
use std::collections::HashMap;

#[derive(Clone, Debug, Default)]
pub struct Timeline {
    first: Option<Timestamp>,
    last: Option<Timestamp>,
    attempts: HashMap<String, Vec<AttemptSpan>>,
    /// When each task reached its final state.
    ends: HashMap<String, Timestamp>,
}

/// One attempt at a task.
#[derive(Clone, Debug, PartialEq)]
pub struct AttemptSpan {
    /// Counts from 1.
    pub number: u32,
    pub started: Timestamp,
    /// When and how it ended, if it has.
    pub ended: Option<(Timestamp, AttemptResult)>,
}

impl Timeline {
    pub fn record(&mut self, record: &Record) {
        self.first.get_or_insert(record.at);
        self.last = Some(record.at);
        match &record.event {
            Event::AttemptStarted { task, attempt } => {
                let span = AttemptSpan { number: *attempt, started: record.at, ended: None };
                self.attempts.entry(task.clone()).or_default().push(span);
            }
            Event::AttemptEnded { task, result, .. } => {
                if let Some(span) = self.attempts.get_mut(task).and_then(|all| all.last_mut()) {
                    span.ended = Some((record.at, result.clone()));
                }
            }
            Event::TaskEnded { task, .. } => drop(self.ends.insert(task.clone(), record.at)),
            _ => {}
        }
    }

    /// The attempts at a task, oldest first.
    pub fn attempts(&self, task: &str) -> &[AttemptSpan] {
        self.attempts.get(task).map_or(&[], Vec::as_slice)
    }

    /// When a task reached its final state, if it has.
    pub fn end_of(&self, task: &str) -> Option<Timestamp> {
        let last = self.attempts(task).last();
        let of_attempt = last.and_then(|last| last.ended.as_ref()).map(|(at, _)| *at);
        self.ends.get(task).copied().or(of_attempt)
    }

    /// From a task's first attempt to the end of its last, or to `now`.
    pub fn task(&self, task: &str, now: Timestamp) -> Option<SignedDuration> {
        let attempts = self.attempts(task);
        let (first, last) = (attempts.first()?, attempts.last()?);
        let end = last.ended.as_ref().map_or(now, |(at, _)| *at);
        Some(first.started.duration_until(end))
    }

    /// The times of the run's first event and of its last.
    pub fn span(&self) -> Option<(Timestamp, Timestamp)> {
        Some((self.first?, self.last?))
    }

    /// From the run's first event to its last.
    pub fn run(&self) -> SignedDuration {
        self.span().map_or(SignedDuration::ZERO, |(first, last)| first.duration_until(last))
    }
}
