//! The one pass of `from`: its rows routed to `valid` and `rejected`.

use super::constants::constants;
use super::feed::Feed;
use super::held::{Held, count_keys};
use super::keys::KeyEncoder;
use super::options::{DedupeOptions, EtlOptions, Keep};
use super::rejects::Rejects;
use super::route::{DUPLICATE, Dedupe, RouteExec, Router, Rule, Source, is_boolean};
use super::session::{Session, on_own_thread};
use crate::engine::errors::task_error;
use crate::engine::scan::malformed::{OnMalformed, Sluice};
use crate::engine::sql::{expression, located_error, no_column, physical};
use crate::engine::told::ToldExec;
use crate::places::tables::Staged;
use arrow::datatypes::SchemaRef;
use datafusion::common::{Column, DFSchema};
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::logical_expr::Expr;
use datafusion::physical_plan::{ExecutionPlan, execute_stream};
use datafusion::prelude::DataFrame;
use futures::TryStreamExt;
use orchestrator::attempt::TaskError;
use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

pub(super) const VALID: &str = "valid";
pub(super) const REJECTED: &str = "rejected";

/// What a pass has staged and counted.
#[derive(Default)]
pub(super) struct Passed {
    pub(super) valid: Option<Staged>,
    pub(super) rejected: Option<Staged>,
    /// Set by the pass.
    pub(super) counts: Option<Counts>,
}

/// Rows by where they went.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) rows_in: u64,
    pub(super) valid: u64,
    /// By reason.
    pub(super) rejected: Vec<(String, u64)>,
}

impl Counts {
    /// Counts by reason in a definite order: rules as they are written, then the others.
    pub(super) fn new(
        valid: u64,
        mut rejected: Vec<(String, u64)>,
        options: &EtlOptions,
    ) -> Counts {
        let rules = &options.rules;
        rejected.sort_by_key(|(reason, _)| {
            let place = rules.get_index_of(reason).unwrap_or(rules.len());
            (place, reason != DUPLICATE, reason.clone())
        });
        let mut counts = Counts { rows_in: 0, valid, rejected };
        counts.rows_in = valid + counts.rejected();
        counts
    }

    pub(super) fn rejected(&self) -> u64 {
        self.rejected.iter().map(|(_, count)| count).sum()
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} rows in, {} valid, {} rejected", self.rows_in, self.valid, self.rejected())?;
        for (i, (reason, count)) in self.rejected.iter().enumerate() {
            write!(f, "{}{count} {reason}", if i == 0 { ": " } else { ", " })?;
        }
        Ok(())
    }
}

/// Which outputs are still to be written.
#[derive(Clone, Copy)]
pub(super) struct Wanted {
    pub(super) valid: bool,
    pub(super) rejected: bool,
}

/// Reads the inputs once, and stages what is wanted.
pub(super) async fn pass(
    session: &Session<'_>,
    options: &EtlOptions,
    from: &str,
    wanted: Wanted,
) -> Result<Passed, TaskError> {
    let rejects = Rejects::new(session.attempt.progress.clone());
    let mut sluices = Vec::new();
    for input in session.attempt.inputs.keys() {
        let sluice = Sluice::new(rejects.clone());
        sluices.push(sluice.clone());
        session.register(input, options, OnMalformed::Aside(sluice)).await?;
    }
    let (path, sql) = session.text("from", from)?;
    let frame = session.plan(&path, &sql, options).await?;
    let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
    let columns = DFSchema::try_from(schema.clone())
        .map_err(|error| located_error(&path, &sql, &error, &[]))?;
    let failed = |error| task_error(&path, &error);
    let rejected_schema = rejects.set_query_schema(&schema).map_err(failed)?;
    let query = Prepared { session, options, frame, schema, columns, path, sql };
    let rules = query.rules(&query.columns, &query.schema)?;

    sluices.iter().for_each(|sluice| sluice.open());
    let plan = query.frame.clone().create_physical_plan().await;
    let plan = plan.map_err(|error| located_error(&query.path, &query.sql, &error, &[]))?;
    rejects.set_constants(constants(&plan));
    let feed = Feed::of(&plan);
    let dedupe = match &options.dedupe {
        Some(dedupe) => Some(query.dedupe(dedupe, feed.is_some()).await?),
        None => None,
    };
    let rows_in = Arc::new(AtomicU64::new(0));
    let router = Arc::new(Router {
        rules,
        dedupe,
        rejects: rejects.clone(),
        progress: session.attempt.progress.clone(),
        rows_in: rows_in.clone(),
        duplicate: DUPLICATE.into(),
    });
    let source = match feed {
        Some(feed) => Source::Feed { feed: Arc::new(feed), turnstile: Arc::default() },
        None => Source::Plan(plan),
    };
    let partitions = session.ctx.copied_config().target_partitions();
    let route = RouteExec::new(source, router, &query.schema, partitions);
    let plan = ToldExec::errors(Arc::new(route), &query.path, &query.sql);
    let (valid, rejected) = stage(session, plan, &rejects, rejected_schema, wanted).await?;
    let counts = Counts::new(valid.rows, rejects.by_reason(), options);
    let rows_in = rows_in.load(Ordering::SeqCst) + rejects.malformed();
    let staged = rejected.as_ref().map_or(counts.rejected(), |rejected| rejected.rows);
    // The promise of the kind, checked before anything is published.
    if (counts.rows_in, counts.rejected()) != (rows_in, staged) {
        return Err(TaskError::permanent(format!(
            "rows went missing: {rows_in} came in, but there are {counts}, and {staged} rejected \
             ones were written"
        )));
    }
    Ok(Passed { valid: valid.staged, rejected, counts: Some(counts) })
}

/// The valid rows, staged or only counted.
struct ValidRows {
    rows: u64,
    staged: Option<Staged>,
}

/// Runs the plan to its end, which gives the valid rows, and takes the rejected ones.
async fn stage(
    session: &Session<'_>,
    plan: Arc<dyn ExecutionPlan>,
    rejects: &Arc<Rejects>,
    rejected_schema: SchemaRef,
    wanted: Wanted,
) -> Result<(ValidRows, Option<Staged>), TaskError> {
    let context = session.ctx.task_ctx();
    let mut receiver = wanted.rejected.then(|| rejects.open());
    let taken = async {
        let Some(mut receiver) = receiver.take() else { return Ok(None) };
        let mut writer = session.writer(REJECTED, &rejected_schema)?;
        let rejects = rejects.clone();
        on_own_thread(async move {
            while let Some(batch) = receiver.recv().await {
                writer.write(&batch).await?;
            }
            // A pass that failed leaves no file of its rejected rows.
            if rejects.complete() { writer.finish().await.map(Some) } else { Ok(None) }
        })
        .await
    };
    let valid = async {
        let result = if wanted.valid {
            let staged = session.stage(VALID, plan, context).await;
            staged.map(|staged| ValidRows { rows: staged.rows, staged: Some(staged) })
        } else {
            drain(plan, context).await.map(|rows| ValidRows { rows, staged: None })
        };
        rejects.close(result.is_ok());
        result
    };
    let (valid, rejected) = tokio::join!(valid, taken);
    // Where the rejected rows could not be written, that is also why the pass failed.
    let rejected = rejected?;
    Ok((valid?, rejected))
}

async fn drain(
    plan: Arc<dyn ExecutionPlan>,
    context: Arc<datafusion::execution::TaskContext>,
) -> Result<u64, TaskError> {
    let failed = |error| task_error("can't run the pass", &error);
    let rows = execute_stream(plan, context).map_err(failed)?;
    let count = rows.try_fold(0, |count, batch| async move { Ok(count + batch.num_rows() as u64) });
    count.await.map_err(failed)
}

/// A planned query and what is to happen with its rows.
struct Prepared<'a> {
    session: &'a Session<'a>,
    options: &'a EtlOptions,
    frame: DataFrame,
    schema: SchemaRef,
    /// The schema without the names of the inputs, since rules name only columns.
    columns: DFSchema,
    path: String,
    sql: String,
}

impl Prepared<'_> {
    /// The rules for rows with some columns.
    fn rules(&self, columns: &DFSchema, schema: &SchemaRef) -> Result<Vec<Rule>, TaskError> {
        let rule = |(name, text): (&String, &String)| {
            let at = format!("rule `{name}`");
            let expression = expression(&self.session.ctx, text, columns, &self.options.parameters);
            let condition = expression
                .and_then(|expression| physical(&self.session.ctx, expression, columns))
                .map_err(|error| located_error(&at, text, &error, &[]))?;
            if !is_boolean(&condition, schema).map_err(|error| task_error(&at, &error))? {
                return Err(TaskError::permanent(format!(
                    "{at}: `{text}` is neither true nor false"
                )));
            }
            Ok(Rule { name: name.as_str().into(), condition })
        };
        self.options.rules.iter().map(rule).collect()
    }

    fn keys(&self, dedupe: &DedupeOptions, schema: &SchemaRef) -> Result<KeyEncoder, TaskError> {
        let columns = dedupe.key.iter().map(|name| {
            schema.index_of(name).map_err(|_| {
                let names = schema.fields().iter().map(|field| field.name().as_str());
                TaskError::permanent(format!("dedupe: {}", no_column(name, names)))
            })
        });
        KeyEncoder::new(schema, columns.collect::<Result<_, _>>()?)
            .map_err(|error| task_error("can't tell the keys of `dedupe` apart", &error))
    }

    fn memory(&self, what: &str) -> MemoryReservation {
        MemoryConsumer::new(what).register(&self.session.ctx.runtime_env().memory_pool)
    }

    async fn dedupe(&self, dedupe: &DedupeOptions, ordered: bool) -> Result<Dedupe, TaskError> {
        let first = match dedupe.keep {
            Some(Keep::First) if !ordered => {
                return Err(TaskError::permanent(format!(
                    "{}: `keep: first` needs rows in the order of files; this query does more \
                     than filter and compute row by row over CSV and JSON lines files; leave \
                     `keep` out to keep the smallest row",
                    self.path
                )));
            }
            Some(Keep::First | Keep::Any) => true,
            Some(Keep::Smallest) => false,
            None => ordered,
        };
        let encoder = self.keys(dedupe, &self.schema)?;
        if first {
            let table = encoder.table(self.memory("keys of dedupe")).into();
            return Ok(Dedupe::First { encoder, table });
        }
        tracing::info!("looking for repeated keys");
        let occurrences = self.occurrences(dedupe).await?;
        let memory = self.memory("rows with repeated keys");
        Ok(Dedupe::Smallest(Held::new(occurrences, encoder, self.schema.clone(), memory)))
    }

    /// The first of two passes: reads the columns that rules and keys need.
    async fn occurrences(
        &self,
        dedupe: &DedupeOptions,
    ) -> Result<super::held::Occurrences, TaskError> {
        let mut needed: HashSet<String> = dedupe.key.iter().cloned().collect();
        for (name, text) in &self.options.rules {
            let expression =
                expression(&self.session.ctx, text, &self.columns, &self.options.parameters);
            let expression = expression
                .map_err(|error| located_error(&format!("rule `{name}`"), text, &error, &[]))?;
            needed.extend(expression.column_refs().into_iter().map(|column| column.name.clone()));
        }
        let failed = |error| located_error(&self.path, &self.sql, &error, &[]);
        let columns = self.frame.schema().iter().filter(|(_, field)| needed.contains(field.name()));
        let columns = columns.map(|(table, field)| Expr::Column(Column::from((table, field))));
        let frame = self.frame.clone().select(columns.collect::<Vec<_>>()).map_err(failed)?;
        let schema: SchemaRef = Arc::new(frame.schema().as_arrow().clone());
        let columns = DFSchema::try_from(schema.clone()).map_err(failed)?;
        let (rules, keys) = (self.rules(&columns, &schema)?, self.keys(dedupe, &schema)?);
        let plan = frame.create_physical_plan().await.map_err(failed)?;
        let memory = self.memory("keys of dedupe");
        let count = count_keys(plan, self.session.ctx.task_ctx(), rules, keys, memory);
        tokio::select! {
            biased;
            () = self.session.attempt.cancel.cancelled() => Err(TaskError::Cancelled),
            counted = count => counted.map_err(failed),
        }
    }
}
