//! The engine of tasks that compute on tables: DataFusion sessions with a memory limit.
//!
//! One engine serves all tasks of a process: their sessions share a pool of memory, and what
//! does not fit spills to the attempt's scratch directory.

pub mod columns;
pub mod errors;
pub(crate) mod input;
mod memory;
pub(crate) mod offline;
pub mod query;
pub(crate) mod scan;
pub mod sql;
pub(crate) mod told;

pub use columns::{ColumnType, Columns};
pub use memory::Memory;
pub use sql::sql_error;

use datafusion::execution::disk_manager::{DiskManagerBuilder, DiskManagerMode};
use datafusion::execution::memory_pool::{FairSpillPool, MemoryPool};
use datafusion::execution::runtime_env::RuntimeEnvBuilder;
use datafusion::prelude::{SessionConfig, SessionContext};
use errors::task_error;
use orchestrator::attempt::TaskError;
use std::path::Path;
use std::sync::{Arc, OnceLock};

/// What the engine may use.
#[derive(Clone, Debug, Default)]
pub struct EngineOptions {
    /// Memory of all sessions together. By default 40 % of what the machine or its container
    /// has, and at most 1 GiB.
    pub memory_bytes: Option<usize>,
    /// How many parts a query is computed in at the same time. By default, one for each core.
    pub partitions: Option<usize>,
    /// How much text of a file is parsed at a time. By default 2 MiB.
    pub chunk_bytes: Option<u64>,
}

/// Makes sessions that share a pool of memory.
#[derive(Default)]
pub struct Engine {
    options: EngineOptions,
    pool: OnceLock<Arc<dyn MemoryPool>>,
    planner: offline::Planner,
}

impl Engine {
    /// Does no work yet.
    pub fn new(options: EngineOptions) -> Self {
        Engine { options, ..Engine::default() }
    }

    /// A session without tables, which spills to `spill_dir`.
    pub fn session(&self, spill_dir: &Path) -> Result<SessionContext, TaskError> {
        let pool = self.pool.get_or_init(|| {
            new_pool(self.options.memory_bytes.unwrap_or_else(default_memory_bytes))
        });
        self.session_with(spill_dir, pool.clone())
    }

    /// A session with memory of its own instead of the pool's.
    pub fn session_limited(
        &self,
        spill_dir: &Path,
        memory_bytes: usize,
    ) -> Result<SessionContext, TaskError> {
        self.session_with(spill_dir, new_pool(memory_bytes))
    }

    fn session_with(
        &self,
        spill_dir: &Path,
        pool: Arc<dyn MemoryPool>,
    ) -> Result<SessionContext, TaskError> {
        let spill = DiskManagerBuilder::default()
            .with_mode(DiskManagerMode::Directories(vec![spill_dir.to_owned()]));
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(pool)
            .with_disk_manager_builder(spill)
            .build_arc()
            .map_err(|error| task_error("can't start the engine", &error))?;
        Ok(SessionContext::new_with_config_rt(self.config(), runtime))
    }

    pub(crate) fn chunk_bytes(&self) -> u64 {
        const CHUNK_BYTES: u64 = 2 << 20;
        self.options.chunk_bytes.unwrap_or(CHUNK_BYTES)
    }

    fn config(&self) -> SessionConfig {
        let partitions = self.options.partitions.unwrap_or_else(cores).max(1);
        let mut config =
            SessionConfig::new().with_target_partitions(partitions).with_information_schema(true);
        // Errors then tell the place of a column in the SQL.
        config.options_mut().sql_parser.collect_spans = true;
        config
    }

    /// A session that computes nothing, or little.
    pub(crate) fn bare_session(&self) -> SessionContext {
        SessionContext::new_with_config(self.config())
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn new_pool(memory_bytes: usize) -> Arc<dyn MemoryPool> {
    Arc::new(FairSpillPool::new(memory_bytes))
}

/// 40 % of the memory that this process may use, and at most 1 GiB.
pub(crate) fn default_memory_bytes() -> usize {
    const MOST: u64 = 1 << 30;
    let machine = rustix::system::sysinfo();
    let machine = machine.totalram.saturating_mul(u64::from(machine.mem_unit));
    // The limit of a container, as cgroups (version 2) tell it; `max` is no number.
    let container = std::fs::read_to_string("/sys/fs/cgroup/memory.max")
        .ok()
        .and_then(|text| text.trim().parse().ok())
        .unwrap_or(u64::MAX);
    usize::try_from((machine.min(container) / 5 * 2).min(MOST)).unwrap_or(usize::MAX)
}

/// The candidate that is most like `name`, if one is near enough to be meant.
pub(crate) fn nearest<'a>(
    name: &str,
    candidates: impl Iterator<Item = &'a str>,
) -> Option<&'a str> {
    const NEAR: f64 = 0.7;
    candidates
        .map(|candidate| {
            let (a, b) = (candidate.to_lowercase(), name.to_lowercase());
            (strsim::jaro_winkler(&a, &b), candidate)
        })
        .filter(|(likeness, candidate)| *likeness >= NEAR && *candidate != name)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
