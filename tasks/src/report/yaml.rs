//! YAML as a tree that knows where each of its parts stands, and reading it part by part, so that
//! all problems of a file are found at once.

use orchestrator::kind::{FilePlace, Problem};
use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_yaml::Spanned;
use std::fmt;
use std::ops::Range;

/// A value and the bytes of the file that it was read from.
#[derive(Clone, Debug)]
pub(super) struct Node {
    pub(super) value: Value,
    pub(super) range: Range<usize>,
}

#[derive(Clone, Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<(Key, Node)>),
}

#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) name: String,
    pub(super) range: Range<usize>,
}

impl Value {
    fn describe(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

/// Reads one file and collects what is wrong with it.
pub(super) struct Reader<'a> {
    /// The path as written in the pipeline.
    path: &'a str,
    pub(super) problems: Vec<Problem>,
}

/// A mapping of the file: its place in the file's tree, and its entries.
pub(super) struct Fields<'n> {
    at: String,
    range: Range<usize>,
    entries: &'n [(Key, Node)],
}

impl<'n> Fields<'n> {
    pub(super) fn get(&self, key: &str) -> Option<&'n Node> {
        let entry = self.entries.iter().find(|(name, _)| name.name == key);
        entry.map(|(_, node)| node).filter(|node| !matches!(node.value, Value::Null))
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
        let options = serde_yaml::options! {
            duplicate_keys: serde_yaml::options::DuplicateKeyPolicy::PassThrough,
            strict_booleans: true,
        };
        match serde_yaml::from_str_with_options::<Spanned<Tree>>(text, options) {
            Ok(tree) => Some(node(tree)),
            Err(error) => {
                let range = error.location().map_or(0..0, |at| range(&at));
                let message = error.to_string();
                let first = message.lines().next().unwrap_or("unreadable").to_owned();
                self.problem("", range, format!("this is not valid YAML: {first}"));
                None
            }
        }
    }

    /// Notes a problem, which may be given help afterwards.
    pub(super) fn problem(
        &mut self,
        at: &str,
        range: Range<usize>,
        message: impl fmt::Display,
    ) -> &mut Problem {
        let message =
            if at.is_empty() { message.to_string() } else { format!("`{at}`: {message}") };
        let mut problem = Problem::new(["with", "dashboard"], message);
        problem.in_file = Some(FilePlace { path: self.path.into(), range });
        self.problems.push(problem);
        self.problems.last_mut().expect("it was just pushed")
    }

    /// A mapping with none but these keys, each once.
    pub(super) fn fields<'n>(
        &mut self,
        node: &'n Node,
        at: &str,
        known: &[&str],
    ) -> Option<Fields<'n>> {
        let fields = self.entries(node, at)?;
        for (key, _) in fields.entries {
            if !known.contains(&key.name.as_str()) {
                let message = format!("there is no key `{}` here", key.name);
                let help = match nearest(&key.name, known.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the keys are {}", listed(known)),
                };
                self.problem(at, key.range.clone(), message).help = Some(help);
            }
        }
        Some(fields)
    }

    /// A mapping with keys of the writer's choice, each once.
    pub(super) fn entries<'n>(&mut self, node: &'n Node, at: &str) -> Option<Fields<'n>> {
        let Value::Map(entries) = &node.value else {
            self.unexpected(at, node, "a mapping of keys to values");
            return None;
        };
        for (i, (key, _)) in entries.iter().enumerate() {
            if entries[..i].iter().any(|(earlier, _)| earlier.name == key.name) {
                let message = format!("the key `{}` is there twice", key.name);
                self.problem(at, key.range.clone(), message).help = Some("remove one".into());
            }
        }
        Some(Fields { at: at.into(), range: node.range.clone(), entries })
    }

    pub(super) fn text(&mut self, fields: &Fields<'_>, key: &str) -> Option<String> {
        let node = fields.get(key)?;
        self.text_of(node, &fields.at(key))
    }

    pub(super) fn text_of(&mut self, node: &Node, at: &str) -> Option<String> {
        match &node.value {
            Value::Text(text) if !text.trim().is_empty() => Some(text.clone()),
            Value::Text(_) => {
                self.problem(at, node.range.clone(), "this is empty");
                None
            }
            _ => {
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
            let range = fields.get(key).map_or(0..0, |node| node.range.clone());
            let message = format!("`{text}` is not known here");
            self.problem(&fields.at(key), range, message).help = Some(help);
        }
        found.map(|(_, value)| *value)
    }

    pub(super) fn unexpected(&mut self, at: &str, node: &Node, wanted: &str) -> &mut Problem {
        let message = format!("{wanted} is needed here, not {}", node.value.describe());
        let help = match node.value {
            Value::Bool(_) | Value::Number(_) if wanted == "text" => "put it in quotes",
            _ => "",
        };
        let problem = self.problem(at, node.range.clone(), message);
        problem.help = (!help.is_empty()).then(|| help.to_owned());
        problem
    }
}

/// The name that was probably meant.
pub(super) fn nearest<'s>(name: &str, known: impl Iterator<Item = &'s str>) -> Option<&'s str> {
    known
        .map(|candidate| (strsim::damerau_levenshtein(name, candidate), candidate))
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()) / 3)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
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

/// What serde hands over, before the places are attached.
enum Tree {
    Null,
    Bool(bool),
    Number(f64),
    Text(String),
    List(Vec<Spanned<Tree>>),
    Map(Vec<(Spanned<String>, Spanned<Tree>)>),
}

fn range(location: &serde_yaml::Location) -> Range<usize> {
    let span = location.span();
    let start = span.byte_offset().unwrap_or(0) as usize;
    start..start + span.byte_len().unwrap_or(0) as usize
}

fn node(tree: Spanned<Tree>) -> Node {
    let range = range(&tree.referenced);
    let value = match tree.value {
        Tree::Null => Value::Null,
        Tree::Bool(value) => Value::Bool(value),
        Tree::Number(value) => Value::Number(value),
        Tree::Text(value) => Value::Text(value),
        Tree::List(values) => Value::List(values.into_iter().map(node).collect()),
        Tree::Map(entries) => {
            let entry = |(key, value): (Spanned<String>, Spanned<Tree>)| {
                let range = self::range(&key.referenced);
                (Key { name: key.value, range }, node(value))
            };
            Value::Map(entries.into_iter().map(entry).collect())
        }
    };
    Node { value, range }
}

impl<'de> Deserialize<'de> for Tree {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(TreeVisitor)
    }
}

struct TreeVisitor;

impl<'de> Visitor<'de> for TreeVisitor {
    type Value = Tree;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Tree, E> {
        Ok(Tree::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Tree, E> {
        Ok(Tree::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Tree, E> {
        Ok(Tree::Number(value as f64))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Tree, E> {
        Ok(Tree::Number(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Tree, E> {
        Ok(Tree::Number(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Tree, E> {
        Ok(Tree::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Tree::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Tree, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key()? {
            entries.push((key, access.next_value()?));
        }
        Ok(Tree::Map(entries))
    }
}
