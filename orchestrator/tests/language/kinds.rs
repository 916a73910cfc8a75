//! A small registry of kinds to plan with. None of them does anything.

use async_trait::async_trait;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::sync::Arc;
use tidemill_orchestrator::attempt::{Attempt, Outcome, TaskError};
use tidemill_orchestrator::dataset::Scheme;
use tidemill_orchestrator::duration::Duration;
use tidemill_orchestrator::kind::{
    FilePlace, Files, Kind, Kinds, Known, Part, Port, Ports, Problem, Write,
};
use tidemill_orchestrator::plan::PlannedTask;

pub(crate) fn kinds() -> Kinds {
    Kinds::new(vec![Arc::new(Noop("noop")), Arc::new(Make), Arc::new(Query), Arc::new(Send)])
}

/// [`kinds`] and, as stand-ins, those that the reference speaks of.
pub(crate) fn documented_kinds() -> Kinds {
    let names = ["shell", "generate", "etl"].into_iter();
    let stand_ins = names.map(|name| Arc::new(Noop(name)) as Arc<dyn Kind>);
    Kinds::new(kinds().iter().cloned().chain(stand_ins).collect())
}

/// Any ports, any options.
struct Noop(&'static str);

#[async_trait]
impl Kind for Noop {
    fn name(&self) -> &'static str {
        self.0
    }
    fn summary(&self) -> &'static str {
        "Does nothing"
    }
    fn description(&self) -> &'static str {
        "Does nothing, with any options and datasets."
    }
    fn example(&self) -> &'static str {
        "name: example\ntasks:\n  nothing: {uses: noop}\n"
    }
    fn options(&self) -> schemars::Schema {
        schemars::json_schema!({"type": "object"})
    }
    fn ports(&self) -> Ports {
        let any = || vec![Port::any(&Scheme::ALL, "anything")];
        Ports { inputs: any(), outputs: any() }
    }
    async fn run(&self, _: &Attempt) -> Result<Outcome, TaskError> {
        Ok(Outcome::default())
    }
}

/// Typed options of every sort, and one output of its own.
struct Make;

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct MakeOptions {
    /// How many rows to make.
    #[schemars(range(min = 1, max = 1000))]
    rows: u64,
    /// Where the randomness begins.
    #[serde(default)]
    seed: Option<i64>,
    #[serde(default)]
    share: Option<f64>,
    #[serde(default)]
    quiet: bool,
    #[serde(default)]
    columns: Vec<String>,
    #[serde(default)]
    shape: Shape,
    #[serde(default)]
    roll: Option<Roll>,
    #[serde(default)]
    target: Option<Target>,
}

#[derive(Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum Shape {
    /// All alike.
    #[default]
    Flat,
    /// More in summer.
    Seasonal,
}

#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
struct Roll {
    #[serde(default)]
    every: Option<Duration>,
    #[serde(default)]
    rows: Option<u32>,
}

#[derive(Deserialize, JsonSchema)]
#[serde(tag = "as", rename_all = "snake_case", deny_unknown_fields)]
#[expect(dead_code, reason = "only its schema is used")]
enum Target {
    Csv { header: bool },
    Lines { separator: String },
}

#[async_trait]
impl Kind for Make {
    fn name(&self) -> &'static str {
        "make"
    }
    fn summary(&self) -> &'static str {
        "Makes rows"
    }
    fn description(&self) -> &'static str {
        "Makes rows."
    }
    fn example(&self) -> &'static str {
        "name: example\ntasks:\n  m: {uses: make, with: {rows: 5}, outputs: {rows: table:t}}\n"
    }
    fn options(&self) -> schemars::Schema {
        schemars::schema_for!(MakeOptions)
    }
    fn ports(&self) -> Ports {
        let schemes = &[Scheme::Table, Scheme::File];
        Ports {
            inputs: Vec::new(),
            outputs: vec![
                Port::named("rows", schemes, "what was made"),
                Port::named("truth", &[Scheme::Table], "what was meant").optional(),
            ],
        }
    }
    async fn run(&self, _: &Attempt) -> Result<Outcome, TaskError> {
        Ok(Outcome::default())
    }
}

/// Refers to SQL files: one for all outputs, or one for each.
struct Query;

#[async_trait]
impl Kind for Query {
    fn name(&self) -> &'static str {
        "query"
    }
    fn summary(&self) -> &'static str {
        "Runs SQL"
    }
    fn description(&self) -> &'static str {
        "Runs SQL."
    }
    fn example(&self) -> &'static str {
        "name: example\ntasks:\n  q: {uses: query, with: {sql: a.sql}, inputs: {a: table:a}}\n"
    }
    fn options(&self) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "properties": {
                "sql": {"oneOf": [
                    {"type": "string", "format": "sql"},
                    {"type": "object", "additionalProperties": {"type": "string", "format": "sql"}},
                ]},
                "parameters": {"type": "object"},
            },
            "required": ["sql"],
            "additionalProperties": false,
        })
    }
    fn ports(&self) -> Ports {
        let mut input = Port::any(&[Scheme::Table, Scheme::File], "what is read");
        input.required = true;
        Ports { inputs: vec![input], outputs: vec![Port::any(&[Scheme::Table], "what is written")] }
    }
    fn refer(&self, options: &Value, read: &mut dyn FnMut(&str) -> Option<String>) {
        match options.get("sql") {
            Some(Value::String(path)) => drop(read(path)),
            Some(Value::Object(paths)) => {
                paths.values().filter_map(Value::as_str).for_each(|path| drop(read(path)));
            }
            _ => {}
        }
    }
    fn check(&self, task: &PlannedTask, files: &Files, _known: &Known) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (path, text) in files {
            if let Some(at) = text.find("selec ")
                && task.options["sql"] == path.as_str()
            {
                let mut problem = Problem::new(["with", "sql"], "`selec` is no statement");
                let place = FilePlace { path: path.clone(), range: at..at + 5 };
                problem.part = Some(Part::File(place));
                problems.push(problem.help("did you mean `select`?"));
            }
        }
        if let Some(outputs) = task.options["sql"].as_object() {
            for name in outputs.keys().filter(|name| !task.outputs.contains_key(*name)) {
                let message = format!("there is no output `{name}`");
                problems.push(Problem::new(["with", "sql", name], message));
            }
        }
        problems
    }
    async fn run(&self, _: &Attempt) -> Result<Outcome, TaskError> {
        Ok(Outcome::default())
    }
}

/// Writes a topic, at a rate.
struct Send;

#[async_trait]
impl Kind for Send {
    fn name(&self) -> &'static str {
        "send"
    }
    fn summary(&self) -> &'static str {
        "Sends rows to a topic"
    }
    fn description(&self) -> &'static str {
        "Sends rows to a topic."
    }
    fn example(&self) -> &'static str {
        "name: e\ntasks:\n  s: {uses: send, inputs: {rows: file:a}, outputs: {topic: topic:t}}"
    }
    fn options(&self) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "properties": {"rate": {"type": "string", "format": "rate"}},
            "additionalProperties": false,
        })
    }
    fn ports(&self) -> Ports {
        Ports {
            inputs: vec![Port::named("rows", &[Scheme::File, Scheme::Table], "what is sent")],
            outputs: vec![
                Port::named("topic", &[Scheme::Topic], "where to").write(Write::Append),
                Port::named("index", &[Scheme::Kv, Scheme::Table], "by key")
                    .optional()
                    .write(Write::Merge),
            ],
        }
    }
    async fn run(&self, _: &Attempt) -> Result<Outcome, TaskError> {
        Ok(Outcome::default())
    }
}
