//! Checking a tree of nodes against a JSON Schema, with every problem at its place.
//!
//! Of JSON Schema it knows what schemars makes of our types: `type`, `properties`, `required`,
//! `additionalProperties`, `patternProperties` (of one pattern), `propertyNames`, `items`, `enum`,
//! `const`, bounds, `format`, `anyOf`, `oneOf`, `allOf` and `$ref`. The schema is compiled once.

use crate::diagnostic::Diagnostic;
use crate::yaml::{Entry, Node, Tree};
use serde_json::Value;
use std::collections::HashMap;

mod alternatives;
mod check;
mod compile;
pub mod format;
mod words;

pub use words::{did_you_mean, instead_of, nearest};

/// A compiled schema.
#[derive(Debug)]
pub struct Schema {
    rules: Vec<Rule>,
    root: usize,
}

/// One schema within a [`Schema`]; others are named by their index.
#[derive(Debug, Default)]
struct Rule {
    /// `None`: any type.
    types: Option<Vec<Type>>,
    properties: Vec<(String, usize)>,
    required: Vec<String>,
    /// What other keys may hold; `None` in it: nothing, they are unknown.
    additional: Option<Option<usize>>,
    key_format: Option<String>,
    items: Option<usize>,
    /// From `enum`, `const`, or alternatives that are only those.
    choices: Option<Vec<Value>>,
    minimum: Option<f64>,
    maximum: Option<f64>,
    exclusive_minimum: Option<f64>,
    exclusive_maximum: Option<f64>,
    min_items: Option<u64>,
    min_properties: Option<u64>,
    min_length: Option<u64>,
    format: Option<String>,
    any_of: Vec<usize>,
    all_of: Vec<usize>,
    /// An example to show in help.
    example: Option<Value>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Null,
    Boolean,
    Integer,
    Number,
    String,
    Array,
    Object,
}

/// What a check found.
#[derive(Debug, Default)]
pub struct Findings {
    pub diagnostics: Vec<Diagnostic>,
    /// For each finding, the child indices that lead from the checked node to what should be left
    /// out so that the rest can be used: a wrong value, an unknown key, or what lacks a key.
    pub bad: Vec<Vec<usize>>,
}

impl Schema {
    pub fn new(schema: &schemars::Schema) -> Schema {
        compile::compile(schema.as_value())
    }

    /// Everything in `node` that does not fit. `path` is where the node lies in the file.
    pub fn check(&self, file: &str, node: &Node, path: &[&str], whole: &Whole<'_>) -> Findings {
        check::check(self, file, node, path, whole)
    }
}

/// What messages call the checked node and its keys: `a pipeline` has keys, `etl` has options.
#[derive(Clone, Copy, Debug)]
pub struct Whole<'a> {
    pub name: &'a str,
    pub key: &'a str,
}

/// Everything in a value without a place that does not fit the schema, in words.
pub fn check_value(schema: &schemars::Schema, value: &Value, path: &str) -> Vec<String> {
    let node = Node::from_value(value.clone(), crate::yaml::Span::default());
    let whole = Whole { name: path, key: "option" };
    let findings = Schema::new(schema).check("", &node, &[path], &whole);
    findings
        .diagnostics
        .into_iter()
        .map(|diagnostic| format!("{}: {}", diagnostic.path, diagnostic.message))
        .collect()
}

/// The tree without what the check found bad.
pub fn without(node: &Node, bad: &[Vec<usize>]) -> Node {
    let paths: Vec<&[usize]> = bad.iter().map(Vec::as_slice).collect();
    prune(node, &paths)
}

fn prune(node: &Node, bad: &[&[usize]]) -> Node {
    let mut below: HashMap<usize, Vec<&[usize]>> = HashMap::new();
    for path in bad {
        if let [first, rest @ ..] = path {
            below.entry(*first).or_default().push(rest);
        }
    }
    // `None`: the child goes.
    let child = |at: usize, node: &Node| match below.get(&at) {
        None => Some(node.clone()),
        Some(bad) if bad.iter().any(|path| path.is_empty()) => None,
        Some(bad) => Some(prune(node, bad)),
    };
    let tree = match &node.tree {
        Tree::List(items) => {
            Tree::List(items.iter().enumerate().filter_map(|(at, item)| child(at, item)).collect())
        }
        Tree::Map(entries) => {
            let kept = entries.iter().enumerate().filter_map(|(at, entry)| {
                let node = child(at, &entry.node)?;
                Some(Entry { key: entry.key.clone(), key_span: entry.key_span, node })
            });
            Tree::Map(kept.collect())
        }
        other => other.clone(),
    };
    Node { span: node.span, tree }
}
