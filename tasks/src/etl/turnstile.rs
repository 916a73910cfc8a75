//! Taking turns: work that is done in parallel, with one step of it in the order of numbers.

use datafusion::common::{DataFusionError, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

/// Lets the holders of the numbers 0, 1, 2 and so on pass one after the other.
///
/// Each number must be brought by a [`Worker`]. If one stops before its work is done, by an
/// error, a panic or because nobody wants its results any more, then all that wait are told so:
/// the numbers it had taken will never pass.
#[derive(Debug, Default)]
pub(super) struct Turnstile {
    state: Mutex<State>,
    moved: Notify,
}

#[derive(Debug, Default)]
struct State {
    next: u64,
    broken: Option<Arc<DataFusionError>>,
}

impl Turnstile {
    fn state(&self) -> MutexGuard<'_, State> {
        // The state is whole after each statement that changes it.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when all smaller numbers have passed.
    pub(super) async fn wait(&self, number: u64) -> Result<()> {
        loop {
            let moved = self.moved.notified();
            tokio::pin!(moved);
            moved.as_mut().enable();
            {
                let state = self.state();
                if let Some(error) = &state.broken {
                    return Err(DataFusionError::Shared(error.clone()));
                }
                if state.next == number {
                    return Ok(());
                }
            }
            moved.await;
        }
    }

    /// Lets the next number pass.
    pub(super) fn advance(&self) {
        self.state().next += 1;
        self.moved.notify_waiters();
    }

    fn stop(&self, error: Arc<DataFusionError>) {
        self.state().broken.get_or_insert(error);
        self.moved.notify_waiters();
    }
}

/// Somebody who brings numbers to a turnstile.
#[derive(Debug)]
pub(super) struct Worker {
    turnstile: Arc<Turnstile>,
    done: bool,
}

impl Worker {
    pub(super) fn new(turnstile: Arc<Turnstile>) -> Self {
        Worker { turnstile, done: false }
    }

    /// Ends the work; the others get its error, so that all of them say the same.
    pub(super) fn end(mut self, result: Result<()>) -> Result<()> {
        self.done = true;
        result.map_err(|error| {
            let error = Arc::new(error);
            self.turnstile.stop(error.clone());
            DataFusionError::Shared(error)
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        if !self.done {
            let stopped = DataFusionError::Execution("a part of the pass was stopped".into());
            self.turnstile.stop(Arc::new(stopped));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    #[tokio::test]
    async fn numbers_pass_in_order() {
        let turnstile = Arc::new(Turnstile::default());
        let passed = Arc::new(Mutex::new(Vec::new()));
        let tasks: Vec<_> = (0..50u64)
            .rev()
            .map(|number| {
                let (turnstile, passed) = (turnstile.clone(), passed.clone());
                tokio::spawn(async move {
                    turnstile.wait(number).await.unwrap();
                    passed.lock().unwrap().push(number);
                    turnstile.advance();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*passed.lock().unwrap(), (0..50).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn who_stops_does_not_leave_others_waiting() {
        let check = async |stop: fn(Worker), expect: &str| {
            let turnstile = Arc::new(Turnstile::default());
            let waiting = turnstile.clone();
            let waiting = tokio::spawn(async move { waiting.wait(1).await });
            tokio::task::yield_now().await;
            stop(Worker::new(turnstile));
            let error = waiting.await.unwrap().unwrap_err().to_string();
            assert!(error.contains(expect), "{error}");
        };
        let fail = |worker: Worker| {
            worker.end(Err(DataFusionError::Execution("disk gone".into()))).unwrap_err();
        };
        check(fail, "disk gone").await;
        check(drop, "was stopped").await;
    }

    #[tokio::test]
    async fn who_is_done_breaks_nothing() {
        let turnstile = Arc::new(Turnstile::default());
        Worker::new(turnstile.clone()).end(Ok(())).unwrap();
        assert!(turnstile.wait(1).now_or_never().is_none());
        turnstile.wait(0).await.unwrap();
    }
}
