//! Automation of the workspace: `cargo xtask help`.

mod bench;
mod cluster;
mod fuzz;
mod node;
mod packages;
mod peers;
mod python;
mod test;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

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
    /// Measure speed and memory, into a JSON file
    Bench(bench::Arguments),
    /// Start and stop real servers on this machine: Kafka, HDFS, HBase, Spark; no Docker needed
    Cluster(cluster::Arguments),
    /// Write docs/mistakes.md: what other orchestrators say to a dozen mistakes
    Peers(peers::Arguments),
    /// Let a fuzzer write pipelines, and see that each gives a plan or problems with a place
    Fuzz(fuzz::Arguments),
}

fn main() -> Result<()> {
    match Cli::parse().task {
        Task::Test(arguments) => test::run(&arguments),
        Task::Bench(arguments) => bench::run(&arguments),
        Task::Cluster(arguments) => cluster::run(&arguments),
        Task::Peers(arguments) => peers::run(&arguments),
        Task::Fuzz(arguments) => fuzz::run(&arguments),
    }
}

/// The root of the workspace.
fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}

/// Runs cargo in the workspace; an error if it fails.
fn cargo(arguments: &[&str]) -> Result<()> {
    cargo_with(arguments, &[])
}

/// The same, with further variables in its environment.
fn cargo_with(arguments: &[&str], env: &[(&str, String)]) -> Result<()> {
    let text = arguments.join(" ");
    eprintln!("== cargo {text}");
    let start = Instant::now();
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    // What `cargo run` has told this program about itself. Build scripts look at it (ring's does),
    // and would build half of the dependencies anew after each change between us and cargo itself.
    for (name, _) in std::env::vars_os() {
        let told = name.to_string_lossy();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    let status = command
        .args(arguments)
        .envs(env.iter().map(|(name, value)| (name, value)))
        .current_dir(root())
        .status()
        .with_context(|| format!("cannot run cargo {text}"))?;
    eprintln!("== {:.0} s", start.elapsed().as_secs_f64());
    if !status.success() {
        bail!("`cargo {text}` failed; its output is above");
    }
    Ok(())
}

/// Where cargo puts what it builds; what we download and measure goes there too.
fn target_directory() -> Result<PathBuf> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--no-deps"])
        .current_dir(root())
        .output()?;
    let metadata: Value = serde_json::from_slice(&output.stdout)?;
    let target =
        metadata["target_directory"].as_str().context("cargo names no target directory")?;
    Ok(PathBuf::from(target))
}
