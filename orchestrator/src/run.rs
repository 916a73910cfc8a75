//! Running a plan: a pure state machine, and around it a thin driver.

mod advance;
mod retry;
mod state;

pub use advance::Conditions;
pub use state::{Misfit, OutputState, Phase, RunState, TaskState};
