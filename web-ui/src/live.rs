//! Live updates: a stream of server-sent events tells the pages when there is something new.
//!
//! The store is written by many processes, so it is asked whether it has changed, by SQLite's
//! counter, as long as somebody listens. What changed is not said: a page fetches itself again.

use crate::Site;
use crate::failure::Failure;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, KeepAlive, Sse};
use futures::Stream;
use orchestrator::run::{counters, ownership};
use orchestrator::store::{Store, StoreError};
use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, SystemTime};
use tokio::sync::watch;

/// How often the store is asked.
const PACE: Duration = Duration::from_millis(250);
/// Before it is asked again when it did not answer.
const AFTER_ERROR: Duration = Duration::from_secs(5);
/// Listeners at once; more are asked to come back.
const MOST_LISTENERS: usize = 100;

/// What has changed so far, as a number that grows.
pub struct Changes(Arc<Shared>);

struct Shared {
    data_dir: PathBuf,
    /// `None` at the end.
    count: watch::Sender<Option<u64>>,
    is_watched: AtomicBool,
}

impl Changes {
    pub fn new(data_dir: &Path) -> Changes {
        let (count, _) = watch::channel(Some(0));
        let data_dir = data_dir.to_owned();
        Changes(Arc::new(Shared { data_dir, count, is_watched: AtomicBool::new(false) }))
    }

    /// Ends all streams.
    pub fn close(&self) {
        self.0.count.send_replace(None);
    }

    /// Something has changed that is not in the store.
    pub fn tell(&self) {
        self.0.tell();
    }

    fn subscribe(&self) -> watch::Receiver<Option<u64>> {
        let receiver = self.0.count.subscribe();
        if !self.0.is_watched.swap(true, Ordering::AcqRel) {
            let shared = Arc::downgrade(&self.0);
            let watching = std::thread::Builder::new().name("live".into());
            if let Err(error) = watching.spawn(move || watch_store(&shared)) {
                self.0.is_watched.store(false, Ordering::Release);
                tracing::error!("cannot watch the store for changes: {error}");
            }
        }
        receiver
    }
}

impl Shared {
    fn tell(&self) {
        self.count.send_modify(|count| *count = count.map(|count| count + 1));
    }
}

/// Looks until nobody listens any more.
fn watch_store(shared: &Weak<Shared>) {
    let mut looks = None;
    while let Some(shared) = shared.upgrade() {
        if shared.count.receiver_count() == 0 {
            shared.is_watched.store(false, Ordering::Release);
            // Who came in between sees that nobody watches; who came before that is seen here.
            let came_back = shared.count.receiver_count() > 0
                && !shared.is_watched.swap(true, Ordering::AcqRel);
            if !came_back {
                return;
            }
        }
        let mut look = || {
            let looks = match &mut looks {
                Some(looks) => looks,
                None => looks.insert(Looks::new(&shared.data_dir)?),
            };
            looks.changed(&shared.data_dir)
        };
        let pause = match look() {
            Ok(changed) => {
                if changed {
                    shared.tell();
                }
                PACE
            }
            Err(error) => {
                tracing::warn!("cannot look for changes: {error}");
                looks = None;
                AFTER_ERROR
            }
        };
        drop(shared);
        std::thread::sleep(pause);
    }
}

/// How the store was when it was last looked at.
struct Looks {
    store: Store,
    version: i64,
    /// The runs that have not ended, and those of them that have a process.
    open: Vec<String>,
    alive: Vec<String>,
    progress: Option<SystemTime>,
}

impl Looks {
    fn new(data_dir: &Path) -> Result<Looks, StoreError> {
        let store = Store::open(data_dir)?;
        Ok(Looks { store, version: 0, open: Vec::new(), alive: Vec::new(), progress: None })
    }

    fn changed(&mut self, data_dir: &Path) -> Result<bool, StoreError> {
        let version = self.store.version()?;
        let is_new = version != self.version;
        if is_new {
            self.version = version;
            self.open = self.store.open_runs()?.into_iter().map(|run| run.id).collect();
        }
        // A process that dies writes nothing.
        let is_alive = |run: &&String| ownership::is_alive(data_dir, run);
        let alive: Vec<String> = self.open.iter().filter(is_alive).cloned().collect();
        let died = alive != self.alive;
        self.alive = alive;
        // What tasks count is in files beside the journal.
        let written = |run: &String| {
            let directory = ownership::run_directory(data_dir, run);
            std::fs::metadata(counters::path(&directory)).ok()?.modified().ok()
        };
        let progress = self.open.iter().filter_map(written).max();
        let moved = progress > self.progress;
        self.progress = progress;
        Ok(is_new || died || moved)
    }
}

/// An event whenever there is something new.
pub async fn live(
    State(site): State<Arc<Site>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Failure> {
    if site.changes.0.count.receiver_count() >= MOST_LISTENERS {
        let detail = "too many pages are open; close some";
        return Err(Failure::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    }
    let changes = site.changes.subscribe();
    let stream = futures::stream::unfold(changes, |mut changes| async move {
        changes.changed().await.ok()?;
        let count = (*changes.borrow_and_update())?;
        let event = Event::default().event("change").data(count.to_string());
        Some((Ok(event), changes))
    });
    Ok(Sse::new(stream).keep_alive(KeepAlive::default()))
}
