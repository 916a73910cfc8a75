//! Running a plan: a pure state machine, and around it a thin driver.

mod advance;
mod attempt;
pub mod counters;
mod driver;
pub mod ownership;
mod restore;
mod retry;
mod state;
mod timeline;

pub use advance::Conditions;
pub use driver::{Canceller, Driver, Observer, Run, RunError};
pub use restore::{RestoreError, Restored};
pub use state::{Misfit, OutputState, Phase, RunState, TaskState};
pub use timeline::{AttemptSpan, Timeline};

use crate::template::{LateContext, LateTask};

/// Gives expressions that name `run.id` or `tasks.NAME` what they name.
fn with_late<T>(run: &Run, state: &RunState, evaluate: impl FnOnce(&LateContext<'_>) -> T) -> T {
    evaluate(&LateContext {
        plan: &run.plan,
        env: &run.env,
        run_id: &run.context.id,
        tasks: &|name| state.task(name).map(late_task),
    })
}

fn late_task(task: &TaskState) -> LateTask {
    let outputs = task.outputs.iter();
    LateTask {
        state: match task.phase {
            Phase::Ended(end) => Some(end),
            _ => None,
        },
        values: task.values.clone(),
        outputs: outputs
            .filter_map(|(name, output)| Some((name.clone(), output.published.clone()?)))
            .collect(),
    }
}
