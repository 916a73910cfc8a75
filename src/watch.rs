//! `tidemill watch`

use crate::progress::{Display, Style};
use crate::{Common, FAILED, Format, completions, output, pipeline, run};
use anyhow::Result;
use indicatif::MultiProgress;
use jiff::Timestamp;
use orchestrator::attempt::Progress;
use orchestrator::event::Event;
use orchestrator::run::counters::{self, Counted};
use orchestrator::run::{Observer, RunState, ownership};
use orchestrator::store::RunStatus;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill watch           the newest run, until it ends
  tidemill watch 019a3f    another one
  tidemill watch -o json   its events, one a line

Ctrl-C ends the watching, not the run. Exit codes are those of `tidemill run`.")]
pub struct Arguments {
    /// The run: its id, a unique beginning or end of it, `latest`, or -2 for the one before that
    #[arg(default_value = "latest", add = completions::runs(), allow_negative_numbers = true)]
    run: String,
    /// `json`: one event a line, then the summary
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// How often the store is asked for news.
const TICK: Duration = Duration::from_millis(200);
/// What stands for all of a task's work.
const WHOLE: u64 = 10_000;

/// An attempt at work in another process.
struct Watched {
    attempt: u32,
    progress: Arc<Progress>,
    seen: Counted,
}

impl Watched {
    /// Brings the counters to what the other process has written down.
    fn update(&mut self, now: Counted) {
        let (old, new) = (self.seen.counts, now.counts);
        self.progress.add_rows_in(new.rows_in.saturating_sub(old.rows_in));
        self.progress.add_rows_out(new.rows_out.saturating_sub(old.rows_out));
        self.progress.add_bytes_out(new.bytes_out.saturating_sub(old.bytes_out));
        if let Some(share) = now.share {
            let of_whole = |share: f64| (share * WHOLE as f64) as u64;
            self.progress.set_total(WHOLE);
            let before = of_whole(self.seen.share.unwrap_or(0.0));
            self.progress.add_done(of_whole(share).saturating_sub(before));
        }
        self.seen = now;
    }
}

pub fn run(common: &Common, arguments: &Arguments, bars: MultiProgress) -> Result<u8> {
    let (mut store, data_dir) = pipeline::open_store(common)?;
    let row = store.find_run(&arguments.run)?;
    let restored = pipeline::restore(&store.stored_run(&row.id)?)?;
    let catalog = tasks::catalog(&restored.profile(), &data_dir)?;
    let directory = ownership::run_directory(&data_dir, &row.id);
    let display = Display::new(Style::choose(arguments.output == Format::Json), bars);
    let plan = restored.plan.clone();
    let interval = pipeline::interval(plan.interval, &plan.zone());
    display.say(&format!("{}, run {} for {interval}", row.pipeline, row.id));
    // What happens in any of its processes is news here.
    let mut state = RunState::new(plan, &row.id, 0);
    let mut at_work: HashMap<String, Watched> = HashMap::new();
    let mut seen = 0;
    loop {
        // Read the state first: what is written before the run ends is then shown.
        let status = pipeline::status(&store.find_run(&row.id)?, &data_dir);
        for record in store.events(&row.id, seen)? {
            seen = record.seq;
            state.apply(&record.event)?;
            match &record.event {
                Event::AttemptStarted { task, attempt } => {
                    let progress = Arc::new(Progress::default());
                    let since = record.at.duration_until(Timestamp::now()).unsigned_abs();
                    display.at_work(task, *attempt, &progress, since);
                    let seen =
                        Counted { attempt: *attempt, counts: Default::default(), share: None };
                    at_work.insert(task.clone(), Watched { attempt: *attempt, progress, seen });
                }
                Event::AttemptEnded { task, .. } => drop(at_work.remove(task)),
                _ => {}
            }
            display.events(&state, &[record]);
        }
        for (task, counted) in counters::read(&directory) {
            if let Some(watched) = at_work.get_mut(&task).filter(|w| w.attempt == counted.attempt) {
                watched.update(counted);
            }
        }
        display.tick();
        match status {
            RunStatus::Running => std::thread::sleep(TICK),
            RunStatus::Ended(end) => {
                display.close();
                return run::close(&row.id, &state, end, arguments.output, &display, &catalog);
            }
            RunStatus::Crashed => {
                display.close();
                let (style, mark) = output::state("crashed");
                display.say(&format!(
                    "{style}{mark} its process died{style:#}; finish it with: tidemill run --resume {}",
                    row.id
                ));
                return Ok(FAILED);
            }
        }
    }
}
