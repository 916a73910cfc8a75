//! `tidemill query`

use crate::pipeline;
use crate::stdout;
use crate::{Common, OK};
use anyhow::{Context, Result};
use clap::ValueEnum;
use jiff::{SignedDuration, Timestamp};
use orchestrator::attempt::TaskError;
use orchestrator::store::{QueryRow, Store};
use std::io::Read;
use std::path::Path;
use std::time::Instant;
use tasks::engine::query::{RowFormat, query, write_rows};
use tasks::engine::{Engine, EngineOptions};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill query 'select count(*) from clean_orders'
  tidemill query 'select * from top_products' -o csv > top.csv
  tidemill query - < question.sql
  tidemill query 'select * from top_products' -o json | jq '.[0]'")]
pub struct Arguments {
    /// SQL over the newest versions of all tables; `-` reads it from standard input
    sql: String,
    /// Profile of tidemill.yaml [default: the one it names, else embedded]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// How rows are printed
    #[arg(short, long, value_enum, default_value_t = Output::Table)]
    output: Output,
    /// (internal) The statistics don't count it: nobody has asked it
    #[arg(long, hide = true)]
    uncounted: bool,
}

#[derive(Clone, Copy, ValueEnum)]
enum Output {
    Table,
    Csv,
    Json,
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let data_dir = pipeline::data_dir(common, Path::new("."))?;
    let mut sql = arguments.sql.clone();
    if sql == "-" {
        sql.clear();
        std::io::stdin().read_to_string(&mut sql).context("cannot read standard input")?;
    }
    let places = tasks::catalog(&pipeline::profile(arguments.profile.as_deref())?, &data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let spill = std::env::temp_dir().join(format!("tidemill-query-{}", std::process::id()));
    std::fs::create_dir_all(&spill)?;
    let format = match arguments.output {
        Output::Table => RowFormat::Table,
        Output::Csv => RowFormat::Csv,
        Output::Json => RowFormat::Json,
    };
    let engine = Engine::new(EngineOptions::default());
    let (at, began) = (Timestamp::now(), Instant::now());
    let done = runtime.block_on(async {
        let rows = query(&engine, &places, &sql, &spill).await?;
        let mut out = std::io::BufWriter::new(stdout::Out);
        write_rows(rows, format, &mut out).await
    });
    // Only scratch files of this query.
    let _ = std::fs::remove_dir_all(&spill);
    if !arguments.uncounted {
        note(&data_dir, sql, at, began, &done);
    }
    done?;
    Ok(OK)
}

/// Keeps what was asked, for the statistics; where nothing has run yet, there is no place for it.
fn note(
    data_dir: &Path,
    sql: String,
    at: Timestamp,
    began: Instant,
    done: &Result<u64, TaskError>,
) {
    let took = SignedDuration::try_from(began.elapsed()).unwrap_or(SignedDuration::MAX);
    let result = done.as_ref().copied().map_err(ToString::to_string);
    let noted = Store::open_existing(data_dir).and_then(|store| match store {
        Some(mut store) => store.record_query(&QueryRow { at, sql, took, result }),
        None => Ok(()),
    });
    // The answer matters more.
    if let Err(error) = noted {
        tracing::warn!("the query is not in the statistics: {error}");
    }
}
