//! One attempt at an etl task: its session, its outputs, and what it reports.

use super::options::{Computer, EtlOptions, Query, query};
use super::pass::{Counts, Passed, REJECTED, VALID, Wanted, pass};
use super::rejects::REASON;
use crate::engine::Engine;
use crate::engine::errors::task_error;
use crate::engine::input::Reading;
use crate::engine::scan::Meter;
use crate::engine::scan::malformed::OnMalformed;
use crate::engine::sql::{located_error, plan};
use crate::engine::told::ToldExec;
use crate::places::Places;
use crate::places::publish::publish_table;
use crate::places::tables::{StageOptions, StageWriter, Staged};
use arrow::array::AsArray;
use arrow::datatypes::{Int64Type, Schema};
use datafusion::execution::TaskContext;
use datafusion::functions_aggregate::expr_fn::count;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::prelude::{DataFrame, SessionContext, col, lit};
use futures::future::BoxFuture;
use orchestrator::attempt::{Attempt, Outcome, TaskError};
use orchestrator::event::Published;
use serde_json::{Map, Value, json};
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// Does the work of an attempt.
pub(super) async fn run(
    engine: &Engine,
    attempt: &Attempt,
    places: &Places,
    options: &EtlOptions,
) -> Result<Outcome, TaskError> {
    let session = Session::new(engine, attempt, places, options)?;
    if options.engine == Computer::Spark {
        return spark(&session, options).await;
    }
    match &options.from {
        Some(from) => session.clean(options, from).await,
        None => session.compute(options).await,
    }
}

#[cfg(feature = "spark")]
async fn spark(session: &Session<'_>, options: &EtlOptions) -> Result<Outcome, TaskError> {
    super::spark::run(session, options).await
}

#[cfg(not(feature = "spark"))]
#[expect(clippy::unused_async, reason = "it stands for one that waits")]
async fn spark(_: &Session<'_>, _: &EtlOptions) -> Result<Outcome, TaskError> {
    Err(TaskError::permanent(
        "this tidemill was built without Spark; build it with `cargo build --features spark`, or \
         leave `engine` out",
    ))
}

/// A session of the engine for one attempt.
pub(super) struct Session<'a> {
    pub(super) attempt: &'a Attempt,
    pub(super) ctx: SessionContext,
    pub(super) places: &'a Places,
    pub(super) engine: &'a Engine,
    meter: Arc<Meter>,
}

impl<'a> Session<'a> {
    fn new(
        engine: &'a Engine,
        attempt: &'a Attempt,
        places: &'a Places,
        options: &EtlOptions,
    ) -> Result<Self, TaskError> {
        let ctx = match options.memory {
            Some(memory) => engine.session_limited(attempt.scratch()?, memory.bytes)?,
            None => engine.session(attempt.scratch()?)?,
        };
        // The pass of `from` counts the rows that it routes.
        let counts_rows = options.from.is_none();
        let meter = Arc::new(Meter::new(attempt.progress.clone(), counts_rows));
        Ok(Session { attempt, ctx, places, engine, meter })
    }

    /// `sql`: one query for each output. All are planned before the first one runs, so that an
    /// error in the last leaves nothing written.
    async fn compute(&self, options: &EtlOptions) -> Result<Outcome, TaskError> {
        for input in self.attempt.inputs.keys() {
            self.register(input, options, OnMalformed::Fail).await?;
        }
        let mut frames = Vec::new();
        for (output, text) in &options.sql {
            let (path, sql) = self.text(&format!("with.sql.{output}"), text)?;
            let frame = self.plan(&path, &sql, options).await?;
            frames.push((output, path, sql, frame));
        }
        let mut report = Map::new();
        for (output, path, sql, frame) in frames {
            let published = publish_table(self.attempt, self.places, output, async {
                let plan = frame.create_physical_plan().await;
                let plan = plan.map_err(|error| located_error(&path, &sql, &error, &[]))?;
                let plan = ToldExec::errors(plan, &path, &sql);
                Ok(vec![self.stage(output, plan, self.ctx.task_ctx()).await?])
            })
            .await?;
            tracing::info!("{output}: {} rows", published.rows);
            report.insert(output.clone(), json!(published.rows));
        }
        Ok(Outcome { report, ..Outcome::default() })
    }

    /// `from`: one pass, two outputs. An output that an earlier attempt has published is not
    /// written again, but the pass still runs for the other.
    async fn clean(&self, options: &EtlOptions, from: &str) -> Result<Outcome, TaskError> {
        let open = |output: &str| self.attempt.outputs[output].published.is_none();
        let rejected = open(REJECTED);
        let mut passed = Passed::default();
        let valid = publish_table(self.attempt, self.places, VALID, async {
            passed = pass(self, options, from, Wanted { valid: true, rejected }).await?;
            Ok(passed.valid.take().into_iter().collect())
        })
        .await?;
        let rejected = publish_table(self.attempt, self.places, REJECTED, async {
            if passed.rejected.is_none() {
                passed = pass(self, options, from, Wanted { valid: false, rejected }).await?;
            }
            Ok(passed.rejected.take().into_iter().collect())
        })
        .await?;
        let counts = match passed.counts {
            Some(counts) => counts,
            None => self.counts(&valid, &rejected, options).await?,
        };
        tracing::info!("{counts}");
        Ok(Outcome { values: counts.values(), report: counts.report() })
    }

    /// The counts of a pass that an earlier attempt made, from what it has published.
    pub(super) async fn counts(
        &self,
        valid: &Published,
        rejected: &Published,
        options: &EtlOptions,
    ) -> Result<Counts, TaskError> {
        let failed = |error| task_error("can't count the rejected rows", &error);
        let name = self.attempt.outputs[REJECTED].dataset().name();
        let version = rejected.version.unwrap_or_default();
        let snapshot = self.places.tables().read(name, version).await?;
        let provider = snapshot.provider(&self.ctx.state()).await?;
        let frame = self.ctx.read_table(provider).map_err(failed)?;
        let counted = frame.aggregate(vec![col(REASON)], vec![count(lit(1))]).map_err(failed)?;
        let reason = datafusion::logical_expr::cast(col(REASON), arrow::datatypes::DataType::Utf8);
        let number = col(datafusion::common::Column::from_name("count(Int32(1))"));
        let counted = counted.select(vec![reason, number]).map_err(failed)?;
        let mut by_reason = Vec::new();
        for batch in counted.collect().await.map_err(failed)? {
            let (reasons, numbers) = (batch.column(0), batch.column(1));
            let numbers = numbers.as_primitive::<Int64Type>().values();
            for (reason, number) in reasons.as_string::<i32>().iter().zip(numbers) {
                by_reason.push((reason.unwrap_or_default().to_owned(), number.cast_unsigned()));
            }
        }
        Ok(Counts::new(valid.rows, by_reason, options))
    }

    pub(super) async fn register(
        &self,
        input: &str,
        options: &EtlOptions,
        on_malformed: OnMalformed,
    ) -> Result<(), TaskError> {
        let reading = Reading { on_malformed, meter: Some(self.meter.clone()) };
        let columns = options.columns.get(input);
        let (ctx, attempt, places) = (&self.ctx, self.attempt, self.places);
        self.engine.register_as(ctx, attempt, places, input, columns, reading).await
    }

    /// The SQL of an option, and how its errors name it: by its file, or as the option.
    pub(super) fn text(&self, option: &str, text: &str) -> Result<(String, String), TaskError> {
        match query(text, &self.attempt.files) {
            Some(Query { file: Some(file), sql }) => Ok((file.to_owned(), sql.to_owned())),
            Some(Query { file: None, sql }) => Ok((option.to_owned(), sql.to_owned())),
            None => Err(TaskError::permanent(format!("{option}: the file `{text}` was not read"))),
        }
    }

    pub(super) async fn plan(
        &self,
        path: &str,
        sql: &str,
        options: &EtlOptions,
    ) -> Result<DataFrame, TaskError> {
        // Only those that it names: the others belong to other queries.
        let used = crate::engine::sql::parameters(sql);
        let used = options.parameters.iter().filter(|(name, _)| used.contains_key(*name));
        let values = used.map(|(name, value)| (name.clone(), value.clone())).collect();
        plan(&self.ctx, path, sql, &values).await
    }

    fn stage_options(&self, output: &str) -> StageOptions {
        StageOptions {
            partition_by: self.attempt.outputs[output].planned.partition_by.clone(),
            progress: Some(self.attempt.progress.clone()),
            ..StageOptions::default()
        }
    }

    /// Runs a plan and writes its rows as an output's.
    pub(super) fn stage(
        &'a self,
        output: &'a str,
        plan: Arc<dyn ExecutionPlan>,
        context: Arc<TaskContext>,
    ) -> BoxFuture<'a, Result<Staged, TaskError>> {
        let name = self.attempt.outputs[output].dataset().name();
        let publication = self.attempt.publication(output);
        let options = self.stage_options(output);
        Box::pin(async move {
            self.places.tables().stage(name, &publication, plan, context, &options).await
        })
    }

    /// Writes rows that are handed to it as an output's.
    pub(super) fn writer(&self, output: &str, schema: &Schema) -> Result<StageWriter, TaskError> {
        let name = self.attempt.outputs[output].dataset().name();
        let publication = self.attempt.publication(output);
        let options = self.stage_options(output);
        self.places.tables().stage_writer(name, &publication, schema, &options)
    }
}

/// Runs work that computes for long on a thread of its own. It is stopped where it awaits when
/// this future is dropped.
pub(super) async fn on_own_thread<T: Send + 'static>(
    work: impl Future<Output = Result<T, TaskError>> + Send + 'static,
) -> Result<T, TaskError> {
    let stop = CancellationToken::new();
    let _stop_when_dropped = stop.clone().drop_guard();
    let (handle, span) = (tokio::runtime::Handle::current(), tracing::Span::current());
    let thread = tokio::task::spawn_blocking(move || {
        span.in_scope(|| {
            handle.block_on(async {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => Err(TaskError::Cancelled),
                    result = work => result,
                }
            })
        })
    });
    thread.await.map_err(|error| TaskError::permanent(format!("a thread broke off: {error}")))?
}

impl Counts {
    /// As values for later tasks.
    pub(super) fn values(&self) -> Map<String, Value> {
        let counts =
            [("rows_in", self.rows_in), ("valid", self.valid), ("rejected", self.rejected())];
        counts.map(|(name, count)| (name.to_owned(), json!(count))).into_iter().collect()
    }

    /// For people.
    pub(super) fn report(&self) -> Map<String, Value> {
        let mut report = self.values();
        let by_reason = self.rejected.iter();
        let by_reason: Map<_, _> =
            by_reason.map(|(reason, count)| (reason.clone(), json!(count))).collect();
        report.insert("rejected".to_owned(), Value::Object(by_reason));
        report
    }
}
