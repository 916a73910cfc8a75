//! `tidemill history`

use crate::output::{self, Align, Table};
use crate::pipeline::{self, print};
use crate::{Common, Format, OK};
use anyhow::Result;
use jiff::tz::TimeZone;
use orchestrator::store::RunFilter;
use serde_json::json;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill history
  tidemill history ecommerce -n 5
  tidemill history -o json | jq '.[0].run'")]
pub struct Arguments {
    /// Only runs of this pipeline
    pipeline: Option<String>,
    /// How many, newest first
    #[arg(short = 'n', long, default_value_t = 20)]
    limit: usize,
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let (mut store, data_dir) = pipeline::open_store(common)?;
    let filter = RunFilter {
        pipeline: arguments.pipeline.clone(),
        limit: Some(arguments.limit),
        ..RunFilter::default()
    };
    let rows = store.runs(&filter)?;
    if arguments.output == Format::Json {
        let runs: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "run": row.id,
                    "pipeline": row.pipeline,
                    "state": pipeline::status(row, &data_dir).as_str(),
                    "trigger": row.trigger.as_str(),
                    "pid": row.pid.filter(|_| row.end.is_none()),
                    "created_at": row.created_at,
                    "ended_at": row.ended_at,
                    "interval_start": row.interval.start,
                    "interval_end": row.interval.end,
                })
            })
            .collect();
        print(&format!("{}\n", serde_json::to_string_pretty(&runs)?))?;
        return Ok(OK);
    }
    if rows.is_empty() {
        let of = arguments.pipeline.as_ref().map(|name| format!(" of `{name}`"));
        print(&format!("no runs{} yet\n", of.unwrap_or_default()))?;
        return Ok(OK);
    }
    let mut table = Table::new(&[
        ("run", Align::Left),
        ("pipeline", Align::Left),
        ("state", Align::Left),
        ("interval", Align::Left),
        ("started", Align::Left),
        ("duration", Align::Right),
    ]);
    let mut crashed = false;
    for row in &rows {
        let status = pipeline::status(row, &data_dir).as_str();
        crashed |= status == "crashed";
        let duration = row.ended_at.map(|end| row.created_at.duration_until(end));
        table.row(vec![
            row.id.clone(),
            row.pipeline.clone(),
            output::state_label(status),
            // Of its pipeline no more is known here than its name.
            pipeline::interval(row.interval, &TimeZone::UTC),
            output::time(row.created_at),
            duration.map(output::duration).unwrap_or_default(),
        ]);
    }
    print(&format!("{table}\ntimes: {}\n", output::zone()))?;
    if crashed {
        print("A crashed run can be finished: tidemill run --resume RUN\n")?;
    }
    Ok(OK)
}
