//! YAML as a tree of nodes that know their places in the text.

use crate::diagnostic::{Code, Diagnostic};
use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};
use serde_yaml::options::DuplicateKeyPolicy;
use serde_yaml::{Location, Spanned};
use std::collections::HashMap;
use std::fmt;
use std::ops::Range;

mod decode;
mod syntax;

/// A file that is larger is not read.
pub const MAX_BYTES: u64 = 10 * 1024 * 1024;

/// Mappings and lists may be nested this deep.
const MAX_DEPTH: usize = 64;

/// The stack of the thread that reads. The parser takes up to 40 KiB for each level in a build
/// without optimisation, more than a thread of a runtime or a test may have.
const STACK_BYTES: usize = 8 << 20;

/// Byte range in the text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

/// A value with its place.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// Of a scalar, all of it (with its quotes); of a list or mapping, its first character or, if
    /// it has no bracket, nothing before its first entry.
    pub span: Span,
    pub tree: Tree,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Tree {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
    /// A text whose value is not known yet: any check of its value lets it pass.
    Unknown(String),
}

/// A key of a mapping, and its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    pub key: String,
    pub key_span: Span,
    pub node: Node,
}

impl From<Span> for Range<usize> {
    fn from(span: Span) -> Self {
        span.start as usize..span.end as usize
    }
}

impl Entry {
    /// Where to point at for the value: the value, if it is a scalar that is there, else the key.
    pub fn value_span(&self) -> Span {
        let scalar = !matches!(self.node.tree, Tree::List(_) | Tree::Map(_));
        if scalar && self.node.span.start < self.node.span.end {
            self.node.span
        } else {
            self.key_span
        }
    }
}

impl Node {
    pub fn as_map(&self) -> Option<&[Entry]> {
        match &self.tree {
            Tree::Map(entries) => Some(entries),
            _ => None,
        }
    }

    pub fn as_text(&self) -> Option<&str> {
        match &self.tree {
            Tree::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entry of a mapping. Takes time in proportion to the mapping.
    pub fn entry(&self, key: &str) -> Option<&Entry> {
        self.as_map()?.iter().find(|entry| entry.key == key)
    }

    pub fn get(&self, key: &str) -> Option<&Node> {
        self.entry(key).map(|entry| &entry.node)
    }

    /// The place of the value at a path of keys and indices, or of the deepest thing on the way
    /// there.
    pub fn place<S: AsRef<str>>(&self, path: &[S]) -> Span {
        let mut node = self;
        let mut span = self.span;
        for step in path {
            let step = step.as_ref();
            match &node.tree {
                Tree::Map(entries) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == step) else {
                        break;
                    };
                    (node, span) = (&entry.node, entry.value_span());
                }
                Tree::List(items) => {
                    let Some(item) = step.parse().ok().and_then(|at: usize| items.get(at)) else {
                        break;
                    };
                    node = item;
                    span = if item.span.start < item.span.end { item.span } else { span };
                }
                _ => break,
            }
        }
        span
    }

    /// Calls `visit` with each text in the tree and its place, keys left out.
    pub fn each_text(&self, visit: &mut dyn FnMut(&str, Span)) {
        match &self.tree {
            Tree::Text(text) | Tree::Unknown(text) => visit(text, self.span),
            Tree::List(items) => items.iter().for_each(|item| item.each_text(visit)),
            Tree::Map(entries) => entries.iter().for_each(|entry| entry.node.each_text(visit)),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) => {}
        }
    }

    pub fn to_value(&self) -> Value {
        match &self.tree {
            Tree::Null => Value::Null,
            Tree::Bool(value) => Value::Bool(*value),
            Tree::Number(number) => Value::Number(number.clone()),
            Tree::Text(text) | Tree::Unknown(text) => Value::String(text.clone()),
            Tree::List(items) => items.iter().map(Node::to_value).collect(),
            Tree::Map(entries) => {
                let pairs = entries.iter().map(|entry| (entry.key.clone(), entry.node.to_value()));
                Value::Object(pairs.collect::<Map<_, _>>())
            }
        }
    }

    /// A value that was computed for the place `span`.
    pub fn from_value(value: Value, span: Span) -> Node {
        let tree = match value {
            Value::Null => Tree::Null,
            Value::Bool(value) => Tree::Bool(value),
            Value::Number(number) => Tree::Number(number),
            Value::String(text) => Tree::Text(text),
            Value::Array(items) => {
                Tree::List(items.into_iter().map(|item| Node::from_value(item, span)).collect())
            }
            Value::Object(map) => {
                let entry = |(key, value)| Entry {
                    key,
                    key_span: span,
                    node: Node::from_value(value, span),
                };
                Tree::Map(map.into_iter().map(entry).collect())
            }
        };
        Node { span, tree }
    }
}

/// Reads a YAML document. Problems that leave a usable tree (a repeated key: the first one counts)
/// come beside it.
pub fn parse(file: &str, text: &str) -> Result<(Node, Vec<Diagnostic>), Box<Diagnostic>> {
    if text.len() as u64 > MAX_BYTES {
        return Err(Box::new(too_large(file)));
    }
    let read = || read(file, text);
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new().stack_size(STACK_BYTES).spawn_scoped(scope, read);
        let thread = thread.map_err(|error| {
            let message = format!("can't start a thread to read `{file}`: {error}");
            Box::new(Diagnostic::error(Code::Internal, message).in_file(file))
        })?;
        thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

fn read(file: &str, text: &str) -> Result<(Node, Vec<Diagnostic>), Box<Diagnostic>> {
    let options = serde_yaml::options! {
        budget: serde_yaml::budget! {
            max_events: 4_000_000,
            max_nodes: 2_000_000,
            max_depth: MAX_DEPTH,
            max_recorded_anchor_events: 100_000,
        },
        alias_limits: serde_yaml::alias_limits! {
            max_total_replayed_events: 100_000,
        },
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
    };
    let raw: Spanned<Raw> = serde_yaml::from_str_with_options(text, options)
        .map_err(|error| Box::new(syntax::diagnostic(file, text, &error)))?;
    let mut reader = Reader { file, text, problems: Vec::new() };
    let root = reader.node(raw, &mut Vec::new());
    Ok((root, reader.problems))
}

/// A file beyond [`MAX_BYTES`].
fn too_large(file: &str) -> Diagnostic {
    let message = format!("`{file}` is larger than {} MB", MAX_BYTES >> 20);
    Diagnostic::error(Code::FileTooLarge, message).at(file, 0..0)
}

/// What the parser gives, before keys are looked at.
enum Raw {
    Null,
    Bool(bool),
    Number(Number),
    Text(String),
    List(Vec<Spanned<Raw>>),
    Map(Vec<(Spanned<Raw>, Spanned<Raw>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E: de::Error>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Number(value.into()))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Raw, E> {
        Number::from_f64(value).map(Raw::Number).ok_or_else(|| E::custom("not a finite number"))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = access.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = access.next_key()? {
            entries.push((key, access.next_value()?));
        }
        Ok(Raw::Map(entries))
    }
}

/// Makes the tree of what the parser gives.
struct Reader<'a> {
    file: &'a str,
    text: &'a str,
    problems: Vec<Diagnostic>,
}

impl Reader<'_> {
    fn node(&mut self, raw: Spanned<Raw>, path: &mut Vec<String>) -> Node {
        let span = span(raw.defined);
        let tree = match raw.value {
            Raw::Null => Tree::Null,
            Raw::Bool(value) => Tree::Bool(value),
            Raw::Number(number) => Tree::Number(number),
            Raw::Text(text) => Tree::Text(text),
            Raw::List(items) => {
                let item = |(at, item): (usize, Spanned<Raw>)| {
                    path.push(at.to_string());
                    let node = self.node(item, path);
                    path.pop();
                    node
                };
                Tree::List(items.into_iter().enumerate().map(item).collect())
            }
            Raw::Map(entries) => return self.map(span, entries, path),
        };
        Node { span, tree }
    }

    fn map(
        &mut self,
        span: Span,
        raw: Vec<(Spanned<Raw>, Spanned<Raw>)>,
        path: &mut Vec<String>,
    ) -> Node {
        if let [(Spanned { value: Raw::Map(inner), .. }, Spanned { value: Raw::Null, .. })] =
            raw.as_slice()
            && let [(Spanned { value: Raw::Text(inner), .. }, Spanned { value: Raw::Null, .. })] =
                inner.as_slice()
        {
            return self.unquoted(span, inner, path);
        }
        let mut entries: Vec<Entry> = Vec::with_capacity(raw.len());
        // Where each key stands first; looked up only in mappings too large to look through.
        let mut seen: HashMap<String, Span> = HashMap::new();
        let is_large = raw.len() > 16;
        for (key, value) in raw {
            let Some(entry) = self.entry(key, value, path) else { continue };
            let first = match is_large {
                true => seen.get(&entry.key).copied(),
                false => entries.iter().find(|e| e.key == entry.key).map(|e| e.key_span),
            };
            if let Some(first) = first {
                let message = format!("the key `{}` stands here twice", entry.key);
                let problem = Diagnostic::error(Code::DuplicateKey, message)
                    .at(self.file, entry.key_span)
                    .path(join(path, &entry.key))
                    .related(self.file, first, "first here")
                    .help("remove one of the two, or give it another name");
                self.problems.push(problem);
                continue;
            }
            if is_large {
                seen.insert(entry.key.clone(), entry.key_span);
            }
            entries.push(entry);
        }
        Node { span, tree: Tree::Map(entries) }
    }

    fn entry(
        &mut self,
        key: Spanned<Raw>,
        value: Spanned<Raw>,
        path: &mut Vec<String>,
    ) -> Option<Entry> {
        let key_span = span(key.defined);
        let key = match key.value {
            Raw::Text(text) => text,
            Raw::Bool(_) | Raw::Number(_) | Raw::Null if key_span.start < key_span.end => {
                self.text.get(Range::from(key_span)).unwrap_or_default().to_owned()
            }
            _ => {
                let problem = Diagnostic::error(Code::BadKey, "a key must be a word or a text")
                    .at(self.file, key_span)
                    .path(path.join("."))
                    .help("write `key: value`; a text that begins with `[` or `{` needs quotes");
                self.problems.push(problem);
                return None;
            }
        };
        path.push(key);
        let node = self.node(value, path);
        path.pop().map(|key| Entry { key, key_span, node })
    }

    /// `{{ params.x }}` without quotes: to YAML, a mapping within a mapping.
    fn unquoted(&mut self, span: Span, inner: &str, path: &[String]) -> Node {
        let end = self.text[span.start as usize..]
            .find("}}")
            .map_or(span.end as usize, |at| span.start as usize + at + 2);
        let span = Span { start: span.start, end: end as u32 };
        let problem = Diagnostic::error(
            Code::UnquotedExpression,
            format!("`{{{{ {inner} }}}}` without quotes is a mapping to YAML, not an expression"),
        )
        .at(self.file, span)
        .path(path.join("."))
        .help(format!("write \"${{{{ {inner} }}}}\", with the dollar sign and the quotes"));
        self.problems.push(problem);
        Node { span, tree: Tree::Unknown(String::new()) }
    }
}

fn join(path: &[String], key: &str) -> String {
    path.iter().map(String::as_str).chain([key]).collect::<Vec<_>>().join(".")
}

fn span(location: Location) -> Span {
    let span = location.span();
    let start = span.byte_offset().unwrap_or(0);
    let end = start + span.byte_len().unwrap_or(0);
    // A text of at most 10 MB has no place that does not fit.
    Span { start: start as u32, end: end as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(depth: usize) -> Result<(Node, Vec<Diagnostic>), Box<Diagnostic>> {
        parse("p", &format!("{}{}", "[".repeat(depth), "]".repeat(depth)))
    }

    #[test]
    fn depth_is_limited_within_a_small_stack() {
        let small = std::thread::Builder::new().stack_size(1 << 20);
        let thread = small.spawn(|| {
            assert!(nested(MAX_DEPTH).is_ok());
            assert_eq!(nested(MAX_DEPTH + 1).unwrap_err().code, Code::TooComplex);
            assert_eq!(nested(10_000).unwrap_err().code, Code::TooComplex);
        });
        thread.unwrap().join().unwrap();
    }

    #[test]
    fn scalars() {
        let text = "a: yes\nb: 010\nc: 1_000\nd: 1.5\ne: ~\nf: true\ng: '5'\n1: 2026-01-01\n";
        let (node, problems) = parse("p", text).unwrap();
        assert!(problems.is_empty());
        let expect = serde_json::json!({
            "a": "yes", "b": "010", "c": 1000, "d": 1.5, "e": null, "f": true, "g": "5",
            "1": "2026-01-01",
        });
        assert_eq!(node.to_value(), expect);
        assert_eq!(&text[Range::from(node.place(&["g"]))], "'5'");
        assert_eq!(&text[Range::from(node.place(&["nope", "x"]))], "");
    }
}
