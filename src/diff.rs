//! What differs between the definitions of two runs.

use anstyle::AnsiColor;
use orchestrator::run::Restored;
use serde::Serialize;
use serde_json::Value;
use similar::TextDiff;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// Lines around a change.
const CONTEXT: usize = 3;

/// What differs.
#[derive(Debug, PartialEq, Serialize)]
pub struct Differences {
    params: BTreeMap<String, Change<Option<Value>>>,
    profile: Option<Change<String>>,
    /// Environment variables by name alone: their values may be nobody's business.
    env: Vec<String>,
    files: Vec<FileDiff>,
}

/// A value in the older definition and in the newer.
#[derive(Debug, PartialEq, Serialize)]
struct Change<T> {
    before: T,
    after: T,
}

impl<T: PartialEq> Change<T> {
    fn between(before: T, after: T) -> Option<Self> {
        (before != after).then_some(Change { before, after })
    }
}

#[derive(Debug, PartialEq, Serialize)]
struct FileDiff {
    file: String,
    /// A unified diff.
    diff: String,
}

/// What differs between two definitions: params, profile, environment, and the texts line by line.
pub fn differences(old: &Restored, new: &Restored) -> Differences {
    let (before, after) = (&old.plan.params, &new.plan.params);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let params = names.into_iter().filter_map(|name| {
        let change = Change::between(before.get(name).cloned(), after.get(name).cloned())?;
        Some((name.clone(), change))
    });
    let (before, after) = (&old.definition.env, &new.definition.env);
    let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    let env = names.into_iter().filter(|name| before.get(*name) != after.get(*name));
    let (before, after) = (texts(old), texts(new));
    let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
    let files = names.into_iter().filter_map(|name| {
        let of =
            |texts: &BTreeMap<_, &str>| texts.get(name).copied().unwrap_or_default().to_owned();
        let change = Change::between(of(&before), of(&after))?;
        let diff = unified(name, &change.before, &change.after);
        Some(FileDiff { file: name.to_owned(), diff })
    });
    Differences {
        params: params.collect(),
        profile: Change::between(old.plan.profile.clone(), new.plan.profile.clone()),
        env: env.cloned().collect(),
        files: files.collect(),
    }
}

impl Differences {
    /// For people, in colour. Empty: nothing differs.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, Change { before, after }) in &self.params {
            let shown = |value: &Option<Value>| {
                value.as_ref().map_or_else(|| "not there".to_owned(), ToString::to_string)
            };
            let _ = writeln!(text, "param {name}: {} -> {}", shown(before), shown(after));
        }
        if let Some(Change { before, after }) = &self.profile {
            let _ = writeln!(text, "profile: {before} -> {after}");
        }
        for name in &self.env {
            let _ = writeln!(text, "the environment variable {name} is another");
        }
        for FileDiff { diff, .. } in &self.files {
            text.push_str(&coloured(diff));
        }
        text
    }
}

/// The texts of a definition by their names: the pipeline, the project file, and what they refer to.
fn texts(run: &Restored) -> BTreeMap<&str, &str> {
    let definition = &run.definition;
    let own = [("the pipeline", definition.pipeline.text.as_str())];
    let project = definition.project.iter().map(|file| ("tidemill.yaml", file.text.as_str()));
    let files = definition.files.iter().map(|(name, text)| (name.as_str(), text.as_str()));
    own.into_iter().chain(project).chain(files).collect()
}

/// The lines that differ.
fn unified(name: &str, old: &str, new: &str) -> String {
    let diff = TextDiff::from_lines(old, new);
    diff.unified_diff().context_radius(CONTEXT).header(name, name).to_string()
}

/// A unified diff in colour.
fn coloured(diff: &str) -> String {
    let mut text = String::from("\n");
    for line in diff.lines() {
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
