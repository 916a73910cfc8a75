//! What a pipeline is and how it runs. Knows no Kafka, no SQL and no HTML.
//!
//! Data flows one way through the modules:
//!
//! ```text
//! YAML, SQL files --load--> Definition --spec--> Pipeline --plan--> Plan --run--> events --store--> tables
//! ```

pub mod attempt;
pub mod dataset;
pub mod diagnostic;
pub mod duration;
pub mod event;
pub mod failpoint;
pub mod figures;
pub mod kind;
pub mod load;
pub mod log;
pub mod plan;
pub mod preflight;
pub mod project;
pub mod run;
pub mod schedule;
pub mod scheduler;
pub mod schema;
pub mod spec;
pub mod store;
pub mod template;
pub mod yaml;
