//! Reading a dashboard's YAML part by part, so that all its problems are found at once.

use crate::engine::nearest;
use orchestrator::kind::{FilePlace, Part, Problem};
use orchestrator::yaml::{Entry, Node, Tree, parse};
use std::fmt::Display;
use std::ops::Range;

fn describe(tree: &Tree) -> &'static str {
    match tree {
        Tree::Null => "nothing",
        Tree::Bool(_) => "a boolean",
        Tree::Number(_) => "a number",
        Tree::Text(_) | Tree::Unknown(_) => "text",
        Tree::List(_) => "a list",
        Tree::Map(_) => "a mapping",
    }
}

/// Where in the file's tree something is (`charts.sales`), and where to point at for what it lacks.
pub(super) type Place<'p> = (&'p str, Range<usize>);

/// Reads one file and collects what is wrong with it.
pub(super) struct Reader<'a> {
    /// The path as written in the pipeline.
    path: &'a str,
    pub(super) problems: Vec<Problem>,
}

/// A mapping of the file: its place in the file's tree, and its entries.
pub(super) struct Fields<'n> {
    at: String,
    /// Where to point at for what the mapping lacks.
    range: Range<usize>,
    pub(super) entries: &'n [Entry],
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        let entry = self.entries.iter().find(|entry| entry.key == key);
        entry.map(|entry| &entry.node).filter(|node| node.tree != Tree::Null)
    }

    /// The place of one of the entries: `charts.sales.kind`.
    pub(super) fn at(&self, key: &str) -> String {
        if self.at.is_empty() { key.into() } else { format!("{}.{key}", self.at) }
    }

    pub(super) fn place(&self) -> (&str, Range<usize>) {
        (&self.at, self.range.clone())
    }
}

impl<'a> Reader<'a> {
    pub(super) fn new(path: &'a str) -> Self {
        Reader { path, problems: Vec::new() }
    }

    /// The file as a tree.
    pub(super) fn parse(&mut self, text: &str) -> Option<Node> {
        let (root, problems) = match parse(self.path, text) {
            Ok((root, problems)) => (Some(root), problems),
            Err(problem) => (None, vec![*problem]),
        };
        for problem in problems {
            let range = problem.span.unwrap_or(0..0);
            self.problem(&problem.path, range, problem.message).help = problem.help;
        }
        root
    }

    /// Notes a problem, which may be given help afterwards.
    pub(super) fn problem(
        &mut self,
        at: &str,
        range: Range<usize>,
        message: impl Display,
    ) -> &mut Problem {
        let message =
            if at.is_empty() { message.to_string() } else { format!("`{at}`: {message}") };
        let mut problem = Problem::new(["with", "dashboard"], message);
        problem.part = Some(Part::File(FilePlace { path: self.path.into(), range }));
        self.problems.push(problem);
        self.problems.last_mut().expect("it was just pushed")
    }

    /// A mapping with none but these keys. `range` is where to point at for what it lacks.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        (at, range): Place<'_>,
        known: &[&str],
    ) -> Option<Fields<'n>> {
        let fields = self.entries(node, (at, range))?;
        for entry in fields.entries {
            if !known.contains(&entry.key.as_str()) {
                let message = format!("there is no key `{}` here", entry.key);
                let help = match nearest(&entry.key, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the keys are {}", listed(known)),
                };
                self.problem(at, entry.key_span.into(), message).help = Some(help);
            }
        }
        Some(fields)
    }

    /// A mapping with keys of the writer's choice.
    pub(super) fn entries<'n>(
        &mut self,
        node: &'n Node,
        (at, range): Place<'_>,
    ) -> Option<Fields<'n>> {
        let Some(entries) = node.as_map() else {
            self.unexpected(at, node, "a mapping of keys to values");
            return None;
        };
        Some(Fields { at: at.into(), range, entries })
    }

    pub(super) fn text(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let node = fields.get(key)?;
        self.text_of(node, &fields.at(key))
    }

    pub(super) fn text_of(&mut self, node: &Node, at: &str) -> Option<String> {
        match node.as_text() {
            Some(text) if !text.trim().is_empty() => Some(text.to_owned()),
            Some(_) => {
                self.problem(at, node.span.into(), "this is empty");
                None
            }
            None => {
                self.unexpected(at, node, "text");
                None
            }
        }
    }

    pub(super) fn required_text(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        if fields.get(key).is_none() {
            self.missing(fields, key);
            return None;
        }
        self.text(fields, key)
    }

    /// Notes that a mapping lacks a key.
    pub(super) fn missing(&mut self, fields: &Fields<'_>, key: &str) -> &mut Problem {
        let (at, range) = fields.place();
        self.problem(at, range, format!("the key `{key}` is missing"))
    }

    /// One of a few words.
    pub(super) fn choice<T: Copy>(
        &mut self,
        fields: &Fields<'_>,
        key: &str,
        words: &[(&str, T)],
    ) -> Option<T> {
        let text = self.text(fields, key)?;
        let found = words.iter().find(|(word, _)| *word == text);
        if found.is_none() {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            let help = match nearest(&text, all.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("it may be {}", listed(&all)),
            };
            let range = fields.get(key).map_or(0..0, |node| node.span.into());
            let message = format!("`{text}` is not known here");
            self.problem(&fields.at(key), range, message).help = Some(help);
        }
        found.map(|(_, value)| *value)
    }

    pub(super) fn unexpected(&mut self, at: &str, node: &Node, wanted: &str) -> &mut Problem {
        let message = format!("{wanted} is needed here, not {}", describe(&node.tree));
        let help = match node.tree {
            Tree::Bool(_) | Tree::Number(_) if wanted == "text" => "put it in quotes",
            _ => "",
        };
        let problem = self.problem(at, node.span.into(), message);
        problem.help = (!help.is_empty()).then(|| help.to_owned());
        problem
    }
}

/// `a`, `b` and `c`.
pub(super) fn listed<S: AsRef<str>>(names: &[S]) -> String {
    let quoted: Vec<String> = names.iter().map(|name| format!("`{}`", name.as_ref())).collect();
    match quoted.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} and {last}", others.join(", ")),
    }
}
