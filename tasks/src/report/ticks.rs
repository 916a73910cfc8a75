//! Where an axis has its ticks: round numbers, and the beginnings of hours, days and months.

use super::format::{Grain, civil};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan};

/// A range of numbers and the round numbers in it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Scale {
    pub(super) low: f64,
    pub(super) high: f64,
    pub(super) ticks: Vec<f64>,
}

impl Scale {
    /// About `count` ticks; the range is widened to begin and end at one.
    pub(super) fn around(low: f64, high: f64, count: usize) -> Self {
        let (low, high) = spread(low, high);
        Scale::steps(low, high, step(low, high, count))
    }

    /// As [`Scale::around`], with ticks at whole numbers only.
    pub(super) fn whole(low: f64, high: f64, count: usize) -> Self {
        let (low, high) = spread(low, high);
        Scale::steps(low, high, step(low, high, count).max(1.0))
    }

    fn steps(low: f64, high: f64, step: f64) -> Self {
        let (first, last) = ((low / step + 1e-9).floor(), (high / step - 1e-9).ceil());
        let ticks: Vec<f64> =
            (0..=(last - first) as i64).map(|i| round_to(first + i as f64, step)).collect();
        Scale { low: ticks[0], high: ticks[ticks.len() - 1], ticks }
    }

    /// About `count` ticks within exactly this range.
    pub(super) fn within(low: f64, high: f64, count: usize) -> Self {
        let (low, high) = spread(low, high);
        let step = step(low, high, count);
        let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
        let ticks = (0..=(last - first) as i64).map(|i| round_to(first + i as f64, step)).collect();
        Scale { low, high, ticks }
    }
}

/// Where all values are one, there is still room for it.
fn spread(low: f64, high: f64) -> (f64, f64) {
    if high > low {
        return (low, high);
    }
    if low == 0.0 { (0.0, 1.0) } else { (low - low.abs() / 2.0, low + low.abs() / 2.0) }
}

/// 1, 2, 2.5 or 5 times a power of ten. Not 2.5 itself: whole things have no halves.
fn step(low: f64, high: f64, count: usize) -> f64 {
    let rough = (high - low) / count.max(1) as f64;
    let power = 10_f64.powf(rough.log10().floor());
    let factor = match rough / power {
        ratio if ratio <= 1.0 => 1.0,
        ratio if ratio <= 2.0 => 2.0,
        ratio if ratio <= 2.5 && power != 1.0 => 2.5,
        ratio if ratio <= 5.0 => 5.0,
        _ => 10.0,
    };
    factor * power
}

/// `steps * step` without the dust of binary fractions: 0.3, not 0.30000000000000004.
fn round_to(steps: f64, step: f64) -> f64 {
    let value = steps * step;
    let power = 10_f64.powi((6 - step.log10().floor() as i32).clamp(-300, 300));
    let rounded = (value * power).round() / power;
    if rounded.is_finite() { rounded + 0.0 } else { value }
}

/// A tick of an axis of time: its label, and below it, where it changes, the larger unit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TimeTick {
    pub(super) micros: i64,
    pub(super) label: String,
    pub(super) below: Option<String>,
}

#[derive(Clone, Copy, PartialEq)]
enum Unit {
    Minutes(i64),
    Hours(i64),
    Days(i64),
    Months(i64),
    Years(i64),
}

/// The steps that calendars and clocks suggest, each with its length in seconds.
const STEPS: [(Unit, i64); 20] = [
    (Unit::Minutes(1), 60),
    (Unit::Minutes(5), 300),
    (Unit::Minutes(15), 900),
    (Unit::Minutes(30), 1_800),
    (Unit::Hours(1), 3_600),
    (Unit::Hours(3), 10_800),
    (Unit::Hours(6), 21_600),
    (Unit::Hours(12), 43_200),
    (Unit::Days(1), 86_400),
    (Unit::Days(2), 172_800),
    (Unit::Days(7), 604_800),
    (Unit::Days(14), 1_209_600),
    (Unit::Months(1), 2_629_746),
    (Unit::Months(2), 5_259_492),
    (Unit::Months(3), 7_889_238),
    (Unit::Months(6), 15_778_476),
    (Unit::Years(1), 31_556_952),
    (Unit::Years(2), 63_113_904),
    (Unit::Years(5), 157_784_760),
    (Unit::Years(10), 315_569_520),
];

/// At most `count` ticks in the range, given in microseconds since 1970 in UTC.
pub(super) fn times(low: i64, high: i64, grain: Grain, count: usize) -> Vec<TimeTick> {
    let seconds = (high - low) / 1_000_000;
    let fits = |(unit, length): &&(Unit, i64)| {
        let finer_than_data = match unit {
            Unit::Minutes(_) | Unit::Hours(_) => grain != Grain::Instant,
            Unit::Days(_) => grain == Grain::Month,
            Unit::Months(_) | Unit::Years(_) => false,
        };
        !finer_than_data && seconds / length < count.max(1) as i64
    };
    let unit = STEPS.iter().find(fits).map_or(Unit::Years(50), |(unit, _)| *unit);
    let (mut at, end) = (start(civil(low), unit), civil(high));
    let mut ticks = Vec::new();
    let mut above = None;
    while at <= end && ticks.len() <= 2 * count {
        if at >= civil(low) {
            let (label, larger) = label(at, unit);
            let below = larger.filter(|larger| above.as_ref() != Some(larger));
            if below.is_some() {
                above.clone_from(&below);
            }
            ticks.push(TimeTick { micros: micros(at), label, below });
        }
        let Ok(next) = at.checked_add(span(unit)) else { break };
        at = next;
    }
    ticks
}

/// The last beginning of such a step before the time.
fn start(at: DateTime, unit: Unit) -> DateTime {
    let date = at.date();
    match unit {
        Unit::Minutes(n) => {
            let minute = i64::from(at.minute()) / n * n;
            date.at(at.hour(), minute as i8, 0, 0)
        }
        Unit::Hours(n) => date.at((i64::from(at.hour()) / n * n) as i8, 0, 0, 0),
        Unit::Days(n) if n % 7 == 0 => {
            let monday = date.checked_sub(i64::from(date.weekday().to_monday_zero_offset()).days());
            monday.unwrap_or(date).at(0, 0, 0, 0)
        }
        Unit::Days(_) => date.at(0, 0, 0, 0),
        Unit::Months(n) => {
            let month = (i64::from(date.month()) - 1) / n * n + 1;
            jiff::civil::date(date.year(), month as i8, 1).at(0, 0, 0, 0)
        }
        Unit::Years(n) => {
            let year = i64::from(date.year()).div_euclid(n) * n;
            jiff::civil::date(year as i16, 1, 1).at(0, 0, 0, 0)
        }
    }
}

fn span(unit: Unit) -> Span {
    match unit {
        Unit::Minutes(n) => n.minutes(),
        Unit::Hours(n) => n.hours(),
        Unit::Days(n) => n.days(),
        Unit::Months(n) => n.months(),
        Unit::Years(n) => n.years(),
    }
}

fn label(at: DateTime, unit: Unit) -> (String, Option<String>) {
    let text = |pattern: &str| at.strftime(pattern).to_string();
    match unit {
        Unit::Minutes(_) | Unit::Hours(_) => (text("%H:%M"), Some(text("%-d %b %Y"))),
        Unit::Days(_) => (text("%-d %b"), Some(text("%Y"))),
        Unit::Months(_) => (text("%b"), Some(text("%Y"))),
        Unit::Years(_) => (text("%Y"), None),
    }
}

fn micros(at: DateTime) -> i64 {
    TimeZone::UTC.to_timestamp(at).map_or(0, |timestamp| timestamp.as_microsecond())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_numbers() {
        assert_eq!(Scale::around(0.0, 9.3, 5).ticks, [0.0, 2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(Scale::around(-3.0, 12.0, 4).ticks, [-5.0, 0.0, 5.0, 10.0, 15.0]);
        assert_eq!(Scale::around(0.0, 0.9, 4).ticks, [0.0, 0.25, 0.5, 0.75, 1.0]);
        assert_eq!(Scale::around(0.1, 0.32, 3).ticks, [0.1, 0.2, 0.3, 0.4]);
        assert_eq!(Scale::within(3.0, 17.0, 4).ticks, [5.0, 10.0, 15.0]);
        assert_eq!(Scale::whole(0.0, 2.0, 5).ticks, [0.0, 1.0, 2.0]);
        let flat = Scale::around(7.0, 7.0, 4);
        assert!(flat.low < 7.0 && flat.high > 7.0);
        assert_eq!(Scale::around(0.0, 0.0, 4).high, 1.0);
    }

    fn check(low: &str, high: &str, grain: Grain, expect: &str) {
        let micros = |text: &str| text.parse::<jiff::Timestamp>().unwrap().as_microsecond();
        let ticks = times(micros(low), micros(high), grain, 8);
        let text: Vec<String> = ticks
            .iter()
            .map(|tick| match &tick.below {
                Some(below) => format!("{}/{below}", tick.label),
                None => tick.label.clone(),
            })
            .collect();
        assert_eq!(text.join(" "), expect);
    }

    #[test]
    fn months_of_a_year() {
        check(
            "2025-11-24T00:00:00Z",
            "2026-11-23T00:00:00Z",
            Grain::Day,
            "Jan/2026 Mar May Jul Sep Nov",
        );
    }

    #[test]
    fn days_and_hours() {
        check(
            "2026-11-21T00:00:00Z",
            "2026-11-23T00:00:00Z",
            Grain::Day,
            "21 Nov/2026 22 Nov 23 Nov",
        );
        check(
            "2026-12-30T18:00:00Z",
            "2026-12-31T06:30:00Z",
            Grain::Instant,
            "18:00/30 Dec 2026 21:00 00:00/31 Dec 2026 03:00 06:00",
        );
        check(
            "1990-01-01T00:00:00Z",
            "2026-01-01T00:00:00Z",
            Grain::Day,
            "1990 1995 2000 2005 2010 2015 2020 2025",
        );
    }

    #[test]
    fn one_day_only() {
        check("2026-11-21T00:00:00Z", "2026-11-21T00:00:00Z", Grain::Day, "21 Nov/2026");
    }
}
