//! A run's pipeline, as it was when the run began.

use crate::attempt::Profile;
use crate::diagnostic::Problems;
use crate::kind::Kinds;
use crate::load::Definition;
use crate::plan::{self, Plan, PlanRequest};
use crate::store::StoredRun;
use std::sync::Arc;

/// What a run does, and what it was made of.
#[derive(Clone)]
pub struct Restored {
    pub definition: Definition,
    pub request: PlanRequest,
    pub plan: Arc<Plan>,
}

#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    #[error("the store holds a definition or a request of run {run} that cannot be read: {cause}")]
    Damaged { run: String, cause: serde_json::Error },
    #[error(
        "this version of tidemill no longer understands the definition that run {run} was started \
         with:\n{}",
        problems.render(false)
    )]
    Outdated { run: String, problems: Problems },
}

impl Restored {
    /// Plans the run again, with the definition and the request that are stored with it.
    pub fn of(run: &StoredRun, kinds: &Kinds) -> Result<Restored, RestoreError> {
        let damaged = |cause| RestoreError::Damaged { run: run.id.clone(), cause };
        let definition: Definition = serde_json::from_str(&run.definition).map_err(damaged)?;
        let request: PlanRequest = serde_json::from_str(&run.request).map_err(damaged)?;
        // Whatever a later version makes of the request, the run is about what it was about.
        let request = PlanRequest { interval: Some(run.interval), ..request };
        match plan::plan(&definition, kinds, &request) {
            Ok((plan, _)) => Ok(Restored { plan: Arc::new(plan), definition, request }),
            Err(diagnostics) => {
                let problems = Problems { diagnostics, sources: definition.sources() };
                Err(RestoreError::Outdated { run: run.id.clone(), problems })
            }
        }
    }

    pub fn profile(&self) -> Profile {
        let settings = self.definition.profiles.get(&self.plan.profile).cloned();
        Profile { name: self.plan.profile.clone(), settings: settings.unwrap_or_default() }
    }
}
