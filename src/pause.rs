//! `tidemill pause` and `tidemill unpause`

use crate::pipeline::{self, print};
use crate::{Common, INVALID, OK};
use anyhow::{Result, bail};
use jiff::Timestamp;
use orchestrator::load;
use orchestrator::store::Store;
use std::path::Path;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill pause ecommerce_nightly
  tidemill pause pipelines/ecommerce_nightly.yaml

While a schedule is paused, what becomes due is noted as left out. Active runs and those that wait
already go on, and `tidemill run` is not affected.")]
pub struct Arguments {
    /// A pipeline that the daemon knows, by its name, or its YAML file
    pipeline: String,
}

pub fn run(common: &Common, arguments: &Arguments, paused: bool) -> Result<u8> {
    let (now, path) = (Timestamp::now(), Path::new(&arguments.pipeline));
    let (name, mut store) = if path.is_file() {
        let plan = match load::validate(path, &pipeline::kinds(), now) {
            Ok((plan, _)) => plan,
            Err(problems) => {
                pipeline::complain(&problems);
                return Ok(INVALID);
            }
        };
        if plan.schedule.is_none() {
            anstream::eprintln!(
                "`{}` has no schedule: give it one, such as `schedule: {{cron: 0 2 * * *}}`",
                plan.pipeline
            );
            return Ok(INVALID);
        }
        let data_dir = pipeline::data_dir(common, path.parent().unwrap_or(Path::new(".")))?;
        (plan.pipeline, Store::open(&data_dir)?)
    } else {
        let (mut store, data_dir) = pipeline::open_store(common)?;
        if store.is_paused(&arguments.pipeline)?.is_none() {
            bail!(
                "no daemon of `{}` has known a schedule of `{}`; name the pipeline's file",
                data_dir.display(),
                arguments.pipeline
            );
        }
        (arguments.pipeline.clone(), store)
    };
    store.set_paused(&name, paused, now)?;
    print(&format!(
        "{name} {}\n",
        if paused { "is paused" } else { "makes runs of its schedule" }
    ))?;
    Ok(OK)
}
