//! `tidemill cancel`

use crate::completions;
use crate::pipeline;
use crate::stdout::{print, print_json};
use crate::{Common, FAILED, Format, OK};
use anyhow::Result;
use jiff::Timestamp;
use orchestrator::store::RunStatus;
use serde_json::json;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill cancel latest
  tidemill cancel 019a3f --reason 'wrong date'

Waits until the run has ended, at most a minute. Exit code: 1 if it has not ended by then.")]
pub struct Arguments {
    /// The run: its id, a unique beginning or end of it, `latest`, or -2 for the one before that
    #[arg(add = completions::runs(), allow_negative_numbers = true)]
    run: String,
    /// Kept in the run's history
    #[arg(long, default_value = "`tidemill cancel`")]
    reason: String,
    /// Come back at once instead of waiting until the run has ended
    #[arg(long)]
    no_wait: bool,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

/// How long a run is given to end before we stop waiting for it.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let (mut store, data_dir) = pipeline::open_store(common)?;
    let mut row = store.find_run(&arguments.run)?;
    let before = pipeline::status(&row, &data_dir);
    let asked = before == RunStatus::Running;
    let mut status = before;
    if asked {
        store.request_cancel(&row.id, Timestamp::now(), &arguments.reason)?;
        let deadline = Instant::now() + PATIENCE;
        while status == RunStatus::Running && !arguments.no_wait && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            row = store.find_run(&row.id)?;
            status = pipeline::status(&row, &data_dir);
        }
    }
    let is_late = status == RunStatus::Running && !arguments.no_wait;
    if arguments.output == Format::Json {
        print_json(&json!({"run": row.id, "state": status.as_str(), "asked": asked}))?;
    } else {
        let (run, state) = (&row.id, status.as_str());
        print(&match before {
            RunStatus::Running if is_late => {
                format!("run {run} has not ended after {PATIENCE:?}\n")
            }
            RunStatus::Running if arguments.no_wait => format!("asked run {run} to stop\n"),
            RunStatus::Running => format!("run {run} is {state}\n"),
            RunStatus::Ended(_) => format!("run {run} has ended already: {state}\n"),
            RunStatus::Crashed => format!(
                "the process of run {run} died, so there is nothing to stop; \
                 `tidemill run --resume {run}` would go on with it\n"
            ),
        })?;
    }
    Ok(if is_late { FAILED } else { OK })
}
