//! `tidemill completions`: what shells offer when one presses Tab.
//!
//! A shell asks the program itself, so that it offers runs, tasks and datasets as they are now.

use crate::{Cli, OK, pipeline};
use anyhow::Result;
use clap::{CommandFactory, ValueEnum};
use clap_complete::engine::{ArgValueCompleter, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};
use jiff::Timestamp;
use orchestrator::load;
use orchestrator::plan::PlanRequest;
use orchestrator::store::{RunFilter, Store};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

/// By this variable the shell says that it asks, and which shell it is.
const VARIABLE: &str = "TIDEMILL_COMPLETE";
/// More are not offered.
const MOST: usize = 50;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  source <(tidemill completions bash)   in ~/.bashrc
  source <(tidemill completions zsh)    in ~/.zshrc, behind compinit
  tidemill completions fish > ~/.config/fish/completions/tidemill.fish
  tidemill completions powershell >> $PROFILE")]
pub struct Arguments {
    /// The shell
    #[arg(value_enum)]
    shell: Shell,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
    Powershell,
}

pub fn run(arguments: &Arguments) -> Result<u8> {
    let name = match arguments.shell {
        Shell::Bash => "bash",
        Shell::Zsh => "zsh",
        Shell::Fish => "fish",
        Shell::Powershell => "powershell",
    };
    let mut script = Vec::new();
    if let Some(shell) = Shells::builtins().completer(name) {
        shell.write_registration(VARIABLE, "tidemill", "tidemill", "tidemill", &mut script)?;
    }
    crate::stdout::print(&String::from_utf8(script)?)?;
    Ok(OK)
}

/// Answers a shell that asks what could stand where the cursor is, and ends.
pub fn answer() {
    CompleteEnv::with_factory(Cli::command).var(VARIABLE).complete();
}

/// Runs, newest first.
pub fn runs() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let mut found =
            vec![CompletionCandidate::new("latest").help(Some("the newest run".into()))];
        if let Some(mut store) = store() {
            let filter = RunFilter { limit: Some(MOST), ..RunFilter::default() };
            found.extend(store.runs(&filter).unwrap_or_default().into_iter().map(|run| {
                let help = format!("{}, {}", run.pipeline, crate::output::time(run.created_at));
                CompletionCandidate::new(run.id).help(Some(help.into()))
            }));
        }
        beginning(found, current)
    })
}

/// The tasks of the pipeline that the command line names, else of the newest run.
pub fn tasks() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let is_yaml = |word: &PathBuf| word.extension().is_some_and(|ending| ending == "yaml");
        let file = std::env::args_os().map(PathBuf::from).find(is_yaml);
        let names = match file {
            Some(file) => of_file(&file),
            None => of_newest(),
        };
        let found = names.unwrap_or_default().into_iter().map(CompletionCandidate::new);
        beginning(found.collect(), current)
    })
}

/// Names of pipelines that have run.
pub fn pipelines() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let names = store().and_then(|mut store| store.tally().ok()).unwrap_or_default();
        let mut names: Vec<String> = names.into_iter().map(|(pipeline, ..)| pipeline).collect();
        names.dedup();
        beginning(names.into_iter().map(CompletionCandidate::new).collect(), current)
    })
}

/// Datasets that runs have written.
pub fn datasets() -> ArgValueCompleter {
    ArgValueCompleter::new(|current: &OsStr| {
        let newest = store().and_then(|mut store| store.newest_versions().ok());
        let found = newest.unwrap_or_default().into_iter().map(|version| {
            CompletionCandidate::new(version.dataset)
                .help(Some(crate::output::time(version.at).into()))
        });
        beginning(found.collect(), current)
    })
}

fn store() -> Option<Store> {
    let given = std::env::var_os("TIDEMILL_DATA_DIR").map(PathBuf::from);
    let data_dir = given.or_else(|| pipeline::project_data_dir(Path::new(".")).ok())?;
    Store::open_existing(&data_dir).ok().flatten()
}

fn of_file(file: &Path) -> Option<Vec<String>> {
    let request = PlanRequest::new(Timestamp::now());
    let (_, plan) = load::inspect(file, &pipeline::kinds(), &request).ok()?;
    Some(plan.tasks.into_iter().map(|task| task.name).collect())
}

fn of_newest() -> Option<Vec<String>> {
    let mut store = store()?;
    let newest = store.find_run("latest").ok()?;
    let plan = pipeline::restore(&store.stored_run(&newest.id).ok()?).ok()?.plan;
    Some(plan.tasks.iter().map(|task| task.name.clone()).collect())
}

fn beginning(found: Vec<CompletionCandidate>, current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(current) = current.to_str() else { return Vec::new() };
    let begins = |one: &CompletionCandidate| {
        one.get_value().to_str().is_some_and(|text| text.starts_with(current))
    };
    found.into_iter().filter(begins).collect()
}
