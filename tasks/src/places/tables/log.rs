//! A table's log: versions, who made them, and keeping it quick to open.

use super::Tables;
use super::definition::declared;
use super::failure::failed;
use super::schema::columns;
use bytes::Bytes;
use deltalake_core::kernel::{CommitInfo, Snapshot, Version};
use deltalake_core::{DeltaTable, DeltaTableError};
use futures::{StreamExt, TryStreamExt};
use jiff::Timestamp;
use object_store::{ObjectStore as _, ObjectStoreExt};
use orchestrator::attempt::TaskError;
use orchestrator::event::Published;
use serde_json::Value;

pub(crate) const RUN: &str = "tidemill.run";
pub(crate) const TASK: &str = "tidemill.task";
pub(crate) const PUBLICATION: &str = "tidemill.publication";
/// What the publication wrote.
pub(crate) const ROWS: &str = "tidemill.rows";
pub(crate) const BYTES: &str = "tidemill.bytes";
/// What the table held afterwards.
pub(crate) const TABLE_ROWS: &str = "tidemill.table_rows";
pub(crate) const TABLE_BYTES: &str = "tidemill.table_bytes";

/// Opening reads the newest checkpoint and the commits behind it, about half a millisecond each.
pub(crate) const CHECKPOINT_INTERVAL: u64 = 20;

/// A version of a table in its history.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableVersion {
    pub version: i64,
    pub at: Timestamp,
    /// As Delta calls it: `WRITE`, `MERGE`, `OPTIMIZE`.
    pub operation: String,
    /// Rows in the table, if tidemill wrote the version.
    pub rows: Option<u64>,
    /// Size as stored, if tidemill wrote the version.
    pub bytes: Option<u64>,
    pub run: Option<String>,
    pub task: Option<String>,
    pub publication: Option<String>,
}

impl Tables {
    /// The newest version, or `None` if there is no such table.
    pub async fn latest(&self, name: &str) -> Result<Option<i64>, TaskError> {
        Ok(self.commits(name).await?.into_iter().max())
    }

    /// All versions whose commits are still there, newest first.
    pub async fn history(&self, name: &str) -> Result<Vec<TableVersion>, TaskError> {
        let mut versions = self.commits(name).await?;
        versions.sort_unstable_by(|a, b| b.cmp(a));
        futures::stream::iter(versions)
            .map(|version| async move {
                let info = self.commit_info(name, version).await?;
                Ok(info.map(|info| table_version(version, &info)))
            })
            .buffered(8)
            .try_filter_map(|found| async move { Ok(found) })
            .try_collect()
            .await
    }

    /// The commit that carries the publication's id, if there is one behind version `after`
    /// (`None`: behind the beginning). Reads those commits and no more.
    pub async fn find(
        &self,
        name: &str,
        publication_id: &str,
        after: Option<i64>,
    ) -> Result<Option<Published>, TaskError> {
        match self.latest(name).await? {
            Some(newest) => self.find_until(name, publication_id, after, newest).await,
            None => Ok(None),
        }
    }

    pub(crate) async fn find_until(
        &self,
        name: &str,
        publication_id: &str,
        after: Option<i64>,
        newest: i64,
    ) -> Result<Option<Published>, TaskError> {
        let is_it = |id: &str| id == publication_id;
        let found = self.search(name, is_it, after, newest).await?;
        Ok(found.map(|(_, published)| published))
    }

    async fn search(
        &self,
        name: &str,
        is_it: impl Fn(&str) -> bool,
        after: Option<i64>,
        newest: i64,
    ) -> Result<Option<(String, Published)>, TaskError> {
        for version in (after.map_or(0, |after| after + 1)..=newest).rev() {
            let Some(info) = self.commit_info(name, version).await? else {
                return Err(TaskError::permanent(format!(
                    "can't tell whether `table:{name}` already holds this publication: the commit \
                     of version {version} is gone from its log"
                )));
            };
            let Some(id) = text(&info, PUBLICATION).filter(|id| is_it(id)) else { continue };
            let log_store = self.log_store(name);
            let snapshot = Snapshot::try_new(log_store.as_ref(), Some(version as Version))
                .await
                .map_err(|error| failed(format!("can't read `table:{name}`"), &error))?;
            let published = Published {
                version: Some(version),
                rows: number(&info, ROWS).unwrap_or(0),
                bytes: number(&info, BYTES).unwrap_or(0),
                schema: columns(declared(snapshot.metadata())?.as_ref()),
            };
            return Ok(Some((id, published)));
        }
        Ok(None)
    }

    /// The newest commit behind version `after` whose publication's id begins with `prefix`, and
    /// that id. Reads those commits and no more, newest first.
    pub async fn find_last(
        &self,
        name: &str,
        prefix: &str,
        after: Option<i64>,
    ) -> Result<Option<(String, Published)>, TaskError> {
        let Some(newest) = self.latest(name).await? else { return Ok(None) };
        let is_it = |id: &str| id.starts_with(prefix);
        self.search(name, is_it, after, newest).await
    }

    /// How far the reader `app` had come, as of the newest version: what was last committed in
    /// [`Publication::positions`](super::Publication::positions) under this name.
    pub async fn position(&self, name: &str, app: &str) -> Result<Option<i64>, TaskError> {
        let Some(table) = self.open(name, None).await? else { return Ok(None) };
        position(&table, app)
            .await
            .map_err(|error| failed(format!("can't read `table:{name}`"), &error))
    }

    /// Versions whose commit is in the log, in no order.
    pub(crate) async fn commits(&self, name: &str) -> Result<Vec<i64>, TaskError> {
        let directory = self.table_path(name).join("_delta_log");
        let listed = self.store().list_with_delimiter(Some(&directory)).await;
        let listed = match listed {
            Ok(listed) => listed,
            Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(failed(format!("can't look at `table:{name}`"), &error)),
        };
        Ok(listed.objects.iter().filter_map(commit_version).collect())
    }

    async fn commit_info(&self, name: &str, version: i64) -> Result<Option<CommitInfo>, TaskError> {
        let Some(bytes) = self.commit_bytes(name, version).await? else { return Ok(None) };
        let doing = || format!("can't read version {version} of `table:{name}`");
        parse_info(&bytes).map(Some).map_err(|error| failed(doing(), &error))
    }

    /// `None`: it has been cleaned up, or is not there yet.
    pub(crate) async fn commit_bytes(
        &self,
        name: &str,
        version: i64,
    ) -> Result<Option<Bytes>, TaskError> {
        let path = self.table_path(name).join("_delta_log").join(format!("{version:020}.json"));
        let bytes = match self.store().get(&path).await {
            Ok(found) => found.bytes().await,
            Err(error) => Err(error),
        };
        match bytes {
            Ok(bytes) => Ok(Some(bytes)),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => {
                Err(failed(format!("can't read version {version} of `table:{name}`"), &error))
            }
        }
    }
}

/// How far a reader had come, as of this version of the table.
pub(crate) async fn position(
    table: &DeltaTable,
    app: &str,
) -> Result<Option<i64>, DeltaTableError> {
    table.snapshot()?.transaction_version(&table.log_store(), app).await
}

fn commit_version(object: &object_store::ObjectMeta) -> Option<i64> {
    let stem = object.location.filename()?.strip_suffix(".json")?;
    (stem.len() == 20 && stem.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| stem.parse().ok())?
}

/// The commit's own account of itself: by convention its first line.
fn parse_info(commit: &Bytes) -> Result<CommitInfo, serde_json::Error> {
    for line in commit.split(|byte| *byte == b'\n') {
        let trimmed = line.trim_ascii();
        if trimmed.starts_with(b"{\"commitInfo\"") {
            let mut value: Value = serde_json::from_slice(trimmed)?;
            return serde_json::from_value(value["commitInfo"].take());
        }
    }
    // Another program's commit may have none; it is a version all the same.
    Ok(CommitInfo::default())
}

fn table_version(version: i64, info: &CommitInfo) -> TableVersion {
    TableVersion {
        version,
        at: info
            .timestamp
            .and_then(|millis| Timestamp::from_millisecond(millis).ok())
            .unwrap_or_default(),
        operation: info.operation.clone().unwrap_or_default(),
        rows: number(info, TABLE_ROWS),
        bytes: number(info, TABLE_BYTES),
        run: text(info, RUN),
        task: text(info, TASK),
        publication: text(info, PUBLICATION),
    }
}

fn text(info: &CommitInfo, key: &str) -> Option<String> {
    info.info.get(key).and_then(Value::as_str).map(str::to_owned)
}

fn number(info: &CommitInfo, key: &str) -> Option<u64> {
    info.info.get(key).and_then(Value::as_u64)
}
