//! Publishing: one commit that makes staged files a version, exactly once.
//!
//! Every commit is made against exactly the version it was computed from, and refused if another
//! came first; then all is looked at again, the publication's own id included. So no two
//! publications can both count on an older version, and a publication cannot come twice.

mod rewrite;

use super::condition::Condition;
use super::definition::{creation, evolve, gate_protocol};
use super::failure::failed;
use super::merge::Merged;
use super::partition::{PartitionColumns, quoted};
use super::schema::columns;
use super::upkeep::SMALL_FILE;
use super::{Staged, Tables, log};
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::execution::TaskContext;
use deltalake_core::kernel::transaction::{CommitBuilder, CommitProperties, TransactionError};
use deltalake_core::kernel::{Action, Add, LogicalFileView, Transaction};
use deltalake_core::protocol::{DeltaOperation, SaveMode};
use deltalake_core::{DeltaTable, DeltaTableError};
use orchestrator::attempt::{Attempt, TaskError};
use orchestrator::event::Published;
use orchestrator::failpoint;
use orchestrator::kind::Write;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

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
    /// Where these readers must still stand; if one does not, another run reads in its name, and
    /// what was staged may be there already.
    pub expected: Vec<(String, Option<i64>)>,
    /// Stops what comes before the commit.
    pub cancel: CancellationToken,
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
            expected: Vec::new(),
            cancel: attempt.cancel.clone(),
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
    small_files: usize,
}

impl Change {
    /// Staged files whose rows went into others.
    fn unused(&self, staged: &Rows) -> Vec<String> {
        let used: HashSet<&str> = self
            .actions
            .iter()
            .filter_map(|action| match action {
                Action::Add(add) => Some(add.path.as_str()),
                _ => None,
            })
            .collect();
        let paths = staged.adds.iter().map(|add| &add.path);
        paths.filter(|path| !used.contains(path.as_str())).cloned().collect()
    }

    fn commit(self, publication: &Publication, staged: &Rows) -> Commit {
        Commit {
            actions: self.actions,
            operation: self.operation,
            metadata: vec![
                (log::RUN, publication.run.as_str().into()),
                (log::TASK, publication.task.as_str().into()),
                (log::PUBLICATION, publication.id.as_str().into()),
                (log::ROWS, staged.rows.into()),
                (log::BYTES, staged.bytes.into()),
                (log::TABLE_ROWS, self.table_rows.into()),
                (log::TABLE_BYTES, self.table_bytes.into()),
            ],
            positions: publication.positions.clone(),
        }
    }
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
            if publication.cancel.is_cancelled() {
                return Err(TaskError::Cancelled);
            }
            if let Some(table) = &table {
                self.check_readers(table, publication).await.map_err(doing)?;
            }
            let change =
                self.change(name, table.as_ref(), publication, &staged).await.map_err(doing)?;
            let (small_files, unused) = (change.small_files, change.unused(&staged));
            let commit = change.commit(publication, &staged);
            match self.commit(name, table.as_ref(), commit).await {
                Ok(version) => {
                    self.discard(name, &unused).await;
                    self.keep_up(name, &publication.run, version, small_files).await;
                    return Ok(Published {
                        version: Some(version),
                        rows: staged.rows,
                        bytes: staged.bytes,
                        schema: columns(&staged.schema),
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

    async fn check_readers(
        &self,
        table: &DeltaTable,
        publication: &Publication,
    ) -> Result<(), TaskError> {
        for (reader, expected) in &publication.expected {
            let at = log::position(table, reader)
                .await
                .map_err(|error| failed("can't read how far its readers are", &error))?;
            if at != *expected {
                return Err(TaskError::transient(format!(
                    "another run has read `{reader}` up to {} meanwhile; a retry goes on there",
                    at.unwrap_or_default()
                )));
            }
        }
        Ok(())
    }

    /// One commit, against exactly this version of the table (`None`: as its first).
    pub(crate) async fn commit(
        &self,
        name: &str,
        table: Option<&DeltaTable>,
        commit: Commit,
    ) -> Result<i64, DeltaTableError> {
        let positions = commit.positions.iter();
        let properties = CommitProperties::default()
            .with_metadata(
                commit.metadata.into_iter().map(|(name, value)| (name.to_owned(), value)),
            )
            .with_application_transactions(
                positions.map(|(app, position)| Transaction::new(app, *position)).collect(),
            )
            // Its own retries would commit against a version that nobody looked at.
            .with_max_retries(0);
        let log_store = self.log_store(name);
        let state = table.map(|table| table.snapshot()).transpose()?;
        let prepared = CommitBuilder::from(properties)
            .with_actions(commit.actions)
            .build(state.map(|state| state as _), log_store, commit.operation)
            .into_prepared_commit_future()
            .await?;
        failpoint::hit("table.before_commit");
        let version = prepared.await?.version;
        failpoint::hit("table.after_commit");
        Ok(version as i64)
    }
}

/// What one commit says.
pub(crate) struct Commit {
    pub(crate) actions: Vec<Action>,
    pub(crate) operation: DeltaOperation,
    pub(crate) metadata: Vec<(&'static str, Value)>,
    pub(crate) positions: Vec<(String, i64)>,
}

pub(crate) fn came_second(error: &DeltaTableError) -> bool {
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
pub(crate) struct Rows {
    pub(crate) adds: Vec<Add>,
    pub(crate) rows: u64,
    pub(crate) bytes: u64,
    pub(crate) schema: SchemaRef,
    /// Set if all rows are in this key's order, with each key once.
    pub(crate) unique_by: Option<Vec<String>>,
    pub(crate) task: Option<Arc<TaskContext>>,
}

impl Rows {
    fn of(staged: Vec<Staged>) -> Result<Rows, TaskError> {
        let Some(first) = staged.first() else {
            return Err(TaskError::permanent("nothing was staged, not even a schema"));
        };
        let mut rows = Rows {
            adds: Vec::new(),
            rows: 0,
            bytes: 0,
            schema: first.schema.clone(),
            // Several pieces may share a key.
            unique_by: first.unique_by.clone().filter(|_| staged.len() == 1),
            task: first.task.clone(),
        };
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

impl Tables {
    /// What the commit does to this version of the table (`None`: there is none yet).
    async fn change(
        &self,
        name: &str,
        table: Option<&DeltaTable>,
        publication: &Publication,
        staged: &Rows,
    ) -> Result<Change, TaskError> {
        let failed = |error: DeltaTableError| failed("can't read its log", &error);
        let state = table.map(|table| table.snapshot()).transpose().map_err(failed)?;
        let mut actions = Vec::new();
        let schema = match state {
            None => {
                actions.extend(creation(&staged.schema, publication)?);
                staged.schema.clone()
            }
            Some(state) => {
                gate_protocol(state.protocol())?;
                let evolved = evolve(state.metadata(), publication, &staged.schema)?;
                actions.extend(evolved.metadata.map(Action::Metadata));
                evolved.schema
            }
        };
        // Refuses columns that can't partition.
        PartitionColumns::new(&schema, &publication.partition_by)?;
        check_partitions(publication, &staged.adds)?;
        let (mut adds, mut table_rows, mut table_bytes) =
            (staged.adds.clone(), staged.rows, staged.bytes);
        // The predicates tell other writers of Delta what a commit has read.
        let writing = |mode, predicate: &str| {
            let columns = publication.partition_by.clone();
            let partition_by = Some(columns).filter(|columns| !columns.is_empty());
            DeltaOperation::Write { mode, partition_by, predicate: Some(predicate.to_owned()) }
        };
        let (operation, replaced) = match publication.write {
            Write::Overwrite => (writing(SaveMode::Overwrite, "true"), Replaced::All),
            Write::Append => (writing(SaveMode::Append, "false"), Replaced::None),
            Write::ReplaceWhere => {
                let text = publication.replace_where.as_deref().ok_or_else(|| {
                    TaskError::permanent("`write: replace_where` needs a condition `replace_where`")
                })?;
                let condition = Condition::parse(text, &schema, &publication.partition_by)?;
                refuse_strays(&condition, &staged.adds)?;
                (writing(SaveMode::Overwrite, text), Replaced::Where(condition))
            }
            Write::Merge => {
                let merged = self.merge(name, table, publication, staged, &schema).await?;
                let Merged { adds: merged, rows, bytes, replaced } = merged;
                (adds, table_rows, table_bytes) = (merged, rows, bytes);
                (merging(publication), Replaced::Files(replaced))
            }
        };
        let mut small_files =
            adds.iter().filter(|add| add.size.max(0) as u64 <= SMALL_FILE).count();
        if let Some(state) = state {
            let files: Vec<_> = state.log_data().iter().collect();
            for (file, gone) in files.iter().zip(replaced.of(&files)?) {
                if gone {
                    actions.push(Action::Remove(file.remove_action(true)));
                } else {
                    table_rows += file.num_records().unwrap_or(0) as u64;
                    table_bytes += file.size().max(0) as u64;
                    small_files += usize::from(file.size().max(0) as u64 <= SMALL_FILE);
                }
            }
        }
        actions.extend(adds.into_iter().map(Action::Add));
        Ok(Change { actions, operation, table_rows, table_bytes, small_files })
    }
}

fn merging(publication: &Publication) -> DeltaOperation {
    DeltaOperation::Merge {
        predicate: Some("true".into()),
        merge_predicate: Some(format!("by {}", publication.key.join(", "))),
        matched_predicates: Vec::new(),
        not_matched_predicates: Vec::new(),
        not_matched_by_source_predicates: Vec::new(),
    }
}

/// A file without the values of its partition would read as null there.
fn check_partitions(publication: &Publication, adds: &[Add]) -> Result<(), TaskError> {
    let expect: HashSet<&String> = publication.partition_by.iter().collect();
    let other =
        adds.iter().find(|add| add.partition_values.keys().collect::<HashSet<_>>() != expect);
    match other {
        None => Ok(()),
        Some(add) => Err(TaskError::permanent(format!(
            "its rows were staged for partitions by {}, not by {}",
            quoted(add.partition_values.keys()),
            quoted(&publication.partition_by)
        ))),
    }
}

enum Replaced {
    All,
    None,
    Where(Condition),
    Files(HashSet<String>),
}

impl Replaced {
    /// By file, whether it goes.
    fn of(&self, files: &[LogicalFileView]) -> Result<Vec<bool>, TaskError> {
        Ok(match self {
            Replaced::All => vec![true; files.len()],
            Replaced::None => vec![false; files.len()],
            Replaced::Where(condition) => condition
                .holds(&files.iter().map(|file| file.partition_values_map()).collect::<Vec<_>>())?,
            Replaced::Files(paths) => {
                files.iter().map(|file| paths.contains(file.object_store_path().as_ref())).collect()
            }
        })
    }
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
