//! YAML as a tree of nodes that know their places in the text.

use crate::diagnostic::{Code, Diagnostic};
use serde_json::{Map, Number, Value};
use std::ops::Range;

mod compose;
mod decode;
mod scalar;
mod syntax;

/// A file that is larger is not read.
pub const MAX_BYTES: u64 = 10 * 1024 * 1024;

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

    /// The value at a path of keys and indices.
    pub fn at<S: AsRef<str>>(&self, path: &[S]) -> Option<&Node> {
        path.iter().map(AsRef::as_ref).try_fold(self, |node, step: &str| match &node.tree {
            Tree::List(items) => items.get(step.parse::<usize>().ok()?),
            _ => node.get(step),
        })
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
        let message = format!("`{file}` is larger than {} MB", MAX_BYTES >> 20);
        return Err(Box::new(Diagnostic::error(Code::FileTooLarge, message).at(file, 0..0)));
    }
    compose::compose(file, text).map_err(|failure| match failure {
        compose::Failure::Syntax(error) => Box::new(syntax::diagnostic(file, text, &error)),
        compose::Failure::Refused(problem) => problem,
    })
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
            assert!(nested(64).is_ok());
            assert_eq!(nested(65).unwrap_err().code, Code::TooComplex);
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
