//! The same ETL in DuckDB, from PyPI, in a virtual environment.

use super::measure::{Measured, measure};
use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

const VERSION: &str = "2.0.0";
const SCRIPT: &str = include_str!("duckdb_etl.py");

pub(super) struct DuckDb {
    python: PathBuf,
    script: PathBuf,
}

pub(super) struct Run {
    pub(super) measured: Measured,
    /// Rows left after cleaning.
    pub(super) rows: u64,
}

impl DuckDb {
    /// Installs DuckDB, unless that was done before.
    pub(super) fn prepare(directory: &Path) -> Result<DuckDb> {
        let environment = directory.join(format!("duckdb-{VERSION}"));
        let python = environment.join("bin/python");
        if !environment.join("installed").exists() {
            run(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
            let package = format!("duckdb=={VERSION}");
            run(Command::new(&python).args(["-m", "pip", "install", "--quiet", &package]))?;
            std::fs::write(environment.join("installed"), "")?;
        }
        let script = directory.join("duckdb_etl.py");
        std::fs::write(&script, SCRIPT)?;
        Ok(DuckDb { python, script })
    }

    pub(super) fn run(&self, csv: &Path, out: &Path) -> Result<Run> {
        std::fs::create_dir_all(out)?;
        let measured = measure(Command::new(&self.python).arg(&self.script).arg(csv).arg(out))?;
        let rows = measured.out.trim().parse().context("the script prints the rows left")?;
        Ok(Run { measured, rows })
    }
}

fn run(command: &mut Command) -> Result<()> {
    let shown = format!("{command:?}");
    let status = command
        .status()
        .with_context(|| format!("cannot run {shown} (apt-get install python3-venv?)"))?;
    if status.success() { Ok(()) } else { bail!("{shown} failed: {status}") }
}
