//! Ctrl-C and SIGTERM for verbs that work without tokio.

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

/// Tells of each Ctrl-C and SIGTERM, from a thread of its own, until `tell` says that nobody
/// listens.
pub fn each(tell: impl Fn() -> bool + Send + 'static) -> Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let _in_runtime = runtime.enter();
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    drop(_in_runtime);
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => {}
                    _ = terminate.recv() => {}
                }
                if !tell() {
                    return;
                }
            }
        });
    })?;
    Ok(())
}
