//! Walking a tree of nodes along the rules.

use super::words;
use super::{Findings, Rule, Schema, Type, Whole, format};
use crate::diagnostic::{Code, Diagnostic};
use crate::yaml::{Entry, Node, Span, Tree};
use serde_json::Value;
use std::borrow::Cow;

pub(super) fn check<'a>(
    schema: &'a Schema,
    file: &'a str,
    node: &'a Node,
    path: &[&'a str],
    whole: &'a Whole<'a>,
) -> Findings {
    let mut walk = Walk {
        schema,
        file,
        whole,
        root: path.len(),
        path: path.iter().map(|step| Cow::Borrowed(*step)).collect(),
        trail: Vec::new(),
        found: Findings::default(),
    };
    walk.node(schema.root, node, node.span);
    walk.found
}

pub(super) struct Walk<'a> {
    pub(super) schema: &'a Schema,
    pub(super) file: &'a str,
    pub(super) whole: &'a Whole<'a>,
    /// The length of the path at which the walk began.
    pub(super) root: usize,
    pub(super) path: Vec<Cow<'a, str>>,
    pub(super) trail: Vec<usize>,
    pub(super) found: Findings,
}

impl<'a> Walk<'a> {
    /// Checks a node; `span` is where to point at for it.
    pub(super) fn node(&mut self, rule: usize, node: &'a Node, span: Span) {
        if matches!(node.tree, Tree::Unknown(_)) {
            return;
        }
        let rule = &self.schema.rules[rule];
        for part in &rule.all_of {
            self.node(*part, node, span);
        }
        if !rule.any_of.is_empty() {
            self.alternatives(rule, node, span);
            return;
        }
        if let Some(types) = &rule.types
            && !types.iter().any(|one| admits(*one, node))
        {
            self.wrong_type(rule, types, node, span);
            return;
        }
        if let Some(choices) = &rule.choices
            && !choices.iter().any(|choice| is_same(choice, node))
        {
            self.not_a_choice(choices, node, span);
            return;
        }
        match &node.tree {
            Tree::Number(number) => self.number(rule, number.as_f64().unwrap_or(0.0), span),
            Tree::Text(text) => self.text(rule, text, span),
            Tree::List(items) => self.list(rule, items, span),
            Tree::Map(entries) => self.map(rule, entries, span),
            Tree::Null | Tree::Bool(_) | Tree::Unknown(_) => {}
        }
    }

    /// The problem at the node where the walk stands.
    pub(super) fn report(&mut self, code: Code, span: Span, message: String, help: Option<String>) {
        let diagnostic = Diagnostic::error(code, message)
            .at(self.file, span)
            .path(self.path.join("."))
            .maybe_help(help);
        self.found.diagnostics.push(diagnostic);
        self.found.bad.push(self.trail.clone());
    }

    /// What the node is called in messages.
    pub(super) fn subject(&self) -> String {
        match self.path.as_slice() {
            path if path.len() == self.root => self.whole.name.to_owned(),
            [] => String::new(),
            [.., list, at] if at.bytes().all(|byte| byte.is_ascii_digit()) => {
                format!("an item of `{list}`")
            }
            [.., last] => format!("`{last}`"),
        }
    }

    pub(super) fn wrong_type(&mut self, rule: &Rule, types: &[Type], node: &Node, span: Span) {
        let subject = self.subject();
        let expected = expected(rule, types);
        if let Tree::Text(text) = &node.tree
            && text.contains("${{")
        {
            return self.misplaced(span);
        }
        let message = match &node.tree {
            Tree::Null => format!("{subject} has no value; it must be {expected}"),
            _ => format!("{subject} must be {expected}, not {}", describe(node)),
        };
        let help = type_help(rule, types, node);
        self.report(Code::WrongType, span, message, help);
    }

    fn misplaced(&mut self, span: Span) {
        let message = format!("no expression can stand in {}", self.subject());
        let help = "expressions are for `with`, `when` and a dataset's `where`".to_owned();
        self.report(Code::ExpressionMisplaced, span, message, Some(help));
    }

    pub(super) fn not_a_choice(&mut self, choices: &[Value], node: &Node, span: Span) {
        let texts: Vec<String> = choices.iter().map(plain).collect();
        let given = match &node.tree {
            Tree::Text(text) => format!("`{text}`"),
            _ => describe(node),
        };
        let message = format!("{} must be {}, not {given}", self.subject(), one_of(&texts));
        let help = node.as_text().and_then(|text| words::value_help(text, &texts));
        self.report(Code::NotAChoice, span, message, help);
    }

    fn number(&mut self, rule: &Rule, value: f64, span: Span) {
        let bounds = [
            (rule.minimum.filter(|bound| value < *bound), "at least"),
            (rule.maximum.filter(|bound| value > *bound), "at most"),
            (rule.exclusive_minimum.filter(|bound| value <= *bound), "more than"),
            (rule.exclusive_maximum.filter(|bound| value >= *bound), "less than"),
        ];
        let bounds = bounds.into_iter().chain(width(rule, value));
        for (bound, word) in bounds {
            if let Some(bound) = bound {
                let message = format!("{} must be {word} {bound}, not {value}", self.subject());
                self.report(Code::OutOfRange, span, message, None);
                return;
            }
        }
    }

    fn text(&mut self, rule: &Rule, text: &str, span: Span) {
        if rule.min_length.is_some_and(|least| (text.chars().count() as u64) < least) {
            let message = format!("{} must not be empty", self.subject());
            return self.report(Code::OutOfRange, span, message, None);
        }
        let Some(format) = rule.format.as_deref() else { return };
        if let Err(problem) = format::check(format, text) {
            if text.contains("${{") && format != "dataset" {
                return self.misplaced(span);
            }
            self.report(format_code(format), span, problem.message, problem.help);
        }
    }

    fn list(&mut self, rule: &Rule, items: &'a [Node], span: Span) {
        if rule.min_items.is_some_and(|least| (items.len() as u64) < least) {
            let message = format!("{} must not be empty", self.subject());
            self.report(Code::OutOfRange, span, message, None);
        }
        let Some(inner) = rule.items else { return };
        for (at, item) in items.iter().enumerate() {
            let span = if item.span.start < item.span.end { item.span } else { span };
            self.path.push(Cow::Owned(at.to_string()));
            self.trail.push(at);
            self.node(inner, item, span);
            self.trail.pop();
            self.path.pop();
        }
    }

    fn map(&mut self, rule: &'a Rule, entries: &'a [Entry], span: Span) {
        for (at, entry) in entries.iter().enumerate() {
            self.path.push(Cow::Borrowed(&entry.key));
            self.trail.push(at);
            self.entry(rule, entry);
            self.trail.pop();
            self.path.pop();
        }
        let has = |name: &String| entries.iter().any(|entry| entry.key == *name);
        for name in rule.required.iter().filter(|name| !has(name)) {
            // A misspelt key is already reported, with the right one in its help.
            if entries.iter().any(|entry| words::means(&entry.key, name, &known(rule))) {
                self.found.bad.push(self.trail.clone());
                continue;
            }
            let message = match self.path.len() == self.root {
                true => format!("{} has no {} `{name}`", self.whole.name, self.whole.key),
                false => format!("{} has no `{name}`", self.subject()),
            };
            let help = Some(format!("add `{name}:`"));
            self.report(Code::MissingKey, span, message, help);
        }
        if rule.min_properties.is_some_and(|least| (entries.len() as u64) < least) {
            let message = format!("{} must not be empty", self.subject());
            self.report(Code::OutOfRange, span, message, None);
        }
    }

    fn entry(&mut self, rule: &Rule, entry: &'a Entry) {
        if let Some(format) = &rule.key_format
            && let Err(problem) = format::check(format, &entry.key)
        {
            self.report(format_code(format), entry.key_span, problem.message, problem.help);
        }
        let known_rule = rule.properties.iter().find(|(name, _)| *name == entry.key);
        match (known_rule.map(|(_, inner)| *inner), rule.additional) {
            (Some(inner), _) | (None, Some(Some(inner))) => {
                self.node(inner, &entry.node, entry.value_span());
            }
            (None, Some(None)) => self.unknown_key(rule, entry),
            (None, None) => {}
        }
    }

    fn unknown_key(&mut self, rule: &Rule, entry: &Entry) {
        let known = known(rule);
        let count = self.path.len();
        let message = match count == self.root + 1 {
            true => format!("{} has no {} `{}`", self.whole.name, self.whole.key, entry.key),
            false => format!("`{}` has no key `{}`", self.path[count - 2], entry.key),
        };
        let help = words::key_help(&entry.key, &known);
        self.report(Code::UnknownKey, entry.key_span, message, Some(help));
    }
}

fn known(rule: &Rule) -> Vec<&str> {
    rule.properties.iter().map(|(name, _)| name.as_str()).collect()
}

fn is_same(choice: &Value, node: &Node) -> bool {
    match (choice, &node.tree) {
        (Value::String(choice), Tree::Text(text)) => choice == text,
        (choice, _) => *choice == node.to_value(),
    }
}

pub(super) fn admits(one: Type, node: &Node) -> bool {
    match (&node.tree, one) {
        (Tree::Number(number), Type::Integer) => !number.is_f64(),
        (Tree::Null, Type::Null)
        | (Tree::Bool(_), Type::Boolean)
        | (Tree::Number(_), Type::Number)
        | (Tree::Text(_), Type::String)
        | (Tree::List(_), Type::Array)
        | (Tree::Map(_), Type::Object)
        | (Tree::Unknown(_), _) => true,
        _ => false,
    }
}

fn format_code(format: &str) -> Code {
    match format {
        "dataset" => Code::BadDataset,
        "name" | "identifier" => Code::BadName,
        _ => Code::BadFormat,
    }
}

/// The bounds of an integer type of Rust that is narrower than what YAML can say.
fn width(rule: &Rule, value: f64) -> [(Option<f64>, &'static str); 2] {
    let (least, most) = match rule.format.as_deref() {
        Some("int8") => (i8::MIN.into(), i8::MAX.into()),
        Some("int16") => (i16::MIN.into(), i16::MAX.into()),
        Some("int32") => (i32::MIN.into(), i32::MAX.into()),
        Some("uint8") => (0.0, u8::MAX.into()),
        Some("uint16") => (0.0, u16::MAX.into()),
        Some("uint32") => (0.0, u32::MAX.into()),
        _ => (f64::MIN, f64::MAX),
    };
    [
        (Some(least).filter(|b| value < *b), "at least"),
        (Some(most).filter(|b| value > *b), "at most"),
    ]
}

/// What should stand there, for a message.
fn expected(rule: &Rule, types: &[Type]) -> String {
    match rule.format.as_deref() {
        Some("duration") => "a duration".to_owned(),
        Some("rate") => "a rate".to_owned(),
        Some("dataset") => "a dataset".to_owned(),
        _ => names(types),
    }
}

/// A value as YAML on one line.
fn flow(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let pairs = map.iter().map(|(key, value)| format!("{key}: {}", flow(value)));
            format!("{{{}}}", pairs.collect::<Vec<_>>().join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(flow).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) if text.contains([',', '{', '}', '#', '*']) || text.contains(": ") => {
            format!("\"{text}\"")
        }
        other => plain(other),
    }
}

fn names(types: &[Type]) -> String {
    let name = |one: &Type| match one {
        Type::Null => None,
        Type::Boolean => Some("true or false"),
        Type::Integer => Some("a whole number"),
        Type::Number => Some("a number"),
        Type::String => Some("a text"),
        Type::Array => Some("a list"),
        Type::Object => Some("a mapping"),
    };
    let names: Vec<&str> = types.iter().filter_map(name).collect();
    match names.as_slice() {
        [] => "empty".to_owned(),
        names => names.join(", or "),
    }
}

/// What a node holds, for a message.
fn describe(node: &Node) -> String {
    match &node.tree {
        Tree::Null => "nothing".to_owned(),
        Tree::Bool(value) => value.to_string(),
        Tree::Number(number) => number.to_string(),
        Tree::Text(text) | Tree::Unknown(text) => {
            let mut short: String = text.lines().next().unwrap_or_default().to_owned();
            if short.chars().count() > 40 || short.len() < text.trim_end().len() {
                short = short.chars().take(40).collect::<String>() + "…";
            }
            format!("the text `{short}`")
        }
        Tree::List(_) => "a list".to_owned(),
        Tree::Map(_) => "a mapping".to_owned(),
    }
}

fn type_help(rule: &Rule, types: &[Type], node: &Node) -> Option<String> {
    let wants = |one| types.contains(&one);
    let example = || rule.example.as_ref().map(|example| format!("for example {}", flow(example)));
    match &node.tree {
        Tree::Number(number) if rule.format.as_deref() == Some("duration") => {
            Some(format!("a duration has a unit: {number}s, {number}m or {number}h"))
        }
        Tree::Number(number) if rule.format.as_deref() == Some("rate") => {
            Some(format!("a rate says in what time: {number} rows / 1s"))
        }
        Tree::Number(_) | Tree::Bool(_) if wants(Type::String) && rule.format.is_none() => {
            Some(format!("put it in quotes: \"{}\"", node.to_value()))
        }
        Tree::Text(text) if wants(Type::Boolean) && words::is_yes_or_no(text) => {
            Some("YAML's words for it are `true` and `false`".to_owned())
        }
        Tree::Text(text)
            if (wants(Type::Integer) || wants(Type::Number)) && text.parse::<f64>().is_ok() =>
        {
            Some("remove the quotes".to_owned())
        }
        Tree::Number(number) if wants(Type::Integer) && number.is_f64() => {
            Some("write it without a decimal point or exponent".to_owned())
        }
        Tree::Text(text) if wants(Type::Array) => {
            Some(format!("write it as a list: [{}]", listed(text)))
        }
        _ => example().or_else(|| match rule.properties.as_slice() {
            [] => None,
            properties => {
                let names: Vec<&str> = properties.iter().map(|(name, _)| name.as_str()).collect();
                Some(format!("its keys are `{}`", names.join("`, `")))
            }
        }),
    }
}

/// A text as the items that its writer may have meant: the words of a command.
fn listed(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || " _-./=+".contains(c);
    match text.chars().all(is_plain) {
        true => text.split_whitespace().collect::<Vec<_>>().join(", "),
        false => flow(&Value::String(text.to_owned())),
    }
}

fn plain(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn one_of(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
    match quoted.as_slice() {
        [] => "left out".to_owned(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
