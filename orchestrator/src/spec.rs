//! What was written: a pipeline as one set of types, each value still as its writer put it.

use crate::dataset::DatasetName;
use crate::diagnostic::{Code, Diagnostic};
use crate::duration::Duration;
use crate::kind::Write;
use crate::plan::{Backoff, TriggerRule};
use crate::schema::{self, Schema, Whole};
use crate::yaml::{Entry, Node, Tree};
use indexmap::IndexMap;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::sync::{Arc, LazyLock};

mod document;

pub use document::pipeline_schema;

/// A pipeline of tasks.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pipeline {
    /// What the pipeline is called in histories and pages.
    #[schemars(extend("format" = "name"))]
    pub name: String,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
    /// Values that a run can set, by name: `${{ params.NAME }}` in expressions.
    #[serde(default)]
    #[schemars(extend(
        "propertyNames" = {"format": "identifier"},
        "examples" = [{"rows": {"type": "integer", "default": 1000}}],
    ))]
    pub params: IndexMap<String, Param>,
    /// What holds for all tasks that say nothing else.
    #[serde(default)]
    pub defaults: Defaults,
    /// Properties of datasets, by name (`table:orders`).
    #[serde(default)]
    #[schemars(with = "IndexMap<String, Dataset>")]
    #[schemars(extend(
        "propertyNames" = {"format": "dataset"},
        "examples" = [{"table:orders": {"partition_by": ["day"]}}],
    ))]
    pub datasets: IndexMap<DatasetName, Dataset>,
    /// The tasks, by name.
    #[schemars(extend(
        "propertyNames" = {"format": "name"},
        "minProperties" = 1,
        "examples" = [{"clean": {"uses": "etl"}}],
    ))]
    pub tasks: IndexMap<String, Task>,
    /// When runs are due.
    #[serde(default)]
    pub schedule: Option<Schedule>,
    /// How many runs of the pipeline there may be at once.
    #[serde(default = "one")]
    #[schemars(range(min = 1))]
    pub max_active_runs: u32,
}

fn one() -> u32 {
    1
}

/// A value that a run can set.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"type": "integer", "default": 1000}]))]
pub struct Param {
    /// What values it takes.
    #[serde(rename = "type")]
    pub kind: ParamKind,
    /// The value where a run sets none; without it, a run must set one.
    #[serde(default)]
    pub default: Option<Value>,
    /// The smallest value, of a number.
    #[serde(default)]
    pub minimum: Option<f64>,
    /// The largest value, of a number.
    #[serde(default)]
    pub maximum: Option<f64>,
    /// The only values.
    #[serde(default, rename = "enum")]
    #[schemars(length(min = 1))]
    pub choices: Option<Vec<Value>>,
    /// What it is for.
    #[serde(default)]
    pub description: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ParamKind {
    String,
    Integer,
    Number,
    Boolean,
}

/// What holds for all tasks that say nothing else.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// How failed attempts are repeated.
    #[serde(default)]
    pub retry: RetrySpec,
    /// How long an attempt may take.
    #[serde(default)]
    pub timeout: Option<Duration>,
}

/// Properties of a dataset.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Dataset {
    /// Columns whose values divide the table into directories.
    #[serde(default)]
    pub partition_by: Vec<String>,
    /// Columns that tell rows apart, for `write: merge`.
    #[serde(default)]
    pub key: Vec<String>,
    /// How new rows meet those that are there; where left out, the kind of task decides.
    #[serde(default)]
    pub write: Option<Write>,
    /// The rows that `write: replace_where` replaces: a condition on partition columns. May hold
    /// expressions.
    #[serde(default, rename = "where")]
    #[schemars(length(min = 1))]
    pub condition: Option<String>,
    /// What it holds.
    #[serde(default)]
    pub description: Option<String>,
}

/// One task.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Task {
    /// The kind of task.
    #[schemars(length(min = 1), extend("format" = "plain"))]
    pub uses: String,
    /// Options of the kind. Texts in it may hold expressions: `${{ params.rows }}`.
    #[serde(default)]
    pub with: Map<String, Value>,
    /// Datasets that it reads, by the names of the kind's inputs.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, DatasetText>")]
    #[schemars(extend(
        "propertyNames" = {"format": "identifier"},
        "examples" = [{"rows": "table:orders"}],
    ))]
    pub inputs: IndexMap<String, DatasetName>,
    /// Datasets that it writes, by the names of the kind's outputs.
    #[serde(default)]
    #[schemars(with = "IndexMap<String, DatasetText>")]
    #[schemars(extend(
        "propertyNames" = {"format": "identifier"},
        "examples" = [{"rows": "table:orders"}],
    ))]
    pub outputs: IndexMap<String, DatasetName>,
    /// Tasks to wait for, beside those whose datasets it reads.
    #[serde(default)]
    #[schemars(with = "Vec<PlainText>")]
    pub needs: Vec<String>,
    /// A condition: where it is false, the task is skipped. An expression, with or without
    /// `${{ }}` around it, or `true` or `false`.
    #[serde(default)]
    #[schemars(with = "Option<Condition>")]
    pub when: Option<Value>,
    /// When it runs, given how the tasks before it ended.
    #[serde(default)]
    pub trigger_rule: TriggerRule,
    /// How failed attempts are repeated.
    #[serde(default)]
    pub retry: RetrySpec,
    /// How long an attempt may take.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// What it does.
    #[serde(default)]
    pub description: Option<String>,
}

/// How failed attempts are repeated. What is left out comes from `defaults`.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"attempts": 3, "delay": "2s"}]))]
pub struct RetrySpec {
    /// Attempts in all; 1 means that none is repeated.
    #[serde(default)]
    #[schemars(range(min = 1, max = 1000))]
    pub attempts: Option<u32>,
    /// The longest pause before the second attempt.
    #[serde(default)]
    pub delay: Option<Duration>,
    /// How the pauses grow.
    #[serde(default)]
    pub backoff: Option<Backoff>,
    /// No pause is longer.
    #[serde(default)]
    pub max_delay: Option<Duration>,
}

/// When runs are due: either `cron` or `every`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(extend("examples" = [{"cron": "0 2 * * *"}]))]
pub struct Schedule {
    /// Five fields as in a crontab: `30 2 * * *`.
    #[serde(default)]
    #[schemars(with = "Option<PlainText>")]
    pub cron: Option<String>,
    /// The time zone of `cron`, such as `Europe/Berlin`; UTC where left out.
    #[serde(default)]
    #[schemars(with = "Option<PlainText>")]
    pub timezone: Option<String>,
    /// A fixed pace, such as `15m`.
    #[serde(default)]
    pub every: Option<Duration>,
    /// What happens when a run is due while an earlier one is active.
    #[serde(default)]
    pub overlap: Overlap,
    /// Which of the runs that were missed are made up for.
    #[serde(default)]
    pub catch_up: CatchUp,
    /// Runs that were missed longer ago are not made up for.
    #[serde(default)]
    pub window: Option<Duration>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// It begins when the earlier one has ended.
    #[default]
    Queue,
    /// It is left out.
    Skip,
    /// The earlier one is cancelled.
    CancelRunning,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CatchUp {
    /// None.
    #[default]
    None,
    /// The last one.
    Latest,
    /// Each of them.
    All,
}

/// The schema of a dataset's name.
#[derive(JsonSchema)]
#[schemars(inline, extend("format" = "dataset", "examples" = ["table:orders"]))]
#[expect(dead_code, reason = "stands for DatasetName in schemas only")]
struct DatasetText(String);

/// The schema of a text in which no expression can stand.
#[derive(JsonSchema)]
#[schemars(inline, extend("format" = "plain"))]
#[expect(dead_code, reason = "stands for texts in schemas only")]
struct PlainText(String);

/// The schema of a condition.
#[derive(JsonSchema)]
#[schemars(inline, untagged)]
#[expect(dead_code, reason = "stands for a condition in schemas only")]
enum Condition {
    Expression(String),
    Constant(bool),
}

/// A pipeline and the tree that it was read from, without what was wrong.
#[derive(Debug)]
pub(crate) struct Spec {
    pub(crate) pipeline: Pipeline,
    pub(crate) tree: Arc<Node>,
    pub(crate) problems: Vec<Diagnostic>,
    /// Names that are in the file, but whose definitions had to be left out.
    pub(crate) broken: HashSet<String>,
    /// Tasks and params of which a part had to be left out.
    pub(crate) damaged: HashSet<String>,
}

impl Spec {
    /// Whether something below a key of the file had to be left out.
    pub(crate) fn has_problem_in(&self, key: &str) -> bool {
        let below = format!("{key}.");
        self.problems.iter().any(|problem| problem.path == key || problem.path.starts_with(&below))
    }

    /// The entries of a part of the file: its params, datasets or tasks, in order.
    pub(crate) fn entries(&self, part: &str) -> &[Entry] {
        self.tree.get(part).and_then(Node::as_map).unwrap_or_default()
    }
}

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema::new(&schemars::schema_for!(Pipeline)));

const WHOLE: Whole<'static> = Whole { name: "the pipeline", key: "key" };

/// Reads a pipeline from its tree. With problems, as much of it as they leave; without even that,
/// the problems alone.
pub(crate) fn read(file: &str, tree: &Arc<Node>) -> Result<Spec, Vec<Diagnostic>> {
    if !matches!(tree.tree, Tree::Map(_)) {
        let message = "a pipeline is a mapping with `name` and `tasks`";
        let problem = Diagnostic::error(Code::WrongType, message)
            .at(file, tree.span)
            .help("begin with `name: my_pipeline`");
        return Err(vec![problem]);
    }
    let found = SCHEMA.check(file, tree, &[], &WHOLE);
    let problems = found.diagnostics;
    let damaged = damaged(tree, &found.bad);
    let mut bad = found.bad;
    let mut kept = tree.clone();
    // Leaving something out can leave its parent without what it requires, so it goes too.
    while !bad.is_empty() {
        kept = Arc::new(named(schema::without(&kept, &bad)));
        bad = SCHEMA.check(file, &kept, &[], &WHOLE).bad;
        if bad.iter().any(Vec::is_empty) {
            return Err(problems);
        }
    }
    match kept.decode::<Pipeline>() {
        Ok(pipeline) => {
            let broken = left_out(tree, &kept);
            Ok(Spec { pipeline, tree: kept, problems, broken, damaged })
        }
        Err((path, message)) if problems.is_empty() => Err(vec![
            Diagnostic::error(Code::WrongType, message)
                .at(file, tree.place(&path))
                .path(path.join(".")),
        ]),
        Err(_) => Err(problems),
    }
}

/// The tree with a name, if it has none: its absence is reported and hinders no further check.
fn named(mut tree: Node) -> Node {
    if tree.entry("name").is_none()
        && let Tree::Map(entries) = &mut tree.tree
    {
        let node = Node { span: tree.span, tree: Tree::Text("unnamed".into()) };
        entries.push(Entry { key: "name".into(), key_span: tree.span, node });
    }
    tree
}

/// The tasks and params that hold one of the places.
fn damaged(tree: &Node, bad: &[Vec<usize>]) -> HashSet<String> {
    let root = tree.as_map().unwrap_or_default();
    let named = |path: &Vec<usize>| {
        let part = root.get(*path.first()?)?;
        let part = ["params", "tasks"].contains(&part.key.as_str()).then_some(part)?;
        Some(part.node.as_map()?.get(*path.get(1)?)?.key.clone())
    };
    bad.iter().filter_map(named).collect()
}

/// The names of params and tasks that `kept` lacks.
fn left_out(tree: &Node, kept: &Node) -> HashSet<String> {
    let names = |node: &Node, part: &str| -> HashSet<String> {
        let entries = node.get(part).and_then(Node::as_map).unwrap_or_default();
        entries.iter().map(|entry| entry.key.clone()).collect()
    };
    let parts = ["params", "tasks"].into_iter();
    parts.flat_map(|part| &names(tree, part) - &names(kept, part)).collect()
}
