//! docs/mistakes.md.

use super::tools::{TOOLS, Tool};
use super::{Finding, Mistake, REMEDIES, SIX_WORDS};
use std::fmt::Write;

/// Of a longer answer, the first and last lines are shown, and what begins with the name of an error. A
/// longer line is folded.
const FIRST: usize = 4;
const LAST: usize = 18;
const WIDTH: usize = 160;

type Row<'a> = (&'a Mistake, Vec<Result<Finding, &'static str>>);

pub(super) fn page(rows: &[Row<'_>], python: &str) -> String {
    let mut page = introduction(python);
    summary(&mut page, rows);
    for (at, (mistake, findings)) in rows.iter().enumerate() {
        let _ = write!(page, "\n## {}. {}\n", at + 1, mistake.title);
        for (tool, finding) in TOOLS.iter().zip(findings) {
            match finding {
                Ok(finding) => section(&mut page, mistake, tool, finding),
                Err(reason) => {
                    let _ = write!(page, "\n**{}**: does not apply, because {reason}\n", tool.name);
                }
            }
        }
    }
    page
}

fn introduction(python: &str) -> String {
    let versions = TOOLS.iter().filter_map(|tool| Some((tool.name, tool.package?)));
    let versions: Vec<_> =
        versions.map(|(name, (_, version))| format!("{name} {version}")).collect();
    let quoted: Vec<_> = REMEDIES.iter().map(|words| format!("`{}`", words.trim())).collect();
    let checks = TOOLS.iter().map(|tool| {
        let checks: Vec<_> = tool.checks.iter().map(|check| format!("`{check}`")).collect();
        format!("| {} | {} | `{}` |\n", tool.name, checks.join(", then "), tool.run)
    });
    format!(
        "# Mistakes, and what is said to them

One small pipeline, written for tidemill, Airflow, Dagster and Prefect as one writes it there: the orders of
a shop are fetched, cleaned and announced. Then the same mistake is made in each of them. This page shows
what each tool says. `cargo xtask peers` makes the page, with
{},
on Python {python}. The pipelines are in [xtask/src/peers](../xtask/src/peers); those without a mistake, in
`right`, pass all checks and runs.

We make tidemill, and we have chosen the mistakes. So judge by what is said, not by the marks alone.

| | check before a run | run |
| --- | --- | --- |
{}
These are the best checks that we know of for each tool. Prefect has none: its file is run, and a mistake counts
as found before the run if no flow run has begun. Of two checks, the second is made where the first finds
nothing. Where no check finds anything, the pipeline is run. Airflow logs warnings and errors only.

The marks are computed:

- *before the run*: a check ends with another exit code than 0. *in the run*: the checks say that all is well,
  and the run fails. *not found*: the run succeeds too.
- *line*: what is said names the file and the number of the line with the mistake, or of the line that opens
  the call or mapping around it.
- *remedy*: what is said holds one of these, which we chose after we had read all the answers:
  {}.
- The last mistake is six in one file. How many of them does one check speak of?

Three of the tools are Python. Linters and type checkers for Python find some of these mistakes as well, and
so do editors that have tidemill's schema; neither is counted. Later versions of Python suggest the right name
in more places.

In what is shown, `…` stands for directories of the machine, times, and numbers of processes and runs. An
answer of more than {} lines is cut to its first {FIRST} and last {LAST} and those that begin with the name
of an error. Lines of more than {WIDTH} signs are folded. Nothing of what `tidemill validate` says is cut.

",
        versions.join(", "),
        checks.collect::<String>(),
        quoted.join(", "),
        FIRST + LAST,
    )
}

fn summary(page: &mut String, rows: &[Row<'_>]) {
    let names: Vec<_> = TOOLS.iter().map(|tool| tool.name).collect();
    let _ = writeln!(page, "| | {} |\n| --- |{}", names.join(" | "), " --- |".repeat(TOOLS.len()));
    for (at, (mistake, findings)) in rows.iter().enumerate() {
        let last = at + 1 == rows.len();
        let cells: Vec<_> = (findings.iter())
            .map(|finding| match finding {
                Ok(finding) if last => format!("{} of {} named", finding.named, SIX_WORDS.len()),
                Ok(finding) => mark(finding),
                Err(_) => "does not apply".to_owned(),
            })
            .collect();
        let _ = writeln!(page, "| {}. {} | {} |", at + 1, mistake.title, cells.join(" | "));
    }
}

fn mark(finding: &Finding) -> String {
    let mut words = vec![match finding {
        Finding { before_the_run: true, .. } => "**before the run**",
        Finding { found: true, .. } => "in the run",
        _ => "not found",
    }];
    words.extend(finding.place.then_some("line"));
    words.extend(finding.remedy.then_some("remedy"));
    words.join(", ")
}

/// The same as a sentence.
fn sentence(tool: &Tool, finding: &Finding, of_six: bool) -> String {
    let mut words = vec![match finding {
        _ if of_six => format!("speaks of {} of the {}", finding.named, SIX_WORDS.len()),
        Finding { before_the_run: true, .. } => "finds it before the run".to_owned(),
        Finding { found: true, .. } => "fails in the run".to_owned(),
        _ => "finds nothing".to_owned(),
    }];
    words.extend((finding.place && !of_six).then(|| "names the line".to_owned()));
    words.extend((finding.remedy && !of_six).then(|| "says what to write".to_owned()));
    format!("**{}** {}", tool.name, words.join(", "))
}

fn section(page: &mut String, mistake: &Mistake, tool: &Tool, finding: &Finding) {
    let file = finding.lines.first().map_or("", |line| &line.file);
    let input = if file == "clean.sql" { file } else { tool.file };
    let link = format!("[{file}](../xtask/src/peers/{}/{input})", mistake.directory);
    let sentence = sentence(tool, finding, mistake.directory == super::SIX.directory);
    let _ = write!(page, "\n{sentence}. In {link}:\n\n```text\n");
    for line in &finding.lines {
        let _ = writeln!(page, "{:3} {}", line.number, line.text);
    }
    let _ = write!(page, "```\n\n```console\n");
    for said in &finding.said {
        let _ = writeln!(page, "$ {}", said.command);
        let whole = said.command.starts_with("tidemill validate");
        for line in shown(&said.text, whole) {
            let _ = writeln!(page, "{line}");
        }
        let _ = match said.code {
            Some(code) => writeln!(page, "[exit code {code}]"),
            None => writeln!(page, "[stopped after five minutes]"),
        };
    }
    page.push_str("```\n");
}

fn shown(text: &str, whole: bool) -> Vec<String> {
    let lines: Vec<&str> = text.lines().collect();
    if whole {
        return lines.into_iter().map(str::to_owned).collect();
    }
    let mut lines: Vec<String> = lines.into_iter().flat_map(folded).collect();
    if lines.len() > FIRST + LAST {
        let between = lines.drain(FIRST..lines.len() - LAST).collect::<Vec<_>>();
        let is_error =
            |line: &String| line.split(' ').next().is_some_and(|word| word.ends_with("Error:"));
        let mut errors: Vec<String> =
            between.iter().filter(|line| is_error(line)).cloned().collect();
        errors.dedup();
        let left_out = format!("… ({} lines left out)", between.len() - errors.len());
        lines.splice(FIRST..FIRST, [left_out].into_iter().chain(errors));
    }
    lines
}

fn folded(line: &str) -> Vec<String> {
    let signs: Vec<char> = line.chars().collect();
    if signs.is_empty() {
        return vec![String::new()];
    }
    signs.chunks(WIDTH).map(|part| part.iter().collect()).collect()
}
