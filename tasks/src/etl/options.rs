//! What `with:` of an etl task may say, and what can be told of it before it runs.

use super::pass::VALID;
use super::route::DUPLICATE;
use crate::engine::columns::{self as declared, arrow_schema};
use crate::engine::offline::{Offline, columns_of, kept};
use crate::engine::sql::{
    Fault, check_expression, check_query, missing, parameters, unknown_tables,
};
use crate::engine::{Engine, Memory, nearest};
use crate::options;
use indexmap::{IndexMap, IndexSet};
use orchestrator::dataset::Scheme;
use orchestrator::kind::{Columns, FilePlace, Files, Known, Part, Problem, Write};
use orchestrator::plan::PlannedTask;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// Either `from`, with `rules` and `dedupe`, or `sql`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct EtlOptions {
    /// One query over the inputs, as the path of an .sql file or as SQL. Each of its rows goes
    /// to the output `valid` or to the output `rejected`.
    #[serde(default)]
    pub from: Option<String>,
    /// Conditions in SQL that every valid row meets, by name. A row that breaks one goes to
    /// `rejected` with the name of the first that it breaks; a condition that is null is broken.
    #[serde(default)]
    pub rules: IndexMap<String, String>,
    /// Keeps one row of each key; the others go to `rejected` as `duplicate`.
    #[serde(default)]
    pub dedupe: Option<DedupeOptions>,
    /// One query for each output, as the path of an .sql file or as SQL.
    #[serde(default)]
    pub sql: IndexMap<String, String>,
    /// Values for the queries and rules, which name them as `$night`.
    #[serde(default)]
    pub parameters: IndexMap<String, Value>,
    /// The types of the columns of CSV and JSON lines files, by input. Without them, types are
    /// inferred from the first records.
    #[serde(default)]
    pub columns: IndexMap<String, declared::Columns>,
    /// What computes the queries, rules and `dedupe`. `spark` needs the key `spark` in the profile.
    #[serde(default)]
    pub engine: Computer,
    /// Memory of this task alone, such as `512MiB` or `2GiB`, instead of a share of what all
    /// tasks have together.
    #[serde(default)]
    pub memory: Option<Memory>,
}

/// What computes a task.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Computer {
    /// In tidemill's own process.
    #[default]
    Datafusion,
    /// A Spark cluster, through its Spark Connect server.
    Spark,
}

#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DedupeOptions {
    /// The columns that tell rows apart. Nulls are equal to each other.
    pub key: Vec<String>,
    /// Which row of a key is kept. By default the first, if the rows have an order, and
    /// otherwise the smallest.
    #[serde(default)]
    pub keep: Option<Keep>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Keep {
    /// The first in the order of the files; only for queries that filter and compute row by
    /// row over CSV and JSON lines files.
    First,
    /// The smallest by all columns in turn; takes a second look at the input.
    Smallest,
    /// Whichever comes first. Another run may keep another row.
    Any,
}

/// Where a query stands: in a file, or in the pipeline itself.
pub(super) struct Query<'a> {
    /// The file, if it is one.
    pub(super) file: Option<&'a str>,
    pub(super) sql: &'a str,
}

/// Whether an option names a file: SQL has blanks in it, outside of expressions.
pub(super) fn file_of(text: &str) -> Option<&str> {
    let text = text.trim();
    let mut outside = text.split("${{").map(|part| part.rsplit("}}").next().unwrap_or(part));
    let is_path = text.ends_with(".sql") && !outside.any(|part| part.contains(char::is_whitespace));
    is_path.then_some(text)
}

/// The query that an option gives; `None` if its file could not be read.
pub(super) fn query<'a>(text: &'a str, files: &'a Files) -> Option<Query<'a>> {
    match file_of(text) {
        Some(file) => files.get(file).map(|sql| Query { file: Some(file), sql }),
        None => Some(Query { file: None, sql: text }),
    }
}

/// What is wrong with a task.
pub(super) fn check(
    engine: &Engine,
    task: &PlannedTask,
    files: &Files,
    known: &Known,
) -> Vec<Problem> {
    let mut problems = Vec::new();
    let Some(options) = options::read::<EtlOptions>(task, &mut problems) else { return problems };
    let offline = offline(engine, task, &options, known);
    let used = IndexSet::new();
    let mut checker = Checker { task, files, known, offline, problems, used };
    checker.check(&options);
    checker.problems.extend(options::check_conditions(task));
    checker.problems
}

/// The columns of the outputs that are overwritten, except those of `rejected`.
pub(super) fn columns(engine: &Engine, task: &PlannedTask, files: &Files, known: &Known) -> Known {
    let Some(options) = options::read::<EtlOptions>(task, &mut Vec::new()) else {
        return Known::new();
    };
    let offline = offline(engine, task, &options, known);
    let from = options.from.iter().map(|from| (VALID, from));
    let queries = options.sql.iter().map(|(output, sql)| (output.as_str(), sql)).chain(from);
    queries
        .filter(|(name, _)| {
            task.outputs.get(*name).is_some_and(|output| output.write == Write::Overwrite)
        })
        .filter_map(|(output, text)| {
            let columns = offline.query(query(text, files)?.sql, &options.parameters)?.ok()?;
            Some((output.to_owned(), kept(&columns)?.ok()?))
        })
        .collect()
}

/// The inputs whose columns and types are known: tables that an earlier task overwrites, and files
/// whose columns are declared.
fn offline<'a>(
    engine: &'a Engine,
    task: &PlannedTask,
    options: &EtlOptions,
    known: &Known,
) -> Offline<'a> {
    // Spark has types and functions of its own, and what the attempt renders may be of any type.
    if options.engine == Computer::Spark || !task.late.is_empty() {
        return Offline::new(engine, &Known::new());
    }
    let columns = task.inputs.iter().filter_map(|(input, dataset)| {
        let columns = match dataset.scheme() {
            // Of a Parquet file, its own columns count.
            Scheme::File if is_text(dataset.name()) => {
                columns_of(&arrow_schema(options.columns.get(input)?))
            }
            Scheme::File => return None,
            _ => known.get(input)?.clone(),
        };
        Some((input.clone(), columns))
    });
    Offline::new(engine, &columns.collect())
}

/// Whether a file is of the sort whose columns can be declared.
fn is_text(name: &str) -> bool {
    [".csv", ".json", ".jsonl", ".ndjson"].iter().any(|end| name.ends_with(end))
}

struct Checker<'a> {
    task: &'a PlannedTask,
    files: &'a Files,
    known: &'a Known,
    offline: Offline<'a>,
    problems: Vec<Problem>,
    /// The parameters that queries and rules name.
    used: IndexSet<String>,
}

impl Checker<'_> {
    fn check(&mut self, options: &EtlOptions) {
        if self.task.inputs.is_empty() {
            self.add(["inputs"], "an etl task needs an input to read from");
        }
        match (&options.from, options.sql.is_empty()) {
            (Some(_), false) => self.problems.push(
                Problem::new(["with", "sql"], "`from` and `sql` exclude each other")
                    .help("make two tasks of it"),
            ),
            (None, true) => {
                self.problems
                    .push(Problem::new(["with"], "an etl task needs `from` or `sql`").help(
                    "`from` routes the rows of one query to `valid` and `rejected`; `sql` has one \
                     query for each output",
                ))
            }
            (Some(from), true) => self.check_from(from, options),
            (None, false) => self.check_sql(options),
        }
        self.check_parameters(options);
        self.check_columns(options);
    }

    fn add<'p>(&mut self, path: impl IntoIterator<Item = &'p str>, message: impl Into<String>) {
        self.problems.push(Problem::new(path, message));
    }

    fn check_from(&mut self, from: &str, options: &EtlOptions) {
        let columns = self.check_query(&["with", "from"], from, options);
        for (name, rule) in &options.rules {
            self.check_rule(name, rule, columns.as_ref(), options);
        }
        if let Some(dedupe) = &options.dedupe {
            let path = ["with", "dedupe", "key"];
            for column in dedupe.key.iter().filter(|_| columns.is_some()) {
                let names = columns.iter().flatten().map(|(name, _)| name.as_str());
                if !names.clone().any(|name| name == column) {
                    let (message, help) = missing("column", column, names);
                    let problem = Problem::new(path, format!("the query has {message}"));
                    self.problems.push(Problem { help, ..problem });
                }
            }
            if dedupe.key.is_empty() {
                self.add(path, "`key` names no column");
            }
            let distinct: IndexSet<_> = dedupe.key.iter().collect();
            if distinct.len() < dedupe.key.len() {
                self.add(path, "`key` names a column twice");
            }
            if (options.engine, dedupe.keep) == (Computer::Spark, Some(Keep::First)) {
                self.problems.push(
                    Problem::new(
                        ["with", "dedupe", "keep"],
                        "`engine: spark` reads rows in no order, so it knows no first one",
                    )
                    .help("leave `keep` out to keep the smallest row of each key"),
                );
            }
        }
        for name in ["valid", "rejected"] {
            if !self.task.outputs.contains_key(name) {
                self.add(["outputs"], format!("`from` needs the output `{name}`"));
            }
        }
        for name in self.task.outputs.keys() {
            if !["valid", "rejected"].contains(&name.as_str()) {
                self.problems.push(
                    Problem::new(["outputs", name], format!("`from` has no output `{name}`"))
                        .help("its outputs are `valid` and `rejected`"),
                );
            }
        }
    }

    fn check_rule(
        &mut self,
        name: &str,
        rule: &str,
        columns: Option<&Columns>,
        options: &EtlOptions,
    ) {
        let path = ["with", "rules", name];
        let taken = name == DUPLICATE
            || name.starts_with("malformed_")
            || ["too_few_fields", "too_many_fields", "unclosed_quote", "unknown_field"]
                .contains(&name);
        if taken {
            self.add(path, format!("`{name}` is a reason of its own; give the rule another name"));
        }
        if self.is_late(&path) {
            return;
        }
        let over = |columns| self.offline.condition(rule, None, columns, &options.parameters);
        if let Some(fault) = check_expression(rule).err().or_else(|| columns.and_then(over)) {
            self.problems.push(options::at(path, fault));
        }
        self.check_used(&path, None, rule, options);
    }

    fn check_sql(&mut self, options: &EtlOptions) {
        for (output, sql) in &options.sql {
            let path = ["with", "sql", output];
            if !self.task.outputs.contains_key(output) {
                let near = nearest(output, self.task.outputs.keys().map(String::as_str));
                let mut problem = Problem::new(path, format!("the task has no output `{output}`"));
                if let Some(near) = near {
                    problem = problem.help(format!("did you mean `{near}`?"));
                }
                self.problems.push(problem);
            }
            self.check_query(&path, sql, options);
        }
        for output in self.task.outputs.keys().filter(|name| !options.sql.contains_key(*name)) {
            self.add(["outputs", output], format!("`sql` has no query for the output `{output}`"));
        }
        for (name, set) in
            [("rules", !options.rules.is_empty()), ("dedupe", options.dedupe.is_some())]
        {
            if set {
                self.add(["with", name], format!("`{name}` belongs to `from`, not to `sql`"));
            }
        }
    }

    /// Gives the columns of the query's result, if they are known.
    fn check_query(&mut self, path: &[&str], text: &str, options: &EtlOptions) -> Option<Columns> {
        if self.is_late(path) {
            return None;
        }
        // A file that could not be read has been told of.
        let Query { file, sql } = query(text, self.files)?;
        let inputs: Vec<&str> = self.task.inputs.keys().map(String::as_str).collect();
        let mut faults: Vec<Fault> = check_query(sql).err().into_iter().collect();
        if faults.is_empty() {
            faults = unknown_tables(sql, &inputs);
        }
        self.check_used(path, file, sql, options);
        let mut columns = None;
        if faults.is_empty()
            && parameters(sql).keys().all(|name| options.parameters.contains_key(name))
        {
            match self.offline.query(sql, &options.parameters) {
                Some(Ok(found)) => {
                    if let Some(Err(why)) = kept(&found) {
                        let range = 0..sql.trim_end().len();
                        faults.push(Fault { range, message: why, help: None });
                    }
                    columns = Some(found);
                }
                Some(Err(fault)) => faults.push(fault),
                None => {}
            }
        }
        self.problems.extend(faults.into_iter().map(|fault| in_query(path, file, fault)));
        columns
    }

    fn check_used(&mut self, path: &[&str], file: Option<&str>, sql: &str, options: &EtlOptions) {
        for (name, range) in parameters(sql) {
            if !options.parameters.contains_key(&name) {
                let near = nearest(&name, options.parameters.keys().map(String::as_str));
                let help = match near {
                    Some(near) => format!("did you mean `${near}`?"),
                    None => "declare it under `parameters`".to_owned(),
                };
                let message = format!("no parameter `{name}`");
                let fault = Fault { range, message, help: Some(help) };
                self.problems.push(in_query(path, file, fault));
            }
            self.used.insert(name);
        }
    }

    fn check_parameters(&mut self, options: &EtlOptions) {
        for name in options.parameters.keys().filter(|name| !self.used.contains(*name)) {
            let message = format!("no query uses the parameter `{name}`");
            self.problems.push(
                Problem::new(["with", "parameters", name], message)
                    .help(format!("SQL names it as `${name}`")),
            );
        }
    }

    fn check_columns(&mut self, options: &EtlOptions) {
        for (input, columns) in &options.columns {
            let path = ["with", "columns", input];
            match self.task.inputs.get(input) {
                None => {
                    let mut problem =
                        Problem::new(path, format!("the task has no input `{input}`"));
                    let inputs = self.task.inputs.keys().map(String::as_str);
                    if let Some(near) = nearest(input, inputs) {
                        problem = problem.help(format!("did you mean `{near}`?"));
                    }
                    self.problems.push(problem);
                }
                Some(dataset) if dataset.scheme() != Scheme::File => {
                    self.add(path, format!("the columns of `{dataset}` have their types already"));
                }
                Some(_) => self.check_declared(input, columns),
            }
        }
    }

    /// Columns that are declared of a file, and that the task before does not write into it.
    fn check_declared(&mut self, input: &str, columns: &declared::Columns) {
        let Some(written) = self.known.get(input) else { return };
        for column in columns.keys().filter(|name| !written.contains_key(*name)) {
            let (message, help) = missing("column", column, written.keys().map(String::as_str));
            let message = format!("`{}` has {message}", self.task.inputs[input]);
            let problem = Problem::new(["with", "columns", input, column], message);
            self.problems.push(Problem { help, ..problem });
        }
    }

    /// Whether an option will be rendered only by the attempt.
    fn is_late(&self, path: &[&str]) -> bool {
        let pointer: String = path[1..]
            .iter()
            .map(|part| format!("/{}", part.replace('~', "~0").replace('/', "~1")))
            .collect();
        self.task.late.contains(&pointer)
    }
}

/// A problem of a query, with its place in the file, or else in the text.
fn in_query(path: &[&str], file: Option<&str>, fault: Fault) -> Problem {
    match file {
        Some(file) => Problem {
            help: fault.help,
            part: Some(Part::File(FilePlace { path: file.to_owned(), range: fault.range })),
            ..Problem::new(path.iter().copied(), fault.message)
        },
        None => options::at(path.iter().copied(), fault),
    }
}
