//! The names in an expression, with their places, found without evaluating it.

use super::ENVIRONMENT;
use std::ops::Range;

/// A name with what is taken from it: `tasks.clean.outputs.valid.rows`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) steps: Vec<String>,
    pub(crate) range: Range<usize>,
    /// Whether it continues with something that only an evaluation knows: `params[x]`.
    pub(crate) open: bool,
    /// Whether the expression provides for its absence: `| default(…)`, `is defined`.
    pub(crate) may_lack: bool,
}

/// All names of an expression.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) chains: Vec<Chain>,
    /// Filters, tests and functions that do not exist.
    pub(crate) unknown: Vec<(Range<usize>, &'static str)>,
}

const KEYWORDS: &[&str] = &[
    "and", "or", "not", "in", "is", "if", "else", "true", "false", "none", "True", "False", "None",
];

impl Names {
    pub(crate) fn of(expression: &str) -> Names {
        let mut scanner = Scanner { text: expression, at: 0, names: Names::default() };
        scanner.scan();
        scanner.names
    }

    /// The tasks whose results the expression uses, once each.
    pub(crate) fn tasks(&self) -> Vec<&str> {
        let mut tasks: Vec<&str> = Vec::new();
        for chain in &self.chains {
            if let [root, task, ..] = chain.steps.as_slice()
                && root == "tasks"
                && !tasks.contains(&task.as_str())
            {
                tasks.push(task);
            }
        }
        tasks
    }

    /// Whether only a run can evaluate the expression.
    pub(crate) fn is_late(&self) -> bool {
        self.chains.iter().any(|chain| matches!(chain.steps[0].as_str(), "tasks" | "run"))
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
    names: Names,
}

impl Scanner<'_> {
    fn scan(&mut self) {
        // What a word means depends on the sign or word before it.
        let mut before = String::new();
        while let Some(c) = self.peek() {
            match c {
                '"' | '\'' => {
                    self.string();
                    before = "text".into();
                }
                c if c.is_ascii_digit() => {
                    self.take_while(|c| c.is_alphanumeric() || c == '_');
                    before = "number".into();
                }
                c if is_start(c) => before = self.word(&before),
                c => {
                    self.at += c.len_utf8();
                    if !c.is_whitespace() {
                        before = c.to_string();
                    }
                }
            }
        }
    }

    /// Reads a word and what belongs to it; gives it for what follows.
    fn word(&mut self, before: &str) -> String {
        let start = self.at;
        let word = self.take_while(is_part);
        let range = start..self.at;
        if KEYWORDS.contains(&word.as_str()) && before != "." && before != "|" {
            return if before == "is" && word == "not" { before.to_owned() } else { word };
        }
        let mut state = ENVIRONMENT.empty_state();
        let is_unknown = |error: minijinja::Error, kind| error.kind() == kind;
        match before {
            "." => {}
            "|" => {
                let result = state.apply_filter(&word, &[]);
                if result.is_err_and(|e| is_unknown(e, minijinja::ErrorKind::UnknownFilter)) {
                    self.names.unknown.push((range, "filter"));
                }
            }
            "is" => {
                let result = state.perform_test(&word, &[]);
                if result.is_err_and(|e| is_unknown(e, minijinja::ErrorKind::UnknownTest)) {
                    self.names.unknown.push((range, "test"));
                }
            }
            _ if self.next_is('=') && !self.rest().trim_start().starts_with("==") => {}
            _ if self.next_is('(') => {
                if !ENVIRONMENT.globals().any(|(name, _)| name == word) {
                    self.names.unknown.push((range, "function"));
                }
            }
            _ => self.chain(word, start),
        }
        "word".to_owned()
    }

    fn chain(&mut self, root: String, start: usize) {
        let mut chain =
            Chain { steps: vec![root], range: start..self.at, open: false, may_lack: false };
        loop {
            let rest = self.rest();
            if let Some(after) = rest.strip_prefix('.')
                && after.starts_with(is_start)
            {
                let from = self.at;
                self.at += 1;
                let step = self.take_while(is_part);
                if self.next_is('(') {
                    // A method of the value so far.
                    self.at = from + 1 + step.len();
                    break;
                }
                chain.steps.push(step);
            } else if rest.starts_with('[') {
                match index(rest) {
                    Some((step, length)) => {
                        chain.steps.push(step);
                        self.at += length;
                    }
                    None => {
                        chain.open = true;
                        chain.range.end = self.at;
                        break;
                    }
                }
            } else {
                break;
            }
            chain.range.end = self.at;
        }
        let after = self.rest().trim_start();
        let filter = after.strip_prefix('|').map(str::trim_start).unwrap_or_default();
        chain.may_lack = filter.starts_with("default")
            || filter.starts_with("d(")
            || after.starts_with("is defined")
            || after.starts_with("is not defined")
            || after.starts_with("is undefined");
        self.names.chains.push(chain);
    }

    fn string(&mut self) {
        let length = string_length(self.rest()).unwrap_or(self.rest().len());
        self.at += length;
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    fn next_is(&self, c: char) -> bool {
        self.rest().trim_start().starts_with(c)
    }

    fn take_while(&mut self, part: impl Fn(char) -> bool) -> String {
        let rest = self.rest();
        let length = rest.find(|c| !part(c)).unwrap_or(rest.len());
        let word = rest[..length].to_owned();
        self.at += length;
        word
    }
}

fn is_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn is_part(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of the string literal that a text begins with.
fn string_length(text: &str) -> Option<usize> {
    let mut chars = text.char_indices();
    let (_, quote) = chars.next()?;
    while let Some((at, c)) = chars.next() {
        if c == '\\' {
            chars.next();
        } else if c == quote {
            return Some(at + c.len_utf8());
        }
    }
    None
}

/// `["a"]` or `[0]` at the beginning of a text: the step and its length.
fn index(text: &str) -> Option<(String, usize)> {
    let inner = text[1..].trim_start();
    let from = text.len() - inner.len();
    let (step, length) = if inner.starts_with(['"', '\'']) {
        let length = string_length(inner)?;
        (inner[1..length - 1].to_owned(), length)
    } else {
        let length = inner.find(|c: char| !c.is_ascii_digit())?;
        (inner[..length].to_owned(), length)
    };
    let after = inner[length..].trim_start();
    let end = text.len() - after.len() + 1;
    (!step.is_empty() && from > 0 && after.starts_with(']')).then_some((step, end))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(expression: &str, expect: &[&str]) {
        let names = Names::of(expression);
        let chains: Vec<String> = names
            .chains
            .iter()
            .map(|chain| {
                let more = if chain.open { "[…]" } else { "" };
                let lack = if chain.may_lack { "?" } else { "" };
                format!("{}{more}{lack}", chain.steps.join("."))
            })
            .chain(
                names
                    .unknown
                    .iter()
                    .map(|(at, what)| format!("{what} {}", &expression[at.clone()])),
            )
            .collect();
        assert_eq!(chains, expect, "{expression}");
    }

    #[test]
    fn names() {
        check("params.rows", &["params.rows"]);
        check("params.a + params['b-c'] * 2e5", &["params.a", "params.b-c"]);
        check("tasks.clean.outputs.valid.rows > 0", &["tasks.clean.outputs.valid.rows"]);
        check("tasks[params.x].state", &["tasks[…]", "params.x"]);
        check("env.X | default('y')", &["env.X?"]);
        check("env.X is defined and not (a in b)", &["env.X?", "a", "b"]);
        check("'params.x' ~ \"a\\\"b\"", &[]);
        check("range(3) | join(d=x)", &["x"]);
        check("a.upper()", &["a"]);
        check("x if y else z", &["x", "y", "z"]);
        check("{'a': b, c: 1}", &["b", "c"]);
        check("a | nope", &["a", "filter nope"]);
        check("a is not nope", &["a", "test nope"]);
        check("now()", &["function now"]);
        check("a is not none", &["a"]);
        check("a == b", &["a", "b"]);
    }
}
