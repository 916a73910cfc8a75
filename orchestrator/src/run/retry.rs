//! The pause before an attempt is repeated.

use crate::plan::{Backoff, Retry};
use jiff::SignedDuration;
use std::hash::{DefaultHasher, Hash, Hasher};

/// The pause after the `failures`-th failure (from 1): drawn evenly from nothing up to the delay,
/// which doubles with each failure if so wished ("full jitter", so that many that failed together
/// do not come back together; <https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/>).
///
/// The draw depends on nothing but `seed`, so that a run can be replayed.
pub(super) fn pause(retry: &Retry, failures: u32, seed: (&str, &str)) -> SignedDuration {
    let doublings = match retry.backoff {
        Backoff::Constant => 0,
        Backoff::Exponential => failures.saturating_sub(1).min(30),
    };
    let ceiling = retry
        .delay
        .checked_mul(1_i32 << doublings)
        .unwrap_or(SignedDuration::MAX)
        .min(retry.max_delay)
        .max(SignedDuration::ZERO);
    let mut hasher = DefaultHasher::new();
    (seed, failures).hash(&mut hasher);
    let share = hasher.finish() as f64 / u64::MAX as f64;
    SignedDuration::from_secs_f64(ceiling.as_secs_f64() * share)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ceiling(retry: &Retry, failures: u32) -> f64 {
        let draws = (0..2000).map(|i| pause(retry, failures, (&i.to_string(), "t")));
        draws.map(|pause| pause.as_secs_f64()).fold(0.0, f64::max)
    }

    #[test]
    fn doubles_up_to_its_limit_and_spreads_evenly() {
        let retry = Retry {
            attempts: 9,
            delay: SignedDuration::from_secs(2),
            backoff: Backoff::Exponential,
            max_delay: SignedDuration::from_secs(10),
        };
        for (failures, expect) in [(1, 2.0), (2, 4.0), (3, 8.0), (4, 10.0), (60, 10.0)] {
            let got = ceiling(&retry, failures);
            assert!(got <= expect && got > expect * 0.98, "{failures}: {got}");
        }
        let below_half = (0..2000)
            .filter(|i| pause(&retry, 1, (&i.to_string(), "t")) < SignedDuration::from_secs(1))
            .count();
        assert!((900..1100).contains(&below_half), "{below_half}");
        let constant = Retry { backoff: Backoff::Constant, ..retry };
        assert!(ceiling(&constant, 5) <= 2.0);
    }
}
