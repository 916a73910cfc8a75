//! `tidemill logs`

use crate::completions;
use crate::output;
use crate::pipeline;
use crate::stdout::print;
use crate::{Common, OK};
use anyhow::{Result, bail};
use orchestrator::event::Event;
use orchestrator::log;
use orchestrator::run::ownership;
use orchestrator::store::{RunStatus, Store};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill logs latest                 all tasks, one after the other
  tidemill logs latest clean           one task, all its attempts
  tidemill logs latest clean -f        and what it says from now on")]
pub struct Arguments {
    /// The run: its id, a unique beginning or end of it, `latest`, or -2 for the one before that
    #[arg(add = completions::runs(), allow_negative_numbers = true)]
    run: String,
    /// Only this task
    #[arg(add = completions::tasks())]
    task: Option<String>,
    /// Go on until the run ends
    #[arg(short, long)]
    follow: bool,
}

impl Arguments {
    /// Whether the end of the run is waited for.
    pub const fn follows(&self) -> bool {
        self.follow
    }
}

/// An attempt's log, and how much of it has been printed.
struct Tail {
    task: String,
    attempt: u32,
    path: PathBuf,
    printed: u64,
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let (mut store, data_dir) = pipeline::open_store(common)?;
    let row = store.find_run(&arguments.run)?;
    let directory = ownership::run_directory(&data_dir, &row.id);
    let mut tails: Vec<Tail> = Vec::new();
    let mut seen = 0;
    let mut headed: Option<usize> = None;
    loop {
        // Read the state first: what is written before the run ends is then printed.
        let running = pipeline::status(&store.find_run(&row.id)?, &data_dir) == RunStatus::Running;
        seen = find_attempts(&mut store, &row.id, seen, arguments, &directory, &mut tails)?;
        for (index, tail) in tails.iter_mut().enumerate() {
            print_news(tail, headed == Some(index), || headed = Some(index))?;
        }
        if !arguments.follow || !running {
            break;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    match (&arguments.task, tails.is_empty()) {
        (Some(task), true) => bail!("run {} has no attempt at a task `{task}`", row.id),
        _ => Ok(OK),
    }
}

/// Adds the attempts that began since the event `seen`; returns the newest event's number.
fn find_attempts(
    store: &mut Store,
    run: &str,
    seen: u64,
    arguments: &Arguments,
    directory: &Path,
    tails: &mut Vec<Tail>,
) -> Result<u64> {
    let records = store.events(run, seen)?;
    for record in &records {
        if let Event::AttemptStarted { task, attempt } = &record.event
            && arguments.task.as_ref().is_none_or(|wanted| wanted == task)
        {
            let path = log::path(directory, task, *attempt);
            tails.push(Tail { task: task.clone(), attempt: *attempt, path, printed: 0 });
        }
    }
    Ok(records.last().map_or(seen, |record| record.seq))
}

fn print_news(tail: &mut Tail, headed: bool, mut head: impl FnMut()) -> Result<()> {
    let Ok(mut file) = File::open(&tail.path) else { return Ok(()) };
    file.seek(SeekFrom::Start(tail.printed))?;
    let mut news = Vec::new();
    file.read_to_end(&mut news)?;
    // A line is printed when it is whole.
    let whole = news.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
    if whole == 0 {
        return Ok(());
    }
    if !headed {
        let (style, _) = output::state("running");
        let line = format!("{style}── {}, attempt {}{style:#}\n", tail.task, tail.attempt);
        print(&line)?;
        head();
    }
    tail.printed += whole as u64;
    print(&String::from_utf8_lossy(&news[..whole]))?;
    Ok(())
}
