//! The pages and the REST API of tidemill.
//!
//! A page is a function of the store, the daemon's pipelines and the time: it reads, makes a view
//! (plain values, all words chosen), and a template renders the view. The API gives the same values
//! as JSON. What changes something is a POST, for both.

mod api;
mod artifacts;
mod assets;
mod chrome;
mod daemon;
mod drawing;
mod failure;
mod guard;
mod live;
mod logs;
mod metrics;
mod pages;
mod runs;
mod server;
mod storage;
mod words;

pub use daemon::{Daemon, Inspected, KnownPipeline, Refusal, Start};
pub use guard::Token;
pub use metrics::Metrics;
pub use server::serve;

use failure::Failure;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use orchestrator::kind::Kinds;
use orchestrator::store::Store;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use words::Clock;

/// What the pages are made from.
pub struct Site {
    pub data_dir: PathBuf,
    pub kinds: Kinds,
    pub daemon: Arc<dyn Daemon>,
    /// Who may see them; `None`: everyone on this machine.
    pub token: Option<Token>,
    /// Where times are shown.
    pub zone: TimeZone,
    pub started: Timestamp,
    /// What the daemon tells of.
    pub metrics: Metrics,
    stores: Mutex<Vec<Store>>,
    changes: live::Changes,
    storage: storage::Storage,
}

impl Site {
    pub fn new(
        data_dir: PathBuf,
        kinds: Kinds,
        daemon: Arc<dyn Daemon>,
        token: Option<Token>,
    ) -> Site {
        Site {
            changes: live::Changes::new(&data_dir),
            data_dir,
            kinds,
            daemon,
            token,
            zone: TimeZone::system(),
            started: Timestamp::now(),
            metrics: Metrics::default(),
            stores: Mutex::default(),
            storage: storage::Storage::default(),
        }
    }

    /// Something has changed that is not in the store, such as a pipeline's file.
    pub fn changed(&self) {
        self.changes.tell();
    }

    /// The time zone that the days of a pipeline are of: that of its schedule.
    fn zone_of(&self, pipeline: &str) -> TimeZone {
        let schedule = self.known(pipeline).ok().and_then(|known| known.schedule);
        schedule.map_or(TimeZone::UTC, |schedule| schedule.timetable().zone())
    }

    /// A pipeline of the daemon's directory.
    fn known(&self, name: &str) -> Result<KnownPipeline, Failure> {
        let all = self.daemon.pipelines();
        let known = all.iter().find(|known| known.name == name);
        known.cloned().ok_or_else(|| Failure::not_found("pipeline", name))
    }

    fn clock(&self) -> Clock {
        Clock { now: Timestamp::now(), zone: self.zone.clone() }
    }

    /// Asks the store, on a thread that may block.
    async fn ask<T: Send + 'static>(
        self: &Arc<Self>,
        question: impl FnOnce(&Site, &mut Store) -> Result<T, Failure> + Send + 'static,
    ) -> Result<T, Failure> {
        let site = self.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let pooled = site.stores.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let mut store = match pooled {
                Some(store) => store,
                None => Store::open(&site.data_dir)?,
            };
            let answer = question(&site, &mut store);
            site.stores.lock().unwrap_or_else(PoisonError::into_inner).push(store);
            answer
        });
        asked.await.map_err(|_| Failure::internal("a question to the store broke off"))?
    }
}
