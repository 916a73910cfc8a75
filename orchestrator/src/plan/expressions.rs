//! Expressions of a pipeline: whether what they name exists, and their values as far as the plan
//! knows them.

use super::Interval;
use super::params::Params;
use super::planner::Planner;
use crate::diagnostic::{Code, Diagnostic};
use crate::schema::did_you_mean;
use crate::spec::Task;
use crate::template::{self, Chain, Context, Fault, Names, Part};
use crate::yaml::{Entry, Node, Span, Tree};
use indexmap::IndexMap;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};
use std::ops::Range;

/// Everything that expressions can name.
pub(super) struct Scope<'a> {
    file: &'a str,
    /// The pipeline's text, to find places within texts.
    source: &'a str,
    params: &'a Params,
    declared: Vec<&'a str>,
    env: &'a BTreeMap<String, String>,
    tasks: &'a IndexMap<String, Task>,
    broken: &'a HashSet<String>,
    context: Context,
    used: HashSet<String>,
    uses_all: bool,
}

/// Where a text stands, and what may stand in it.
pub(super) struct Place<'p> {
    pub(super) span: Span,
    /// The path of the text in the file.
    pub(super) path: String,
    /// The task whose text it is; `None` where only the plan evaluates.
    pub(super) task: Option<&'p str>,
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
    pub(super) fn new(planner: &Planner<'a>, params: &'a Params, interval: &Interval) -> Self {
        let definition = planner.definition;
        let pipeline = &planner.spec.pipeline;
        Scope {
            file: &definition.pipeline.path,
            source: &definition.pipeline.text,
            params,
            declared: pipeline.params.keys().map(String::as_str).collect(),
            env: &definition.env,
            tasks: &pipeline.tasks,
            broken: &planner.spec.broken,
            context: Context::early(&params.values, interval, &definition.env),
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

    /// Renders all texts of a tree. `late` gets the pointers of those that only a run can render.
    pub(super) fn tree(
        &mut self,
        node: &Node,
        place: &Place<'_>,
        pointer: &mut String,
        late: &mut Late,
        problems: &mut Vec<Diagnostic>,
    ) -> Node {
        let tree = match &node.tree {
            Tree::Text(text) => match self.text(text, place, problems) {
                Rendered::Plain => node.tree.clone(),
                Rendered::Value(value) => return Node::from_value(value, node.span),
                Rendered::Late(tasks) => {
                    late.pointers.push(pointer.clone());
                    late.tasks.extend(tasks);
                    Tree::Unknown(text.clone())
                }
                Rendered::Unknown => {
                    late.damaged = true;
                    Tree::Unknown(text.clone())
                }
            },
            Tree::List(items) => {
                let mut rendered = Vec::with_capacity(items.len());
                for (at, item) in items.iter().enumerate() {
                    let step = at.to_string();
                    rendered
                        .push(self.below(&step, item, item.span, place, pointer, late, problems));
                }
                Tree::List(rendered)
            }
            Tree::Map(entries) => {
                let mut rendered = Vec::with_capacity(entries.len());
                for entry in entries {
                    let span = entry.value_span();
                    let node =
                        self.below(&entry.key, &entry.node, span, place, pointer, late, problems);
                    rendered.push(Entry { node, key: entry.key.clone(), key_span: entry.key_span });
                }
                Tree::Map(rendered)
            }
            other => other.clone(),
        };
        Node { span: node.span, tree }
    }

    #[expect(clippy::too_many_arguments, reason = "the state of one recursive walk")]
    fn below(
        &mut self,
        step: &str,
        node: &Node,
        span: Span,
        place: &Place<'_>,
        pointer: &mut String,
        late: &mut Late,
        problems: &mut Vec<Diagnostic>,
    ) -> Node {
        let length = pointer.len();
        pointer.push('/');
        pointer.push_str(&step.replace('~', "~0").replace('/', "~1"));
        let place = Place { span, path: format!("{}.{step}", place.path), task: place.task };
        let rendered = self.tree(node, &place, pointer, late, problems);
        pointer.truncate(length);
        rendered
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
                let message = format!("there is no {what} `{}`", &expression[range.clone()]);
                let fault = Fault { range: range.clone(), message, help: None };
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
                if self.declared.contains(name) || self.params.lacking.contains(*name) {
                    return None;
                }
                let help = did_you_mean(name, self.declared.iter().copied())
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
                let help = if self.declared.contains(root) {
                    Some(format!("did you mean `params.{root}`?"))
                } else if self.tasks.contains_key(*root) {
                    Some(format!("did you mean `tasks.{root}`?"))
                } else {
                    did_you_mean(root, known).or_else(|| {
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
            let help = did_you_mean(name, self.tasks.keys().map(String::as_str));
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
                .path(place.path.clone())
                .help(format!("write `${}`", &text[at..end])),
        );
    }

    fn diagnostic(&self, text: &str, place: &Place<'_>, (code, fault): Found) -> Diagnostic {
        Diagnostic::error(code, fault.message)
            .at(self.file, inside(self.source, place.span, text, fault.range))
            .path(place.path.clone())
            .maybe_help(fault.help)
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

fn moved(fault: Fault, by: usize) -> Fault {
    Fault { range: fault.range.start + by..fault.range.end + by, ..fault }
}

/// Where a part of a text lies in the file, in whose quotes and indentation it is written: the
/// same occurrence of the same characters. If the file writes them differently, the whole text.
fn inside(source: &str, span: Span, text: &str, range: Range<usize>) -> Range<usize> {
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
