//! `cargo xtask peers`: makes the same mistakes in pipelines of tidemill, Airflow, Dagster and Prefect,
//! and writes what each of them says into docs/mistakes.md. The pipelines are in `peers/`: the right
//! ones, and for each mistake the files that differ.

mod page;
mod tools;

use crate::{cargo, root, target_directory};
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use tools::{Said, TOOLS, Tool, Workshop};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  cargo xtask peers                                installs the others below target/peers, some minutes
  cargo xtask peers --tidemill target/debug/tidemill")]
pub struct Arguments {
    /// Ask this binary instead of building one
    #[arg(long)]
    tidemill: Option<PathBuf>,
}

/// A mistake: the directory of its pipelines, what it is, and for whom it is none.
struct Mistake {
    directory: &'static str,
    title: &'static str,
    /// Why a tool can't make it, or does not count it as one.
    no_mistake: &'static [(&'static str, &'static str)],
}

const fn mistake(directory: &'static str, title: &'static str) -> Mistake {
    Mistake { directory, title, no_mistake: &[] }
}

const MISTAKES: [Mistake; 12] = [
    mistake("01-task", "A misspelt task in a dependency"),
    Mistake {
        directory: "02-cycle",
        title: "Tasks that wait for each other",
        no_mistake: &[(
            "Prefect",
            "a flow runs its statements from top to bottom, so that there is no way to write a cycle.",
        )],
    },
    mistake("03-option", "A misspelt option"),
    mistake("04-kind", "A misspelt kind of task"),
    mistake("05-indentation", "A line that is indented by a space too few"),
    mistake("06-cron", "A schedule at 25 o'clock"),
    mistake("07-duration", "A duration in words"),
    mistake("08-parameter", "A misspelt parameter"),
    Mistake {
        directory: "09-two-writers",
        title: "Two tasks that write the same table",
        no_mistake: &[
            ("Airflow", "several tasks may have the same asset among their outlets."),
            (
                "Prefect",
                "a task need not say which table it writes; with `@materialize` several may write the same.",
            ),
        ],
    },
    mistake("10-one-name", "Two tasks of one name"),
    mistake("11-sql-file", "A file with SQL that does not exist"),
    mistake("12-column", "A misspelt column in SQL"),
];

/// Six of them in one file: how many does one check name?
const SIX: Mistake = mistake("13-six", "Six mistakes in one file");

/// Words of each of the six, of which a message about it has one.
const SIX_WORDS: [&[&str]; 6] = [
    &["claen"],
    &["attemps", "retrys"],
    &["shel", "BashOperater", "aset", "taks"],
    &["0 25"],
    &["five minutes"],
    &["shpo"],
];

/// What a tool says to a mistake.
struct Finding {
    said: Vec<Said>,
    lines: Vec<Line>,
    before_the_run: bool,
    found: bool,
    place: bool,
    remedy: bool,
    /// How many of the six mistakes are spoken of.
    named: usize,
}

/// A line with the mistake.
struct Line {
    file: String,
    number: usize,
    text: String,
    /// The line that opens the call or mapping in which it stands.
    opener: usize,
}

/// Words by which a message says what to write instead; chosen by us, from all that was said.
const REMEDIES: [&str; 7] = [
    "did you mean",
    "must be",
    "is not one of",
    "consisting of",
    "search path",
    "help:",
    "; write ",
];

pub fn run(arguments: &Arguments) -> Result<()> {
    let target = target_directory()?;
    let tidemill = match &arguments.tidemill {
        Some(path) => path.canonicalize().with_context(|| format!("no {}", path.display()))?,
        None => {
            cargo(&["build", "--bin", "tidemill"])?;
            target.join("debug/tidemill")
        }
    };
    let workshop = Workshop::prepare(&target.join("peers"), &tidemill)?;
    for tool in &TOOLS {
        // A tool that does not like what is right can't be compared.
        let right = find(&workshop, tool, "right")?;
        ensure!(!right.found, "{} on the right pipeline: {}", tool.name, right.said[0].text);
        eprintln!("== {} on the right pipeline", tool.name);
        let ran = workshop.run(tool, tool.run)?;
        ensure!(ran.code == Some(0), "{} runs the right pipeline: {}", tool.name, ran.text);
    }
    let mut rows = Vec::new();
    for mistake in MISTAKES.iter().chain([&SIX]) {
        eprintln!("== {}", mistake.title);
        let mut row = Vec::new();
        for tool in &TOOLS {
            let none = mistake.no_mistake.iter().find(|(name, _)| *name == tool.name);
            row.push(match none {
                Some((_, reason)) => Err(*reason),
                None => Ok(find(&workshop, tool, mistake.directory)?),
            });
        }
        rows.push((mistake, row));
    }
    let page = root().join("docs/mistakes.md");
    std::fs::write(&page, page::page(&rows, &workshop.python))
        .context("cannot write docs/mistakes.md")?;
    println!("written to {}", page.display());
    Ok(())
}

/// Lets a tool check the pipeline, and run it where that finds nothing.
fn find(workshop: &Workshop, tool: &Tool, mistake: &str) -> Result<Finding> {
    let inputs = root().join("xtask/src/peers");
    let mut lines = Vec::new();
    workshop.clear(tool)?;
    for (name, to) in [(tool.file, tool.place), ("clean.sql", tool.sql_place)] {
        let right = std::fs::read_to_string(inputs.join("right").join(name))?;
        let wrong = std::fs::read_to_string(inputs.join(mistake).join(name));
        let wrong = wrong.unwrap_or_else(|_| right.clone());
        workshop.write(tool, to, &wrong)?;
        let file = Path::new(to).file_name().unwrap_or_default().to_string_lossy().into_owned();
        lines.extend(changed(&file, &right, &wrong));
    }
    ensure!(mistake == "right" || !lines.is_empty(), "{mistake} of {} is no mistake", tool.name);
    let mut said = Vec::new();
    for check in tool.checks {
        said.push(workshop.run(tool, check)?);
        if said.last().is_some_and(Said::failed) {
            break;
        }
    }
    let last = said.last().context("a tool without a check")?;
    let before_the_run = last.failed() && !last.text.contains(tools::RUN_BEGAN);
    if !last.failed() && mistake != "right" && !tool.checks.contains(&tool.run) {
        said.push(workshop.run(tool, tool.run)?);
    }
    let last = said.last().context("a tool without a check")?;
    let found = last.failed();
    let text = &last.text;
    let lower = text.to_lowercase();
    Ok(Finding {
        place: found && names_a_line(text, &lines),
        remedy: found && REMEDIES.iter().any(|words| lower.contains(words)),
        named: SIX_WORDS.iter().filter(|words| words.iter().any(|word| has(text, word))).count(),
        before_the_run,
        found,
        said,
        lines,
    })
}

/// The lines that are not those of the right file.
fn changed(file: &str, right: &str, wrong: &str) -> Vec<Line> {
    let (right, wrong): (Vec<_>, Vec<_>) = (right.lines().collect(), wrong.lines().collect());
    let added = wrong.len().saturating_sub(right.len());
    let mut first = right.iter().zip(&wrong).take_while(|(a, b)| a == b).count();
    // Lines between two functions are as well those after the first as those before the second.
    let is_between = |line: &str| line.is_empty() || line.starts_with('@');
    while added > 0
        && first > 0
        && wrong[first - 1] == wrong[first + added - 1]
        && is_between(wrong[first - 1])
    {
        first -= 1;
    }
    let differs = |at: usize| match added {
        0 => right[at] != wrong[at],
        _ => (first..first + added).contains(&at) && !wrong[at].is_empty(),
    };
    let indent = |at: usize| wrong[at].len() - wrong[at].trim_start().len();
    let opens = |at: usize, of: usize| !wrong[at].is_empty() && indent(at) < indent(of);
    let line = |at: usize| Line {
        file: file.to_owned(),
        number: at + 1,
        text: wrong[at].to_owned(),
        opener: (0..at).rev().find(|&above| opens(above, at)).unwrap_or(at) + 1,
    };
    (first..wrong.len()).filter(|&at| differs(at)).map(line).collect()
}

/// True if the text names the file and number of one of the lines, as `FILE:3` or `FILE, line 3`.
fn names_a_line(text: &str, lines: &[Line]) -> bool {
    let names = |line: &Line, number: usize| {
        text.lines().filter(|said| said.contains(&line.file)).any(|said| {
            has(said, &format!("{}:{number}", line.file)) || has(said, &format!("line {number}"))
        })
    };
    lines.iter().any(|line| names(line, line.number) || names(line, line.opener))
}

/// True if the words stand in the text as a whole.
fn has(text: &str, words: &str) -> bool {
    let ends = |c: Option<char>| c.is_none_or(|c| !c.is_ascii_alphanumeric());
    text.match_indices(words).any(|(at, _)| {
        ends(text[..at].chars().next_back()) && ends(text[at + words.len()..].chars().next())
    })
}
