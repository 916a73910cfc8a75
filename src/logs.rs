//! `tidemill logs`

mod lines;

use crate::arguments::among;
use crate::pipeline;
use crate::stdout::print;
use crate::{Common, Format, OK, completions, output};
use anyhow::{Result, bail};
use lines::{Level, Message, Reader};
use orchestrator::event::Event;
use orchestrator::log;
use orchestrator::run::ownership;
use orchestrator::store::{RunStatus, Store};
use regex::{Regex, RegexBuilder};
use serde_json::json;
use std::collections::VecDeque;
use std::fmt::Write as _;
use std::path::Path;
use std::time::Duration;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill logs latest                   all tasks, one after the other
  tidemill logs latest clean             one task, all its attempts
  tidemill logs latest clean -n 20 -f    the last lines, and new ones
  tidemill logs latest --level warn      what may be wrong
  tidemill logs latest --grep 'rows?='   lines that match a regular expression
  tidemill logs latest -o json | jq -r 'select(.level == \"error\").message'

An indented line belongs to the one above: they are chosen together, and count as one.")]
pub struct Arguments {
    /// The run: its id, a unique beginning or end of it, `latest`, or -2 for the one before that
    #[arg(add = completions::runs(), allow_negative_numbers = true)]
    run: String,
    /// Only this task
    #[arg(add = completions::tasks())]
    task: Option<String>,
    /// Only this attempt; the first is 1
    #[arg(long, value_name = "N")]
    attempt: Option<u32>,
    /// Only lines of this level, and worse ones
    #[arg(long, value_enum, default_value_t = Level::Info)]
    level: Level,
    /// Only lines that match; small letters stand for capitals too, unless the pattern has any
    #[arg(long, value_name = "REGEX", value_parser = pattern)]
    grep: Option<Regex>,
    /// Only the last N of the lines that are there
    #[arg(short = 'n', long, value_name = "N")]
    tail: Option<usize>,
    /// Go on until the run ends
    #[arg(short, long)]
    follow: bool,
    /// `json`: an object a line
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// A regular expression: `error` finds `Error` too, `Error` only itself.
fn pattern(text: &str) -> std::result::Result<Regex, String> {
    let any_case = !text.chars().any(char::is_uppercase);
    let regex = RegexBuilder::new(text).case_insensitive(any_case).build();
    regex.map_err(|error| error.to_string())
}

impl Arguments {
    /// Whether the end of the run is waited for.
    pub const fn follows(&self) -> bool {
        self.follow
    }

    fn wants(&self, message: &Message) -> bool {
        let matches = |regex: &Regex| regex.is_match(&message.text);
        message.is_at_least(self.level) && self.grep.as_ref().is_none_or(matches)
    }

    /// Whether some of what was said may be left out.
    fn chooses(&self) -> bool {
        self.level != Level::Info || self.grep.is_some()
    }
}

/// An attempt at a task, and its log.
struct Attempt {
    task: String,
    number: u32,
    log: Reader,
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let (mut store, data_dir) = pipeline::open_store(common)?;
    let row = store.find_run(&arguments.run)?;
    let plan = pipeline::restore(&store.stored_run(&row.id)?)?.plan;
    let tasks = || plan.tasks.iter().map(|task| task.name.as_str());
    if let Some(task) = &arguments.task
        && !tasks().any(|known| known == task)
    {
        bail!("run {} has no task `{task}`; {}", row.id, among(task, tasks()));
    }
    let directory = ownership::run_directory(&data_dir, &row.id);
    let mut attempts: Vec<Attempt> = Vec::new();
    let mut printer = Printer { arguments, headed: None, text: String::new() };
    // What is there already, as far as only its end is wanted.
    let mut last: Option<VecDeque<(usize, Message)>> = arguments.tail.map(|_| VecDeque::new());
    let mut seen = 0;
    loop {
        // Read the state first: what is written before the run ends is then printed.
        let running = pipeline::status(&store.find_run(&row.id)?, &data_dir) == RunStatus::Running;
        seen = find_attempts(&mut store, &row.id, seen, arguments, &directory, &mut attempts)?;
        for (index, Attempt { task, number, log }) in attempts.iter_mut().enumerate() {
            log.news(|message| match &mut last {
                _ if !arguments.wants(&message) => Ok(()),
                Some(last) => {
                    last.push_back((index, message));
                    let surplus = last.len().saturating_sub(arguments.tail.unwrap_or(0));
                    last.drain(..surplus);
                    Ok(())
                }
                None => printer.add(index, task, *number, &message),
            })?;
        }
        for (index, message) in last.take().into_iter().flatten() {
            let Attempt { task, number, .. } = &attempts[index];
            printer.add(index, task, *number, &message)?;
        }
        printer.flush()?;
        if !arguments.follow || !running {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    match (&arguments.task, arguments.attempt) {
        _ if !attempts.is_empty() => {}
        (Some(task), None) => bail!(
            "run {} has made no attempt at `{task}`; `tidemill show {}` says why",
            row.id,
            row.id
        ),
        (Some(task), Some(number)) => {
            bail!("run {} has made no attempt {number} at `{task}`", row.id)
        }
        (None, Some(number)) => bail!("no task of run {} has had an attempt {number}", row.id),
        (None, None) => {}
    }
    if printer.headed.is_none() && arguments.tail != Some(0) {
        let which = if arguments.chooses() { " that is asked for" } else { "" };
        anstream::eprintln!("the logs of run {} hold no line{which}", row.id);
    }
    Ok(OK)
}

/// Adds the attempts that began since the event `seen`; returns the newest event's number.
fn find_attempts(
    store: &mut Store,
    run: &str,
    seen: u64,
    arguments: &Arguments,
    directory: &Path,
    attempts: &mut Vec<Attempt>,
) -> Result<u64> {
    let records = store.events(run, seen)?;
    for record in &records {
        if let Event::AttemptStarted { task, attempt } = &record.event
            && arguments.task.as_ref().is_none_or(|wanted| wanted == task)
            && arguments.attempt.is_none_or(|wanted| wanted == *attempt)
        {
            let log = Reader::new(log::path(directory, task, *attempt));
            attempts.push(Attempt { task: task.clone(), number: *attempt, log });
        }
    }
    Ok(records.last().map_or(seen, |record| record.seq))
}

struct Printer<'a> {
    arguments: &'a Arguments,
    /// The attempt whose heading was the last.
    headed: Option<usize>,
    /// What is to be printed: many lines at once.
    text: String,
}

/// So much is printed at once, in bytes.
const CHUNK: usize = 64 * 1024;

impl Printer<'_> {
    /// Takes a message of the attempt `index`, below a heading where another one spoke before.
    fn add(&mut self, index: usize, task: &str, attempt: u32, message: &Message) -> Result<()> {
        if self.arguments.output == Format::Json {
            let Message { at, level, source, text: message } = message;
            let line = json!({
                "task": task,
                "attempt": attempt,
                "time": at,
                "level": level.as_str(),
                "source": source,
                "message": message,
            });
            self.text.push_str(&line.to_string());
        } else {
            if self.headed != Some(index) {
                let (style, _) = output::state("running");
                let _ = write!(self.text, "{style}── {task}, attempt {attempt}");
                if self.headed.is_none() {
                    // All times are of one zone: it is named once.
                    let _ = write!(self.text, ", times: {}", output::zone());
                }
                let _ = writeln!(self.text, "{style:#}");
            }
            self.text.push_str(&message.shown(self.arguments.grep.as_ref()));
        }
        self.headed = Some(index);
        self.text.push('\n');
        if self.text.len() >= CHUNK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<()> {
        print(&self.text)?;
        self.text.clear();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_without_capitals_stands_for_both() {
        let matches = |text: &str, line: &str| pattern(text).unwrap().is_match(line);
        assert!(matches("disk full", "Disk full"));
        assert!(!matches("Disk", "disk full"));
        assert!(pattern("(").unwrap_err().contains("unclosed group"));
    }
}
