//! `cargo xtask bench`: how fast and how large, as medians of repeated runs, into a JSON file; and
//! beside it the tool that a user would otherwise take. Timings never decide a test.

mod compare;
mod daemon;
mod duckdb;
mod measure;
mod servers;
mod stages;

use crate::root;
use anyhow::{Context, Result};
use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask bench                                   all but `servers`, at 1 million rows
  cargo xtask bench --rows 10000000 --rounds 3
  cargo xtask bench --stage etl --rows 10000000       our ETL and DuckDB's, alternating
  cargo xtask bench --stage servers                   on Kafka, HDFS and HBase, beside others
  cargo xtask bench --stage servers --part land --rounds 5
  cargo xtask bench --compare before.json after.json")]
pub struct Arguments {
    /// Orders to generate
    #[arg(long, default_value_t = 1_000_000)]
    rows: u64,
    /// How often each stage is repeated
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only these stages; may be repeated. By default all that need no servers
    #[arg(long, value_enum)]
    stage: Vec<Stage>,
    /// Where the figures go
    #[arg(long, default_value = "target/bench/latest.json")]
    out: PathBuf,
    /// Measure this binary, and what was built beside it, instead of building one
    #[arg(long)]
    program: Option<PathBuf>,
    /// Compare two files of figures instead of measuring
    #[arg(long, num_args = 2, value_names = ["BEFORE", "AFTER"])]
    compare: Option<Vec<PathBuf>>,
    #[command(flatten)]
    servers: servers::Options,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Stage {
    /// pipelines/ecommerce.yaml as a whole, and each of its tasks
    Pipeline,
    /// Parse, clean, deduplicate and aggregate a CSV file, beside DuckDB
    Etl,
    /// What a run costs beside its work
    Overhead,
    /// How fast `--help` and `validate` answer
    Cli,
    /// How soon the daemon is ready, what it costs, how late its runs are, how fast its pages
    Daemon,
    /// On real servers, each beside the tool that one would take otherwise: Kafka's
    /// ProducerPerformance, Spark, a Java client of HBase. Needs a JDK and Maven; fetches the
    /// servers and starts them, see docs/cluster.md
    Servers,
}

/// What was measured, as it is stored.
#[derive(Debug, Serialize, Deserialize)]
struct Figures {
    processors: usize,
    rows: u64,
    rounds: usize,
    /// By name, such as `pipeline.clean.seconds`.
    figures: BTreeMap<String, Figure>,
}

/// One figure: the median of all rounds, the extremes, and its unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Figure {
    unit: String,
    median: f64,
    min: f64,
    max: f64,
}

/// Values gathered over rounds.
#[derive(Default)]
struct Gathered(BTreeMap<String, (&'static str, Vec<f64>)>);

impl Gathered {
    fn add(&mut self, name: impl Into<String>, unit: &'static str, value: f64) {
        self.0.entry(name.into()).or_insert((unit, Vec::new())).1.push(value);
    }

    fn figures(self) -> BTreeMap<String, Figure> {
        self.0
            .into_iter()
            .map(|(name, (unit, mut values))| {
                values.sort_by(f64::total_cmp);
                let figure = Figure {
                    unit: unit.to_owned(),
                    median: values[values.len() / 2],
                    min: values[0],
                    max: values[values.len() - 1],
                };
                (name, figure)
            })
            .collect()
    }
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if let Some([before, after]) = arguments.compare.as_deref() {
        return compare::compare(before, after);
    }
    let mut gathered = Gathered::default();
    let wanted = |stage| arguments.stage.is_empty() || arguments.stage.contains(&stage);
    let bench = stages::Bench::prepare(arguments)?;
    if wanted(Stage::Cli) {
        bench.cli(&mut gathered)?;
    }
    if wanted(Stage::Overhead) {
        bench.overhead(&mut gathered)?;
    }
    if wanted(Stage::Etl) {
        bench.etl(&mut gathered)?;
    }
    if wanted(Stage::Pipeline) {
        bench.pipeline(&mut gathered)?;
    }
    if wanted(Stage::Daemon) {
        daemon::run(&bench, &mut gathered)?;
    }
    // It fetches and starts much: only if it is named.
    if arguments.stage.contains(&Stage::Servers) {
        servers::run(&bench, &arguments.servers, &mut gathered)?;
    }
    let figures = Figures {
        processors: std::thread::available_parallelism().map_or(1, Into::into),
        rows: arguments.rows,
        rounds: arguments.rounds,
        figures: gathered.figures(),
    };
    compare::print(&figures.figures);
    let out = root().join(&arguments.out);
    if let Some(directory) = out.parent() {
        std::fs::create_dir_all(directory)?;
    }
    std::fs::write(&out, serde_json::to_vec_pretty(&figures)?)
        .with_context(|| format!("cannot write `{}`", out.display()))?;
    println!("\nwritten to {}", out.display());
    Ok(())
}
