//! `tidemill validate`

use crate::pipeline::{self, print};
use crate::{INVALID, OK};
use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use orchestrator::load;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill validate pipelines/ecommerce.yaml
  tidemill validate pipelines/             all *.yaml files in a directory")]
pub struct Arguments {
    /// Pipelines, or directories of pipelines
    #[arg(required = true)]
    paths: Vec<PathBuf>,
}

pub fn run(arguments: &Arguments) -> Result<u8> {
    let kinds = pipeline::kinds();
    let now = Timestamp::now();
    let mut code = OK;
    for path in files(&arguments.paths)? {
        match load::validate(&path, &kinds, now) {
            Ok((_, warnings)) => {
                pipeline::complain(&warnings);
                print(&format!("{}: ok\n", path.display()))?;
            }
            Err(problems) => {
                pipeline::complain(&problems);
                code = INVALID;
            }
        }
    }
    Ok(code)
}

/// The pipelines that paths name: files, and all that directories hold.
pub fn files(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for path in paths {
        if path.is_dir() {
            let found = pipelines_in(path)?;
            if found.is_empty() {
                bail!("`{}` holds no .yaml file", path.display());
            }
            files.extend(found);
        } else {
            files.push(path.clone());
        }
    }
    Ok(files)
}

/// The pipelines of a directory, sorted.
pub fn pipelines_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory)
        .with_context(|| format!("cannot read the directory `{}`", directory.display()))?;
    let mut files: Vec<PathBuf> = entries
        .collect::<std::io::Result<Vec<_>>>()?
        .into_iter()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|ending| ending == "yaml" || ending == "yml"))
        .filter(|path| {
            path.file_name().is_some_and(|name| name != orchestrator::project::PROJECT_FILE)
        })
        .collect();
    files.sort();
    Ok(files)
}
