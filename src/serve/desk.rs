//! Where the pages ask the daemon: what is wanted goes to its loop, and the answer comes back.

use super::daemon::Message;
use crate::pipeline;
use jiff::Timestamp;
use orchestrator::diagnostic::Problems;
use orchestrator::kind::Kinds;
use orchestrator::load;
use orchestrator::plan::PlanRequest;
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use web_ui::{Daemon, Inspected, KnownPipeline, Refusal, Start};

/// How long the loop may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);

/// What somebody on the pages wants.
pub(super) enum Order {
    Start(Box<Start>, SyncSender<Result<String, Refusal>>),
    Resume(String, SyncSender<Result<(), Refusal>>),
}

/// The pipelines as the loop has last seen them.
pub(super) type Board = Arc<Mutex<Arc<Vec<KnownPipeline>>>>;

pub(super) struct Desk {
    board: Board,
    kinds: Kinds,
    profile: Option<String>,
    /// A sender is not to be shared between threads without a lock.
    outbox: Mutex<Sender<Message>>,
}

impl Desk {
    pub(super) fn new(board: Board, profile: Option<String>, outbox: Sender<Message>) -> Desk {
        Desk { board, kinds: pipeline::kinds(), profile, outbox: Mutex::new(outbox) }
    }

    fn ask<T>(
        &self,
        order: impl FnOnce(SyncSender<Result<T, Refusal>>) -> Order,
    ) -> Result<T, Refusal> {
        let (answer, wait): (_, Receiver<Result<T, Refusal>>) = sync_channel(1);
        let sent = {
            let outbox = self.outbox.lock().unwrap_or_else(PoisonError::into_inner);
            outbox.send(Message::Order(order(answer)))
        };
        let stops = || Refusal::Failed("the daemon is being stopped".to_owned());
        sent.map_err(|_| stops())?;
        wait.recv_timeout(PATIENCE).map_err(|_| {
            Refusal::Failed("the daemon is busy or being stopped; try again".to_owned())
        })?
    }
}

impl Daemon for Desk {
    fn pipelines(&self) -> Arc<Vec<KnownPipeline>> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn inspect(&self, path: &Path) -> Result<Inspected, Problems> {
        let request =
            PlanRequest { profile: self.profile.clone(), ..PlanRequest::new(Timestamp::now()) };
        let (definition, plan) = load::inspect(path, &self.kinds, &request)?;
        Ok(Inspected { definition, plan })
    }

    fn start(&self, start: Start) -> Result<String, Refusal> {
        self.ask(|answer| Order::Start(Box::new(start), answer))
    }

    fn resume(&self, run: &str) -> Result<(), Refusal> {
        self.ask(|answer| Order::Resume(run.to_owned(), answer))
    }
}
