//! Automation of the workspace: `cargo xtask help`.

mod test;

use anyhow::Result;
use clap::{Parser, Subcommand};
use std::path::PathBuf;

/// Everything that is done to this workspace more than once.
#[derive(Parser)]
#[command(name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Run all tests, formatting and lints: what CI runs
    Test(test::Arguments),
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Test(arguments) => test::run(&arguments),
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}
