//! The same ETL in DuckDB, from PyPI, in a virtual environment.

use super::measure::{Measured, measure};
use crate::python;
use anyhow::{Context, Result};
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
        let python = python::programs(directory, "duckdb", VERSION)?.join("python");
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
