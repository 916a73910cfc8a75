//! The pace of a stream: so many rows in so much time.

use std::str::FromStr;
use std::time::Duration;
use tokio::time::Instant;

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
    pub(super) fn new(rate: Rate, sent: u64) -> Self {
        let left = match rate {
            Rate::Unlimited => u64::MAX,
            Rate::Limited { rows, .. } => rows - sent % rows,
        };
        Pace { rate, filled: Instant::now(), left }
    }

    /// How many rows may be sent next, at most: more than 0, once [`Pace::ready`] has returned.
    pub(super) fn allowance(&self) -> u64 {
        match self.rate {
            Rate::Unlimited => u64::MAX,
            Rate::Limited { rows, .. } if self.left == 0 => rows,
            Rate::Limited { .. } => self.left,
        }
    }

    /// Returns when a row may be sent.
    pub(super) async fn ready(&mut self) {
        if let Rate::Limited { rows, per } = self.rate
            && self.left == 0
        {
            tokio::time::sleep_until(self.filled + per).await;
            self.filled = Instant::now();
            self.left = rows;
        }
    }

    /// Takes out what was sent.
    pub(super) fn take(&mut self, rows: u64) {
        if self.rate != Rate::Unlimited {
            self.left = self.left.saturating_sub(rows);
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

    /// Sends `total` rows as fast as it may; returns when each row was sent, in seconds.
    async fn times(rate: &str, sent: u64, total: u64) -> Vec<u64> {
        let begin = Instant::now();
        let mut pace = Pace::new(rate.parse().unwrap(), sent);
        let mut times = Vec::new();
        while (times.len() as u64) < total {
            pace.ready().await;
            let rows = pace.allowance().min(total - times.len() as u64).min(3);
            pace.take(rows);
            times.extend((0..rows).map(|_| begin.elapsed().as_secs()));
        }
        times
    }

    #[tokio::test(start_paused = true)]
    async fn sends_at_its_pace() {
        assert_eq!(times("4 rows / 10s", 0, 9).await, [0, 0, 0, 0, 10, 10, 10, 10, 20]);
        assert_eq!(times("unlimited", 0, 5).await, [0, 0, 0, 0, 0]);
    }

    #[tokio::test(start_paused = true)]
    async fn goes_on_inside_a_bucket() {
        assert_eq!(times("4 rows / 10s", 7, 6).await, [0, 10, 10, 10, 10, 20]);
        assert_eq!(times("4 rows / 10s", 8, 5).await, [0, 0, 0, 0, 10]);
    }

    #[tokio::test(start_paused = true)]
    async fn lost_time_is_not_made_up_for() {
        let begin = Instant::now();
        let mut pace = Pace::new("2 rows / 1s".parse().unwrap(), 0);
        pace.take(2);
        tokio::time::sleep(Duration::from_secs(60)).await;
        for expect in [60, 61, 62] {
            pace.ready().await;
            assert_eq!(begin.elapsed().as_secs(), expect);
            pace.take(2);
        }
    }
}
