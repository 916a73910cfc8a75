//! What differs between the definitions of two runs.

use anstyle::AnsiColor;
use orchestrator::run::Restored;
use similar::TextDiff;
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// Lines around a change.
const CONTEXT: usize = 3;

/// What differs: params, profile, environment, and the texts line by line. Empty: nothing.
pub fn differences(old: &Restored, new: &Restored) -> String {
    let mut text = String::new();
    let (before, after) = (&old.plan.params, &new.plan.params);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names.into_iter().filter(|name| before.get(*name) != after.get(*name)) {
        let value = |params: &serde_json::Map<_, _>| {
            params.get(name).map_or_else(|| "not there".to_owned(), ToString::to_string)
        };
        let _ = writeln!(text, "param {name}: {} -> {}", value(before), value(after));
    }
    if old.plan.profile != new.plan.profile {
        let _ = writeln!(text, "profile: {} -> {}", old.plan.profile, new.plan.profile);
    }
    let (before, after) = (&old.definition.env, &new.definition.env);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for name in names.into_iter().filter(|name| before.get(*name) != after.get(*name)) {
        // Its value may be nobody's business.
        let _ = writeln!(text, "the environment variable {name} is another");
    }
    let (before, after) = (texts(old), texts(new));
    let names: BTreeSet<&str> = before.iter().chain(&after).map(|(name, _)| *name).collect();
    for name in names {
        let of = |texts: &[(&str, &str)]| {
            texts.iter().find(|(other, _)| *other == name).map(|(_, text)| (*text).to_owned())
        };
        let (old, new) = (of(&before), of(&after));
        if old != new {
            let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
            text.push_str(&lines(name, &old, &new));
        }
    }
    text
}

/// The texts of a definition by their names: the pipeline, the project file, and what they refer to.
fn texts(run: &Restored) -> Vec<(&str, &str)> {
    let definition = &run.definition;
    let own = [("the pipeline", definition.pipeline.text.as_str())];
    let project = definition.project.iter().map(|file| ("tidemill.yaml", file.text.as_str()));
    let files = definition.files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    own.into_iter().chain(project).chain(files).collect()
}

/// The lines that differ, as a unified diff in colour.
fn lines(name: &str, old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    let mut unified = diff.unified_diff();
    let unified = unified.context_radius(CONTEXT).header(name, name).to_string();
    let mut text = String::from("\n");
    for line in unified.lines() {
        let style = match line.as_bytes().first() {
            Some(b'+') => AnsiColor::Green.on_default(),
            Some(b'-') => AnsiColor::Red.on_default(),
            Some(b'@') => AnsiColor::Cyan.on_default(),
            _ => anstyle::Style::new(),
        };
        let _ = writeln!(text, "{style}{line}{style:#}");
    }
    text
}
