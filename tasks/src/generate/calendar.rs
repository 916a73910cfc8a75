//! When people order: the intensity of orders over the period, and the way from a share of all
//! orders to a point in time.

use super::random::{hash, unit};
use jiff::civil::Date;

/// The span of time `[start, end)` in seconds since 1970, cut into slots of even intensity.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    start: i64,
    end: i64,
    slot_secs: i64,
    /// The share of all orders before each slot, and 1 at the end.
    before: Vec<f64>,
    first_day: i64,
    days: Vec<Day>,
}

/// What matters of a day.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Day {
    /// Months since year 0, so that prices can change with it.
    pub(super) month_number: u32,
    /// 0 is January.
    pub(super) month: usize,
    pub(super) sale: Sale,
    /// Parcels are late.
    pub(super) congested: bool,
    /// How many orders compared to a middling day.
    intensity: f64,
}

/// Whether the shop gives discounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sale {
    None,
    /// After Christmas and in July.
    Seasonal,
    BlackWeek,
}

pub(super) const DAY_SECS: i64 = 86_400;
const BY_MONTH: [f64; 12] =
    [0.88, 0.84, 0.90, 0.92, 0.95, 0.93, 0.98, 0.91, 0.96, 1.03, 1.18, 1.42];
/// From Monday on: people order most on Sunday and Monday, and more on Saturday than midweek.
const BY_WEEKDAY: [f64; 7] = [1.06, 0.94, 0.92, 0.94, 0.98, 1.08, 1.16];
/// By hour of the day, UTC, for a shop most of whose customers live in Europe and America.
const BY_HOUR: [f64; 24] = [
    0.62, 0.45, 0.34, 0.27, 0.25, 0.30, 0.45, 0.66, 0.88, 1.06, 1.16, 1.20, 1.24, 1.20, 1.18, 1.20,
    1.24, 1.32, 1.46, 1.62, 1.70, 1.58, 1.28, 0.92,
];

impl Calendar {
    /// `start < end`, in seconds since 1970; `key` seeds the noise of days and slots.
    pub(super) fn new(start: i64, end: i64, key: u64) -> Self {
        let slot_secs = if end - start <= 2 * DAY_SECS { 60 } else { 900 };
        let first_day = start.div_euclid(DAY_SECS);
        let last_day = (end - 1).div_euclid(DAY_SECS);
        let days: Vec<Day> = (first_day..=last_day).map(|day| Day::new(day, key)).collect();
        let mut before = vec![0.0];
        let mut sum = 0.0;
        for slot_start in (start..end).step_by(slot_secs as usize) {
            let secs = slot_secs.min(end - slot_start);
            let middle = slot_start + secs / 2;
            let day = &days[(middle.div_euclid(DAY_SECS) - first_day) as usize];
            let noise =
                0.85 + 0.3 * unit(hash(key ^ 0x510f, slot_start.div_euclid(slot_secs) as u64));
            sum += day.intensity * hour(middle.rem_euclid(DAY_SECS)) * noise * secs as f64;
            before.push(sum);
        }
        for share in &mut before {
            *share /= sum;
        }
        Calendar { start, end, slot_secs, before, first_day, days }
    }

    /// The time before which the share `share` (`0 <= share < 1`) of all orders lies, in seconds
    /// since 1970. `cursor` remembers the slot: calls in ascending order cost next to nothing.
    pub(super) fn time_at(&self, share: f64, cursor: &mut usize) -> i64 {
        let slots = self.before.len() - 1;
        let near = self.before[*cursor] <= share && *cursor + 8 < slots;
        if near && share < self.before[*cursor + 8] {
            while self.before[*cursor + 1] <= share {
                *cursor += 1;
            }
        } else {
            *cursor = self.before.partition_point(|&before| before <= share).clamp(1, slots) - 1;
        }
        let (from, to) = (self.before[*cursor], self.before[*cursor + 1]);
        let slot_start = self.start + *cursor as i64 * self.slot_secs;
        let secs = self.slot_secs.min(self.end - slot_start);
        let into = ((share - from) / (to - from) * secs as f64) as i64;
        slot_start + into.clamp(0, secs - 1)
    }

    /// The day of a time within the calendar.
    pub(super) fn day(&self, time: i64) -> &Day {
        &self.days[(time.div_euclid(DAY_SECS) - self.first_day) as usize]
    }
}

/// The intensity at a second of the day, straight from the middle of one hour to the next.
fn hour(second: i64) -> f64 {
    let position = (second + DAY_SECS - 1_800) % DAY_SECS;
    let (hour, into) = ((position / 3_600) as usize, (position % 3_600) as f64 / 3_600.0);
    BY_HOUR[hour] * (1.0 - into) + BY_HOUR[(hour + 1) % 24] * into
}

impl Day {
    /// `number`: days since 1970.
    fn new(number: i64, key: u64) -> Self {
        let date = date(number);
        let month = date.month() as usize - 1;
        // The month's level holds in its middle; between two middles it moves straight.
        let into = f64::from(date.day()) / f64::from(date.days_in_month()) - 0.5;
        let neighbour = if into < 0.0 { (month + 11) % 12 } else { (month + 1) % 12 };
        let season = BY_MONTH[month] * (1.0 - into.abs()) + BY_MONTH[neighbour] * into.abs();
        // 1970 began on a Thursday.
        let weekday = BY_WEEKDAY[(number + 3).rem_euclid(7) as usize];
        let noise = 0.95 + 0.1 * unit(hash(key ^ 0xda1, number as u64));
        let (special, sale) = special(date);
        let (m, d) = (date.month(), date.day());
        let congested = sale == Sale::BlackWeek || (m == 12 && (10..=27).contains(&d));
        Day {
            month_number: date.year() as u32 * 12 + month as u32,
            month,
            sale,
            congested,
            intensity: season * weekday * noise * special,
        }
    }
}

/// What a holiday or a campaign does to the orders of a day, and to its prices.
fn special(date: Date) -> (f64, Sale) {
    // Thanksgiving is the fourth Thursday of November; Black Friday the day after it.
    let first = Date::constant(date.year(), 11, 1);
    let to_thursday = (11 - first.weekday().to_monday_one_offset()) % 7;
    let black_friday = 1 + to_thursday + 21 + 1;
    let from_black_friday = if date.month() == 11 || date.month() == 12 {
        i32::from(date.day_of_year()) - i32::from(first.day_of_year()) + 1 - i32::from(black_friday)
    } else {
        i32::MAX
    };
    match (from_black_friday, date.month(), date.day()) {
        (0, ..) => (2.9, Sale::BlackWeek),
        (3, ..) => (2.4, Sale::BlackWeek),
        (-4..=2, ..) => (1.6, Sale::BlackWeek),
        (_, 12, 24) => (0.55, Sale::None),
        (_, 12, 25) => (0.35, Sale::None),
        (_, 12, 26) => (0.95, Sale::Seasonal),
        (_, 12, 27..=31) => (0.90, Sale::Seasonal),
        (_, 1, 1) => (0.60, Sale::Seasonal),
        (_, 1, 2..=14) => (1.10, Sale::Seasonal),
        (_, 2, 9..=13) => (1.12, Sale::None),
        (_, 7, 8..=21) => (1.15, Sale::Seasonal),
        _ => (1.0, Sale::None),
    }
}

/// The date of a day, counted from 1970.
pub(super) fn date(number: i64) -> Date {
    // Days are within the range that `settings` has checked.
    Date::constant(1970, 1, 1)
        .checked_add(jiff::Span::new().days(number))
        .unwrap_or(Date::constant(1970, 1, 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(date: &str) -> i64 {
        let date: Date = date.parse().unwrap();
        (date - Date::constant(1970, 1, 1)).get_days().into()
    }

    fn year() -> Calendar {
        Calendar::new(secs("2025-11-24") * DAY_SECS, secs("2026-11-24") * DAY_SECS, 7)
    }

    #[test]
    fn every_share_has_its_time_in_order() {
        let calendar = year();
        let (mut cursor, mut last) = (0, calendar.start);
        for i in 0..100_000 {
            let share = f64::from(i) / 100_000.0;
            let time = calendar.time_at(share, &mut cursor);
            assert!(time >= last && time < calendar.end, "{i}: {time} after {last}");
            assert_eq!(time, calendar.time_at(share, &mut 0));
            last = time;
        }
        assert_eq!(calendar.time_at(1.0 - f64::EPSILON, &mut 0), calendar.end - 1);
    }

    #[test]
    fn a_period_need_not_be_whole_slots() {
        let calendar = Calendar::new(1_000_000_007, 1_000_000_007 + 90, 1);
        assert_eq!(calendar.before.len(), 3);
        for i in 0..1000 {
            let time = calendar.time_at(f64::from(i) / 1000.0, &mut 0);
            assert!((calendar.start..calendar.end).contains(&time));
        }
    }

    #[test]
    fn weekdays_and_holidays_fall_where_they_should() {
        let special = |text: &str| special(text.parse().unwrap());
        assert_eq!(special("2026-11-27"), (2.9, Sale::BlackWeek));
        assert_eq!(special("2026-11-30"), (2.4, Sale::BlackWeek));
        // In 2024 Cyber Monday lay in December.
        assert_eq!(special("2024-11-29"), (2.9, Sale::BlackWeek));
        assert_eq!(special("2024-12-02"), (2.4, Sale::BlackWeek));
        assert_eq!(special("2026-11-22"), (1.0, Sale::None));
        assert_eq!(special("2026-12-25").0, 0.35);
        // A Sunday in spring against the Wednesday after it.
        let day = |text: &str| Day::new(secs(text), 7).intensity;
        assert!(day("2026-05-10") > 1.1 * day("2026-05-13"));
    }
}
