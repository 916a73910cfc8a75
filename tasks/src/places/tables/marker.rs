//! Rows that are staged in pieces, found again by a later attempt.
//!
//! A piece may consist of several files. It counts as staged once its marker is there, which is
//! written last and lists them.

use super::Tables;
use super::definition::{declared_columns, kernel_schema};
use super::failure::failed;
use super::stage::{JoinAll, Staged, publication_directory, safe_name};
use deltalake_core::kernel::{Add, StructType};
use object_store::{ObjectStore, ObjectStoreExt};
use orchestrator::attempt::TaskError;
use serde::{Deserialize, Serialize};

const SUFFIX: &str = ".staged";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    version: u32,
    publication: String,
    prefix: String,
    rows: u64,
    bytes: u64,
    schema: StructType,
    unique_by: Option<Vec<String>>,
    adds: Vec<Add>,
}

impl Tables {
    /// The pieces of a publication that earlier attempts staged whole, sorted by their prefix.
    pub async fn staged(&self, name: &str, publication: &str) -> Result<Vec<Staged>, TaskError> {
        let doing = || format!("can't find staged rows of `table:{name}`");
        let directory = self.table_path(name).join_all(&publication_directory(publication));
        let listed = match self.store().list_with_delimiter(Some(&directory)).await {
            Ok(listed) => listed,
            Err(object_store::Error::NotFound { .. }) => return Ok(Vec::new()),
            Err(error) => return Err(failed(doing(), &error)),
        };
        let mut found = Vec::new();
        for object in listed.objects {
            let name = object.location.filename().unwrap_or_default();
            if name.starts_with('.') || !name.ends_with(SUFFIX) {
                continue;
            }
            let bytes = match self.store().get(&object.location).await {
                Ok(got) => got.bytes().await.map_err(|error| failed(doing(), &error))?,
                Err(error) => return Err(failed(doing(), &error)),
            };
            let marker: Marker =
                serde_json::from_slice(&bytes).map_err(|error| failed(doing(), &error))?;
            found.push(Staged {
                adds: marker.adds,
                rows: marker.rows,
                bytes: marker.bytes,
                schema: declared_columns(&marker.schema)?,
                prefix: Some(marker.prefix),
                unique_by: marker.unique_by,
                task: None,
            });
        }
        found.sort_by(|a, b| a.prefix.cmp(&b.prefix));
        Ok(found)
    }

    /// Makes a piece one that [`Tables::staged`] finds, if it has a name.
    pub(crate) async fn mark(
        &self,
        name: &str,
        publication: &str,
        staged: &Staged,
    ) -> Result<(), TaskError> {
        let Some(prefix) = &staged.prefix else { return Ok(()) };
        let doing = |error: &(dyn std::error::Error + 'static)| {
            failed(format!("can't mark staged rows of `table:{name}`"), error)
        };
        let marker = Marker {
            version: 1,
            publication: publication.to_owned(),
            prefix: prefix.clone(),
            rows: staged.rows,
            bytes: staged.bytes,
            schema: kernel_schema(&staged.schema)?,
            unique_by: staged.unique_by.clone(),
            adds: staged.adds.clone(),
        };
        let json = serde_json::to_vec(&marker).map_err(|error| doing(&error))?;
        let path = self
            .table_path(name)
            .join_all(&publication_directory(publication))
            .join(format!("{}{SUFFIX}", safe_name(prefix)));
        self.store().put(&path, json.into()).await.map_err(|error| doing(&error))?;
        Ok(())
    }
}
