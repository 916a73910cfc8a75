//! `tidemill kv`

use crate::output::{self, Align, Table};
use crate::pipeline;
use crate::stdout::{print, print_json};
use crate::{Common, FAILED, Format, OK};
use anyhow::Result;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::Path;
use tasks::bulk_load::{kv_get, kv_scan};
use tasks::places::kv::Row;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill kv get ecommerce_table 498744920003
  tidemill kv scan ecommerce_table --prefix 4987 -n 5
  tidemill kv scan ecommerce_table -o json --profile cluster")]
pub struct Arguments {
    #[command(subcommand)]
    verb: Verb,
    /// Profile of tidemill.yaml [default: the one it names, else embedded]
    #[arg(long, global = true, value_name = "NAME")]
    profile: Option<String>,
}

#[derive(clap::Subcommand)]
enum Verb {
    /// Print the row of a key
    #[command(after_help = "Examples:
  tidemill kv get ecommerce_table 498744920003
  tidemill kv get ecommerce_table 498744920003 -o json | jq .cells")]
    Get {
        /// The table, as behind `kv:`
        table: String,
        /// The key of the row
        key: String,
        /// How results are printed
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
    /// Print rows in the order of their keys
    #[command(after_help = "Examples:
  tidemill kv scan ecommerce_table   the first 20 rows
  tidemill kv scan ecommerce_table --prefix 4987 -n 5")]
    Scan {
        /// The table, as behind `kv:`
        table: String,
        /// Only keys that begin with this
        #[arg(long, default_value = "")]
        prefix: String,
        /// At most so many rows
        #[arg(short = 'n', long, value_name = "N", default_value_t = 20)]
        limit: usize,
        /// How results are printed
        #[arg(short, long, value_enum, default_value_t = Format::Text)]
        output: Format,
    },
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let data_dir = pipeline::data_dir(common, Path::new("."))?;
    let places = tasks::catalog(&pipeline::profile(arguments.profile.as_deref())?, &data_dir)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match &arguments.verb {
        Verb::Get { table, key, output } => {
            let row = runtime.block_on(kv_get(&places, bare(table), key))?;
            let Some(row) = row else {
                anstream::eprintln!("`{table}` has no row `{key}`");
                return Ok(FAILED);
            };
            match output {
                Format::Json => print_json(&as_json(&row))?,
                Format::Text => print(&cells(&row))?,
            }
        }
        Verb::Scan { table, prefix, limit, output } => {
            let rows = runtime.block_on(kv_scan(&places, bare(table), prefix, *limit))?;
            match output {
                Format::Json => {
                    let rows: Vec<Value> = rows.iter().map(as_json).collect();
                    print_json(&rows)?;
                }
                Format::Text => print(&lines(&rows, *limit))?,
            }
        }
    }
    Ok(OK)
}

/// People may write `kv:ecommerce_table` too.
fn bare(table: &str) -> &str {
    table.strip_prefix("kv:").unwrap_or(table)
}

fn as_json(row: &Row) -> Value {
    let cells: Map<String, Value> = row
        .cells
        .iter()
        .map(|cell| {
            let value = json!({ "value": cell.value, "timestamp": cell.timestamp });
            (cell.column.clone(), value)
        })
        .collect();
    json!({ "key": row.key, "cells": cells })
}

fn cells(row: &Row) -> String {
    let mut table =
        Table::new(&[("column", Align::Left), ("value", Align::Left), ("timestamp", Align::Left)]);
    for cell in &row.cells {
        let at = output::time(cell.timestamp);
        table.row(vec![cell.column.clone(), cell.value.clone(), at]);
    }
    format!("{}\n\n{table}\ntimes: {}\n", row.key, output::zone())
}

fn lines(rows: &[Row], limit: usize) -> String {
    let bold = anstyle::Style::new().bold();
    let mut text = String::new();
    for row in rows {
        let cells: Vec<String> =
            row.cells.iter().map(|cell| format!("{}={}", cell.column, cell.value)).collect();
        let _ = writeln!(text, "{bold}{}{bold:#}  {}", row.key, cells.join("  "));
    }
    let more = if rows.len() == limit { " (there may be more: --limit)" } else { "" };
    let _ = writeln!(text, "{} rows{more}", rows.len());
    text
}
