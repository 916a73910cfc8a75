//! `engine: spark`: the queries, rules and `dedupe` of a task computed by a Spark cluster.
//!
//! Spark reads the very files of the versions that the attempt has pinned, and writes its rows as
//! Parquet to a directory of the attempt's. From there they go the way of all rows, through
//! [`StageWriter`](crate::places::StageWriter): whatever computed a table, it has the same types,
//! statistics and guards, and comes once.

#![expect(
    clippy::result_large_err,
    reason = "the client's error is large, and its functions give it"
)]

mod connection;
mod errors;
mod inputs;
mod malformed;
mod scratch;
#[cfg(test)]
mod tests;
mod text;

use super::options::EtlOptions;
use super::pass::{REJECTED, VALID};
use super::rejects::{RAW, REASON};
use super::session::Session;
use crate::engine::errors::task_error;
use crate::engine::sql::{check_expression, check_query, no_column, relations};
use crate::places::publish::publish_table;
use crate::places::tables::Staged;
use crate::places::{ProfileSettings, SparkSettings};
use arrow::datatypes::DataType as Arrow;
use connection::Connection;
use datafusion::common::{Column, ScalarValue};
use datafusion::logical_expr::cast;
use datafusion::prelude::{DataFrame, Expr, lit};
use errors::{query_error, rows_error};
use malformed::Malformed;
use orchestrator::attempt::{Attempt, Outcome, TaskError};
use scratch::Scratch;
use serde_json::{Map, json};
use spark_connect::{DataType, SparkSession};
use std::collections::HashSet;
use text::{Bound, ROWS};
use tokio::sync::OnceCell;

/// Does the work of an attempt.
pub(super) async fn run(session: &Session<'_>, options: &EtlOptions) -> Result<Outcome, TaskError> {
    let attempt = session.attempt;
    let Some(output) = attempt.outputs.keys().next() else {
        return Err(TaskError::permanent("the task has no output"));
    };
    let work = Work {
        session,
        options,
        settings: settings(attempt)?,
        connection: OnceCell::new(),
        scratch: Scratch::of(attempt, session.places.tables(), output),
    };
    let outcome = match &options.from {
        Some(from) => work.clean(from).await,
        None => work.compute().await,
    };
    // A cancelled attempt comes here too: nothing of it goes on at the server.
    if let Some(connection) = work.connection.into_inner() {
        connection.close().await;
    }
    work.scratch.remove().await;
    outcome
}

fn settings(attempt: &Attempt) -> Result<SparkSettings, TaskError> {
    let profile = &attempt.run.profile;
    ProfileSettings::of(profile)?.spark.ok_or_else(|| {
        TaskError::permanent(format!(
            "`engine: spark` needs a Spark Connect server, and the profile `{}` names none; in \
             `tidemill.yaml`, give it `spark: {{remote: \"sc://localhost:15002\"}}`",
            profile.name
        ))
    })
}

struct Work<'a> {
    session: &'a Session<'a>,
    options: &'a EtlOptions,
    settings: SparkSettings,
    connection: OnceCell<Connection>,
    scratch: Scratch,
}

/// A query of the pipeline: where it stands, and its text.
struct Query {
    path: String,
    sql: String,
    bound: Bound,
}

impl Query {
    fn fails(&self, views: &[String], error: &spark_connect::SparkError) -> TaskError {
        query_error(&self.path, &self.sql, 0, views, error)
    }
}

/// What `from` has written to scratch.
struct Sorted {
    columns: Vec<String>,
    malformed: Option<Malformed>,
    constants: Vec<Option<ScalarValue>>,
}

/// Parts of the scratch.
const OUT: &str = "out";

impl Work<'_> {
    async fn connection(&self) -> Result<&Connection, TaskError> {
        let progress = &self.session.attempt.progress;
        let open = || Connection::open(&self.settings, progress.clone());
        self.connection.get_or_try_init(open).await
    }

    fn query(&self, option: &str, text: &str) -> Result<Query, TaskError> {
        let (path, sql) = self.session.text(option, text)?;
        // The text may have been rendered by this attempt.
        check_query(&sql)
            .map_err(|fault| TaskError::permanent(format!("{path}: {}", fault.message)))?;
        let bound = Bound::new(&sql, &self.options.parameters);
        Ok(Query { path, sql, bound })
    }

    /// `sql`: one query for each output. All are analysed before the first one runs.
    async fn compute(&self) -> Result<Outcome, TaskError> {
        let mut queries = Vec::new();
        for (output, text) in &self.options.sql {
            queries.push((output, self.query(&format!("with.sql.{output}"), text)?));
        }
        let ready: OnceCell<Vec<String>> = OnceCell::new();
        let mut report = Map::new();
        for (number, (output, query)) in queries.iter().enumerate() {
            let (attempt, places) = (self.session.attempt, self.session.places);
            let published = publish_table(attempt, places, output, async {
                let views = ready.get_or_try_init(|| self.analysed(&queries)).await?;
                let part = format!("{OUT}-{number}");
                let (bound, location) = (query.bound.clone(), self.scratch.location(&part));
                let write = move |session: &SparkSession| {
                    bound.frame(session)?.write().mode("errorifexists").parquet(&location)
                };
                let written = self.connection().await?.call(write).await?;
                written.map_err(|error| query.fails(views, &error))?;
                Ok(vec![self.stage(output, self.read(&part).await?).await?])
            })
            .await?;
            tracing::info!("{output}: {} rows", published.rows);
            report.insert((*output).clone(), json!(published.rows));
        }
        Ok(Outcome { report, ..Outcome::default() })
    }

    /// Makes the views, and gives their names.
    async fn analysed(&self, queries: &[(&String, Query)]) -> Result<Vec<String>, TaskError> {
        let connection = self.connection().await?;
        let used = queries.iter().flat_map(|(_, query)| relations(&query.sql)).collect();
        let views =
            inputs::register(self.session, connection, &self.scratch, self.options, &used, None);
        let views = views.await?;
        for (_, query) in queries {
            self.columns(query, &views).await?;
        }
        Ok(views)
    }

    /// The columns that a query gives.
    async fn columns(&self, query: &Query, views: &[String]) -> Result<Vec<String>, TaskError> {
        let bound = query.bound.clone();
        let schema = self.connection().await?.call(move |session| bound.frame(session)?.schema());
        match schema.await?.map_err(|error| query.fails(views, &error))? {
            DataType::Struct { fields } => Ok(fields.into_iter().map(|field| field.name).collect()),
            other => Err(TaskError::permanent(format!("{}: no rows but {other:?}", query.path))),
        }
    }

    /// `from`: Spark gives each row its reason, in one job; the rows are then told apart by it.
    async fn clean(&self, from: &str) -> Result<Outcome, TaskError> {
        let (attempt, places) = (self.session.attempt, self.session.places);
        let query = self.query("from", from)?;
        let sorted: OnceCell<Sorted> = OnceCell::new();
        let valid = publish_table(attempt, places, VALID, async {
            let sorted = sorted.get_or_try_init(|| self.sorted(&query)).await?;
            Ok(vec![self.stage(VALID, self.valid(sorted).await?).await?])
        })
        .await?;
        let rejected = publish_table(attempt, places, REJECTED, async {
            let sorted = sorted.get_or_try_init(|| self.sorted(&query)).await?;
            Ok(vec![self.stage(REJECTED, self.rejected(sorted).await?).await?])
        })
        .await?;
        let counts = self.session.counts(&valid, &rejected, self.options).await?;
        attempt.progress.add_rows_in(counts.rows_in);
        tracing::info!("{counts}");
        Ok(Outcome { values: counts.values(), report: counts.report() })
    }

    async fn sorted(&self, query: &Query) -> Result<Sorted, TaskError> {
        let (session, options, connection) = (self.session, self.options, self.connection().await?);
        let (aside, sluice) = Malformed::aside(&self.scratch)?;
        let used: HashSet<String> = relations(&query.sql);
        let sluice = Some(&sluice);
        let views = inputs::register(session, connection, &self.scratch, options, &used, sluice);
        let views = views.await?;
        let malformed = aside.finish().await?;
        let columns = self.columns(query, &views).await?;
        self.check_columns(query, &columns)?;
        let bound = query.bound.clone();
        let made = connection
            .call(move |session| bound.frame(session)?.create_or_replace_temp_view(ROWS))
            .await?;
        made.map_err(|error| query.fails(&views, &error))?;
        self.check_rules(&views).await?;
        let (bound, location) = (text::sorted(&columns, options), self.scratch.location(OUT));
        let write = move |session: &SparkSession| {
            bound.frame(session)?.write().mode("errorifexists").parquet(&location)
        };
        let written = connection.call(write).await?;
        written.map_err(|error| rows_error(&query.path, &views, &error))?;
        let constants = match &malformed {
            Some(_) => malformed::constants(session, &query.path, &query.sql, options).await,
            None => Vec::new(),
        };
        Ok(Sorted { columns, malformed, constants })
    }

    fn check_columns(&self, query: &Query, columns: &[String]) -> Result<(), TaskError> {
        let wrong = |what: String| Err(TaskError::permanent(format!("{}: {what}", query.path)));
        let mut names = HashSet::new();
        for name in columns {
            if [REASON, RAW].contains(&name.to_lowercase().as_str()) {
                return wrong(format!(
                    "the query has a column `{name}`, which rejected rows need for themselves; \
                     give it another name with `as`"
                ));
            }
            if !names.insert(name.to_lowercase()) {
                return wrong(format!(
                    "the query has two columns `{name}`; give one another name with `as`"
                ));
            }
        }
        let mut keys = self.options.dedupe.iter().flat_map(|dedupe| &dedupe.key);
        match keys.find(|key| !columns.contains(key)) {
            Some(key) => {
                let columns = columns.iter().map(String::as_str);
                Err(TaskError::permanent(format!("dedupe: {}", no_column(key, columns))))
            }
            None => Ok(()),
        }
    }

    async fn check_rules(&self, views: &[String]) -> Result<(), TaskError> {
        for (name, rule) in &self.options.rules {
            let path = format!("rule `{name}`");
            check_expression(rule)
                .map_err(|fault| TaskError::permanent(format!("{path}: {}", fault.message)))?;
            let bound = text::rule(rule, self.options);
            let schema = move |session: &SparkSession| bound.frame(session)?.schema();
            let schema = self.connection().await?.call(schema).await?;
            let schema = schema.map_err(|error| query_error(&path, rule, 1, views, &error))?;
            let is_condition = |kind: &DataType| matches!(kind, DataType::Boolean | DataType::Null);
            match &schema {
                DataType::Struct { fields } if fields.len() == 1 => {
                    if !is_condition(&fields[0].data_type) {
                        let why = format!("{path}: `{rule}` is neither true nor false");
                        return Err(TaskError::permanent(why));
                    }
                }
                _ => return Err(TaskError::permanent(format!("{path}: not one condition"))),
            }
        }
        Ok(())
    }

    async fn read(&self, part: &str) -> Result<DataFrame, TaskError> {
        self.scratch.read(&self.session.ctx, part).await?.ok_or_else(|| {
            TaskError::permanent(format!(
                "Spark wrote no files to `{}`, or to a place of that name that is not tidemill's",
                self.scratch.location(part)
            ))
        })
    }

    async fn valid(&self, sorted: &Sorted) -> Result<DataFrame, TaskError> {
        let columns: Vec<Expr> = sorted.columns.iter().map(|name| column(name)).collect();
        let rows = self.read(OUT).await?.filter(column(REASON).is_null());
        rows.and_then(|rows| rows.select(columns)).map_err(|error| cannot_read(&error))
    }

    async fn rejected(&self, sorted: &Sorted) -> Result<DataFrame, TaskError> {
        let out = self.read(OUT).await?;
        let text = |expression| cast(expression, Arrow::Utf8);
        let mut columns: Vec<Expr> = sorted.columns.iter().map(|name| column(name)).collect();
        columns.push(text(column(REASON)).alias(REASON));
        columns.push(text(lit(ScalarValue::Null)).alias(RAW));
        let kinds: Vec<Arrow> = sorted
            .columns
            .iter()
            .filter_map(|name| out.schema().field_with_unqualified_name(name).ok())
            .map(|field| field.data_type().clone())
            .collect();
        let rows = out.filter(column(REASON).is_not_null()).and_then(|rows| rows.select(columns));
        let rows = rows.map_err(|error| cannot_read(&error))?;
        let Some(malformed) = &sorted.malformed else { return Ok(rows) };
        let malformed = malformed.read(&self.scratch, &self.session.ctx).await?;
        let constant = |(place, name): (usize, &String)| {
            let value = sorted.constants.get(place).cloned().flatten();
            let kind = kinds.get(place).cloned().unwrap_or(Arrow::Null);
            cast(lit(value.unwrap_or(ScalarValue::Null)), kind).alias(name)
        };
        let mut columns: Vec<Expr> = sorted.columns.iter().enumerate().map(constant).collect();
        columns.extend([REASON, RAW].map(|name| text(column(name)).alias(name)));
        let malformed = malformed.select(columns);
        malformed.and_then(|malformed| rows.union(malformed)).map_err(|error| cannot_read(&error))
    }

    /// Writes rows as an output's.
    async fn stage(&self, output: &str, rows: DataFrame) -> Result<Staged, TaskError> {
        let plan = rows.create_physical_plan().await.map_err(|error| cannot_read(&error))?;
        self.session.stage(output, plan, self.session.ctx.task_ctx()).await
    }
}

/// A column by its very name, dots and capitals included.
fn column(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}

fn cannot_read(error: &datafusion::error::DataFusionError) -> TaskError {
    task_error("can't read what Spark wrote", error)
}
