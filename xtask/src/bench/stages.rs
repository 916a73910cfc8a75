//! What is measured.

use super::measure::{Measured, measure};
use super::{Arguments, Gathered, duckdb};
use crate::{cargo, root, target_directory};
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The ETL alone: what ecommerce.yaml does to a file of orders, without the rest.
const ETL: &str = include_str!("etl.yaml");

/// Runs of `--help` and `validate` in each round.
const CLI_RUNS: usize = 20;

pub(super) struct Bench {
    pub(super) rows: u64,
    pub(super) rounds: usize,
    program: PathBuf,
    directory: PathBuf,
}

impl Bench {
    /// Builds the program in the release profile, unless there is one to measure.
    pub(super) fn prepare(arguments: &Arguments) -> Result<Bench> {
        let target = target_directory()?;
        let program = match &arguments.program {
            Some(program) => std::path::absolute(program)?,
            None => {
                // In one go: built alone, the examples would need other features of what both use.
                let examples = ["--example", "overhead", "--example", "history"];
                cargo(&[&["build", "--release", "--workspace", "--bins"][..], &examples].concat())?;
                target.join("release/tidemill")
            }
        };
        let directory = target.join("bench");
        std::fs::create_dir_all(&directory)?;
        Ok(Bench { rows: arguments.rows, rounds: arguments.rounds, program, directory })
    }

    pub(super) fn program(&self) -> &Path {
        &self.program
    }

    pub(super) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(super) fn tidemill(&self, data: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        command.args(arguments).arg("--data-dir").arg(data).current_dir(root());
        command
    }

    pub(super) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let data = self.directory.join(name);
        if data.exists() {
            std::fs::remove_dir_all(&data)?;
        }
        Ok(data)
    }

    pub(super) fn cli(&self, gathered: &mut Gathered) -> Result<()> {
        for _ in 0..self.rounds * CLI_RUNS {
            let help = measure(Command::new(&self.program).arg("--help"))?;
            gathered.add("cli.help.ms", "ms", help.seconds * 1e3);
            let mut validate = Command::new(&self.program);
            let validate =
                validate.args(["validate", "pipelines/ecommerce.yaml"]).current_dir(root());
            gathered.add("cli.validate.ms", "ms", measure(validate)?.seconds * 1e3);
        }
        Ok(())
    }

    pub(super) fn overhead(&self, gathered: &mut Gathered) -> Result<()> {
        let example = self.program.with_file_name("examples").join("overhead");
        let mut chain = String::from("name: chain\ntasks:\n");
        for task in 0..1000 {
            let needs = if task == 0 { String::new() } else { format!("t{}", task - 1) };
            let _ = writeln!(
                chain,
                "  t{task}: {{uses: shell, needs: [{needs}], with: {{command: [\"true\"]}}}}"
            );
        }
        let file = self.directory.join("chain.yaml");
        std::fs::write(&file, chain)?;
        let file = file.to_str().context("the target directory is UTF-8")?;
        for _ in 0..self.rounds {
            let measured = measure(&mut Command::new(&example))?;
            let figures: Value = serde_json::from_str(&measured.out)?;
            for name in ["chain_1000", "fan_out_10000"] {
                let per_task = figures[name]["ms_per_task"].as_f64().unwrap_or(f64::NAN);
                gathered.add(format!("overhead.{name}.ms_per_task"), "ms", per_task);
            }
            let plan = figures["plan_100000"]["ms"].as_f64().unwrap_or(f64::NAN);
            gathered.add("overhead.plan_100000.ms", "ms", plan);
            let data = self.fresh("chain")?;
            let shell = measure(&mut self.tidemill(&data, &["run", file, "-o", "json"]))?;
            gathered.add("overhead.shell_chain_1000.ms_per_task", "ms", shell.seconds);
        }
        Ok(())
    }

    pub(super) fn pipeline(&self, gathered: &mut Gathered) -> Result<()> {
        let rows = format!("rows={}", self.rows);
        for _ in 0..self.rounds {
            let data = self.fresh("pipeline")?;
            let arguments = ["run", "pipelines/ecommerce.yaml", "--set", &rows, "-o", "json"];
            let measured = measure(&mut self.tidemill(&data, &arguments))?;
            add_run(gathered, "pipeline", &measured)?;
            for part in ["files", "topics", "tables", "kv", "artifacts"] {
                let size = size(&data.join(part))? as f64 / 1e6;
                gathered.add(format!("pipeline.disk.{part}.mb"), "MB", size);
            }
        }
        Ok(())
    }

    pub(super) fn etl(&self, gathered: &mut Gathered) -> Result<()> {
        let file = self.directory.join("etl.yaml");
        std::fs::write(&file, ETL)?;
        let file = file.to_str().context("the target directory is UTF-8")?;
        let duckdb = duckdb::DuckDb::prepare(&self.directory)?;
        let data = self.fresh("etl")?;
        let rows = format!("rows={}", self.rows);
        let generate = ["run", file, "--set", &rows, "--only", "generate", "-o", "json"];
        let generated = measure(&mut self.tidemill(&data, &generate))?;
        add_run(gathered, "etl", &generated)?;
        let csv = data.join("files/bench/orders.csv");
        for _ in 0..self.rounds {
            let ours = ["run", file, "--set", &rows, "--from", "clean", "-o", "json"];
            let ours = measure(&mut self.tidemill(&data, &ours))?;
            add_run(gathered, "etl", &ours)?;
            let theirs = duckdb.run(&csv, &self.fresh("duckdb")?)?;
            let valid = valid_rows(&ours)?;
            if valid != theirs.rows {
                bail!("not the same work: {valid} valid rows here, {} in DuckDB", theirs.rows);
            }
            gathered.add("etl.duckdb.seconds", "s", theirs.measured.seconds);
            gathered.add("etl.duckdb.peak.mib", "MiB", theirs.measured.peak_mib);
            let ratio = ours.seconds / theirs.measured.seconds;
            gathered.add("etl.ratio.time", "of DuckDB", ratio);
            let ratio = ours.peak_mib / theirs.measured.peak_mib;
            gathered.add("etl.ratio.memory", "of DuckDB", ratio);
        }
        Ok(())
    }
}

fn valid_rows(run: &Measured) -> Result<u64> {
    let tasks = summary(run)?;
    let clean =
        tasks["tasks"].as_array().and_then(|tasks| tasks.iter().find(|t| t["task"] == "clean"));
    let rows = clean.and_then(|task| task["outputs"]["valid"]["rows"].as_u64());
    rows.context("the run has no task `clean` with an output `valid`")
}

pub(super) fn summary(run: &Measured) -> Result<Value> {
    let last = run.out.lines().last().context("the run printed nothing")?;
    Ok(serde_json::from_str(last)?)
}

/// The figures of a run and its tasks.
fn add_run(gathered: &mut Gathered, name: &str, run: &Measured) -> Result<()> {
    gathered.add(format!("{name}.seconds"), "s", run.seconds);
    gathered.add(format!("{name}.peak.mib"), "MiB", run.peak_mib);
    for task in summary(run)?["tasks"].as_array().into_iter().flatten() {
        let task_name = task["task"].as_str().unwrap_or_default();
        let seconds = task["duration_ms"].as_f64().unwrap_or(f64::NAN) / 1e3;
        gathered.add(format!("{name}.{task_name}.seconds"), "s", seconds);
        let rows = task["rows_out"].as_f64().unwrap_or(0.0);
        if rows > 0.0 {
            gathered.add(format!("{name}.{task_name}.rows"), "rows", rows);
        }
        let bytes = task["bytes_out"].as_f64().unwrap_or(0.0);
        if task_name == "generate" && seconds > 0.0 {
            gathered.add(format!("{name}.generate.mb_per_s"), "MB/s", bytes / 1e6 / seconds);
        }
    }
    Ok(())
}

fn size(path: &Path) -> Result<u64> {
    if !path.is_dir() {
        return Ok(path.metadata().map_or(0, |metadata| metadata.len()));
    }
    let mut total = 0;
    for entry in std::fs::read_dir(path)? {
        total += size(&entry?.path())?;
    }
    Ok(total)
}
