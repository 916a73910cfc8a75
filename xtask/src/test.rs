//! `cargo xtask test`

use crate::root;
use anyhow::{Context, Result, bail};
use std::process::Command;
use std::time::Instant;

#[derive(clap::Args)]
pub struct Arguments {
    /// Only tests whose name contains this
    filter: Option<String>,
}

pub fn run(arguments: &Arguments) -> Result<()> {
    if arguments.filter.is_none() {
        cargo(&["fmt", "--all", "--check"])?;
    }
    // One build for everything: the crash tests need the kill points, which do nothing unless
    // the environment names one.
    let mut tests = vec!["test", "--workspace", "--features", "failpoints"];
    tests.extend(arguments.filter.as_deref());
    cargo(&tests)?;
    if arguments.filter.is_none() {
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--features",
            "failpoints",
            "--",
            "-D",
            "warnings",
        ])?;
    }
    Ok(())
}

fn cargo(arguments: &[&str]) -> Result<()> {
    let text = arguments.join(" ");
    eprintln!("== cargo {text}");
    let start = Instant::now();
    let status = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(arguments)
        .current_dir(root())
        .status()
        .with_context(|| format!("cannot run cargo {text}"))?;
    eprintln!("== {:.0} s", start.elapsed().as_secs_f64());
    if !status.success() {
        bail!("`cargo {text}` failed; its output is above");
    }
    Ok(())
}
