//! The pace of a stream: so many rows in so much time.

use std::str::FromStr;
use std::time::{Duration, Instant};

/// A pace, such as `1000 rows / 10s`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rate {
    Unlimited,
    /// `rows` at once, and the next ones `per` later.
    Limited {
        rows: u64,
        per: Duration,
    },
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a pace: {why}; write it as `1000 rows / 10s`, or `unlimited`")]
pub(super) struct RateError {
    text: String,
    why: &'static str,
}

impl FromStr for Rate {
    type Err = RateError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |why| RateError { text: text.into(), why };
        if text.trim() == "unlimited" {
            return Ok(Rate::Unlimited);
        }
        let (rows, per) = text.split_once('/').ok_or_else(|| error("it has no `/`"))?;
        let rows = rows.trim();
        let digits = rows.strip_suffix("rows").or_else(|| rows.strip_suffix("row"));
        let digits = digits.ok_or_else(|| error("it counts no `rows`"))?.trim().replace('_', "");
        let rows = digits.parse().map_err(|_| error("its rows are no whole number"))?;
        if rows == 0 {
            return Err(error("no rows would ever be sent"));
        }
        let per = per.trim();
        // `1000 rows / s` means one second, as people say it.
        let starts_with_a_number = per.starts_with(|c: char| c.is_ascii_digit());
        let per = if starts_with_a_number { per.to_owned() } else { format!("1{per}") };
        let per = per.parse::<jiff::SignedDuration>().ok().and_then(|per| per.try_into().ok());
        let per: Duration = per.ok_or_else(|| error("its time is no duration, such as `10s`"))?;
        if per.is_zero() {
            return Err(error("its time is zero"));
        }
        Ok(Rate::Limited { rows, per })
    }
}

/// A bucket of `rows` tokens, which is filled again `per` after its first one was taken. Time
/// that nobody used is not saved up.
#[derive(Debug)]
pub(super) struct Pace {
    rate: Rate,
    /// When the bucket was filled, and what is left in it.
    filled: Instant,
    left: u64,
}

impl Pace {
    /// Goes on behind `sent` rows: a bucket that was half used before is half full now.
    pub(super) fn new(rate: Rate, sent: u64, now: Instant) -> Self {
        let left = match rate {
            Rate::Unlimited => u64::MAX,
            Rate::Limited { rows, .. } => rows - sent % rows,
        };
        Pace { rate, filled: now, left }
    }

    /// How many rows may be sent next, at most; more than 0.
    pub(super) fn allowance(&self) -> u64 {
        match self.rate {
            Rate::Limited { rows, .. } if self.left == 0 => rows,
            _ => self.left,
        }
    }

    /// When they may be sent; `None`: at once.
    pub(super) fn due(&self) -> Option<Instant> {
        match self.rate {
            Rate::Limited { per, .. } if self.left == 0 => Some(self.filled + per),
            _ => None,
        }
    }

    /// Takes out what is sent now.
    pub(super) fn take(&mut self, sent: u64, now: Instant) {
        if let Rate::Limited { rows, .. } = self.rate {
            if self.left == 0 {
                self.filled = now;
                self.left = rows;
            }
            self.left = self.left.saturating_sub(sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        let got = match text.parse() {
            Ok(Rate::Unlimited) => "unlimited".into(),
            Ok(Rate::Limited { rows, per }) => format!("{rows} in {per:?}"),
            Err(error) => RateError::to_string(&error),
        };
        assert!(got.contains(expect), "{text}: {got}");
    }

    #[test]
    fn paces() {
        check("unlimited", "unlimited");
        check("1000 rows / 10s", "1000 in 10s");
        check("1_000 rows/500ms", "1000 in 500ms");
        check("1 row / s", "1 in 1s");
        check("60 rows / 1m 30s", "60 in 90s");
        check("20 rows / minute", "20 in 60s");
        check("fast", "has no `/`");
        check("1000 / 10s", "counts no `rows`");
        check("many rows / 10s", "no whole number");
        check("-5 rows / 10s", "no whole number");
        check("1.5 rows / 10s", "no whole number");
        check("0 rows / 10s", "no rows would ever");
        check("10 rows / soon", "is no duration");
        check("10 rows / -1s", "is no duration");
        check("10 rows / 0s", "is zero");
        check("10 rows / 10", "is no duration");
    }

    /// Sends `total` rows in threes as soon as it may, the first one after `idle` seconds; returns
    /// when each row was sent, in seconds.
    fn times(rate: &str, sent: u64, idle: u64, total: usize) -> Vec<u64> {
        let begin = Instant::now();
        let mut pace = Pace::new(rate.parse().unwrap(), sent, begin);
        let mut now = begin + Duration::from_secs(idle);
        let mut times = Vec::new();
        while times.len() < total {
            let rows = pace.allowance().min((total - times.len()) as u64).min(3);
            now = pace.due().unwrap_or(now).max(now);
            pace.take(rows, now);
            times.extend((0..rows).map(|_| (now - begin).as_secs()));
        }
        times
    }

    #[test]
    fn sends_at_its_pace() {
        assert_eq!(times("4 rows / 10s", 0, 0, 9), [0, 0, 0, 0, 10, 10, 10, 10, 20]);
        assert_eq!(times("unlimited", 0, 0, 5), [0, 0, 0, 0, 0]);
    }

    #[test]
    fn goes_on_inside_a_bucket() {
        assert_eq!(times("4 rows / 10s", 7, 0, 6), [0, 10, 10, 10, 10, 20]);
        assert_eq!(times("4 rows / 10s", 8, 0, 5), [0, 0, 0, 0, 10]);
    }

    #[test]
    fn lost_time_is_not_made_up_for() {
        assert_eq!(times("2 rows / 1s", 0, 60, 7), [60, 60, 60, 60, 61, 61, 62]);
    }
}
