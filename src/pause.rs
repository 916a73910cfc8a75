//! `tidemill pause` and `tidemill unpause`

use crate::arguments::misuse;
use crate::pipeline;
use crate::stdout::{print, print_json};
use crate::{Common, Format, INVALID, OK};
use anyhow::{Result, bail};
use jiff::Timestamp;
use orchestrator::load;
use orchestrator::store::Store;
use serde_json::json;
use std::path::Path;

#[derive(clap::Args)]
pub struct Arguments {
    /// A pipeline that the daemon knows, by its name, or its YAML file
    pipeline: String,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
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
            return Err(misuse(format!(
                "`{}` has no schedule: give it one, such as `schedule: {{cron: 0 2 * * *}}`",
                plan.pipeline
            )));
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
    match arguments.output {
        Format::Json => print_json(&json!({"pipeline": name, "paused": paused}))?,
        Format::Text if paused => print(&format!("{name} is paused\n"))?,
        Format::Text => print(&format!("{name} makes runs of its schedule\n"))?,
    }
    Ok(OK)
}
