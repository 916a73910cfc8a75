//! Expressions of a pipeline: whether what they name exists, and their values as far as the plan
//! knows them.

use super::Interval;
use super::params::Params;
use super::planner::Planner;
use crate::diagnostic::{Code, Diagnostic};
use crate::schema::did_you_mean;
use crate::spec::{Param, Task};
use crate::template::{self, Chain, Context, Fault, Names, Part};
use crate::yaml::{Entry, Node, Span, Tree};
use indexmap::IndexMap;
use jiff::tz::TimeZone;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

/// Everything that expressions can name.
pub(super) struct Scope<'a> {
    file: &'a str,
    /// The pipeline's text, to find places within texts.
    source: &'a str,
    params: &'a Params,
    params_declared: &'a IndexMap<String, Param>,
    env: &'a BTreeMap<String, String>,
    tasks: &'a IndexMap<String, Task>,
    broken: &'a HashSet<String>,
    context: Context,
    used: HashSet<String>,
    uses_all: bool,
}

/// Where a text stands, and what may stand in it.
#[derive(Clone, Copy)]
pub(super) struct Place<'p> {
    pub(super) span: Span,
    /// The path in the file, such as `tasks`, `clean`, `with`, and below it a pointer.
    pub(super) root: [&'p str; 3],
    pub(super) pointer: &'p str,
    /// The task whose text it is; `None` where only the plan evaluates.
    pub(super) task: Option<&'p str>,
}

impl Place<'_> {
    fn path(&self) -> String {
        let below = self.pointer.replace('/', ".").replace("~1", "/").replace("~0", "~");
        self.root.join(".") + &below
    }
}

/// What became of a text.
#[derive(Debug)]
pub(super) enum Rendered {
    /// It has no expression.
    Plain,
    Value(Value),
    /// Only a run can tell; it uses the results of these tasks.
    Late(Vec<String>),
    /// Something is wrong with it, or with what it uses, which is reported.
    Unknown,
}

/// What an expression needs.
struct Analysis {
    late: bool,
    unknown: bool,
    tasks: Vec<String>,
}

type Found = (Code, Fault);

impl<'a> Scope<'a> {
    pub(super) fn new(
        planner: &Planner<'a>,
        params: &'a Params,
        interval: &Interval,
        zone: &TimeZone,
    ) -> Self {
        let definition = planner.definition;
        let pipeline = &planner.spec.pipeline;
        Scope {
            file: &definition.pipeline.path,
            source: &definition.pipeline.text,
            params,
            params_declared: &pipeline.params,
            env: &definition.env,
            tasks: &pipeline.tasks,
            broken: &planner.spec.broken,
            context: Context::early(&params.values, interval, zone, &definition.env),
            used: HashSet::new(),
            uses_all: false,
        }
    }

    pub(super) fn is_used(&self, param: &str) -> bool {
        self.uses_all || self.used.contains(param)
    }

    /// Renders a text as far as the plan can.
    pub(super) fn text(
        &mut self,
        text: &str,
        place: &Place<'_>,
        problems: &mut Vec<Diagnostic>,
    ) -> Rendered {
        if !text.contains("${{") {
            self.warn_of_braces(text, place, problems);
            return Rendered::Plain;
        }
        let parts = match template::split(text) {
            Ok(parts) => parts,
            Err(fault) => {
                problems.push(self.diagnostic(text, place, (Code::ExpressionSyntax, fault)));
                return Rendered::Unknown;
            }
        };
        let mut all = Analysis { late: false, unknown: false, tasks: Vec::new() };
        for part in &parts {
            if let Part::Expression { inner, .. } = part {
                self.expression(text, inner.clone(), place, &mut all, problems);
            }
        }
        if all.unknown {
            Rendered::Unknown
        } else if all.late {
            Rendered::Late(all.tasks)
        } else {
            match template::render_text(text, &parts, &self.context) {
                Ok(value) => Rendered::Value(value),
                Err(fault) => {
                    problems.push(self.diagnostic(text, place, (Code::ExpressionFailed, fault)));
                    Rendered::Unknown
                }
            }
        }
    }

    /// Evaluates a condition as far as the plan can. [`Rendered::Value`] is true or false.
    pub(super) fn condition(
        &mut self,
        text: &str,
        place: &Place<'_>,
        problems: &mut Vec<Diagnostic>,
    ) -> (Rendered, String) {
        let (expression, start) = match template::condition(text) {
            Ok(found) => found,
            Err(fault) => {
                problems.push(self.diagnostic(text, place, (Code::ExpressionSyntax, fault)));
                return (Rendered::Unknown, String::new());
            }
        };
        let mut all = Analysis { late: false, unknown: false, tasks: Vec::new() };
        self.expression(text, start..start + expression.len(), place, &mut all, problems);
        let rendered = if all.unknown {
            Rendered::Unknown
        } else if all.late {
            Rendered::Late(all.tasks)
        } else {
            match template::holds(&expression, &self.context) {
                Ok(holds) => Rendered::Value(Value::Bool(holds)),
                Err(fault) => {
                    let found = (Code::ExpressionFailed, moved(fault, start));
                    problems.push(self.diagnostic(text, place, found));
                    Rendered::Unknown
                }
            }
        };
        (rendered, expression)
    }

    /// Renders all texts of a tree that lies at `place`.
    pub(super) fn tree(
        &mut self,
        node: &Node,
        place: Place<'_>,
        problems: &mut Vec<Diagnostic>,
    ) -> (Node, Late) {
        let late = Late::default();
        let mut walk = TreeWalk { scope: self, place, pointer: String::new(), late, problems };
        let rendered = walk.node(node, place.span);
        (rendered, walk.late)
    }

    /// Checks one expression of a text.
    fn expression(
        &mut self,
        text: &str,
        range: Range<usize>,
        place: &Place<'_>,
        all: &mut Analysis,
        problems: &mut Vec<Diagnostic>,
    ) {
        let expression = &text[range.clone()];
        let mut found: Vec<Found> = Vec::new();
        if let Some(fault) = template::syntax_fault(expression) {
            found.push((Code::ExpressionSyntax, fault));
        } else {
            let names = Names::of(expression);
            for (range, what) in &names.unknown {
                let word = &expression[range.clone()];
                let message = format!("there is no {what} `{word}`");
                let near = || did_you_mean(word, template::known(what).iter().copied());
                let help = elsewhere(word).map(str::to_owned).or_else(near);
                let fault = Fault { range: range.clone(), message, help };
                found.push((Code::UnknownName, fault));
            }
            for chain in &names.chains {
                if let Some(problem) = self.chain(chain, place.task) {
                    found.push(problem);
                }
                let is_lacking = |name: &String| self.params.lacking.contains(name);
                all.unknown |=
                    chain.steps[0] == "params" && chain.steps.get(1).is_some_and(is_lacking);
            }
            all.late |= names.is_late();
            all.tasks.extend(names.tasks().into_iter().map(str::to_owned));
        }
        all.unknown |= !found.is_empty();
        for (code, fault) in found {
            problems.push(self.diagnostic(text, place, (code, moved(fault, range.start))));
        }
    }

    /// What is wrong with a name, if something is.
    fn chain(&mut self, chain: &Chain, task: Option<&str>) -> Option<Found> {
        let steps: Vec<&str> = chain.steps.iter().map(String::as_str).collect();
        let problem = |code, message: String, help: Option<String>| {
            Some((code, Fault { range: chain.range.clone(), message, help }))
        };
        let unknown = |message: String, help| problem(Code::UnknownName, message, help);
        match steps.as_slice() {
            ["params", name, ..] => {
                self.used.insert((*name).to_owned());
                if self.params_declared.contains_key(*name) || self.params.lacking.contains(*name) {
                    return None;
                }
                let help = did_you_mean(name, self.params_declared.keys().map(String::as_str))
                    .or_else(|| Some(format!("declare it: `params: {{{name}: {{type: …}}}}`")));
                unknown(format!("the pipeline has no param `{name}`"), help)
            }
            ["params"] => {
                self.uses_all = true;
                None
            }
            ["interval", "start" | "end" | "date" | "month"] | ["interval"] => None,
            ["interval", name, ..] => {
                let known = ["start", "end", "date", "month"];
                let help = did_you_mean(name, known).or_else(|| {
                    Some("there are interval.start, .end, .date and .month".to_owned())
                });
                unknown(format!("`interval` has no `{name}`"), help)
            }
            ["env", name, ..] => {
                let is_set = self.env.contains_key(*name) || chain.may_lack;
                let message = format!("the environment variable `{name}` is not set");
                let help = format!("set it, or write env.{name} | default('…')");
                if is_set { None } else { problem(Code::UnsetVariable, message, Some(help)) }
            }
            ["env"] => {
                unknown("`env` needs the name of a variable".into(), Some("env.HOME".into()))
            }
            ["run" | "tasks", ..] if task.is_none() => problem(
                Code::ExpressionMisplaced,
                format!("`{}` is not known before the run", steps.join(".")),
                Some("only `with` and `when` of a task can use it".into()),
            ),
            ["run", "id"] => None,
            ["run", ..] => unknown("of a run there is only `run.id`".into(), None),
            ["tasks", rest @ ..] => self.task_chain(rest, chain, task),
            ["secrets", ..] => unknown(
                "secrets are not supported yet".into(),
                Some("a shell task sees the environment that tidemill was started in".into()),
            ),
            [root, ..] => {
                let known = ["params", "interval", "run", "env", "tasks"];
                let help = if self.params_declared.contains_key(*root) {
                    Some(format!("did you mean `params.{root}`?"))
                } else if self.tasks.contains_key(*root) {
                    Some(format!("did you mean `tasks.{root}`?"))
                } else {
                    elsewhere(root)
                        .map(str::to_owned)
                        .or_else(|| did_you_mean(root, known))
                        .or_else(|| {
                            Some("there are params, interval, run, env and tasks".to_owned())
                        })
                };
                unknown(format!("nothing is called `{root}` here"), help)
            }
            [] => None,
        }
    }

    fn task_chain(&self, steps: &[&str], chain: &Chain, owner: Option<&str>) -> Option<Found> {
        let unknown = |message: String, help: Option<String>| {
            Some((Code::UnknownName, Fault { range: chain.range.clone(), message, help }))
        };
        let Some((name, rest)) = steps.split_first() else {
            let message = "`tasks` needs the name of a task in the text itself".to_owned();
            return unknown(message, Some("write tasks.NAME or tasks[\"NAME\"]".into()));
        };
        let Some(task) = self.tasks.get(*name) else {
            if self.broken.contains(*name) {
                return None;
            }
            // `tasks.load-orders.state` is a subtraction.
            let begins =
                |task: &&String| task.strip_prefix(*name).is_some_and(|r| r.starts_with('-'));
            let help = match self.tasks.keys().find(begins) {
                Some(task) => Some(format!("write tasks[\"{task}\"]")),
                None => did_you_mean(name, self.tasks.keys().map(String::as_str)),
            };
            return unknown(format!("there is no task `{name}`"), help);
        };
        if owner == Some(*name) {
            return unknown("a task can't use its own results".into(), None);
        }
        match rest {
            ["state"] | ["values", _, ..] => None,
            ["values"] => None,
            ["outputs", output, rest @ ..] => {
                if !task.outputs.contains_key(*output) {
                    let known = task.outputs.keys().map(String::as_str);
                    let help = did_you_mean(output, known.clone()).unwrap_or_else(|| {
                        let all: Vec<&str> = known.collect();
                        format!("it has `{}`", all.join("`, `"))
                    });
                    return unknown(format!("`{name}` has no output `{output}`"), Some(help));
                }
                match rest {
                    ["rows" | "bytes" | "version"] => None,
                    _ => unknown(
                        "of an output there are `.rows`, `.bytes` and `.version`".into(),
                        rest.first().and_then(|w| did_you_mean(w, ["rows", "bytes", "version"])),
                    ),
                }
            }
            _ => unknown(
                "of a task there are `.state`, `.outputs.NAME` and `.values.NAME`".into(),
                rest.first().and_then(|w| did_you_mean(w, ["state", "outputs", "values"])),
            ),
        }
    }

    /// `{{ params.x }}` in a text is allowed, but seldom meant.
    fn warn_of_braces(&self, text: &str, place: &Place<'_>, problems: &mut Vec<Diagnostic>) {
        let Some(at) = text.find("{{") else { return };
        let inner = text[at + 2..].trim_start();
        let named = ["params.", "interval.", "run.id", "env.", "tasks."];
        if !named.iter().any(|name| inner.starts_with(name)) {
            return;
        }
        let end = text[at..].find("}}").map_or(text.len(), |length| at + length + 2);
        let message = format!("`{}` without a dollar sign is plain text", &text[at..end]);
        let span = inside(self.source, place.span, text, at..end);
        problems.push(
            Diagnostic::warning(Code::UnquotedExpression, message)
                .at(self.file, span)
                .path(place.path())
                .help(format!("write `${}`", &text[at..end])),
        );
    }

    fn diagnostic(&self, text: &str, place: &Place<'_>, (code, fault): Found) -> Diagnostic {
        Diagnostic::error(code, fault.message)
            .at(self.file, inside(self.source, place.span, text, fault.range))
            .path(place.path())
            .maybe_help(fault.help)
    }
}

/// Rendering the texts of a tree.
struct TreeWalk<'w, 'a> {
    scope: &'w mut Scope<'a>,
    /// Where the tree lies.
    place: Place<'w>,
    /// To where the walk stands, from there.
    pointer: String,
    late: Late,
    problems: &'w mut Vec<Diagnostic>,
}

impl TreeWalk<'_, '_> {
    fn node(&mut self, node: &Node, span: Span) -> Node {
        let tree = match &node.tree {
            Tree::Text(text) => {
                let place = Place { span, pointer: &self.pointer, ..self.place };
                match self.scope.text(text, &place, self.problems) {
                    Rendered::Plain => node.tree.clone(),
                    Rendered::Value(value) => return Node::from_value(value, node.span),
                    Rendered::Late(tasks) => {
                        self.late.pointers.push(self.pointer.clone());
                        self.late.tasks.extend(tasks);
                        Tree::Unknown(text.clone())
                    }
                    Rendered::Unknown => {
                        self.late.damaged = true;
                        Tree::Unknown(text.clone())
                    }
                }
            }
            Tree::List(items) => {
                let item =
                    |(at, item): (usize, &Node)| self.below(&at.to_string(), item, item.span);
                Tree::List(items.iter().enumerate().map(item).collect())
            }
            Tree::Map(entries) => {
                let entry = |entry: &Entry| Entry {
                    node: self.below(&entry.key, &entry.node, entry.value_span()),
                    key: entry.key.clone(),
                    key_span: entry.key_span,
                };
                Tree::Map(entries.iter().map(entry).collect())
            }
            other => other.clone(),
        };
        Node { span: node.span, tree }
    }

    fn below(&mut self, step: &str, node: &Node, span: Span) -> Node {
        let length = self.pointer.len();
        self.pointer.push('/');
        for c in step.chars() {
            match c {
                '~' => self.pointer.push_str("~0"),
                '/' => self.pointer.push_str("~1"),
                c => self.pointer.push(c),
            }
        }
        let rendered = self.node(node, span);
        self.pointer.truncate(length);
        rendered
    }
}

/// What a task's options leave for the run.
#[derive(Debug, Default)]
pub(super) struct Late {
    pub(super) pointers: Vec<String>,
    /// Tasks whose results are used.
    pub(super) tasks: Vec<String>,
    /// Whether something is wrong that was reported.
    pub(super) damaged: bool,
}

/// What words of other tools are here.
fn elsewhere(word: &str) -> Option<&'static str> {
    Some(match word {
        "null" | "nil" | "undefined" => "write `none`",
        "yes" | "on" | "TRUE" => "write `true`",
        "no" | "off" | "FALSE" => "write `false`",
        "ds" | "execution_date" | "logical_date" => "write `interval.date`",
        "data_interval_start" => "write `interval.start`",
        "data_interval_end" => "write `interval.end`",
        "now" | "today" | "utcnow" => {
            "what a run is about does not change when it is repeated: `interval.start`, `.end`, `.date`"
        }
        "always" | "success" | "failure" | "all_done" => {
            "the key `trigger_rule` of a task says when it runs, given how others ended"
        }
        "succeeded" | "failed" | "skipped" | "cancelled" => "put the state in quotes",
        "inputs" | "outputs" | "steps" | "needs" => {
            "write `tasks.NAME.values.KEY` or `tasks.NAME.outputs.NAME.rows`"
        }
        _ => return None,
    })
}

fn moved(fault: Fault, by: usize) -> Fault {
    Fault { range: fault.range.start + by..fault.range.end + by, ..fault }
}

/// Where a part of a text lies in the file, in whose quotes and indentation it is written: the
/// same occurrence of the same characters. If the file writes them differently, the whole text.
pub(super) fn inside(source: &str, span: Span, text: &str, range: Range<usize>) -> Range<usize> {
    let whole: Range<usize> = span.into();
    let (Some(raw), Some(part)) = (source.get(whole.clone()), text.get(range.clone())) else {
        return whole;
    };
    let trimmed = part.trim();
    if trimmed.is_empty() {
        return whole;
    }
    let before = range.start + (part.len() - part.trim_start().len());
    let earlier = text[..before].matches(trimmed).count();
    match raw.match_indices(trimmed).nth(earlier) {
        Some((at, _)) => whole.start + at..whole.start + at + trimmed.len(),
        None => whole,
    }
}
