//! `tidemill kinds`

mod options;

use crate::OK;
use crate::arguments::{among, misuse};
use crate::output::{self, Align, Table};
use crate::pipeline;
use crate::stdout::{print, print_json};
use anstyle::Style;
use anyhow::Result;
use options::{Row, rows};
use orchestrator::kind::{Kind, Port};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::sync::Arc;

#[derive(clap::Args)]
#[command(after_help = "Examples:
  tidemill kinds               what tasks can do
  tidemill kinds etl           the manual of `uses: etl`
  tidemill kinds etl -o json   all of it, options as JSON Schema")]
pub struct Arguments {
    /// The kind whose manual is printed; all kinds in a table where none is named
    kind: Option<String>,
    /// How it is printed
    #[arg(short, long, value_enum, default_value_t = Output::Text)]
    output: Output,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Output {
    Text,
    /// One object, or an array of all
    Json,
    /// As in docs/kinds.md
    Markdown,
}

pub fn run(arguments: &Arguments) -> Result<u8> {
    let kinds = pipeline::kinds();
    let all: Vec<&Arc<dyn Kind>> = kinds.iter().collect();
    let Some(name) = &arguments.kind else {
        match arguments.output {
            Output::Text => print(&table(&all))?,
            Output::Json => {
                print_json(&all.iter().map(|kind| in_json(kind.as_ref())).collect::<Vec<_>>())?;
            }
            Output::Markdown => {
                let kinds = all.iter().map(|kind| markdown(kind.as_ref()));
                print(&kinds.fold(String::from(HEAD), |text, kind| text + "\n" + &kind))?;
            }
        }
        return Ok(OK);
    };
    let Some(kind) = kinds.get(name) else {
        let known = all.iter().map(|kind| kind.name());
        return Err(misuse(format!("there is no kind of task `{name}`; {}", among(name, known))));
    };
    match arguments.output {
        Output::Text => print(&manual(kind.as_ref()))?,
        Output::Json => print_json(&in_json(kind.as_ref()))?,
        Output::Markdown => print(&markdown(kind.as_ref()))?,
    }
    Ok(OK)
}

/// The head of docs/kinds.md.
const HEAD: &str = "# Kinds of tasks

What `uses:` names. `tidemill kinds KIND` prints the same; this page is made by
`tidemill kinds -o markdown`. Texts among the options may hold expressions ([language.md](language.md)).
";

fn table(all: &[&Arc<dyn Kind>]) -> String {
    let mut table = Table::new(&[("kind", Align::Left), ("what it does", Align::Left)]);
    for kind in all {
        table.row(vec![kind.name().to_owned(), kind.summary().to_owned()]);
    }
    format!("{table}\n`tidemill kinds KIND` prints the manual of one.\n")
}

fn in_json(kind: &dyn Kind) -> Value {
    let ports = kind.ports();
    let port = |port: &Port| {
        json!({
            "name": port.name,
            "schemes": schemes(port),
            "required": port.required,
            "description": port.description,
        })
    };
    json!({
        "kind": kind.name(),
        "summary": kind.summary(),
        "description": kind.description(),
        "options": kind.options(),
        "inputs": ports.inputs.iter().map(port).collect::<Vec<_>>(),
        "outputs": ports.outputs.iter().map(port).collect::<Vec<_>>(),
        "example": kind.example(),
    })
}

fn schemes(port: &Port) -> Vec<String> {
    port.schemes.iter().map(|scheme| format!("{scheme}:")).collect()
}

/// `any name`, or the fixed one, with what may stand there and what it is.
fn port_words(port: &Port) -> (String, String) {
    let name = port.name.unwrap_or("NAME").to_owned();
    let how = match (port.name, port.required) {
        (None, _) => "any number",
        (Some(_), true) => "required",
        (Some(_), false) => "optional",
    };
    let text = format!("{} ({}; {how})", port.description, schemes(port).join(", "));
    (name, text)
}

fn facts(row: &Row) -> String {
    let default = row.default.as_ref().map(|default| format!(", default {default}"));
    let required = if row.required { ", required" } else { "" };
    format!("{}{required}{}", row.values, default.unwrap_or_default())
}

/// The manual for the terminal.
fn manual(kind: &dyn Kind) -> String {
    let (bold, dim) = (Style::new().bold(), Style::new().dimmed());
    let width = output::line_width();
    let mut text = format!("{bold}{}{bold:#}: {}\n\n", kind.name(), kind.summary());
    text.push_str(&strong(&filled(kind.description(), 0, width)));
    let _ = writeln!(text, "\n{bold}Options{bold:#} (in `with:`)");
    for row in rows(kind.options().as_value()) {
        let facts = facts(&row);
        let _ = writeln!(text, "\n  {bold}{}{bold:#}  {dim}{facts}{dim:#}", row.path);
        text.push_str(&filled(&row.description, 6, width));
    }
    let ports = kind.ports();
    for (title, ports) in [("Inputs", ports.inputs), ("Outputs", ports.outputs)] {
        if ports.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n{bold}{title}{bold:#}\n");
        for port in &ports {
            let (name, words) = port_words(port);
            let _ = writeln!(text, "  {bold}{name}{bold:#}");
            text.push_str(&filled(&words, 6, width));
        }
    }
    let _ = writeln!(text, "\n{bold}Example{bold:#}\n");
    for line in kind.example().lines() {
        let _ = writeln!(text, "  {line}");
    }
    text
}

/// What stands between two pairs of stars is bold in the terminal.
fn strong(text: &str) -> String {
    let bold = Style::new().bold();
    let mut parts = text.split("**");
    let mut shown = parts.next().unwrap_or_default().to_owned();
    while let (Some(inner), Some(after)) = (parts.next(), parts.next()) {
        let _ = write!(shown, "{bold}{inner}{bold:#}{after}");
    }
    shown
}

/// The manual for the documents.
fn markdown(kind: &dyn Kind) -> String {
    let mut text = format!("## {}\n\n", kind.name());
    let mut summary = kind.summary().to_owned();
    summary[..1].make_ascii_uppercase();
    let _ = writeln!(text, "*{summary}.*\n\n{}", filled(kind.description(), 0, 100));
    let cell = |text: &str| text.replace('\n', " ").replace('|', "\\|");
    let rows = rows(kind.options().as_value());
    if !rows.is_empty() {
        text.push_str("| option | values | |\n| --- | --- | --- |\n");
        for row in rows {
            let (path, values) = (&row.path, cell(&facts(&row)));
            let _ = writeln!(text, "| `{path}` | {values} | {} |", cell(&row.description));
        }
        text.push('\n');
    }
    let ports = kind.ports();
    for (title, ports) in [("Inputs", ports.inputs), ("Outputs", ports.outputs)] {
        if ports.is_empty() {
            continue;
        }
        let _ = writeln!(text, "{title}:\n");
        for port in &ports {
            let (name, words) = port_words(port);
            let _ = writeln!(text, "- `{name}`: {words}");
        }
        text.push('\n');
    }
    let _ = writeln!(text, "```yaml\n{}```", kind.example());
    text
}

/// Markdown in lines of at most `width` columns: paragraphs and items are set anew, code and tables
/// stay as they are.
fn filled(text: &str, indent: usize, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut open = String::new();
    let close = |open: &mut String, lines: &mut Vec<String>| {
        if !open.is_empty() {
            let hanging = if open.starts_with("- ") { 2 } else { 0 };
            lines.extend(output::wrapped(&std::mem::take(open), indent, hanging, width));
        }
    };
    let mut in_code = false;
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        let is_fixed = in_code || is_fence || line.starts_with("    ") || line.starts_with('|');
        in_code ^= is_fence;
        if is_fixed || line.trim().is_empty() || line.starts_with("- ") {
            close(&mut open, &mut lines);
        }
        if is_fixed || line.trim().is_empty() {
            lines.push(format!("{:indent$}{line}", "").trim_end().to_owned());
        } else {
            open.push_str(if open.is_empty() { "" } else { " " });
            open.push_str(line.trim());
        }
    }
    close(&mut open, &mut lines);
    lines.into_iter().map(|line| line + "\n").collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paragraphs_are_filled_and_code_is_not() {
        let long = "word ".repeat(40);
        let text = format!("two\nlines\n\n{long}\n\n- item {long}\n```\n{long}\n```\n");
        let set = filled(&text, 4, 80);
        assert!(set.starts_with("    two lines\n\n    word"), "{set}");
        let (before, after) = set.split_once("    ```").unwrap();
        assert!(before.lines().all(|line| line.chars().count() <= 80), "{before}");
        assert!(before.contains("\n      word"), "{before}");
        assert!(after.lines().any(|line| line.chars().count() > 80));
        assert_eq!(before.matches("word").count(), 80);
    }
}
