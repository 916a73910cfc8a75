//! Kill points for the crash tests, compiled in by the feature `failpoints`.
//!
//! `TIDEMILL_FAILPOINT=name` kills the process, as SIGKILL does, when it first passes
//! `hit("name")`; `name:3` when it passes the third time.

/// Dies here if the environment says so. Without the feature, nothing.
#[cfg(not(feature = "failpoints"))]
#[inline(always)]
pub fn hit(_name: &str) {}

/// Dies here if the environment says so.
#[cfg(feature = "failpoints")]
pub fn hit(name: &str) {
    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    static TARGET: LazyLock<Option<(String, u64)>> = LazyLock::new(|| {
        let text = std::env::var("TIDEMILL_FAILPOINT").ok()?;
        match text.rsplit_once(':') {
            Some((name, nth)) if nth.parse::<u64>().is_ok() => {
                Some((name.to_owned(), nth.parse().unwrap_or(1)))
            }
            _ => Some((text, 1)),
        }
    });
    static PASSED: AtomicU64 = AtomicU64::new(0);

    if let Some((target, nth)) = &*TARGET
        && target == name
        && PASSED.fetch_add(1, Ordering::SeqCst) + 1 == *nth
    {
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        // The signal reaches this thread on its way out of the call above at the latest.
        std::process::abort();
    }
}
