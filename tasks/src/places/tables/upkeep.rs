//! Keeping tables quick and small: few files, a short way to the newest version, no leftovers.

use super::commit::Commit;
use super::definition::is_kept_by_some_key;
use super::failure::failed;
use super::scan::Scan;
use super::snapshot::TableFile;
use super::stage::{JoinAll, StageOptions, drain, on_a_thread, safe_name};
use super::{Tables, log};
use bytes::Bytes;
use datafusion::physical_plan::execute_stream;
use datafusion::prelude::{SessionConfig, SessionContext};
use deltalake_core::kernel::{Action, Version};
use deltalake_core::logstore::get_actions;
use deltalake_core::protocol::{DeltaOperation, checkpoints};
use futures::{StreamExt, TryStreamExt};
use object_store::{ObjectMeta, ObjectStore as _, ObjectStoreExt};
use orchestrator::attempt::TaskError;
use std::collections::{HashMap, HashSet};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

#[cfg(test)]
pub(crate) mod tests;

/// Files below this size are small.
pub(crate) const SMALL_FILE: u64 = 32 << 20;
/// So many small files are too many: what opening and committing cost grows with them.
const TOO_MANY_FILES: usize = 64;
/// A partition's files are put together if there are at least so many small ones.
const WORTH_IT: usize = 8;
/// Of small files, what one compaction takes, so that no publication waits long for it.
const COMPACTION_LIMIT: u64 = 512 << 20;

/// What [`Tables::sweep`] removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Swept {
    pub files: u64,
    pub bytes: u64,
}

impl Tables {
    /// After a commit, now and then: a checkpoint, so that the log stays quick to open, with no
    /// commits older than the table's retention behind it; and small files put together. The
    /// commit counts whatever happens here.
    pub(crate) async fn keep_up(&self, name: &str, run: &str, version: i64, small_files: usize) {
        if ((version + 1) as u64).is_multiple_of(log::CHECKPOINT_INTERVAL)
            && let Err(error) = self.checkpoint(name, version).await
        {
            tracing::warn!("`table:{name}` stays slow to open: {error}");
        }
        if small_files > TOO_MANY_FILES
            && let Err(error) = self.compact(name, run).await
        {
            tracing::warn!("`table:{name}` keeps its many files: {error}");
        }
    }

    async fn checkpoint(&self, name: &str, version: i64) -> Result<(), TaskError> {
        let Some(table) = self.open(name, Some(version)).await? else { return Ok(()) };
        let doing = |error| failed("can't write a checkpoint", &error);
        checkpoints::create_checkpoint(&table, None).await.map_err(doing)?;
        checkpoints::cleanup_metadata(&table, None).await.map_err(doing)?;
        Ok(())
    }

    /// Puts small files together, partition by partition, as a version with the same rows. Earlier
    /// versions keep their files. Returns the version, or `None` if it isn't worth it or another
    /// commit came first.
    pub async fn compact(&self, name: &str, run: &str) -> Result<Option<i64>, TaskError> {
        let Some(table) = self.open(name, None).await? else { return Ok(None) };
        let state = table.snapshot().map_err(|error| failed("can't read its log", &error))?;
        let version = state.version() as i64;
        let snapshot = self.read(name, version).await?;
        if !snapshot.is_plain()? || is_kept_by_some_key(state.metadata()) {
            return Ok(None);
        }
        let chosen = small_files(&snapshot.files);
        if chosen.is_empty() {
            return Ok(None);
        }
        // One stream over all files: rows keep their order.
        let context =
            SessionContext::new_with_config(SessionConfig::new().with_target_partitions(1));
        let url = self.register(&context.runtime_env());
        let plan = Scan::new(&snapshot.schema, &snapshot.partition_by, &chosen, url, false);
        let doing = |error| failed("can't read its small files", &error);
        let plan = plan.map_err(doing)?.plan(&context.state(), None, None, None).await;
        let stream = execute_stream(plan.map_err(doing)?, context.task_ctx()).map_err(doing)?;
        let options =
            StageOptions { partition_by: snapshot.partition_by.clone(), ..Default::default() };
        let directory = format!("{run}/compact-{}", Uuid::now_v7().simple());
        let writer = self.stage_writer(name, &directory, &snapshot.schema, &options)?;
        let stop = CancellationToken::new();
        let guard = stop.clone().drop_guard();
        let written = on_a_thread(drain(stream, None, writer, stop)).await?;
        drop(guard);
        let gone: HashSet<&str> = chosen.iter().map(|file| file.relative.as_str()).collect();
        let mut actions = Vec::new();
        for file in state.log_data().iter() {
            if gone.contains(file.object_store_path().as_ref()) {
                actions.push(Action::Remove(file.remove_action(false)));
            }
        }
        for mut add in written.adds {
            add.data_change = false;
            actions.push(Action::Add(add));
        }
        let commit = Commit {
            actions,
            operation: DeltaOperation::Optimize { predicate: None, target_size: 256 << 20 },
            metadata: vec![
                (log::RUN, run.into()),
                (log::TABLE_ROWS, snapshot.rows.into()),
                (log::TABLE_BYTES, (snapshot.bytes - sizes(&chosen) + written.bytes).into()),
            ],
            positions: Vec::new(),
        };
        let (before, after) = (chosen.len(), written.rows);
        match self.commit(name, Some(&table), commit).await {
            Ok(version) => {
                tracing::debug!("put {before} files of `table:{name}` with {after} rows together");
                Ok(Some(version))
            }
            Err(error) if super::commit::came_second(&error) => Ok(None),
            Err(error) => Err(failed("can't commit", &error)),
        }
    }

    /// Removes files of a publication that its commit has no use for.
    pub(crate) async fn discard(&self, name: &str, relative: &[String]) {
        let root = self.table_path(name);
        for path in relative {
            // What stays is for the sweeper.
            if let Err(error) = self.store().delete(&root.join_all(path)).await {
                tracing::debug!("can't remove `{path}` of `table:{name}`: {error}");
            }
        }
    }

    /// Removes what runs have left of publications that never came about: files of theirs that no
    /// version refers to. `alive` are runs that go on, or may be resumed; theirs are left alone.
    pub async fn sweep(&self, name: &str, alive: &[String]) -> Result<Swept, TaskError> {
        let doing = || format!("can't sweep `table:{name}`");
        let told = |error: object_store::Error| failed(doing(), &error);
        let root = self.table_path(name);
        let data = root.clone().join("data");
        let alive: HashSet<String> = alive.iter().map(|run| safe_name(run)).collect();
        // Listed first: what is committed after this was not in the list.
        let files: Vec<ObjectMeta> =
            self.store().list(Some(&data)).try_collect().await.map_err(told)?;
        let referred = self.referred(name).await?;
        let mut swept = Swept::default();
        for file in files {
            let Some(mut below) = file.location.prefix_match(&data) else { continue };
            let run = below.next().map(|part| part.as_ref().to_owned()).unwrap_or_default();
            let relative: Vec<String> = file
                .location
                .prefix_match(&root)
                .into_iter()
                .flatten()
                .map(|part| part.as_ref().to_owned())
                .collect();
            if alive.contains(&run) || referred.contains(&relative.join("/")) {
                continue;
            }
            match self.store().delete(&file.location).await {
                Ok(()) => {}
                Err(object_store::Error::NotFound { .. }) => continue,
                Err(error) => return Err(told(error)),
            }
            swept.files += 1;
            swept.bytes += file.size;
        }
        Ok(swept)
    }

    /// The paths of all files that a version refers to whose commit is still in the log, or the
    /// newest.
    async fn referred(&self, name: &str) -> Result<HashSet<String>, TaskError> {
        let mut paths = HashSet::new();
        let Some(newest) = self.latest(name).await? else { return Ok(paths) };
        let snapshot = self.read(name, newest).await?;
        paths.extend(snapshot.files.into_iter().map(|file| file.relative));
        let commits = self.commits(name).await?;
        let mut commits = futures::stream::iter(commits)
            .map(|version| async move {
                let bytes = self.commit_bytes(name, version).await?;
                Ok::<_, TaskError>((version, bytes))
            })
            .buffer_unordered(8);
        while let Some(read) = commits.next().await {
            let (version, bytes) = read?;
            // One that has just been cleaned up is no version any more.
            let bytes: Bytes = bytes.unwrap_or_default();
            let actions = get_actions(version as Version, &bytes)
                .map_err(|error| failed(format!("can't read `table:{name}`"), &error))?;
            paths.extend(actions.into_iter().filter_map(|action| match action {
                // What a commit removed, older versions may still have.
                Action::Add(add) => Some(add.path),
                Action::Remove(remove) => Some(remove.path),
                _ => None,
            }));
        }
        Ok(paths)
    }
}

fn sizes(files: &[TableFile]) -> u64 {
    files.iter().map(|file| file.size).sum()
}

/// The small files of partitions that have many, the smallest first where there are too many.
fn small_files(files: &[TableFile]) -> Vec<TableFile> {
    let mut partitions: HashMap<Vec<(&str, Option<&str>)>, Vec<&TableFile>> = HashMap::new();
    for file in files.iter().filter(|file| file.size < SMALL_FILE) {
        let mut key: Vec<_> =
            file.partition.iter().map(|(name, value)| (name.as_str(), value.as_deref())).collect();
        key.sort_unstable();
        partitions.entry(key).or_default().push(file);
    }
    let mut chosen: Vec<&TableFile> =
        partitions.into_values().filter(|files| files.len() >= WORTH_IT).flatten().collect();
    chosen.sort_by_key(|file| file.size);
    let mut total = 0;
    chosen
        .into_iter()
        .take_while(|file| {
            total += file.size;
            total <= COMPACTION_LIMIT
        })
        .cloned()
        .collect()
}
