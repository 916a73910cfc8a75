//! `cargo xtask test`

use crate::cargo;
use anyhow::Result;

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
