//! Making the tree of what the parser tells, without recursion.

use super::{Entry, Node, Span, Tree, scalar, syntax};
use crate::diagnostic::{Code, Diagnostic};
use serde_yaml::granit_parser as parser;
use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, ScanError, Tag};
use std::collections::HashMap;
use std::ops::Range;

/// Mappings and lists may be nested this deep, so that who walks the tree may recurse.
const MAX_DEPTH: usize = 64;
/// Values in a file, and among them those that aliases repeat.
const MAX_NODES: usize = 2_000_000;
const MAX_REPEATED: usize = 100_000;

/// Why there is no tree.
pub(super) enum Failure {
    /// The text is not YAML.
    Syntax(ScanError),
    /// It is, but not such as is read here.
    Refused(Box<Diagnostic>),
}

impl From<ScanError> for Failure {
    fn from(error: ScanError) -> Self {
        Failure::Syntax(error)
    }
}

/// The tree of a document, and problems that leave a usable tree.
pub(super) fn compose(file: &str, text: &str) -> Result<(Node, Vec<Diagnostic>), Failure> {
    let options = parser::options! { emit_comments: false };
    let mut composer = Composer {
        file,
        text,
        open: Vec::new(),
        anchors: HashMap::new(),
        root: None,
        nodes: 0,
        repeated: 0,
        problems: Vec::new(),
    };
    for event in Parser::new_from_str_with_options(text, options) {
        let (event, span) = event?;
        composer.event(event, &span)?;
    }
    let root = composer.root.unwrap_or(Node {
        span: Span { start: text.len() as u32, end: text.len() as u32 },
        tree: Tree::Null,
    });
    Ok((root, composer.problems))
}

struct Composer<'a> {
    file: &'a str,
    text: &'a str,
    /// The mappings and lists that are not complete, from the outermost.
    open: Vec<Open>,
    /// Values by their anchor, with the number of nodes in each.
    anchors: HashMap<usize, (Node, usize)>,
    root: Option<Node>,
    nodes: usize,
    repeated: usize,
    problems: Vec<Diagnostic>,
}

struct Open {
    span: Span,
    anchor: usize,
    /// How many nodes there were before it.
    nodes_before: usize,
    inner: Inner,
}

enum Inner {
    List(Vec<Node>),
    Map(Map),
}

#[derive(Default)]
struct Map {
    entries: Vec<Entry>,
    /// The key whose value comes next.
    key: Option<Node>,
    /// Mappings that `<<` merges into this one.
    merged: Vec<Node>,
    /// Where each key stands, in a mapping too large to look through.
    index: HashMap<String, Span>,
    /// The name in `{{ name }}`, which is a mapping with a mapping as its key.
    unquoted: Option<String>,
}

/// Mappings with more entries are looked up by an index.
const SMALL: usize = 16;

impl Composer<'_> {
    fn event(&mut self, event: Event<'_>, span: &parser::Span) -> Result<(), Failure> {
        let place = self.place(span);
        let tag_place = span.tag_span().map_or(place, |tag| self.place(&tag));
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                let message = "a second document begins here";
                let help = "a file holds one pipeline; remove the `---` or move what follows";
                Err(self.refuse(Code::YamlSyntax, place, message, help))
            }
            Event::Scalar(text, style, anchor, tag) => {
                let tree = self.scalar(&text, style, tag.as_deref(), tag_place);
                self.count(place)?;
                self.complete(Node { span: place, tree }, anchor, 1)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.custom_tag(tag.as_deref(), tag_place);
                self.begin(Inner::List(Vec::new()), place, anchor)
            }
            Event::MappingStart(_, anchor, tag) => {
                self.custom_tag(tag.as_deref(), tag_place);
                self.begin(Inner::Map(Map::default()), place, anchor)
            }
            Event::SequenceEnd | Event::MappingEnd => {
                let Some(open) = self.open.pop() else { return Ok(()) };
                let tree = match open.inner {
                    Inner::List(items) => Tree::List(items),
                    Inner::Map(map) => self.finish(map, open.span),
                };
                let count = self.nodes - open.nodes_before;
                self.complete(Node { span: open.span, tree }, open.anchor, count)
            }
            Event::Alias(anchor) => self.alias(anchor, place),
            _ => Ok(()),
        }
    }

    fn place(&self, span: &parser::Span) -> Span {
        let byte =
            |marker: &parser::Marker| marker.byte_offset().unwrap_or(0).min(self.text.len()) as u32;
        let (start, end) = (byte(&span.start), byte(&span.end));
        Span { start, end: end.max(start) }
    }

    fn refuse(&self, code: Code, place: Span, message: &str, help: &str) -> Failure {
        let problem = Diagnostic::error(code, message).at(self.file, place).help(help);
        Failure::Refused(Box::new(problem))
    }

    fn too_complex(&self, place: Span) -> Failure {
        Failure::Refused(Box::new(syntax::too_complex(self.file, place.into())))
    }

    fn count(&mut self, place: Span) -> Result<(), Failure> {
        self.nodes += 1;
        if self.nodes > MAX_NODES { Err(self.too_complex(place)) } else { Ok(()) }
    }

    fn begin(&mut self, inner: Inner, span: Span, anchor: usize) -> Result<(), Failure> {
        let nodes_before = self.nodes;
        self.count(span)?;
        if self.open.len() == MAX_DEPTH {
            return Err(self.too_complex(span));
        }
        self.open.push(Open { span, anchor, nodes_before, inner });
        Ok(())
    }

    /// Puts a complete value where it belongs.
    fn complete(&mut self, node: Node, anchor: usize, count: usize) -> Result<(), Failure> {
        if anchor != 0 {
            self.anchors.insert(anchor, (node.clone(), count));
        }
        match self.open.last_mut() {
            None => self.root = Some(node),
            Some(Open { inner: Inner::List(items), .. }) => items.push(node),
            Some(Open { inner: Inner::Map(map), .. }) => match map.key.take() {
                None => map.key = Some(node),
                Some(key) => self.pair(key, node),
            },
        }
        Ok(())
    }

    fn alias(&mut self, anchor: usize, place: Span) -> Result<(), Failure> {
        let Some((node, count)) = self.anchors.get(&anchor) else {
            let message = "an alias stands inside the value that it names";
            return Err(self.refuse(Code::YamlSyntax, place, message, "write the value out"));
        };
        let (node, count) = (node.clone(), *count);
        self.nodes += count;
        self.repeated += count;
        if self.repeated > MAX_REPEATED || self.nodes > MAX_NODES || self.depth(&node) > MAX_DEPTH {
            return Err(self.too_complex(place));
        }
        self.complete(node, 0, count)
    }

    /// How deep a value would lie here.
    fn depth(&self, node: &Node) -> usize {
        fn below(node: &Node) -> usize {
            match &node.tree {
                Tree::List(items) => 1 + items.iter().map(below).max().unwrap_or(0),
                Tree::Map(entries) => {
                    1 + entries.iter().map(|entry| below(&entry.node)).max().unwrap_or(0)
                }
                _ => 0,
            }
        }
        self.open.len() + below(node)
    }

    fn pair(&mut self, key: Node, node: Node) {
        let text = self.text;
        let name = match &key.tree {
            Tree::Text(name) => Some(name.clone()),
            Tree::Null | Tree::Bool(_) | Tree::Number(_) if key.span.start < key.span.end => {
                text.get(Range::from(key.span)).map(str::to_owned)
            }
            _ => None,
        };
        let Some(Open { inner: Inner::Map(map), .. }) = self.open.last_mut() else { return };
        let Some(name) = name else {
            match unquoted_name(&key, &node).filter(|_| map.entries.is_empty()) {
                Some(name) => map.unquoted = Some(name),
                None => self.bad_key(key.span),
            }
            return;
        };
        let is_plain = text.get(Range::from(key.span)) == Some("<<");
        if is_plain && name == "<<" {
            return self.merge(key.span, node);
        }
        let first = match map.entries.len() > SMALL {
            true => map.index.get(&name).copied(),
            false => map.entries.iter().find(|entry| entry.key == name).map(|e| e.key_span),
        };
        if let Some(first) = first {
            return self.duplicate(&name, key.span, first);
        }
        map.entries.push(Entry { key: name, key_span: key.span, node });
        if map.entries.len() > SMALL {
            let entries = &map.entries;
            let new = if map.index.is_empty() { 0 } else { entries.len() - 1 };
            let pairs = entries[new..].iter().map(|entry| (entry.key.clone(), entry.key_span));
            map.index.extend(pairs);
        }
    }

    fn merge(&mut self, span: Span, node: Node) {
        let mappings = match node.tree {
            Tree::List(items) => items,
            _ => vec![node],
        };
        if mappings.iter().any(|mapping| mapping.as_map().is_none()) {
            let message = "`<<` merges mappings; this is not one";
            let problem = Diagnostic::error(Code::WrongType, message).at(self.file, span);
            return self.problems.push(problem.path(self.path()));
        }
        if let Some(Open { inner: Inner::Map(map), .. }) = self.open.last_mut() {
            map.merged.extend(mappings);
        }
    }

    /// A complete mapping, with what is merged into it: its own keys go first.
    fn finish(&mut self, map: Map, span: Span) -> Tree {
        let mut entries = map.entries;
        for entry in map.merged.into_iter().flat_map(|node| match node.tree {
            Tree::Map(entries) => entries,
            _ => Vec::new(),
        }) {
            if !entries.iter().any(|own| own.key == entry.key) {
                entries.push(entry);
            }
        }
        match map.unquoted {
            Some(name) if entries.is_empty() => self.unquoted(&name, span),
            Some(_) => {
                self.bad_key(span);
                Tree::Map(entries)
            }
            None => Tree::Map(entries),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>, place: Span) -> Tree {
        let is = |name| tag.is_some_and(|tag| tag.is_yaml_core_schema_tag(name));
        if is("str") {
            return Tree::Text(text.to_owned());
        }
        let typed = ["int", "float", "bool", "null"].into_iter().any(is);
        self.custom_tag(tag, place);
        if style == ScalarStyle::Plain || typed {
            scalar::plain(text)
        } else {
            Tree::Text(text.to_owned())
        }
    }

    fn custom_tag(&mut self, tag: Option<&Tag>, place: Span) {
        let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) else { return };
        let message = format!("the tag `{}` has no meaning here", tag.original());
        let problem = Diagnostic::error(Code::YamlSyntax, message)
            .at(self.file, place)
            .path(self.path())
            .help("remove it; a text that begins with `!` needs quotes");
        self.problems.push(problem);
    }

    fn bad_key(&mut self, span: Span) {
        let problem = Diagnostic::error(Code::BadKey, "a key must be a word or a text")
            .at(self.file, span)
            .path(self.path())
            .help("write `key: value`; a text that begins with `[` or `{` needs quotes");
        self.problems.push(problem);
    }

    fn duplicate(&mut self, key: &str, span: Span, first: Span) {
        let path = self.path();
        let path = if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
        let message = format!("the key `{key}` stands here twice");
        let problem = Diagnostic::error(Code::DuplicateKey, message)
            .at(self.file, span)
            .path(path)
            .related(self.file, first, "first here")
            .help("remove one of the two, or give it another name");
        self.problems.push(problem);
    }

    /// `{{ params.x }}` without quotes: to YAML, a mapping within a mapping.
    fn unquoted(&mut self, name: &str, span: Span) -> Tree {
        let start = span.start as usize;
        let end = self.text[start..].find("}}").map_or(start + 2, |at| start + at + 2);
        let problem = Diagnostic::error(
            Code::UnquotedExpression,
            format!("`{{{{ {name} }}}}` without quotes is a mapping to YAML, not an expression"),
        )
        .at(self.file, start..end)
        .path(self.path())
        .help(format!("write \"${{{{ {name} }}}}\", with the dollar sign and the quotes"));
        self.problems.push(problem);
        Tree::Unknown(String::new())
    }

    /// Where the composer stands.
    fn path(&self) -> String {
        let step = |open: &Open| match &open.inner {
            Inner::List(items) => Some(items.len().to_string()),
            Inner::Map(map) => map.key.as_ref()?.as_text().map(str::to_owned),
        };
        self.open.iter().filter_map(step).collect::<Vec<_>>().join(".")
    }
}

fn unquoted_name(key: &Node, node: &Node) -> Option<String> {
    match (key.as_map()?, &node.tree) {
        ([Entry { key, node: Node { tree: Tree::Null, .. }, .. }], Tree::Null) => Some(key.clone()),
        _ => None,
    }
}
