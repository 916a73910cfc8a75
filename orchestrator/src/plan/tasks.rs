//! The tasks of a plan: kinds, options, conditions and ports.

use super::datasets::{self, Datasets, usual_way, word};
use super::expressions::{Late, Place, Rendered, Scope};
use super::planner::Planner;
use super::{PlannedOutput, PlannedTask, Retry};
use crate::dataset::{DatasetName, Scheme};
use crate::diagnostic::{Code, Diagnostic};
use crate::kind::{Port, Ports, Write};
use crate::schema::{Schema, Whole, did_you_mean, instead_of};
use crate::spec::{RetrySpec, Task};
use crate::yaml::{Entry, Node, Span, Tree};
use indexmap::IndexMap;
use jiff::SignedDuration;
use serde_json::Value;
use std::collections::HashMap;

/// What is wrong with `timeout: 0s`.
pub(super) const NO_TIME: &str = "a timeout of nothing lets no attempt begin";

/// A task of the plan, and what else is known of it while planning.
#[derive(Debug)]
pub(super) struct Draft {
    pub(super) task: PlannedTask,
    /// Tasks whose results its expressions use.
    pub(super) uses: Vec<String>,
    /// Whether something is wrong with it that was reported, so that its kind need not be asked.
    pub(super) damaged: bool,
}

/// What is asked of a kind once, whatever the number of its tasks.
struct Known {
    schema: Schema,
    ports: Ports,
}

pub(super) fn draft(
    planner: &mut Planner<'_>,
    scope: &mut Scope<'_>,
    datasets: &Datasets<'_>,
) -> Vec<Draft> {
    let spec = planner.spec;
    let mut known: HashMap<&str, Option<Known>> = HashMap::new();
    let mut drafts = Vec::with_capacity(spec.pipeline.tasks.len());
    for (entry, (name, task)) in spec.entries("tasks").iter().zip(&spec.pipeline.tasks) {
        let kind = known.entry(&task.uses).or_insert_with(|| {
            let kind = planner.kinds.get(&task.uses)?;
            Some(Known { schema: Schema::new(&kind.options()), ports: kind.ports() })
        });
        let problems_before = planner.problems.len();
        let mut drafter = Drafter { planner, scope, entry, task };
        drafter.kind(kind.is_some());
        let (options, late) = drafter.options(kind.as_ref());
        let (when, skip, when_uses) = drafter.condition();
        let ports = kind.as_ref().map(|known| &known.ports);
        let outputs = drafter.ports(ports, datasets);
        let retry = drafter.retry();
        drafter.timeout();
        let damaged = late.damaged
            || planner.problems[problems_before..].iter().any(|problem| problem.is_error())
            || spec.damaged.contains(name);
        let timeout = task.timeout.or(spec.pipeline.defaults.timeout);
        drafts.push(Draft {
            task: PlannedTask {
                name: name.clone(),
                kind: task.uses.clone(),
                options,
                late: late.pointers,
                inputs: task.inputs.clone(),
                outputs,
                when,
                skip,
                trigger_rule: task.trigger_rule,
                retry,
                timeout: timeout.map(|timeout| timeout.0),
            },
            uses: late.tasks.into_iter().chain(when_uses).collect(),
            damaged,
        });
    }
    drafts
}

struct Drafter<'d, 'a, 's> {
    planner: &'d mut Planner<'a>,
    scope: &'d mut Scope<'s>,
    entry: &'a Entry,
    task: &'a Task,
}

impl Drafter<'_, '_, '_> {
    fn error(
        &mut self,
        code: Code,
        span: Span,
        path: &[&str],
        message: String,
        help: Option<String>,
    ) {
        let mut full = vec!["tasks", self.entry.key.as_str()];
        full.extend(path);
        self.planner.error(code, span, &full, message, help);
    }

    fn kind(&mut self, is_known: bool) {
        if is_known {
            return;
        }
        let kinds: Vec<&str> = self.planner.kinds.iter().map(|kind| kind.name()).collect();
        let help = instead_of(&self.task.uses, kinds);
        let span = self.entry.node.place(&["uses"]);
        let message = format!("there is no kind of task `{}`", self.task.uses);
        self.error(Code::UnknownKind, span, &["uses"], message, Some(help));
    }

    fn options(&mut self, known: Option<&Known>) -> (Value, Late) {
        let empty = Node { span: self.entry.key_span, tree: Tree::Map(Vec::new()) };
        let (node, span) = match self.entry.node.entry("with") {
            Some(with) => (&with.node, with.key_span),
            None => (&empty, self.entry.key_span),
        };
        let name = self.entry.key.as_str();
        let root = ["tasks", name, "with"];
        let place = Place { span, root, pointer: "", task: Some(name) };
        let (mut node, late) = self.scope.tree(node, place, &mut self.planner.problems);
        if let Some(known) = known {
            // A missing option is reported at the key `with`, or at the task that has none.
            node.span = span;
            let kind = format!("`{}`", self.task.uses);
            let whole = Whole { name: &kind, key: "option" };
            let findings = known.schema.check(self.planner.file(), &node, &root, &whole);
            for problem in findings.diagnostics {
                let problem = self.of_expression(problem);
                self.planner.problems.push(problem);
            }
        }
        (node.to_value(), late)
    }

    /// A problem of a value that an expression gave says so.
    fn of_expression(&self, problem: Diagnostic) -> Diagnostic {
        let source = &self.planner.definition.pipeline.text;
        let written = problem.span.clone().and_then(|span| source.get(span)).unwrap_or_default();
        match (written.find("${{"), written.rfind("}}")) {
            (Some(from), Some(to)) if from < to => {
                let help = format!("that is what `{}` gives", &written[from..to + 2]);
                problem.help(help)
            }
            _ => problem,
        }
    }

    /// The condition left for the run, or why the task is skipped, and the tasks that it uses.
    fn condition(&mut self) -> (Option<String>, Option<String>, Vec<String>) {
        let text = match &self.task.when {
            None | Some(Value::Bool(true)) => return (None, None, Vec::new()),
            Some(Value::Bool(false)) => {
                return (None, Some("`when` is false".into()), Vec::new());
            }
            Some(Value::String(text)) => text,
            Some(_) => return (None, None, Vec::new()),
        };
        let name = self.entry.key.as_str();
        let place = Place {
            span: self.entry.node.place(&["when"]),
            root: ["tasks", name, "when"],
            pointer: "",
            task: Some(name),
        };
        match self.scope.condition(text, &place, &mut self.planner.problems) {
            (Rendered::Value(Value::Bool(false)), expression) => {
                (None, Some(format!("`{expression}` is false")), Vec::new())
            }
            (Rendered::Late(tasks), expression) => (Some(expression), None, tasks),
            _ => (None, None, Vec::new()),
        }
    }

    fn ports(
        &mut self,
        ports: Option<&Ports>,
        datasets: &Datasets<'_>,
    ) -> IndexMap<String, PlannedOutput> {
        let task = self.task;
        for (name, dataset) in &task.inputs {
            if let Some(ports) = ports {
                self.port("inputs", "input", &ports.inputs, name, dataset);
            }
        }
        let mut outputs = IndexMap::with_capacity(task.outputs.len());
        for (name, dataset) in &task.outputs {
            let port = ports
                .and_then(|ports| self.port("outputs", "output", &ports.outputs, name, dataset));
            let default = port.unwrap_or(Write::Overwrite);
            let output = datasets::output(datasets, dataset, default);
            self.merge_key(name, &output);
            self.files(name, &output, default);
            outputs.insert(name.clone(), output);
        }
        if let Some(ports) = ports
            && !self.planner.spec.damaged.contains(&self.entry.key)
        {
            self.missing("inputs", "input", &ports.inputs, &task.inputs);
            self.missing("outputs", "output", &ports.outputs, &task.outputs);
        }
        outputs
    }

    /// Checks one input or output; gives the way in which its port is written by default.
    fn port(
        &mut self,
        part: &str,
        what: &str,
        ports: &[Port],
        name: &str,
        dataset: &DatasetName,
    ) -> Option<Write> {
        let named = ports.iter().find(|port| port.name == Some(name));
        let free = || ports.iter().filter(|port| port.name.is_none());
        let fits = |port: &&Port| port.schemes.contains(&dataset.scheme());
        if let Some(port) = named.filter(fits).or_else(|| free().find(fits)) {
            return Some(port.write);
        }
        let kind = &self.task.uses;
        let takers: Vec<&Port> = named.map_or_else(|| free().collect(), |port| vec![port]);
        if takers.is_empty() {
            let known: Vec<&str> = ports.iter().filter_map(|port| port.name).collect();
            let help = did_you_mean(name, known.iter().copied()).unwrap_or_else(|| {
                match known.as_slice() {
                    [] => format!("it has no {what}s"),
                    known => format!("it has `{}`", known.join("`, `")),
                }
            });
            let message = format!("`{kind}` has no {what} `{name}`");
            let key_span = self.key_span(part, name);
            self.error(Code::UnknownPort, key_span, &[part, name], message, Some(help));
            return None;
        }
        let schemes: Vec<String> = takers
            .iter()
            .flat_map(|port| port.schemes)
            .map(|scheme| format!("{scheme}:"))
            .collect();
        let scheme = dataset.scheme();
        let message = format!("the {what} `{name}` of `{kind}` takes no {scheme}: dataset");
        let help = format!("it takes {}", schemes.join(", "));
        let span = self.entry.node.place(&[part, name]);
        self.error(Code::WrongScheme, span, &[part, name], message, Some(help));
        None
    }

    fn missing<V>(&mut self, part: &str, what: &str, ports: &[Port], given: &IndexMap<String, V>) {
        let kind = self.task.uses.clone();
        for port in ports.iter().filter(|port| port.required) {
            let (message, name) = match port.name {
                Some(name) if !given.contains_key(name) => {
                    (format!("`{kind}` needs the {what} `{name}`: {}", port.description), name)
                }
                None if given.is_empty() => {
                    (format!("`{kind}` needs at least one {what}: {}", port.description), "NAME")
                }
                _ => continue,
            };
            // Its name may be misspelt, which is reported, with the right one in its help.
            if given.keys().any(|other| did_you_mean(other, port.name).is_some()) {
                continue;
            }
            let scheme = port.schemes.first().map_or("table", |scheme| scheme.as_str());
            let help = format!("add `{part}: {{{name}: {scheme}:…}}`");
            let span =
                self.entry.node.entry(part).map_or(self.entry.key_span, |part| part.key_span);
            self.error(Code::MissingPort, span, &[part], message, Some(help));
        }
    }

    /// Where the kind merges by default, the table's key must be known as well.
    fn merge_key(&mut self, name: &str, output: &PlannedOutput) {
        let table = output.dataset.scheme() == Scheme::Table;
        let declared = self.planner.spec.pipeline.datasets.get(&output.dataset);
        let says_merge = declared.is_some_and(|dataset| dataset.write == Some(Write::Merge));
        if output.write == Write::Merge && table && output.key.is_empty() && !says_merge {
            let dataset = &output.dataset;
            let message =
                format!("`{}` merges into `{dataset}`, whose `key` is not known", self.task.uses);
            let help = format!("add `datasets: {{{dataset}: {{key: [COLUMN]}}}}`");
            let span = self.entry.node.place(&["outputs", name]);
            self.error(Code::BadWrite, span, &["outputs", name], message, Some(help));
        }
    }

    /// A kind writes files in one way.
    fn files(&mut self, name: &str, output: &PlannedOutput, default: Write) {
        let dataset = &output.dataset;
        let way = usual_way(Scheme::File, default);
        let is_known = output.write == usual_way(Scheme::File, output.write);
        if dataset.scheme() != Scheme::File || output.write == way || !is_known {
            return;
        }
        let (kind, way, other) = (&self.task.uses, word(way), word(output.write));
        let message = format!("`{kind}` writes `{dataset}` by `{way}`, not by `{other}`");
        let help = format!("say `write: {way}` there or nothing, or write to a table");
        let span = self.entry.node.place(&["outputs", name]);
        self.error(Code::BadWrite, span, &["outputs", name], message, Some(help));
    }

    fn key_span(&self, part: &str, name: &str) -> Span {
        let part = self.entry.node.entry(part);
        let key = part.and_then(|part| part.node.entry(name));
        key.map_or(self.entry.key_span, |entry| entry.key_span)
    }

    fn retry(&mut self) -> Retry {
        let own = &self.task.retry;
        let shared = &self.planner.spec.pipeline.defaults.retry;
        let base = Retry::default();
        if let Some((key, message)) = short_pause(own, shared) {
            let path = ["retry", key];
            self.error(Code::OutOfRange, self.entry.node.place(&path), &path, message, None);
        }
        let (delay, max_delay) = pauses(own, shared);
        Retry {
            attempts: own.attempts.or(shared.attempts).unwrap_or(base.attempts),
            delay,
            backoff: own.backoff.or(shared.backoff).unwrap_or_default(),
            max_delay: max_delay.unwrap_or(base.max_delay.max(delay)),
        }
    }

    fn timeout(&mut self) {
        if self.task.timeout.is_some_and(|timeout| timeout.0.is_zero()) {
            let span = self.entry.node.place(&["timeout"]);
            let help = Some("leave it out for no limit".to_owned());
            self.error(Code::OutOfRange, span, &["timeout"], NO_TIME.to_owned(), help);
        }
    }
}

/// The first pause, and the longest one where it is written down.
fn pauses(own: &RetrySpec, shared: &RetrySpec) -> (SignedDuration, Option<SignedDuration>) {
    let delay = own.delay.or(shared.delay).map_or(Retry::default().delay, |delay| delay.0);
    (delay, own.max_delay.or(shared.max_delay).map(|delay| delay.0))
}

/// The key of `own` that makes the longest pause shorter than the first, if one does, and what is
/// wrong with that.
pub(super) fn short_pause(own: &RetrySpec, shared: &RetrySpec) -> Option<(&'static str, String)> {
    let key = match (own.max_delay, own.delay) {
        (Some(_), _) => "max_delay",
        (None, Some(_)) => "delay",
        (None, None) => return None,
    };
    let (first, longest) = pauses(own, shared);
    let longest = longest.filter(|longest| *longest < first)?;
    Some((key, format!("the longest pause {longest:#} is shorter than the first, {first:#}")))
}
