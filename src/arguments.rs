//! What stands on the command line: values that several verbs take, and what is said of wrong ones.

use anyhow::{Context, Result};
use clap::builder::{PathBufValueParser, TypedValueParser};
use jiff::civil;
use orchestrator::project::PROJECT_FILE;
use orchestrator::schema::did_you_mean;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

/// What is wrong with a command line: the exit code tells it from what could not be done.
#[derive(Debug)]
pub struct Misuse(String);

impl std::error::Error for Misuse {}

impl std::fmt::Display for Misuse {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// An error of the command line.
pub fn misuse(message: impl Into<String>) -> anyhow::Error {
    Misuse(message.into()).into()
}

/// What to say of a name that is not among those that there are: which one is near, and all.
pub fn among<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let known: Vec<&str> = known.into_iter().collect();
    let near = did_you_mean(name, known.iter().copied());
    let near = near.map(|near| format!("{near} ")).unwrap_or_default();
    match known.as_slice() {
        [] => "there are none yet".to_owned(),
        [only] => format!("{near}there is only `{only}`"),
        known => format!("{near}there are `{}`", known.join("`, `")),
    }
}

/// The name and value of `--set`.
pub fn parse_setting(text: &str) -> std::result::Result<(String, String), String> {
    let (name, value) =
        text.split_once('=').ok_or_else(|| format!("`{text}` is not of the form NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}

/// The days that a run can be about. The clock of the library ends a little later.
const DAYS: RangeInclusive<civil::Date> = civil::date(1, 1, 1)..=civil::date(9999, 12, 29);

/// The day of `--date`, and of others.
pub fn parse_day(text: &str) -> std::result::Result<civil::Date, String> {
    let day: civil::Date =
        text.parse().map_err(|_| format!("`{text}` is not a date such as 2026-11-23"))?;
    match DAYS.contains(&day) {
        true => Ok(day),
        false => Err(format!("a run can be about days from {} to {}", DAYS.start(), DAYS.end())),
    }
}

/// A pipeline, or a directory of pipelines.
pub fn pipelines_path() -> impl TypedValueParser<Value = PathBuf> {
    PathBufValueParser::new().try_map(not_the_project_file)
}

/// A pipeline.
pub fn pipeline_path() -> impl TypedValueParser<Value = PathBuf> {
    pipelines_path().try_map(not_a_directory)
}

fn not_the_project_file(path: PathBuf) -> std::result::Result<PathBuf, String> {
    match path.file_name().is_some_and(|name| name == PROJECT_FILE) && !path.is_dir() {
        true => Err("it is the project file; name a pipeline, or a directory of pipelines".into()),
        false => Ok(path),
    }
}

fn not_a_directory(path: PathBuf) -> std::result::Result<PathBuf, String> {
    if !path.is_dir() {
        return Ok(path);
    }
    let found = pipelines_in(&path).unwrap_or_default();
    let found: Vec<String> = found.iter().map(|file| format!("`{}`", file.display())).collect();
    Err(match found.is_empty() {
        true => "it is a directory, without pipelines; name the file of one".to_owned(),
        false => format!("it is a directory; name one of its pipelines: {}", found.join(", ")),
    })
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
        .filter(|path| path.file_name().is_some_and(|name| name != PROJECT_FILE))
        .collect();
    files.sort();
    Ok(files)
}
