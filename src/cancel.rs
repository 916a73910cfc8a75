//! `tidemill cancel`

use crate::completions;
use crate::pipeline::{self, print};
use crate::{Common, FAILED, OK};
use anyhow::Result;
use jiff::Timestamp;
use orchestrator::store::RunStatus;
use std::time::{Duration, Instant};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill cancel latest
  tidemill cancel 019a3f --reason 'wrong date'")]
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
}

/// How long a run is given to end before we stop waiting for it.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let (mut store, data_dir) = pipeline::open_store(common)?;
    let row = store.find_run(&arguments.run)?;
    match pipeline::status(&row, &data_dir) {
        RunStatus::Running => {}
        RunStatus::Ended(end) => {
            print(&format!("run {} has ended already: {}\n", row.id, end.as_str()))?;
            return Ok(OK);
        }
        RunStatus::Crashed => {
            print(&format!(
                "the process of run {} died, so there is nothing to stop; \
                 `tidemill run --resume {}` would go on with it\n",
                row.id, row.id
            ))?;
            return Ok(OK);
        }
    }
    store.request_cancel(&row.id, Timestamp::now(), &arguments.reason)?;
    if arguments.no_wait {
        print(&format!("asked run {} to stop\n", row.id))?;
        return Ok(OK);
    }
    let deadline = Instant::now() + PATIENCE;
    loop {
        let row = store.find_run(&row.id)?;
        match pipeline::status(&row, &data_dir) {
            RunStatus::Running if Instant::now() < deadline => {
                std::thread::sleep(Duration::from_millis(50));
            }
            RunStatus::Running => {
                print(&format!("run {} has not ended after {PATIENCE:?}\n", row.id))?;
                return Ok(FAILED);
            }
            status => {
                print(&format!("run {} is {}\n", row.id, status.as_str()))?;
                return Ok(OK);
            }
        }
    }
}
