//! Whether all is well, and what is not.

use crate::Site;
use crate::daemon::KnownPipeline;
use crate::failure::Failure;
use crate::runs;
use crate::words::{self, Clock, Markup, plural};
use jiff::Timestamp;
use orchestrator::event::RunEnd;
use orchestrator::store::{RunFilter, RunRow, RunStatus, Store};
use std::collections::{BTreeMap, BTreeSet};

/// Notices of one sort.
const NOTICES: usize = 4;

/// A run that can be looked at and mended.
pub struct Act {
    pub run: String,
    /// `resume` or `again`.
    pub verb: &'static str,
    pub label: String,
}

pub struct Notice {
    pub state: &'static str,
    pub text: Markup,
}

/// The pipelines, and the newest run of each.
pub struct Overview {
    pub known: BTreeMap<String, KnownPipeline>,
    pub newest: BTreeMap<String, (RunRow, RunStatus)>,
    /// The newest run that was not cancelled, where it went wrong.
    pub trouble: BTreeMap<String, (RunRow, RunStatus)>,
}

impl Overview {
    pub fn load(
        site: &Site,
        store: &mut Store,
        known: &[KnownPipeline],
    ) -> Result<Overview, Failure> {
        let mut overview =
            Overview { known: BTreeMap::new(), newest: BTreeMap::new(), trouble: BTreeMap::new() };
        for one in known {
            // A file without a valid version is called as its file: it takes no other's place.
            overview.known.entry(one.name.clone()).or_insert_with(|| one.clone());
        }
        for name in store.pipelines()? {
            let filter = |limit| RunFilter {
                pipeline: Some(name.clone()),
                limit: Some(limit),
                ..RunFilter::default()
            };
            let mut runs = runs::find(site, store, filter(1), None)?;
            // A run that goes on, or was cancelled, says nothing about the one before it.
            let cancelled = Some(RunEnd::Cancelled);
            if runs.first().is_some_and(|(run, _)| run.end.is_none() || run.end == cancelled) {
                runs = runs::find(site, store, filter(10), None)?;
            }
            let Some(newest) = runs.first().cloned() else { continue };
            let judged = runs
                .into_iter()
                .find(|(run, status)| *status != RunStatus::Running && run.end != cancelled);
            // Nobody could mend what the daemon does not have.
            let is_known = overview.known.get(&name).is_some_and(|known| known.valid);
            if let Some(judged) = judged.filter(|(_, status)| is_known && is_trouble(*status)) {
                overview.trouble.insert(name.clone(), judged);
            }
            overview.newest.insert(name, newest);
        }
        Ok(overview)
    }

    pub fn names(&self) -> BTreeSet<&String> {
        self.known.keys().chain(self.newest.keys()).collect()
    }

    /// The names that a search finds: what needs a person first.
    pub fn order(&self, query: &str) -> Vec<String> {
        let wanted = query.trim().to_lowercase();
        let mut names: Vec<&String> =
            self.names().into_iter().filter(|name| name.to_lowercase().contains(&wanted)).collect();
        // What changes from minute to minute moves no row: somebody may be about to press its button.
        names.sort_by_key(|name| {
            let known = self.known.get(*name);
            let broken = known.is_some_and(|known| !known.valid);
            let rank = match (self.trouble.contains_key(*name), broken) {
                (true, _) => 0,
                (_, true) => 1,
                _ if known.is_none() => 3,
                _ => 2,
            };
            (rank, (*name).clone())
        });
        names.into_iter().cloned().collect()
    }
}

fn is_trouble(status: RunStatus) -> bool {
    matches!(status.as_str(), "failed" | "crashed")
}

/// Six in the evening of yesterday: what a person who comes in the morning has not seen.
pub fn evening(clock: &Clock) -> Timestamp {
    let today = clock.local(clock.now).date();
    let yesterday = today.yesterday().unwrap_or(today);
    let evening = yesterday.at(18, 0, 0, 0).to_zoned(clock.zone.clone());
    evening.map_or(clock.now, |evening| evening.timestamp())
}

/// `last night`, `today`, `yesterday`, `on Sun 22 Nov`
fn when(at: Timestamp, clock: &Clock) -> String {
    let (local, now) = (clock.local(at), clock.local(clock.now));
    let today = now.date();
    let is_night = at >= evening(clock) && (local.date() != today || local.hour() < 7);
    if is_night {
        "last night".to_owned()
    } else if local.date() == today {
        "today".to_owned()
    } else if Some(local.date()) == today.yesterday().ok() {
        "yesterday".to_owned()
    } else {
        format!("on {}", clock.day(local.date()))
    }
}

pub fn ended(row: &RunRow) -> Timestamp {
    row.ended_at.unwrap_or(row.created_at)
}

/// The page's answer: a headline, a sentence, and what can be done.
pub fn verdict(
    store: &mut Store,
    overview: &Overview,
    night: &[RunRow],
    clock: &Clock,
) -> Result<(String, Markup, Option<Act>), Failure> {
    let running =
        overview.newest.values().filter(|(_, status)| *status == RunStatus::Running).count();
    let count = |end: RunEnd| night.iter().filter(|run| run.end == Some(end)).count();
    let (good, bad) = (count(RunEnd::Succeeded), count(RunEnd::Failed));
    let over = good + bad + count(RunEnd::Cancelled);
    let night_words = match over {
        0 => "No run has ended since yesterday evening".to_owned(),
        all if good == all => format!("{} went well since yesterday evening", plural(all, "run")),
        all => format!("{good} of {} since yesterday evening went well", plural(all, "run")),
    };
    let also = |text: Markup| {
        let text = if text.is_empty() { text } else { text.text(" ") };
        let text = text.text(&night_words);
        match running {
            0 => text.text("."),
            1 => text.text(", and 1 is running."),
            many => text.text(&format!(", and {many} are running.")),
        }
    };
    let worst = overview.trouble.iter().max_by_key(|(_, (run, _))| ended(run));
    let Some((name, (run, status))) = worst else {
        let (headline, answer) = match (overview.names().len(), overview.newest.len(), over) {
            (0, _, _) => (
                "No pipelines yet".to_owned(),
                Markup::new().text(
                    "Put a pipeline's YAML file into the daemon's directory: it is shown here as \
                     soon as it is saved.",
                ),
            ),
            (_, 0, _) => (
                "Nothing has run yet".to_owned(),
                Markup::new().text("Start a pipeline below, or wait until one is due."),
            ),
            (_, _, 0) => ("All is well".to_owned(), also(Markup::new())),
            _ if good < over => ("All is well now".to_owned(), also(Markup::new())),
            _ => ("All went well last night".to_owned(), also(Markup::new())),
        };
        return Ok((headline, answer, None));
    };
    let trouble = Trouble::of(store, run, *status)?;
    let all = overview.names().len();
    let headline = match overview.trouble.len() {
        1 => format!("{name} {} {}", status.as_str(), when(ended(run), clock)),
        many => {
            let times: BTreeSet<String> =
                overview.trouble.values().map(|(run, _)| when(ended(run), clock)).collect();
            let when = match times.len() {
                1 => times.into_iter().next().unwrap_or_default(),
                _ => "at their last run".to_owned(),
            };
            format!("{many} of {all} pipelines failed {when}")
        }
    };
    let mut answer = Markup::new();
    if overview.trouble.len() > 1 {
        answer = answer.text("The newest: ").strong(name).text(". ");
    }
    answer = trouble.tell(answer, clock);
    Ok((headline, also(answer), Some(trouble.act)))
}

/// What went wrong in a run.
struct Trouble {
    task: Option<(String, u32)>,
    reason: String,
    at: Timestamp,
    act: Act,
}

impl Trouble {
    fn of(store: &mut Store, run: &RunRow, status: RunStatus) -> Result<Trouble, Failure> {
        let failed = match status {
            RunStatus::Crashed => None,
            _ => store.last_failure(&run.id)?,
        };
        let (label, verb) = match (&failed, status) {
            (_, RunStatus::Crashed) => ("Resume".to_owned(), "resume"),
            (Some((task, ..)), _) => (format!("Run again from {task}"), "again"),
            (None, _) => ("Run again".to_owned(), "again"),
        };
        let reason = failed.as_ref().map(|(_, _, reason)| reason.clone()).unwrap_or_default();
        Ok(Trouble {
            task: failed.map(|(name, attempts, _)| (name, attempts)),
            reason,
            at: ended(run),
            act: Act { run: run.id.clone(), verb, label },
        })
    }

    fn tell(&self, text: Markup, clock: &Clock) -> Markup {
        let at = clock.minute(self.at);
        match &self.task {
            Some((task, attempts)) => {
                let after = match attempts {
                    0 | 1 => String::new(),
                    many => format!(" after {many} attempts"),
                };
                text.text("Its task ")
                    .strong(task)
                    .text(&format!(" gave up at {at}{after}: {}.", first_line(&self.reason)))
            }
            None if self.act.verb == "resume" => {
                text.text(&format!("Begun at {at}, its process died; a resume goes on from there."))
            }
            None => text.text(&format!("It ended at {at}.")),
        }
    }
}

/// Long reasons stand on the page of the run.
fn first_line(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default().trim_end_matches(['.', ':']);
    match line.char_indices().nth(240) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Those that the headline does not tell of.
pub fn other_troubles(
    store: &mut Store,
    overview: &Overview,
    clock: &Clock,
) -> Result<Vec<Notice>, Failure> {
    let mut troubles: Vec<_> = overview.trouble.iter().collect();
    troubles.sort_by_key(|(_, (run, _))| std::cmp::Reverse(ended(run)));
    let mut notices = Vec::new();
    for (name, (run, status)) in troubles.iter().skip(1).take(NOTICES) {
        let trouble = Trouble::of(store, run, *status)?;
        let text = Markup::new().link(&format!("/runs/{}", run.id), name).text(&format!(
            " {} {}. ",
            status.as_str(),
            when(ended(run), clock)
        ));
        notices.push(Notice { state: status.as_str(), text: trouble.tell(text, clock) });
    }
    Ok(notices)
}

pub fn problems(known: &[KnownPipeline], clock: &Clock) -> Vec<Notice> {
    let broken = known.iter().filter_map(|known| Some((known, known.problems.as_ref()?)));
    let notice = |(known, problems): (&KnownPipeline, &String)| {
        let count = problems.lines().filter(|line| line.starts_with("error")).count().max(1);
        let first = problems.lines().next().unwrap_or_default();
        let first = first.split_once(": ").map_or(first, |(_, message)| message);
        let the_first = if count > 1 { ", the first" } else { "" };
        let goes_on = match known.valid {
            true => "Its last valid version stays in use.",
            false => "It can’t be run before that is mended.",
        };
        let href = format!("/pipelines/{}#definition", words::encode(&known.name));
        let text = Markup::new().link(&href, &known.path.display().to_string()).text(&format!(
            " has {} since {}{the_first}: {first}. {goes_on}",
            plural(count, "problem"),
            clock.when(known.since),
        ));
        Notice { state: if known.valid { "warning" } else { "failed" }, text }
    };
    broken.take(NOTICES).map(notice).collect()
}

pub fn left_out(
    store: &mut Store,
    since: Timestamp,
    clock: &Clock,
) -> Result<Vec<Notice>, Failure> {
    let mut notices = Vec::new();
    for (pipeline, row) in store.left_out(since, NOTICES)? {
        let count = match row.count {
            1 => format!(" was not run for {}", clock.when(row.first)),
            many => format!(" was not run {many} times since {}", clock.when(row.first)),
        };
        let href = format!("/pipelines/{}#schedule", words::encode(&pipeline));
        let text = Markup::new().link(&href, &pipeline);
        let text = text.text(&format!("{count}: {}.", row.why.sentence()));
        notices.push(Notice { state: "skipped", text });
    }
    Ok(notices)
}
