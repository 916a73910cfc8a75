//! `uses: shell`: a command, in any language, as a task.

mod datasets;
mod guard;
mod process;

pub use guard::guard;

use async_trait::async_trait;
use indexmap::IndexMap;
use orchestrator::attempt::{Attempt, Outcome, TaskError};
use orchestrator::dataset::Scheme;
use orchestrator::kind::{Files, Kind, Known, Port, Ports, Problem};
use orchestrator::plan::PlannedTask;
use process::{Ended, Running};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;
use tokio::process::Command;

/// How long a command may take to end after SIGTERM, before SIGKILL.
const TERM_GRACE: Duration = Duration::from_secs(10);

/// Exit codes that no retry helps: the command can't be run, or can't be found.
const HOPELESS: [i32; 2] = [126, 127];

/// A command as a task. One of `run` and `command` is given.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// A script for `sh`, which stops at its first failing command.
    run: Option<String>,
    /// A program and its arguments, without a shell between.
    command: Option<Vec<Scalar>>,
    /// Where it runs; relative to the project directory, which is the default.
    working_directory: Option<PathBuf>,
    /// Environment variables beside those of tidemill's own process.
    #[serde(default)]
    env: IndexMap<String, Scalar>,
    /// Exit codes that are worth a retry. By default all but 0, 126 and 127.
    retry_exit_codes: Option<Vec<u8>>,
}

/// Names that are the same in capitals, and so would be one variable.
fn clashing<'a>(part: &str, names: impl Iterator<Item = &'a String>) -> Vec<Problem> {
    let mut seen: HashMap<String, &str> = HashMap::new();
    let mut problems = Vec::new();
    for name in names {
        if let Some(other) = seen.insert(name.to_uppercase(), name) {
            let message = format!("`{name}` and `{other}` would be the same variable");
            problems.push(
                Problem::new([part, name], message)
                    .help("give them names that differ by more than capitals"),
            );
        }
    }
    problems
}

/// A value for a command, which gets it as a text.
#[derive(Debug, Deserialize)]
#[serde(try_from = "Value")]
struct Scalar(String);

impl TryFrom<Value> for Scalar {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        match value {
            Value::String(text) => Ok(Scalar(text)),
            Value::Number(_) | Value::Bool(_) => Ok(Scalar(value.to_string())),
            other => Err(format!("`{other}` is not a text, a number or a boolean")),
        }
    }
}

impl JsonSchema for Scalar {
    fn schema_name() -> Cow<'static, str> {
        "Scalar".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": ["string", "number", "boolean"] })
    }
}

/// The kind. Its processes are watched over by one guard process, which outlives this one just
/// long enough to kill them.
pub struct Shell {
    guard: Arc<guard::Guard>,
}

impl Shell {
    /// `guard`: the program and arguments that run [`guard()`] on their standard input.
    pub fn new(guard: Option<Vec<String>>) -> Self {
        Shell { guard: Arc::new(guard::Guard::new(guard)) }
    }
}

#[async_trait]
impl Kind for Shell {
    fn name(&self) -> &'static str {
        "shell"
    }

    fn summary(&self) -> &'static str {
        "runs a command or script"
    }

    fn description(&self) -> &'static str {
        "Runs a script with `sh`, or a program with arguments. What it prints becomes the attempt's \
log, line by line.

The command sees these variables:

- `TIDEMILL_RUN`, `TIDEMILL_TASK`, `TIDEMILL_ATTEMPT`: who it is.
- `TIDEMILL_INTERVAL_START`, `TIDEMILL_INTERVAL_END`: the run's interval, RFC 3339.
- `TIDEMILL_INPUT_NAME` for each input: where the dataset lies (a file, a directory, a Delta \
table), the name in capitals.
- `TIDEMILL_OUTPUT_NAME` for each output: where to write it. A file or directory goes to a \
temporary path, and appears under its name only when the command has succeeded.
- `TIDEMILL_OUTPUT`: a file for the values to hand on, one JSON object a line: \
`echo '{\"rows\": 3}' >> \"$TIDEMILL_OUTPUT\"` makes `${{ tasks.NAME.values.rows }}`.
- `TIDEMILL_SCRATCH`: a directory of the attempt's own, removed at its end.

An exit code other than 0 fails the attempt; `retry` on the task repeats it. The command leads a \
process group; the whole group gets SIGTERM when the run is cancelled or the time is up, SIGKILL \
ten seconds later, and dies with tidemill however that ends."
    }

    fn example(&self) -> &'static str {
        "name: greet
tasks:
  count:
    uses: shell
    with:
      run: |
        wc -w < /etc/hostname
        echo '{\"greeting\": \"hello\"}' >> \"$TIDEMILL_OUTPUT\"
  greet:
    uses: shell
    with:
      command: [echo, \"${{ tasks.count.values.greeting }}\"]
"
    }

    fn options(&self) -> schemars::Schema {
        schemars::schema_for!(Options)
    }

    fn ports(&self) -> Ports {
        const READS: &[Scheme] = &[Scheme::File, Scheme::Table, Scheme::Artifact];
        const WRITES: &[Scheme] = &[Scheme::File, Scheme::Table];
        Ports {
            inputs: vec![Port::any(READS, "what the command reads")],
            outputs: vec![Port::any(WRITES, "what the command writes")],
        }
    }

    fn check(&self, task: &PlannedTask, _files: &Files, _known: &Known) -> Vec<Problem> {
        let given = |key: &str| task.options.get(key).is_some_and(|value| !value.is_null());
        let mut problems = Vec::new();
        if given("run") == given("command") {
            let message = match given("run") {
                true => "both `run` and `command` are given",
                false => "there is no command",
            };
            let help = "write a script under `run`, or a list of program and arguments under \
                        `command`";
            problems.push(Problem::new(["with"], message).help(help));
        }
        if task.options.get("command").and_then(Value::as_array).is_some_and(Vec::is_empty) {
            problems.push(
                Problem::new(["with", "command"], "the command is empty")
                    .help("write the program first, then its arguments"),
            );
        }
        problems.extend(clashing("inputs", task.inputs.keys()));
        problems.extend(clashing("outputs", task.outputs.keys()));
        problems
    }

    async fn run(&self, attempt: &Attempt) -> Result<Outcome, TaskError> {
        let options: Options = attempt.options()?;
        if attempt.number > 1 {
            process::kill_leftovers(&attempt.run.id, &attempt.task)?;
        }
        let values_path = attempt.scratch()?.join("values.jsonl");
        let datasets = datasets::prepare(attempt).await?;
        let command = command(attempt, &options, &values_path, &datasets)?;
        let mut running = Running::start(command, self.guard.clone())?;
        let ended = running.wait(&attempt.cancel, TERM_GRACE).await?;
        judge(&ended, &options, attempt)?;
        datasets.publish(attempt).await?;
        Ok(Outcome { values: read_values(&values_path)?, report: Map::new() })
    }
}

fn command(
    attempt: &Attempt,
    options: &Options,
    values: &Path,
    datasets: &datasets::Prepared,
) -> Result<Command, TaskError> {
    let argv = match (&options.run, &options.command) {
        (Some(script), None) => {
            vec!["sh".into(), "-e".into(), "-c".into(), script.clone()]
        }
        (None, Some(argv)) => argv.iter().map(|Scalar(text)| text.clone()).collect(),
        _ => return Err(TaskError::permanent("one of `run` and `command` is needed")),
    };
    let (program, arguments) =
        argv.split_first().ok_or_else(|| TaskError::permanent("`command` is empty"))?;
    let project = &attempt.run.project_dir;
    let directory = match &options.working_directory {
        Some(directory) => project.join(directory),
        None => project.clone(),
    };
    if !directory.is_dir() {
        let message = format!("working_directory `{}` is not a directory", directory.display());
        return Err(TaskError::permanent(message));
    }
    let interval = attempt.run.interval;
    let mut command = Command::new(program);
    command
        .args(arguments)
        .current_dir(directory)
        .envs(options.env.iter().map(|(name, Scalar(value))| (name, value)))
        .envs(datasets.variables())
        .env("TIDEMILL_RUN", &attempt.run.id)
        .env("TIDEMILL_TASK", &attempt.task)
        .env("TIDEMILL_ATTEMPT", attempt.number.to_string())
        .env("TIDEMILL_INTERVAL_START", interval.start.to_string())
        .env("TIDEMILL_INTERVAL_END", interval.end.to_string())
        .env("TIDEMILL_OUTPUT", values)
        .env("TIDEMILL_SCRATCH", attempt.scratch()?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    Ok(command)
}

/// What the command's end means for the attempt.
fn judge(ended: &Ended, options: &Options, attempt: &Attempt) -> Result<(), TaskError> {
    attempt.check_cancelled()?;
    let Some(code) = ended.code else {
        let signal = ended.signal.unwrap_or_default();
        return Err(TaskError::transient(format!("the command was killed by signal {signal}")));
    };
    if code == 0 {
        return Ok(());
    }
    let mut message = format!("the command ended with exit code {code}");
    if let Some(line) = &ended.last_error {
        message.push_str(": ");
        message.push_str(line);
    }
    let worth_a_retry = match &options.retry_exit_codes {
        Some(codes) => codes.iter().any(|worth| i32::from(*worth) == code),
        None => !HOPELESS.contains(&code),
    };
    Err(if worth_a_retry { TaskError::Transient(message) } else { TaskError::Permanent(message) })
}

/// The values handed on: JSON objects, one a line; a later one overrides.
fn read_values(path: &Path) -> Result<Map<String, Value>, TaskError> {
    let text = match std::fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Map::new()),
        Err(error) => return Err(TaskError::io("cannot read $TIDEMILL_OUTPUT", &error)),
    };
    let mut values = Map::new();
    for (number, line) in (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        match serde_json::from_str(line) {
            Ok(Value::Object(object)) => values.extend(object),
            _ => {
                return Err(TaskError::permanent(format!(
                    "line {number} of $TIDEMILL_OUTPUT is not a JSON object: `{line}`; write one \
                     such as {{\"rows\": 3}} on each line"
                )));
            }
        }
    }
    Ok(values)
}
