//! `tidemill doctor`

use crate::arguments::among;
use crate::output;
use crate::stdout::{print, print_json};
use crate::{Common, FAILED, Format, OK};
use anstyle::{AnsiColor, Style};
use anyhow::Result;
use orchestrator::attempt::Profile;
use orchestrator::project::{PROJECT_FILE, Project, find_project};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use tasks::places::check::{self, Finding, State};

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill doctor                     this machine, and the profile of runs
  tidemill doctor --profile cluster   the servers of a profile
  tidemill doctor -o json | jq '.[] | select(.state != \"ok\")'

Exit code: 0 if nothing fails (warnings do not), else 1.")]
pub struct Arguments {
    /// Profile of tidemill.yaml [default: the one it names, else embedded]
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
    /// How results are printed
    #[arg(short, long, value_enum, default_value_t = Format::Text)]
    output: Format,
}

pub fn run(common: &Common, arguments: &Arguments) -> Result<u8> {
    let (project, data_dir) = project(common)?;
    let servers = match project {
        Ok(project) => {
            let name = arguments.profile.as_deref().unwrap_or(&project.default_profile);
            let mut findings = vec![valid(&project)];
            findings.extend(servers(&project, name, &data_dir)?);
            (format!("profile {name}"), findings)
        }
        Err(finding) => ("project".to_owned(), vec![*finding]),
    };
    let machine = ("machine".to_owned(), check::check_machine(&data_dir));
    let groups = [machine, servers];
    let findings = || groups.iter().flat_map(|(_, findings)| findings);
    match arguments.output {
        Format::Json => print_json(&findings().collect::<Vec<_>>())?,
        Format::Text => print(&page(&groups))?,
    }
    Ok(if findings().any(|finding| finding.state == State::Fail) { FAILED } else { OK })
}

/// The project of the current directory, or what is wrong with its file; and the data directory,
/// which can be looked at in any case.
fn project(common: &Common) -> Result<(std::result::Result<Project, Box<Finding>>, PathBuf)> {
    let chosen = common.data_dir.as_deref().map(std::path::absolute).transpose()?;
    match find_project(Path::new(".")) {
        Ok(project) => {
            let data_dir = chosen.unwrap_or_else(|| project.data_dir.clone());
            Ok((Ok(project), data_dir))
        }
        Err(problems) => {
            let said = problems.render(false);
            let finding = Finding::fail(
                "project file",
                said.trim_end(),
                format!("correct {PROJECT_FILE}; docs/profiles.md has every option"),
            );
            let data_dir = chosen.unwrap_or(std::env::current_dir()?.join("tidemill-data"));
            Ok((Err(Box::new(finding)), data_dir))
        }
    }
}

fn valid(project: &Project) -> Finding {
    let names: Vec<&str> = project.profiles.keys().map(String::as_str).collect();
    let names = names.join(", ");
    match &project.file {
        Some(file) => Finding::ok("project file", format!("{}, profiles: {names}", file.path)),
        None => Finding::ok("project file", format!("no {PROJECT_FILE} here or above")),
    }
}

fn servers(project: &Project, name: &str, data_dir: &Path) -> Result<Vec<Finding>> {
    let Some(settings) = project.profiles.get(name) else {
        let known = among(name, project.profiles.keys().map(String::as_str));
        let remedy = format!("{known}; {PROJECT_FILE} may have others");
        return Ok(vec![Finding::fail("profile", format!("there is no profile `{name}`"), remedy)]);
    };
    let profile = Profile { name: name.to_owned(), settings: settings.clone() };
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let findings = runtime.block_on(check::check_servers(&profile, data_dir));
    // A thread may still wait for a server that has not answered in time.
    runtime.shutdown_background();
    Ok(findings)
}

fn page(groups: &[(String, Vec<Finding>)]) -> String {
    let bold = Style::new().bold();
    let all = || groups.iter().flat_map(|(_, findings)| findings);
    let widest = all().map(|finding| finding.what.len()).max().unwrap_or_default();
    let mut text = String::new();
    for (title, findings) in groups {
        let _ = writeln!(text, "{bold}{title}{bold:#}");
        for finding in findings {
            text.push_str(&lines(finding, widest));
        }
        text.push('\n');
    }
    let count = |state| all().filter(|finding| finding.state == state).count();
    let (ok, warn, fail) = (count(State::Ok), count(State::Warn), count(State::Fail));
    let _ = writeln!(text, "{ok} ok, {warn} to look at, {fail} failed");
    text
}

/// A finding: mark, what, what was found; below it the remedy. `widest`: the longest `what`.
fn lines(finding: &Finding, widest: usize) -> String {
    let colour = |colour: AnsiColor| Style::new().fg_color(Some(colour.into()));
    let style = match finding.state {
        State::Ok => colour(AnsiColor::Green),
        State::Warn => colour(AnsiColor::Yellow).bold(),
        State::Fail => colour(AnsiColor::Red).bold(),
    };
    let dimmed = Style::new().dimmed();
    let indent = 2 + 4 + 2 + widest + 2;
    let mark = finding.state.as_str();
    let head = format!("  {style}{mark:4}{style:#}  {:widest$}  ", finding.what);
    let mut text = match &finding.address {
        // Its own line: an address is long.
        Some(address) => {
            let mut about = address.clone();
            if let Some(version) = &finding.version {
                let _ = write!(about, ", version {version}");
            }
            if let Some(latency) = finding.latency_ms {
                let _ = write!(about, ", {latency} ms");
            }
            format!("{head}{about}\n{}", block(&finding.found, indent, Style::new()))
        }
        None => {
            let found = block(&finding.found, indent, Style::new());
            format!("{head}{}", found.trim_start())
        }
    };
    if let Some(remedy) = &finding.remedy {
        text.push_str(&block(remedy, indent, dimmed));
    }
    text
}

/// A text in lines that fit, each indented. Lines that it has already stay, such as an excerpt of
/// a file.
fn block(text: &str, indent: usize, style: Style) -> String {
    let lines =
        text.lines().flat_map(|line| output::wrapped(line, 0, 0, output::line_width() - indent));
    let pad = " ".repeat(indent);
    lines.fold(String::new(), |mut text, line| {
        let _ = writeln!(text, "{pad}{style}{line}{style:#}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_in_columns() {
        let ok = Finding::ok("disk", "30.1 GB free");
        let mut slow = Finding::ok("kafka", "1 broker");
        slow.address = Some("localhost:9092".into());
        slow.version = Some("4.1".into());
        slow.latency_ms = Some(12);
        let remedy = "start it: `docker compose up -d hbase`, or `cargo xtask cluster up hbase`; if \
                      it runs elsewhere, correct its address";
        let mut fail = Finding::fail("hbase", "nothing listens there", remedy);
        fail.address = Some("localhost:9".into());
        let page = page(&[("machine".into(), vec![ok]), ("profile p".into(), vec![slow, fail])]);
        let plain = anstream::adapter::strip_str(&page).to_string();
        assert_eq!(
            plain,
            "\
machine
  ok    disk   30.1 GB free

profile p
  ok    kafka  localhost:9092, version 4.1, 12 ms
               1 broker
  fail  hbase  localhost:9
               nothing listens there
               start it: `docker compose up -d hbase`, or `cargo xtask cluster up hbase`; if it runs
               elsewhere, correct its address

2 ok, 0 to look at, 1 failed
"
        );
    }

    #[test]
    fn a_long_word_is_left_whole() {
        let path = "/".repeat(120);
        let shown = block(&format!("see {path} there"), 4, Style::new());
        assert_eq!(shown, format!("    see\n    {path}\n    there\n"));
    }
}
