//! Publishing files in the place of some others.

use super::{
    Change, Publication, Rows, came_second, columns, creation, evolve, failed, gate_protocol,
};
use crate::places::tables::{Staged, Tables};
use deltalake_core::DeltaTable;
use deltalake_core::kernel::Action;
use deltalake_core::protocol::DeltaOperation;
use orchestrator::attempt::TaskError;
use orchestrator::event::Published;

impl Tables {
    /// Commits the staged files and takes `gone` away, which are files of `version` (paths below
    /// the table's directory). `rows`: how many the publication is told to have. `None`: the
    /// table has moved on, so what was staged may be out of date.
    pub(crate) async fn publish_rewrite(
        &self,
        name: &str,
        publication: &Publication,
        staged: Vec<Staged>,
        version: Option<i64>,
        gone: &[&str],
        rows: u64,
    ) -> Result<Option<Published>, TaskError> {
        let doing = |error: TaskError| error.context(format!("can't publish `table:{name}`"));
        let mut staged = Rows::of(staged).map_err(doing)?;
        let table = self.open(name, version).await?;
        if table.is_some() && version.is_none() {
            return Ok(None);
        }
        let change = change(table.as_ref(), publication, &staged, gone).map_err(doing)?;
        staged.rows = rows;
        let schema = staged.schema.clone();
        let commit = change.commit(publication, &staged);
        match self.commit(name, table.as_ref(), commit).await {
            Ok(version) => {
                // Small files are not its business: the next rewrite takes them in.
                self.keep_up(name, &publication.run, version, 0).await;
                Ok(Some(Published {
                    version: Some(version),
                    rows,
                    bytes: staged.bytes,
                    schema: columns(&schema),
                }))
            }
            Err(error) if came_second(&error) => Ok(None),
            Err(error) => {
                // The commit may be there although it failed to say so.
                let found = self.find(name, &publication.id, publication.base).await?;
                found
                    .map(Some)
                    .ok_or_else(|| failed(format!("can't publish `table:{name}`"), &error))
            }
        }
    }
}

fn change(
    table: Option<&DeltaTable>,
    publication: &Publication,
    staged: &Rows,
    gone: &[&str],
) -> Result<Change, TaskError> {
    let (mut table_rows, mut table_bytes) = (staged.rows, staged.bytes);
    let mut actions = Vec::new();
    match table {
        None => actions.extend(creation(&staged.schema, publication)?),
        Some(table) => {
            let state = table.snapshot().map_err(|error| failed("can't read its log", &error))?;
            gate_protocol(state.protocol())?;
            let evolved = evolve(state.metadata(), publication, &staged.schema)?;
            actions.extend(evolved.metadata.map(Action::Metadata));
            for file in state.log_data().iter() {
                if gone.contains(&file.object_store_path().as_ref()) {
                    actions.push(Action::Remove(file.remove_action(true)));
                } else {
                    table_rows += file.num_records().unwrap_or(0) as u64;
                    table_bytes += file.size().max(0) as u64;
                }
            }
        }
    }
    actions.extend(staged.adds.iter().cloned().map(Action::Add));
    let operation = DeltaOperation::Merge {
        predicate: None,
        merge_predicate: None,
        matched_predicates: Vec::new(),
        not_matched_predicates: Vec::new(),
        not_matched_by_source_predicates: Vec::new(),
    };
    Ok(Change { actions, operation, table_rows, table_bytes, small_files: 0 })
}
