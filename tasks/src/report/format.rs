//! Numbers and times as people read them: `1,234`, `$1.24 M`, `93.4 %`, `22 Nov 2026`.

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// Stands before a unit, so that a number and its unit stay on one line.
const NO_BREAK_SPACE: char = '\u{a0}';

/// How the numbers of a figure, an axis or a column are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Integer,
    Decimal,
    /// A share: 0.934 is written 93.4 %.
    Percent,
    Currency,
}

impl Format {
    pub(super) const WORDS: [(&'static str, Format); 4] = [
        ("integer", Format::Integer),
        ("decimal", Format::Decimal),
        ("percent", Format::Percent),
        ("currency", Format::Currency),
    ];
}

/// A format with the currency's symbol.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Numbers {
    pub(super) format: Format,
    pub(super) currency: String,
}

impl Numbers {
    pub(super) fn new(format: Format, currency: &str) -> Self {
        Numbers { format, currency: currency.into() }
    }

    /// The number as a table shows it.
    pub(super) fn exact(&self, value: f64) -> String {
        match self.format {
            Format::Integer => self.signed(value, &grouped(value.abs(), 0)),
            Format::Decimal => self.signed(value, &grouped(value.abs(), decimals(value))),
            Format::Currency => self.signed(value, &grouped(value.abs(), 2)),
            Format::Percent => percent(value, 1),
        }
    }

    /// The number as a heading or a label shows it: exactly if it is short, else with three figures
    /// that count.
    pub(super) fn short(&self, value: f64) -> String {
        if self.format == Format::Percent {
            return percent(value, 1);
        }
        let size = value.abs();
        if size >= 99_999.5 {
            let rounded = three_figures(size);
            let (unit, name) = unit(rounded);
            let scaled = rounded / unit;
            let number = trimmed(scaled, figures_left(scaled));
            return self.signed(value, &format!("{number}{NO_BREAK_SPACE}{name}"));
        }
        let places = match self.format {
            Format::Integer => 0,
            Format::Currency if size >= 999.995 => 0,
            Format::Currency => 2,
            _ => figures_left(size),
        };
        self.signed(value, &grouped(size, places))
    }

    /// The labels of values that stand beside one another: in one unit, if the largest needs one.
    pub(super) fn labels(&self, values: &[Option<f64>]) -> Vec<String> {
        let largest = values.iter().flatten().fold(0.0_f64, |most, value| most.max(value.abs()));
        let (unit, name) = unit(three_figures(largest));
        let in_unit = self.format != Format::Percent && largest >= 99_999.5;
        let label = |value: f64| {
            if !in_unit || value == 0.0 {
                return self.short(value);
            }
            let scaled = three_figures(value.abs()) / unit;
            let number = grouped(scaled, figures_left(scaled).min(1));
            self.signed(value, &format!("{number}{NO_BREAK_SPACE}{name}"))
        };
        values.iter().map(|value| value.map(label).unwrap_or_default()).collect()
    }

    /// The labels of an axis' ticks, in one unit and with as many decimals as they need.
    pub(super) fn ticks(&self, values: &[f64]) -> Vec<String> {
        let scale = if self.format == Format::Percent { 100.0 } else { 1.0 };
        let largest = values.iter().fold(0.0_f64, |most, value| most.max((value * scale).abs()));
        let (unit, name) = if scale == 1.0 { unit(largest) } else { (1.0, "%") };
        let scaled: Vec<f64> = values.iter().map(|value| value * scale / unit).collect();
        let places = (0..=6)
            .find(|places| {
                let power = 10_f64.powi(*places);
                scaled.iter().all(|value| {
                    (value * power - (value * power).round()).abs() < 1e-6 * power.max(1.0)
                })
            })
            .unwrap_or(6) as usize;
        let label = |value: &f64| {
            if *value == 0.0 {
                return "0".to_owned();
            }
            let number = grouped(value.abs(), places);
            let text =
                if name.is_empty() { number } else { format!("{number}{NO_BREAK_SPACE}{name}") };
            self.signed(*value, &text)
        };
        scaled.iter().map(label).collect()
    }

    /// The sign, the currency's symbol and the number, in this order.
    fn signed(&self, value: f64, text: &str) -> String {
        let is_zero = text.chars().all(|c| matches!(c, '0' | '.' | ','));
        let sign = if value < 0.0 && !is_zero { "\u{2212}" } else { "" };
        let symbol = if self.format == Format::Currency { self.currency.as_str() } else { "" };
        let space = if symbol.chars().count() > 1 { "\u{a0}" } else { "" };
        format!("{sign}{symbol}{space}{text}")
    }
}

/// Microseconds.
pub(super) const DAY: i64 = 86_400_000_000;

/// How finely times differ, and so how much of them is worth writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Grain {
    Month,
    Day,
    Instant,
}

impl Grain {
    pub(super) fn of(times: impl Iterator<Item = i64> + Clone) -> Self {
        if !times.clone().all(|at| at.rem_euclid(DAY) == 0) {
            return Grain::Instant;
        }
        let mut distinct: Vec<i64> = times.collect();
        distinct.sort_unstable();
        distinct.dedup();
        // One first of a month alone may as well be a day.
        match distinct.len() > 1 && distinct.iter().all(|at| civil(*at).day() == 1) {
            true => Grain::Month,
            false => Grain::Day,
        }
    }
}

/// A change from one number to another: `+4.2 %`, or `+0.4 points` between shares.
pub(super) fn change(from: f64, to: f64, format: Format) -> Option<String> {
    let (amount, unit) = match format {
        Format::Percent => ((to - from) * 100.0, "points"),
        _ if from == 0.0 => return None,
        _ => ((to - from) / from.abs() * 100.0, "%"),
    };
    let sign = match (amount * 10.0).round() {
        rounded if rounded > 0.0 => "+",
        rounded if rounded < 0.0 => "\u{2212}",
        _ => "\u{b1}",
    };
    Some(format!("{sign}{}{NO_BREAK_SPACE}{unit}", grouped(amount.abs(), 1)))
}

/// A time in UTC, as a civil one.
pub(super) fn civil(micros: i64) -> DateTime {
    let timestamp = Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH);
    TimeZone::UTC.to_datetime(timestamp)
}

/// `22 Nov 2026`; `22 Nov 2026, 16:20` where the hour matters, `Nov 2026` where even the day
/// does not.
pub(super) fn time(micros: i64, grain: Grain) -> String {
    let pattern = match grain {
        Grain::Month => "%b %Y",
        Grain::Day => "%-d %b %Y",
        Grain::Instant => "%-d %b %Y, %H:%M",
    };
    civil(micros).strftime(pattern).to_string()
}

fn percent(value: f64, places: usize) -> String {
    let sign = if value < 0.0 { "\u{2212}" } else { "" };
    format!("{sign}{}{NO_BREAK_SPACE}%", trimmed(value.abs() * 100.0, places))
}

/// Thousands, millions, billions, as far as the number needs one.
fn unit(value: f64) -> (f64, &'static str) {
    match value {
        value if value >= 1e9 => (1e9, "bn"),
        value if value >= 1e6 => (1e6, "M"),
        value if value >= 1e4 => (1e3, "k"),
        _ => (1.0, ""),
    }
}

fn three_figures(value: f64) -> f64 {
    if value == 0.0 || !value.is_finite() {
        return value;
    }
    let power = 10_f64.powi(2 - value.log10().floor() as i32);
    (value * power).round() / power
}

/// Decimals that leave three figures that count, at most two.
fn figures_left(value: f64) -> usize {
    match value {
        value if value >= 100.0 => 0,
        value if value >= 10.0 => 1,
        _ => 2,
    }
}

fn decimals(value: f64) -> usize {
    let size = value.abs();
    if size == 0.0 || size >= 0.01 { 2 } else { (2 - size.log10().floor() as i32).min(9) as usize }
}

/// Without zeros that say nothing at its end.
fn trimmed(value: f64, places: usize) -> String {
    let text = grouped(value, places);
    if !text.contains('.') {
        return text;
    }
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// With a comma between thousands. `value` is not negative.
fn grouped(value: f64, places: usize) -> String {
    let text = format!("{value:.places$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut grouped = String::with_capacity(text.len() + whole.len() / 3);
    for (i, digit) in whole.chars().enumerate() {
        if i > 0 && (whole.len() - i).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    if !fraction.is_empty() {
        grouped.push('.');
        grouped.push_str(fraction);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        text.replace(NO_BREAK_SPACE, " ").replace('\u{2212}', "-")
    }

    fn check(format: Format, value: f64, exact: &str, short: &str) {
        let numbers = Numbers::new(format, "$");
        assert_eq!(plain(&numbers.exact(value)), exact, "{value} exactly");
        assert_eq!(plain(&numbers.short(value)), short, "{value} in short");
    }

    #[test]
    fn numbers() {
        check(Format::Integer, 0.0, "0", "0");
        check(Format::Integer, 9_876.0, "9,876", "9,876");
        check(Format::Integer, 1_234_567.0, "1,234,567", "1.23 M");
        check(Format::Integer, 999_950.0, "999,950", "1 M");
        check(Format::Integer, 388_400.0, "388,400", "388 k");
        check(Format::Integer, -12_345.0, "-12,345", "-12,345");
        check(Format::Decimal, 4.1234, "4.12", "4.12");
        check(Format::Decimal, 0.001234, "0.00123", "0.00");
        check(Format::Currency, 1_234.56, "$1,234.56", "$1,235");
        check(Format::Currency, 87.05, "$87.05", "$87.05");
        check(Format::Currency, -2_500_000.0, "-$2,500,000.00", "-$2.5 M");
        check(Format::Currency, -0.001, "$0.00", "$0.00");
        check(Format::Percent, 0.934, "93.4 %", "93.4 %");
        check(Format::Percent, 1.0, "100 %", "100 %");
        check(Format::Integer, 3.2e9, "3,200,000,000", "3.2 bn");
    }

    #[test]
    fn ticks_share_a_unit() {
        let labels = |format, values: &[f64]| {
            let labels = Numbers::new(format, "$").ticks(values);
            plain(&labels.join(" | "))
        };
        assert_eq!(labels(Format::Integer, &[0.0, 5e5, 1e6]), "0 | 0.5 M | 1.0 M");
        assert_eq!(labels(Format::Currency, &[0.0, 50_000.0, 1e5]), "0 | $50 k | $100 k");
        assert_eq!(labels(Format::Percent, &[0.0, 0.05, 0.1]), "0 | 5 % | 10 %");
        assert_eq!(labels(Format::Decimal, &[3.5, 4.0, 4.5]), "3.5 | 4.0 | 4.5");
        assert_eq!(labels(Format::Integer, &[-200.0, 0.0, 200.0]), "-200 | 0 | 200");
    }

    #[test]
    fn labels_share_a_unit() {
        let labels = |values: &[f64]| {
            let values: Vec<Option<f64>> = values.iter().copied().map(Some).collect();
            plain(&Numbers::new(Format::Integer, "$").labels(&values).join(" | "))
        };
        assert_eq!(labels(&[360_123.0, 69_829.0, 480.0, 0.0]), "360 k | 69.8 k | 0.5 k | 0");
        assert_eq!(labels(&[9_360.0, 69_829.0]), "9,360 | 69,829");
    }

    #[test]
    fn changes() {
        let change = |from, to, format| plain(&change(from, to, format).unwrap_or_default());
        assert_eq!(change(100.0, 104.2, Format::Currency), "+4.2 %");
        assert_eq!(change(100.0, 80.0, Format::Integer), "-20.0 %");
        assert_eq!(change(0.5, 0.504, Format::Percent), "+0.4 points");
        assert_eq!(change(0.0, 5.0, Format::Integer), "");
    }

    #[test]
    fn times() {
        let noon = "2026-11-22T12:30:00Z".parse::<Timestamp>().unwrap().as_microsecond();
        assert_eq!(time(noon, Grain::Day), "22 Nov 2026");
        assert_eq!(time(noon, Grain::Instant), "22 Nov 2026, 12:30");
        assert_eq!(time(noon, Grain::Month), "Nov 2026");
        let grain = |days: &[i64]| Grain::of(days.iter().map(|day| day * DAY));
        assert_eq!(grain(&[0, 31, 59, 0]), Grain::Month);
        assert_eq!(grain(&[0, 31, 60]), Grain::Day);
        assert_eq!(grain(&[0]), Grain::Day);
        assert_eq!(Grain::of([0, 5].into_iter()), Grain::Instant);
    }
}
