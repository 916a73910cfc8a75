//! What people on the pages want of the daemon: to start a run, to resume one.

use super::super::desk::Order;
use super::{Daemon, is_unknown};
use crate::pipeline;
use anyhow::Result;
use jiff::Timestamp;
use orchestrator::plan::PlanRequest;
use orchestrator::run::ownership;
use orchestrator::store::{StoredRun, Trigger};
use web_ui::{Refusal, Start};

impl Daemon {
    /// Does what is wanted, and answers.
    pub(super) fn follow(&mut self, order: Order, now: Timestamp) {
        match order {
            Order::Start(start, answer) => answer.give(|| self.start_asked(&start, now)),
            Order::Resume(run, answer) => answer.give(|| self.resume_asked(&run)),
        }
    }

    fn start_asked(&mut self, start: &Start, now: Timestamp) -> Result<String, Refusal> {
        let path = self.pipelines.path_of(&start.pipeline);
        let path = path.ok_or_else(|| Refusal::Unknown(start.pipeline.clone()))?.to_owned();
        let request = self.request_of(start, now)?;
        let (definition, plan) = (self.pipelines.plan(&path, &request))
            .map_err(|problems| Refusal::invalid(&problems))?;
        if plan.pipeline != start.pipeline {
            let message = format!("`{}` is another pipeline now; try again", path.display());
            return Err(Refusal::Failed(message));
        }
        let new =
            pipeline::new_run(&definition, &request, &plan.pipeline, plan.interval, Trigger::Web)
                .map_err(failed)?;
        let lock = self.lock(&new.id).map_err(failed)?;
        let alive = |run: &str| ownership::is_alive(&self.data_dir, run);
        let made = self.store.create_run(&new, plan.max_active_runs as usize, alive);
        if !matches!(made, Ok(Ok(()))) {
            // Nothing of a run that is not to be stays behind.
            let _ = std::fs::remove_dir_all(ownership::run_directory(&self.data_dir, &new.id));
        }
        match made {
            Err(error) => Err(Refusal::Failed(error.to_string())),
            Ok(Err(active)) => Err(Refusal::Busy(format!(
                "run {} of `{}` is active, and no more than {} may be: wait until it has ended, or \
                 cancel it",
                active.join(", "),
                new.pipeline,
                plan.max_active_runs
            ))),
            Ok(Ok(())) => {
                tracing::info!("{}: starts run {}, as asked on the pages", new.pipeline, new.id);
                self.begin(&new.id, &new.pipeline, Trigger::Web, lock);
                Ok(new.id)
            }
        }
    }

    /// What the run is planned with.
    fn request_of(&mut self, start: &Start, now: Timestamp) -> Result<PlanRequest, Refusal> {
        let mut request = self.pipelines.request(now, None);
        if let Some(run) = &start.like {
            let stored: StoredRun =
                self.store.stored_run(run).map_err(|error| failed(error.into()))?;
            let before: PlanRequest =
                serde_json::from_str(&stored.request).map_err(|error| failed(error.into()))?;
            // Its days are those that it was planned with.
            request = PlanRequest { now, interval: Some(stored.interval), ..before };
        }
        if !start.from.is_empty() {
            request.from.clone_from(&start.from);
            request.only.clear();
        }
        request.set.extend(start.set.iter().cloned());
        if let Some(profile) = &start.profile {
            request.profile = Some(profile.clone());
        }
        if start.date.is_some() {
            request.date = start.date;
            request.interval = None;
        }
        Ok(request)
    }

    fn resume_asked(&mut self, run: &str) -> Result<(), Refusal> {
        let row = self.store.find_run(run).map_err(|error| {
            let error = error.into();
            if is_unknown(&error) { Refusal::Unknown(run.to_owned()) } else { failed(error) }
        })?;
        if let Some(end) = row.end {
            let message = format!("run {run} has ended ({}): start it again", end.as_str());
            return Err(Refusal::Busy(message));
        }
        let Some(lock) = self.lock(run).map_err(failed)? else {
            return Err(Refusal::Busy(format!("run {run} is running")));
        };
        // Who resumes a run wants it to go on, whatever was asked of the process that died.
        self.store.forget_requests(run).map_err(|error| failed(error.into()))?;
        self.deaths.remove(run);
        tracing::info!("{}: resumes run {run}, as asked on the pages", row.pipeline);
        self.begin(run, &row.pipeline, row.trigger, Some(lock));
        Ok(())
    }
}

fn failed(error: anyhow::Error) -> Refusal {
    Refusal::Failed(format!("{error:#}"))
}
