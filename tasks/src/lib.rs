//! The built-in kinds of tasks, and the places where datasets are kept.

pub mod bulk_load;
pub mod engine;
pub mod etl;
pub mod generate;
pub mod land;
mod options;
pub mod places;
pub mod report;
pub mod shell;
pub mod stream;

use orchestrator::attempt::{Profile, TaskError};
use orchestrator::kind::Kinds;
use places::Places;
use std::path::Path;
use std::sync::Arc;

/// The kinds of tasks. `guard`: the program and arguments that run [`shell::guard`].
pub fn kinds(guard: Option<Vec<String>>) -> Kinds {
    let engine = Arc::new(engine::Engine::default());
    Kinds::new(vec![
        Arc::new(bulk_load::BulkLoad::new(engine.clone())),
        Arc::new(etl::Etl::new(engine.clone())),
        Arc::new(generate::Generate::default()),
        Arc::new(land::Land),
        Arc::new(report::Report::new(engine)),
        Arc::new(shell::Shell::new(guard)),
        Arc::new(stream::Stream),
    ])
    .with_profile(&schemars::schema_for!(places::ProfileSettings))
}

/// What the places of a profile know of datasets.
pub fn catalog(profile: &Profile, data_dir: &Path) -> Result<Places, TaskError> {
    Places::of_profile(profile, data_dir)
}
