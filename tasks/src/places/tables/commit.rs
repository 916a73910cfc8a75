//! Publishing: one commit that makes staged files a version, exactly once.
//!
//! Every commit is made against exactly the version it was computed from, and refused if another
//! came first; then all is looked at again, the publication's own id included. So no two
//! publications can both count on an older version, and a publication cannot come twice.

use super::condition::Condition;
use super::failure::failed;
use super::partition::{PartitionColumns, quoted};
use super::schema::{columns, type_name};
use super::{Staged, Tables, log};
use arrow::datatypes::{Schema, SchemaRef};
use deltalake_core::kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{
    Action, Add, Metadata, MetadataExt, Protocol, StructType, Transaction, new_metadata,
};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use orchestrator::attempt::{Attempt, TaskError};
use orchestrator::event::Published;
use orchestrator::failpoint;
use orchestrator::kind::Write;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;

/// How often a commit is tried anew after another one came first.
const MAX_TRIES: u32 = 50;

/// What is to be committed, and by whom.
#[derive(Clone, Debug)]
pub struct Publication {
    /// Tells this commit from all others of the table, for good: looked for before committing.
    pub id: String,
    pub run: String,
    pub task: String,
    /// The newest version when the publication was first intended; an earlier attempt's commit can
    /// only lie behind it.
    pub base: Option<i64>,
    pub write: Write,
    /// The condition of [`Write::ReplaceWhere`].
    pub replace_where: Option<String>,
    pub partition_by: Vec<String>,
    /// The columns that tell rows apart, for [`Write::Merge`].
    pub key: Vec<String>,
    /// For [`Write::Merge`]: of two rows with one key the one with the greater value in this
    /// column stays, on a tie the new one. `None`: always the new one.
    pub newest_by: Option<String>,
    /// How far inputs were read, by a name for the reader: committed together with the rows.
    pub positions: Vec<(String, i64)>,
}

impl Publication {
    /// The publication of an attempt's output.
    pub fn of(attempt: &Attempt, output: &str, base: Option<i64>) -> Publication {
        let planned = &attempt.outputs[output].planned;
        Publication {
            id: attempt.publication(output),
            run: attempt.run.id.clone(),
            task: attempt.task.clone(),
            base,
            write: planned.write,
            replace_where: planned.replace_where.clone(),
            partition_by: planned.partition_by.clone(),
            key: planned.key.clone(),
            newest_by: None,
            positions: Vec::new(),
        }
    }
}

/// The actions of one commit, and what is told with them.
struct Change {
    actions: Vec<Action>,
    operation: DeltaOperation,
    /// Of the table after the commit.
    table_rows: u64,
    table_bytes: u64,
}

impl Tables {
    /// Commits the staged files as the publication says. If an earlier attempt has committed it
    /// already, that commit is adopted, and `staged` is left to the sweeper.
    pub async fn publish(
        &self,
        name: &str,
        publication: &Publication,
        staged: Vec<Staged>,
    ) -> Result<Published, TaskError> {
        let doing = |error: TaskError| error.context(format!("can't publish `table:{name}`"));
        let staged = Rows::of(staged).map_err(doing)?;
        failpoint::hit("table.staged");
        let mut checked = publication.base;
        for attempt in 0..MAX_TRIES {
            let table = self.open(name, None).await?;
            let version = table.as_ref().and_then(|table| table.version()).map(|v| v as i64);
            if let Some(newest) = version {
                let found = self.find_until(name, &publication.id, checked, newest).await?;
                if let Some(found) = found {
                    return Ok(found);
                }
                checked = Some(newest);
            }
            let change = change(table.as_ref(), publication, &staged).map_err(doing)?;
            let schema = staged.schema.clone();
            match self.commit(name, table, publication, &staged, change).await {
                Ok(version) => {
                    return Ok(Published {
                        version: Some(version),
                        rows: staged.rows,
                        bytes: staged.bytes,
                        schema: columns(&schema),
                    });
                }
                Err(error) if came_second(&error) => {
                    tracing::debug!("another commit to `table:{name}` came first; trying anew");
                    // Grows to about a second, so that many writers don't keep step.
                    let pause = 5 + rand::random::<u64>() % (20 << attempt.min(6));
                    tokio::time::sleep(Duration::from_millis(pause)).await;
                }
                Err(error) => {
                    // The commit may be there although it failed to say so.
                    let found = self.find(name, &publication.id, publication.base).await?;
                    return found
                        .ok_or_else(|| failed(format!("can't publish `table:{name}`"), &error));
                }
            }
        }
        Err(TaskError::transient(format!(
            "can't publish `table:{name}`: others committed first {MAX_TRIES} times in a row"
        )))
    }

    async fn commit(
        &self,
        name: &str,
        table: Option<DeltaTable>,
        publication: &Publication,
        staged: &Rows,
        change: Change,
    ) -> Result<i64, DeltaTableError> {
        let positions = publication.positions.iter();
        let properties = CommitProperties::default()
            .with_metadata([
                (log::RUN.to_owned(), json!(publication.run)),
                (log::TASK.to_owned(), json!(publication.task)),
                (log::PUBLICATION.to_owned(), json!(publication.id)),
                (log::ROWS.to_owned(), json!(staged.rows)),
                (log::BYTES.to_owned(), json!(staged.bytes)),
                (log::TABLE_ROWS.to_owned(), json!(change.table_rows)),
                (log::TABLE_BYTES.to_owned(), json!(change.table_bytes)),
            ])
            .with_application_transactions(
                positions.map(|(app, position)| Transaction::new(app, *position)).collect(),
            )
            // Its own retries would commit against a version that nobody looked at.
            .with_max_retries(0);
        let log_store = self.log_store(name)?;
        let state = table.as_ref().map(|table| table.snapshot()).transpose()?;
        let commit = CommitBuilder::from(properties)
            .with_actions(change.actions)
            .build(state.map(|state| state as _), log_store, change.operation)
            .into_prepared_commit_future()
            .await?;
        failpoint::hit("table.before_commit");
        let version = commit.await?.version;
        failpoint::hit("table.after_commit");
        self.keep_up(name, version).await;
        Ok(version as i64)
    }
}

fn came_second(error: &DeltaTableError) -> bool {
    match error {
        DeltaTableError::Transaction { source } => matches!(
            source,
            TransactionError::MaxCommitAttempts(_)
                | TransactionError::VersionAlreadyExists(_)
                | TransactionError::CommitConflict(_)
        ),
        DeltaTableError::VersionAlreadyExists(_) => true,
        _ => false,
    }
}

/// All that a publication staged.
struct Rows {
    adds: Vec<Add>,
    rows: u64,
    bytes: u64,
    schema: SchemaRef,
}

impl Rows {
    fn of(staged: Vec<Staged>) -> Result<Rows, TaskError> {
        let Some(first) = staged.first() else {
            return Err(TaskError::permanent("nothing was staged, not even a schema"));
        };
        let mut rows = Rows { adds: Vec::new(), rows: 0, bytes: 0, schema: first.schema.clone() };
        for part in staged {
            if part.schema != rows.schema {
                return Err(TaskError::permanent(format!(
                    "its rows were staged with different columns: {} and {}",
                    told(&rows.schema),
                    told(&part.schema)
                )));
            }
            rows.rows += part.rows;
            rows.bytes += part.bytes;
            rows.adds.extend(part.adds);
        }
        Ok(rows)
    }
}

fn told(schema: &Schema) -> String {
    quoted(columns(schema).into_iter().map(|(name, data_type)| format!("{name} {data_type}")))
}

/// What the commit does to this version of the table (`None`: there is none yet).
fn change(
    table: Option<&DeltaTable>,
    publication: &Publication,
    staged: &Rows,
) -> Result<Change, TaskError> {
    let failed = |error: DeltaTableError| failed("can't read its log", &error);
    let state = table.map(|table| table.snapshot()).transpose().map_err(failed)?;
    let metadata = state.map(|state| state.metadata());
    if let Some(state) = state {
        gate_protocol(state.protocol())?;
    }
    let mut actions = Vec::new();
    let schema = match metadata {
        None => {
            actions.extend(creation(&staged.schema, &publication.partition_by)?);
            staged.schema.clone()
        }
        Some(metadata) => {
            let evolved = evolve(metadata, publication, &staged.schema)?;
            actions.extend(evolved.metadata.map(Action::Metadata));
            evolved.schema
        }
    };
    // Refuses columns that can't partition.
    PartitionColumns::new(&schema, &publication.partition_by)?;
    let (mode, predicate, replaced) = match publication.write {
        Write::Overwrite => (SaveMode::Overwrite, "true".to_owned(), Replaced::All),
        Write::Append => (SaveMode::Append, "false".to_owned(), Replaced::None),
        Write::ReplaceWhere => {
            let text = publication.replace_where.as_deref().ok_or_else(|| {
                TaskError::permanent("`write: replace_where` needs a condition `replace_where`")
            })?;
            let condition = Condition::parse(text, &schema, &publication.partition_by)?;
            refuse_strays(&condition, &staged.adds)?;
            (SaveMode::Overwrite, text.to_owned(), Replaced::Where(condition))
        }
        Write::Merge => {
            return Err(TaskError::permanent("`write: merge` is not for tables yet"));
        }
    };
    let (mut table_rows, mut table_bytes) = (staged.rows, staged.bytes);
    if let Some(state) = state {
        let files: Vec<_> = state.log_data().iter().collect();
        let gone = match replaced {
            Replaced::All => vec![true; files.len()],
            Replaced::None => vec![false; files.len()],
            Replaced::Where(condition) => condition
                .holds(&files.iter().map(|file| file.partition_values_map()).collect::<Vec<_>>())?,
        };
        for (file, gone) in files.iter().zip(gone) {
            if gone {
                actions.push(Action::Remove(file.remove_action(true)));
            } else {
                table_rows += file.num_records().unwrap_or(0) as u64;
                table_bytes += file.size().max(0) as u64;
            }
        }
    }
    actions.extend(staged.adds.iter().cloned().map(Action::Add));
    let partition_by = Some(publication.partition_by.clone()).filter(|names| !names.is_empty());
    let operation = DeltaOperation::Write { mode, partition_by, predicate: Some(predicate) };
    Ok(Change { actions, operation, table_rows, table_bytes })
}

enum Replaced {
    All,
    None,
    Where(Condition),
}

fn refuse_strays(condition: &Condition, adds: &[Add]) -> Result<(), TaskError> {
    let partitions: Vec<_> = adds.iter().map(|add| add.partition_values.clone()).collect();
    let inside = condition.holds(&partitions)?;
    let Some(stray) = inside.iter().position(|inside| !inside) else { return Ok(()) };
    let values: Vec<String> = partitions[stray]
        .iter()
        .map(|(name, value)| format!("{name} = {}", value.as_deref().unwrap_or("null")))
        .collect();
    Err(TaskError::permanent(format!(
        "new rows with {} don't meet `replace_where: {}`; nothing was published",
        quoted(values),
        condition.text()
    )))
}

/// Tables with features that we don't write are left alone.
fn gate_protocol(protocol: &Protocol) -> Result<(), TaskError> {
    if protocol.min_writer_version() > 2 || protocol.min_reader_version() > 1 {
        return Err(TaskError::permanent(format!(
            "another program has raised its Delta protocol to reader {} and writer {}; tidemill \
             writes 1 and 2",
            protocol.min_reader_version(),
            protocol.min_writer_version()
        )));
    }
    Ok(())
}

fn creation(schema: &Schema, partition_by: &[String]) -> Result<[Action; 2], TaskError> {
    let protocol: Protocol =
        serde_json::from_value(json!({"minReaderVersion": 1, "minWriterVersion": 2}))
            .map_err(|error| failed("can't make a table's protocol", &error))?;
    let schema = kernel_schema(schema)?;
    let configuration = [("delta.checkpointInterval", log::CHECKPOINT_INTERVAL.to_string())];
    let metadata = new_metadata(&schema, partition_by, configuration)
        .map_err(|error| failed("can't make a table's metadata", &error))?;
    Ok([Action::Protocol(protocol), Action::Metadata(metadata)])
}

pub(crate) fn kernel_schema(schema: &Schema) -> Result<StructType, TaskError> {
    schema.try_into_kernel().map_err(|error| failed("can't declare its columns", &error))
}

/// The columns that a table declares.
pub(crate) fn declared(metadata: &Metadata) -> Result<SchemaRef, TaskError> {
    let doing = "can't read the columns it declares";
    declared_columns(&metadata.parse_schema().map_err(|error| failed(doing, &error))?)
}

pub(crate) fn declared_columns(schema: &StructType) -> Result<SchemaRef, TaskError> {
    let doing = "can't read the columns it declares";
    let schema: Schema = schema.try_into_arrow().map_err(|error| failed(doing, &error))?;
    Ok(Arc::new(schema))
}

struct Evolved {
    schema: SchemaRef,
    /// Set if the table's declaration changes.
    metadata: Option<Metadata>,
}

/// What the table declares after the commit. Overwriting may change everything; other writes may
/// add columns, which are null in the older rows.
fn evolve(
    metadata: &Metadata,
    publication: &Publication,
    new: &SchemaRef,
) -> Result<Evolved, TaskError> {
    let old = declared(metadata)?;
    let old_partitions = metadata.partition_columns();
    let same_partitions = *old_partitions == publication.partition_by;
    let schema = if publication.write == Write::Overwrite {
        new.clone()
    } else {
        if !same_partitions {
            return Err(TaskError::permanent(format!(
                "it is partitioned by {}, and the new rows by {}; only `write: overwrite` can \
                 change that",
                quoted(old_partitions),
                quoted(&publication.partition_by)
            )));
        }
        fit(&old, new)?
    };
    if same_partitions && same_columns(&old, &schema) {
        return Ok(Evolved { schema, metadata: None });
    }
    let changed = metadata
        .clone()
        .with_schema(&kernel_schema(&schema)?)
        .map_err(|error| failed("can't change its columns", &error))?;
    // There is no way to set these but through the action's JSON.
    let changed = serde_json::to_value(changed).and_then(|mut value| {
        value["partitionColumns"] = Value::from(publication.partition_by.clone());
        serde_json::from_value(value)
    });
    let changed = changed.map_err(|error| failed("can't change its partitions", &error))?;
    Ok(Evolved { schema, metadata: Some(changed) })
}

fn same_columns(a: &Schema, b: &Schema) -> bool {
    a.fields().len() == b.fields().len()
        && a.fields().iter().zip(b.fields()).all(|(a, b)| {
            a.name() == b.name()
                && a.data_type() == b.data_type()
                && a.is_nullable() == b.is_nullable()
        })
}

/// The table's columns with those that only the new rows have, or why they don't fit.
fn fit(old: &Schema, new: &Schema) -> Result<SchemaRef, TaskError> {
    let mut problems = Vec::new();
    for field in old.fields() {
        let name = field.name();
        match new.field_with_name(name) {
            Ok(found) if found.data_type() == field.data_type() => {}
            Ok(found) => problems.push(format!(
                "column `{name}` is {} in the new rows and {} in the table; cast it",
                type_name(found.data_type()),
                type_name(field.data_type())
            )),
            Err(_) => problems.push(format!(
                "the new rows lack the column `{name}`; add it, if need be as `cast(null as {}) \
                 as {name}`",
                type_name(field.data_type())
            )),
        }
    }
    let mut fields: Vec<_> = old.fields().iter().cloned().collect();
    for field in new.fields() {
        if old.field_with_name(field.name()).is_ok() {
            continue;
        }
        let twin = old.fields().iter().find(|old| old.name().eq_ignore_ascii_case(field.name()));
        if let Some(twin) = twin {
            problems.push(format!(
                "column `{}` is `{}` in the table; write it the same",
                field.name(),
                twin.name()
            ));
        }
        fields.push(field.clone());
    }
    if problems.is_empty() {
        Ok(Arc::new(Schema::new(fields)))
    } else {
        problems.push("or replace the table with `write: overwrite`".into());
        Err(TaskError::permanent(problems.join("; ")))
    }
}
