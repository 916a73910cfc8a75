//! Expressions in texts: `${{ params.rows }}`.
//!
//! Only expressions: a text has no statements or comments, so SQL and shell scripts mean what they
//! say. An expression that is a whole text keeps its type; within a longer text it becomes text.

use crate::event::{Published, TaskEnd};
use crate::plan::{Interval, Plan, PlannedTask};
use indexmap::IndexMap;
use jiff::tz::TimeZone;
use minijinja::value::ValueKind;
use minijinja::{Environment, ErrorKind, UndefinedBehavior};
use serde::Serialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::io::{self, Write};
use std::ops::Range;
use std::sync::LazyLock;

mod names;
pub(crate) use names::{Chain, Names};

/// A part of a text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Text(Range<usize>),
    Expression {
        /// With its `${{ }}`.
        outer: Range<usize>,
        /// What is between them.
        inner: Range<usize>,
    },
}

/// What is wrong with a text's expressions, and where in the text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    pub(crate) range: Range<usize>,
    pub(crate) message: String,
    pub(crate) help: Option<String>,
}

const OPEN: &str = "${{";

/// Takes a text apart. A text without expressions is one part.
pub(crate) fn split(text: &str) -> Result<Vec<Part>, Fault> {
    let mut parts = Vec::new();
    let mut from = 0;
    while let Some(at) = text[from..].find(OPEN) {
        let start = from + at;
        if start > from {
            parts.push(Part::Text(from..start));
        }
        let inner = start + OPEN.len();
        let Some(length) = closing(&text[inner..]) else {
            let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
            return Err(Fault {
                range: start..line_end,
                message: "`${{` is never closed".into(),
                help: Some("close it with `}}`".into()),
            });
        };
        let end = inner + length + 2;
        if text[inner..inner + length].trim().is_empty() {
            return Err(Fault {
                range: start..end,
                message: "an expression is empty".into(),
                help: Some("write a name such as params.rows between `${{` and `}}`".into()),
            });
        }
        parts.push(Part::Expression { outer: start..end, inner: inner..inner + length });
        from = end;
    }
    if from < text.len() || parts.is_empty() {
        parts.push(Part::Text(from..text.len()));
    }
    Ok(parts)
}

/// Where the `}}` is that ends an expression: not in a string, nor ending a mapping.
fn closing(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let (mut at, mut depth, mut quote) = (0, 0usize, None);
    while let Some(&byte) = bytes.get(at) {
        match (quote, byte) {
            (Some(_), b'\\') => at += 1,
            (Some(open), _) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, b'"' | b'\'') => quote = Some(byte),
            (None, b'{') => depth += 1,
            (None, b'}') if depth > 0 => depth -= 1,
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            (None, _) => {}
        }
        at += 1;
    }
    None
}

/// The one expression that a text consists of, apart from space around it.
pub(crate) fn whole(text: &str, parts: &[Part]) -> Option<Range<usize>> {
    let mut expressions = parts.iter().filter_map(|part| match part {
        Part::Expression { inner, .. } => Some(inner.clone()),
        Part::Text(range) => (!text[range.clone()].trim().is_empty()).then_some(0..0),
    });
    let only = expressions.next()?;
    (expressions.next().is_none() && !only.is_empty()).then_some(only)
}

/// What an expression may cost, in MiniJinja's measure: one for each step and each 64 bytes, so about
/// 64 MB.
const FUEL: u64 = 1_000_000;

/// The value of an expression takes no more, as JSON.
const MOST_BYTES: usize = 1 << 20;

/// How many more bytes may be written; they are only counted.
struct Left(usize);

impl Write for Left {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let left = self.0.checked_sub(bytes.len());
        self.0 = left.unwrap_or(0);
        left.map(|_| bytes.len()).ok_or_else(|| io::ErrorKind::FileTooLarge.into())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_debug(true);
    environment.set_fuel(Some(FUEL));
    // They tell of the template engine, not of pipelines.
    environment.remove_global("debug");
    environment.remove_global("namespace");
    environment
});

/// The filters, tests and functions of expressions, as the reference has them.
pub(crate) fn known(what: &str) -> &'static [&'static str] {
    match what {
        "filter" => &[
            "abs", "batch", "bool", "chain", "default", "dictsort", "first", "float", "format",
            "int", "items", "join", "last", "length", "lines", "list", "lower", "map", "max",
            "min", "reject", "replace", "reverse", "round", "select", "slice", "sort", "split",
            "string", "sum", "title", "tojson", "trim", "unique", "upper", "zip",
        ],
        "test" => &[
            "boolean",
            "defined",
            "divisibleby",
            "endingwith",
            "even",
            "float",
            "integer",
            "mapping",
            "number",
            "odd",
            "sequence",
            "startingwith",
            "string",
        ],
        _ => &["dict", "range"],
    }
}

/// What expressions can name, with values.
#[derive(Clone, Debug)]
pub(crate) struct Context(minijinja::Value);

impl Context {
    fn of(roots: Roots<'_>) -> Context {
        Context(minijinja::Value::from(minijinja::value::Serde(roots)))
    }

    /// What the plan knows.
    pub(crate) fn early(
        params: &Map<String, Value>,
        interval: &Interval,
        zone: &TimeZone,
        env: &BTreeMap<String, String>,
    ) -> Context {
        Context::of(Roots {
            params,
            interval: IntervalNames::new(interval, zone),
            env,
            run: None,
            tasks: None,
        })
    }
}

#[derive(Serialize)]
struct Roots<'a> {
    params: &'a Map<String, Value>,
    interval: IntervalNames,
    env: &'a BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunNames<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tasks: Option<BTreeMap<String, LateTask>>,
}

#[derive(Serialize)]
struct RunNames<'a> {
    id: &'a str,
}

#[derive(Serialize)]
struct IntervalNames {
    start: String,
    end: String,
    date: String,
    month: String,
}

impl IntervalNames {
    fn new(interval: &Interval, zone: &TimeZone) -> Self {
        let start = interval.start.to_zoned(zone.clone());
        IntervalNames {
            start: interval.start.to_string(),
            end: interval.end.to_string(),
            date: start.date().to_string(),
            month: start.strftime("%Y-%m").to_string(),
        }
    }
}

/// Evaluates an expression. The fault's range lies in the expression.
pub(crate) fn evaluate(expression: &str, context: &Context) -> Result<Value, Fault> {
    let fault = |error: &minijinja::Error| {
        let detail = error.detail().map(str::to_owned);
        let message = match error.kind() {
            ErrorKind::OutOfFuel => "the expression computes too much".to_owned(),
            kind => detail.unwrap_or_else(|| kind.to_string()),
        };
        let range = error.range().filter(|range| range.end <= expression.len());
        Fault { range: range.unwrap_or(0..expression.len()), message, help: None }
    };
    let compiled = ENVIRONMENT.compile_expression_owned(expression).map_err(|e| fault(&e))?;
    let value = compiled.eval(&context.0).map_err(|e| fault(&e))?;
    let whole =
        |message: &str| Fault { range: 0..expression.len(), message: message.into(), help: None };
    if value.kind() == ValueKind::Undefined {
        return Err(whole("the expression has no value"));
    }
    // Lists can be longer than what was paid for them: `[0] * 100_000_000` takes memory only here.
    let mut left = Left(MOST_BYTES);
    if serde_json::to_writer(&mut left, &value).is_err() && left.0 == 0 {
        return Err(whole("the value of the expression is too large"));
    }
    serde_json::to_value(&value).map_err(|_| whole("the expression gives what YAML could not say"))
}

/// The syntax error of an expression, if it has one.
pub(crate) fn syntax_fault(expression: &str) -> Option<Fault> {
    let error = ENVIRONMENT.compile_expression_owned(expression).err()?;
    let range = error.range().filter(|range| range.start <= range.end);
    let detail = error.detail().map_or_else(|| error.to_string(), str::to_owned);
    Some(Fault {
        range: range.filter(|r| r.end <= expression.len()).unwrap_or(0..expression.len()),
        message: detail,
        help: other_signs(expression),
    })
}

/// What signs of other languages are called here.
fn other_signs(expression: &str) -> Option<String> {
    if expression.trim_start().starts_with("{{") {
        return Some("leave the braces out, or write `${{ }}`".to_owned());
    }
    let bare = without_texts(expression).replace("==", "  ").replace("!=", "  ");
    let bare = bare.replace("<=", "  ").replace(">=", "  ");
    let signs = [
        ("&&", "`and` stands for `&&`"),
        ("||", "`or` stands for `||`"),
        ("?", "write `A if CONDITION else B` for `CONDITION ? A : B`"),
        ("!", "`not` stands for `!`"),
        ("=", "`==` compares"),
        (" AND ", "write `and`"),
        (" OR ", "write `or`"),
        ("NOT ", "write `not`"),
    ];
    signs.into_iter().find(|(sign, _)| bare.contains(sign)).map(|(_, help)| help.to_owned())
}

/// An expression whose texts in quotes are blank.
fn without_texts(expression: &str) -> String {
    let mut quote = None;
    let blank = |c: char| match quote {
        Some(open) if c == open => {
            quote = None;
            ' '
        }
        Some(_) => ' ',
        None if matches!(c, '"' | '\'') => {
            quote = Some(c);
            ' '
        }
        None => c,
    };
    expression.chars().map(blank).collect()
}

/// A text with its expressions replaced by their values. The fault's range lies in the text.
pub(crate) fn render_text(text: &str, parts: &[Part], context: &Context) -> Result<Value, Fault> {
    let at = |inner: &Range<usize>| {
        let start = inner.start;
        move |fault: Fault| Fault {
            range: fault.range.start + start..fault.range.end + start,
            ..fault
        }
    };
    if let Some(inner) = whole(text, parts) {
        return evaluate(&text[inner.clone()], context).map_err(at(&inner));
    }
    let mut rendered = String::with_capacity(text.len());
    for part in parts {
        match part {
            Part::Text(range) => rendered.push_str(&text[range.clone()]),
            Part::Expression { inner, .. } => {
                match evaluate(&text[inner.clone()], context).map_err(at(inner))? {
                    Value::String(value) => rendered.push_str(&value),
                    Value::Null => {
                        return Err(Fault {
                            range: inner.clone(),
                            message: "the expression gives nothing, which can't be put into a text"
                                .into(),
                            help: None,
                        });
                    }
                    value => rendered.push_str(&value.to_string()),
                }
            }
        }
    }
    Ok(Value::String(rendered))
}

/// A condition without `${{ }}` around it, and where it begins in the text.
pub(crate) fn condition(text: &str) -> Result<(String, usize), Fault> {
    let parts = split(text)?;
    if let Some(inner) = whole(text, &parts) {
        let trimmed = text[inner.clone()].trim_start();
        let start = inner.end - trimmed.len();
        return Ok((trimmed.trim_end().to_owned(), start));
    }
    match parts.iter().find_map(|part| match part {
        Part::Expression { outer, .. } => Some(outer.clone()),
        Part::Text(_) => None,
    }) {
        Some(range) => Err(Fault {
            range,
            message: "`when` is one expression, not a text with expressions in it".into(),
            help: Some("put all of it within one `${{ }}`".into()),
        }),
        None => {
            let start = text.len() - text.trim_start().len();
            Ok((text.trim().to_owned(), start))
        }
    }
}

/// Whether a condition holds. The fault's range lies in the expression.
pub(crate) fn holds(expression: &str, context: &Context) -> Result<bool, Fault> {
    match evaluate(expression, context)? {
        Value::Bool(value) => Ok(value),
        value => Err(Fault {
            range: 0..expression.len(),
            message: format!("the condition gives {value}, which is neither true nor false"),
            help: Some("compare it with something, such as `!= 0` or `== \"yes\"`".into()),
        }),
    }
}

/// What only a run knows, for expressions that name it.
pub struct LateContext<'a> {
    pub plan: &'a Plan,
    /// The definition's environment variables.
    pub env: &'a BTreeMap<String, String>,
    pub run_id: &'a str,
    /// How a task of the run stands.
    pub tasks: &'a dyn Fn(&str) -> Option<LateTask>,
}

/// How a task of the run stands.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LateTask {
    #[serde(serialize_with = "task_end", skip_serializing_if = "Option::is_none")]
    pub state: Option<TaskEnd>,
    /// What its newest attempt handed on.
    pub values: Map<String, Value>,
    /// What its outputs became.
    pub outputs: IndexMap<String, Published>,
}

fn task_end<S: serde::Serializer>(end: &Option<TaskEnd>, serializer: S) -> Result<S::Ok, S::Error> {
    end.map(TaskEnd::as_str).serialize(serializer)
}

impl LateContext<'_> {
    fn context<'e>(&self, expressions: impl IntoIterator<Item = &'e str>) -> Context {
        let mut tasks = BTreeMap::new();
        for expression in expressions {
            for task in Names::of(expression).tasks() {
                if let Some(late) = (self.tasks)(task) {
                    tasks.insert(task.to_owned(), late);
                }
            }
        }
        Context::of(Roots {
            params: &self.plan.params,
            interval: IntervalNames::new(&self.plan.interval, &self.plan.zone()),
            env: self.env,
            run: Some(RunNames { id: self.run_id }),
            tasks: Some(tasks),
        })
    }
}

/// The options of a task, wholly rendered. What only the attempt could render is not yet checked
/// against the kind's schema: [`recheck`](crate::plan::recheck) does that.
pub fn render_late(task: &PlannedTask, late: &LateContext<'_>) -> Result<Value, String> {
    let mut options = task.options.clone();
    for pointer in &task.late {
        let Some(place) = options.pointer_mut(pointer) else { continue };
        let Some(text) = place.as_str().map(str::to_owned) else { continue };
        let parts = split(&text).map_err(|fault| fault.message)?;
        let expressions = parts.iter().filter_map(|part| match part {
            Part::Expression { inner, .. } => Some(&text[inner.clone()]),
            Part::Text(_) => None,
        });
        let context = late.context(expressions);
        *place = render_text(&text, &parts, &context).map_err(|fault| {
            let path = pointer.trim_start_matches('/').replace('/', ".");
            format!("`with.{path}`: `{}`: {}", text[fault.range].trim(), fault.message)
        })?;
    }
    Ok(options)
}

/// Whether a [`PlannedTask::when`] holds now, or what is wrong with it.
pub fn holds_late(expression: &str, late: &LateContext<'_>) -> Result<bool, String> {
    holds(expression, &late.context([expression])).map_err(|fault| fault.message)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_there_and_in_the_reference() {
        let reference = include_str!("../../docs/language.md");
        for (what, before) in [("filter", "1 | "), ("test", "1 is "), ("function", "")] {
            for name in known(what) {
                let names = Names::of(&format!(
                    "{before}{name}{}",
                    if before.is_empty() { "()" } else { "" }
                ));
                assert_eq!(names.unknown, [], "{what} {name}");
                let written = [format!("`{name}`"), format!("`{name}(")];
                assert!(written.iter().any(|name| reference.contains(name)), "{what} {name}");
            }
        }
    }
    use serde_json::json;

    fn context() -> Context {
        let Value::Object(params) = json!({"rows": 5, "name": "a", "on": true, "list": [1, 2]})
        else {
            unreachable!()
        };
        let interval = Interval {
            start: "2026-11-23T00:00:00Z".parse().unwrap(),
            end: "2026-11-24T00:00:00Z".parse().unwrap(),
        };
        Context::early(&params, &interval, &TimeZone::UTC, &BTreeMap::new())
    }

    fn check(text: &str, expect: Value) {
        let rendered = split(text).and_then(|parts| render_text(text, &parts, &context())).unwrap();
        assert_eq!(rendered, expect, "{text}");
    }

    fn fails(text: &str, at: &str, expect: &str) {
        let fault =
            split(text).and_then(|parts| render_text(text, &parts, &context())).unwrap_err();
        assert_eq!(&text[fault.range.clone()], at, "{text}: {fault:?}");
        assert!(fault.message.contains(expect), "{text}: {fault:?}");
    }

    #[test]
    fn values_keep_their_type() {
        check("${{ params.rows }}", json!(5));
        check("  ${{ params.rows * 2 }}\n", json!(10));
        check("${{ params.on }}", json!(true));
        check("${{ params.list }}", json!([1, 2]));
        check("${{ {'a': {'b': params.rows}} }}", json!({"a": {"b": 5}}));
        check("${{ params.name }}-${{ params.rows }}", json!("a-5"));
        check("x ${{ params.list }} y", json!("x [1,2] y"));
        check("${{ interval.date }} ${{ interval.month }}", json!("2026-11-23 2026-11"));
        check("${{ interval.end }}", json!("2026-11-24T00:00:00Z"));
        check("${{ '}}' }}", json!("}}"));
        check("${{ \"${{\" }}", json!("${{"));
    }

    #[test]
    fn documented_operators_and_filters_exist() {
        let expressions = [
            ("7 // 2 + 2 ** 3 % 5 - 1", json!(5)),
            ("'a' ~ 1 ~ 'b'", json!("a1b")),
            ("1 < 2 and not (3 in [1, 2]) or 1 != 1", json!(true)),
            ("'x' if params.rows is defined else 'y'", json!("x")),
            ("' A ' | trim | lower | replace('a', 'b') | upper", json!("B")),
            ("[1, 2] | join('-')", json!("1-2")),
            ("(range(3) | length) + ('2' | int) + (1.5 | round | int)", json!(7)),
            ("'1.5' | float", json!(1.5)),
            ("dict(a=1) | tojson", json!("{\"a\": 1}")),
            ("none | default('x')", json!(null)),
        ];
        for (expression, expect) in expressions {
            let got = evaluate(expression, &context()).map_err(|fault| fault.message);
            assert_eq!(got, Ok(expect), "{expression}");
            assert_eq!(Names::of(expression).unknown, [], "{expression}");
        }
    }

    #[test]
    fn other_texts_mean_what_they_say() {
        for text in ["", "a", "{{ x }}", "{% if %}", "{# no #}", "$HOME ${x}", "# a\n## b"] {
            check(text, json!(text));
        }
    }

    #[test]
    fn faults_have_a_place() {
        fails("a ${{ params.rows", "${{ params.rows", "never closed");
        fails("a ${{ }} b", "${{ }}", "empty");
        fails("a ${{ params.nope }}", " params.nope ", "no value");
        fails("${{ params.rows + params.name }}", "params.rows + params.name", "");
        fails("${{ params.name | nope }}", "nope", "filter");
    }

    #[test]
    fn signs_of_other_languages_are_translated() {
        for (expression, help) in [
            ("a && b", "`and` stands for `&&`"),
            ("a || b", "`or` stands for `||`"),
            ("!a", "`not` stands for `!`"),
            ("a = 1", "`==` compares"),
            ("a ? 1 : 2", "write `A if CONDITION else B` for `CONDITION ? A : B`"),
            ("{{ a > 5 }}", "leave the braces out, or write `${{ }}`"),
        ] {
            let fault = syntax_fault(expression).unwrap();
            assert_eq!(fault.help.as_deref(), Some(help), "{expression}");
        }
        assert_eq!(syntax_fault("a == '&&' b").unwrap().help, None);
        assert_eq!(syntax_fault("a == 1 and b != 2"), None);
    }

    #[test]
    fn conditions() {
        assert_eq!(condition("${{ a > 1 }}").unwrap(), ("a > 1".into(), 4));
        assert_eq!(condition(" a > 1").unwrap(), ("a > 1".into(), 1));
        assert!(condition("${{ a }} and ${{ b }}").is_err());
        assert!(holds("params.rows > 4", &context()).unwrap());
        assert!(holds("params.rows", &context()).unwrap_err().message.contains("gives 5"));
    }
}
