//! What became of a run, why, and what there is to know of it.

use crate::failure::Failure;
use crate::runs::{self, RunView};
use crate::words::{self, Clock, Markup, duration, plural};
use jiff::{SignedDuration, Timestamp};
use orchestrator::event::{RunEnd, TaskEnd};
use orchestrator::figures::quantile;
use orchestrator::run::{Phase, TaskState};
use orchestrator::store::{RunFilter, RunState, RunStatus, Store};

pub struct Fact {
    pub name: &'static str,
    pub value: String,
    pub note: Markup,
}

/// What good runs before a run tell of it.
#[derive(Clone, Debug, Default)]
pub struct Usual {
    /// How long they take: the median of the last ones.
    pub took: Option<SignedDuration>,
    /// The last of them, and whether its definition is another.
    pub last: Option<(String, bool)>,
}

pub fn usual(store: &mut Store, run: &RunView) -> Result<Usual, Failure> {
    let filter = RunFilter {
        pipeline: Some(run.row.pipeline.clone()),
        state: Some(RunState::Ended(RunEnd::Succeeded)),
        before: Some((run.row.created_at, run.row.id.clone())),
        limit: Some(15),
        ..RunFilter::default()
    };
    let good = store.runs(&filter)?;
    let mut spans: Vec<SignedDuration> = (good.iter())
        .filter_map(|run| Some(run.created_at.duration_until(run.ended_at?)))
        .collect();
    let last = match good.first() {
        Some(last) => {
            let digest = store.definition_of(&last.id)?;
            Some((last.id.clone(), digest.as_deref() != Some(&*run.definition_digest)))
        }
        None => None,
    };
    let took = if spans.len() < 3 { None } else { quantile(&mut spans, 0.5) };
    Ok(Usual { took, last })
}

/// The page's answer: what became of the run, or how far it is.
pub fn verdict(
    run: &RunView,
    usual: &Usual,
    cancelling: Option<&str>,
    clock: &Clock,
) -> (String, Markup) {
    let took = duration(run.took(clock.now));
    let all = run.plan().tasks.len();
    let text = Markup::new();
    let succeeded = run.count(TaskEnd::Succeeded);
    match run.status {
        RunStatus::Running => {
            let headline = format!("Running: {} of {} done", run.ended(), plural(all, "task"));
            let at_work: Vec<String> = (run.state.tasks())
                .filter(|(_, task)| task.phase == Phase::Running)
                .map(|(name, _)| format!("`{name}`"))
                .collect();
            let mut answer = match at_work.as_slice() {
                [] => text.text("No task is at work now."),
                names => {
                    let verb = if names.len() == 1 { "is" } else { "are" };
                    text.text(&format!("{} {verb} at work.", words::list(names)))
                }
            };
            answer = answer.text(&format!(" It started {}", clock.when(run.row.created_at)));
            let end = usual.took.and_then(|usual| run.row.created_at.checked_add(usual).ok());
            answer = match end.filter(|end| *end > clock.now) {
                Some(end) => {
                    answer.text(" and should end at about ").strong(&clock.minute(end)).text(".")
                }
                None => answer.text(&format!(", {took} ago.")),
            };
            if let Some(reason) = run.state.cancel_reason().or(cancelling) {
                answer = answer.text(&format!(" It was asked to stop: {reason}."));
                return ("Cancelling".to_owned(), answer);
            }
            (headline, answer)
        }
        RunStatus::Ended(RunEnd::Succeeded) => {
            let again: u32 =
                run.state.tasks().map(|(_, task)| task.attempts.saturating_sub(1)).sum();
            let mut answer = text.text(&format!("It ended {}", clock.when(run.end(clock.now))));
            answer = match again {
                0 => answer.text("; no task needed a second attempt."),
                more => answer.text(&format!(
                    " after {}.",
                    plural(more as usize, "retry").replace("retrys", "retries")
                )),
            };
            (format!("Succeeded in {took}"), answer)
        }
        RunStatus::Ended(RunEnd::Failed) => {
            let failed: Vec<(&str, &TaskState)> = run.failed().collect();
            let Some((name, task)) = failed.first() else {
                return ("Failed".to_owned(), text.text(&format!("After {took}.")));
            };
            let reason = task.reason.clone().unwrap_or_default();
            let first = reason.lines().next().unwrap_or_default().trim_end_matches([':', '.']);
            let headline = match first.chars().count() {
                0..=70 => format!("Failed: {}", first.replace('`', "")),
                _ => format!("Failed at {name}"),
            };
            let after = match task.attempts {
                0 | 1 => String::new(),
                many => format!(" after {many} attempts"),
            };
            let at = run.timeline.end_of(name).unwrap_or_else(|| run.end(clock.now));
            let mut answer =
                text.strong(name).text(&format!(" failed at {}{after}", clock.minute(at)));
            if failed.len() > 1 {
                let others = failed[1..].iter().map(|(name, _)| format!("`{name}`"));
                let others: Vec<String> = others.collect();
                answer = answer.text(&format!(", and so did {}", words::list(&others)));
            }
            let behind = run.count(TaskEnd::UpstreamFailed);
            answer = answer.text(&match behind {
                0 => ".".to_owned(),
                some => format!("; {} behind it did not run.", plural(some, "task")),
            });
            let kept = match succeeded {
                0 => String::new(),
                1 => " What the task that succeeded published stays.".to_owned(),
                _ => format!(" What the {succeeded} tasks that succeeded published stays."),
            };
            (headline, answer.text(&kept))
        }
        RunStatus::Ended(RunEnd::Cancelled) => {
            let reason = run.state.cancel_reason().unwrap_or("no reason is known");
            let answer = text.text(&format!(
                "It was asked to stop: {reason}. {succeeded} of {} had succeeded.",
                plural(all, "task")
            ));
            (format!("Cancelled after {took}"), answer)
        }
        RunStatus::Crashed => {
            let answer = text.text(&format!(
                "Its last sign of life was {}; {} of {} had succeeded. A resume goes on from \
                 there and loses nothing.",
                clock.when(run.end(clock.now)),
                succeeded,
                plural(all, "task")
            ));
            ("Its process died".to_owned(), answer)
        }
    }
}

/// Failed tasks that are told of at length.
const TOLD: usize = 20;

/// The tasks that failed, each at its line of the definition.
pub fn why(run: &RunView) -> Option<String> {
    let definition = &run.restored.definition;
    let lines: Vec<&str> = definition.pipeline.text.lines().collect();
    let mut text = String::new();
    for (name, task) in run.failed().take(TOLD) {
        if !text.is_empty() {
            text.push('\n');
        }
        let reason = task.reason.as_deref().unwrap_or("it does not say why");
        let (first, rest) = reason.split_once('\n').unwrap_or((reason, ""));
        match definition.line_of(&["tasks", name]) {
            Some(line) => {
                let source = lines.get(line - 1).copied().unwrap_or_default();
                let gutter = " ".repeat(line.to_string().len());
                let indent = source.len() - source.trim_start().len();
                let (blank, carets) = (" ".repeat(indent), "^".repeat(name.chars().count()));
                text.push_str(&format!(
                    "{}:{line}\n{line} | {source}\n{gutter} | {blank}{carets} {first}\n",
                    definition.pipeline.path
                ));
            }
            None => text.push_str(&format!("{name}: {first}\n")),
        }
        for line in rest.lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    let more = run.count(TaskEnd::Failed).saturating_sub(TOLD);
    if more > 0 {
        text.push_str(&format!("\nand {} more\n", plural(more, "failed task")));
    }
    (!text.is_empty()).then_some(text)
}

pub fn marks(run: &RunView) -> Vec<usize> {
    let line = |(name, _): (&str, &TaskState)| run.restored.definition.line_of(&["tasks", name]);
    run.failed().take(TOLD).filter_map(line).collect()
}

/// What a new run of the same would be called.
pub fn again_label(run: &RunView) -> Option<String> {
    match run.status {
        RunStatus::Running | RunStatus::Crashed => None,
        RunStatus::Ended(RunEnd::Failed) => {
            let first = run.failed().next();
            Some(first.map_or("Run again".into(), |(name, _)| format!("Run again from {name}")))
        }
        RunStatus::Ended(_) => Some("Run again".to_owned()),
    }
}

pub fn facts(run: &RunView, usual: &Usual, clock: &Clock) -> Vec<Fact> {
    let plan = run.plan();
    let both =
        |at: Timestamp| format!("{}, {}", clock.day(clock.local(at).date()), clock.minute(at));
    let params: Vec<String> = plan
        .params
        .iter()
        .map(|(name, value)| match value {
            serde_json::Value::String(text) => format!("{name} {text}"),
            other => format!("{name} {other}"),
        })
        .collect();
    let (first, others) = match params.split_first() {
        Some((first, others)) => (first.clone(), others.join(", ")),
        None => ("none".to_owned(), String::new()),
    };
    let note = |text: String| Markup::new().text(&text);
    let digest = run.definition_digest.get(..8).unwrap_or_default();
    let mut facts = vec![
        Fact {
            name: "Interval",
            value: clock.interval(run.row.interval, &plan.zone()),
            note: note(format!(
                "{} to {}",
                both(run.row.interval.start),
                both(run.row.interval.end)
            )),
        },
        Fact {
            name: "Started",
            value: clock.second(run.row.created_at),
            note: note(format!(
                "{}, {}",
                clock.day(clock.local(run.row.created_at).date()),
                runs::trigger(run.row.trigger)
            )),
        },
        Fact {
            name: if run.status == RunStatus::Running { "So far" } else { "Took" },
            value: duration(run.took(clock.now)),
            note: note(
                usual
                    .took
                    .map_or(String::new(), |usual| format!("a good run takes {}", duration(usual))),
            ),
        },
        Fact { name: "Parameters", value: first, note: note(others) },
        Fact {
            name: "Definition",
            value: digest.to_owned(),
            note: match &usual.last {
                None => Markup::new().link("#definition", "as it was then"),
                Some((last, is_other)) => {
                    let text = if *is_other { "another than of the " } else { "same as of the " };
                    Markup::new().text(text).link(&format!("/runs/{last}"), "last good run")
                }
            },
        },
        Fact { name: "Profile", value: plan.profile.clone(), note: Markup::new() },
    ];
    if let Some(pid) = run.row.pid.filter(|_| run.status == RunStatus::Running) {
        facts[5].note = note(format!("process {pid}"));
    }
    facts
}
