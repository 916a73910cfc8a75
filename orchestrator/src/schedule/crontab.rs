//! Fire times of a line of a crontab in a time zone.
//!
//! croner reads the line and finds the matching times of a clock that never changes. How they
//! become moments where clocks do change is the rule of this file:
//!
//! - A schedule whose minutes and hours are all *named* (`30 2`, `0,30 2,14`, `0-30 2`) is about times
//!   of day. Each fires once on each local day: at its first pass where the clocks go back, and
//!   where they go forward over it, right when they have.
//! - One with `*` or a step in minutes or hours follows elapsed time: it fires whenever the clock
//!   shows a time that matches, twice in an hour that is repeated, not at all in one left out.

use super::{Fault, words};
use cron::Cron;
use cron::errors::CronError;
use cron::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};
use jiff::{Timestamp, ToSpan};

#[derive(Clone, Debug)]
pub(super) struct Crontab {
    cron: Cron,
    /// Five fields, with a nickname such as `@daily` written out.
    fields: [String; 5],
    zone: TimeZone,
}

/// Nicknames as in crontab(5), without `@reboot`.
const NICKNAMES: [(&str, &str); 7] = [
    ("@yearly", "0 0 1 1 *"),
    ("@annually", "0 0 1 1 *"),
    ("@monthly", "0 0 1 * *"),
    ("@weekly", "0 0 * * 0"),
    ("@daily", "0 0 * * *"),
    ("@midnight", "0 0 * * *"),
    ("@hourly", "0 * * * *"),
];

/// What each field is called, and its smallest and largest number.
const FIELDS: [(&str, u16, u16); 5] = [
    ("minute", 0, 59),
    ("hour", 0, 23),
    ("day of the month", 1, 31),
    ("month", 1, 12),
    ("day of the week", 0, 7),
];

/// The names of months and of days of the week.
const MONTHS: &str = "jan feb mar apr may jun jul aug sep oct nov dec";
const DAYS: &str = "sun mon tue wed thu fri sat";

/// The first word that is no name of its field, in words, and what to write.
fn unknown_word(fields: &[String; 5]) -> Option<(String, String)> {
    fields.iter().zip(FIELDS).enumerate().find_map(|(index, (field, (name, least, most)))| {
        let names = match index {
            3 => MONTHS,
            4 => DAYS,
            _ => "",
        };
        let words = field.split(|c: char| !c.is_alphabetic()).filter(|word| word.len() > 1);
        let is_known = |word: &str| names.split(' ').any(|known| known.eq_ignore_ascii_case(word));
        let wrong = words.into_iter().find(|word| !is_known(word))?;
        let help = match names {
            "" => format!("write `*`, or numbers from {least} to {most}"),
            names => format!("write `*`, numbers from {least} to {most}, or names: {names}"),
        };
        Some((format!("`{wrong}` is no {name}"), help))
    })
}

/// The first number that is out of its field's range, in words, and what to write.
fn out_of_range(fields: &[String; 5]) -> Option<(String, String)> {
    fields.iter().zip(FIELDS).find_map(|(field, (name, least, most))| {
        // Behind `/` and `#` stand numbers of another meaning.
        let ranges = field.split(',').filter_map(|part| part.split(['/', '#']).next());
        let mut numbers = ranges.flat_map(|range| range.split('-')).filter_map(|n| n.parse().ok());
        let wrong = numbers.find(|number: &u16| !(least..=most).contains(number))?;
        let help = format!("write the {name} as a number from {least} to {most}, or `*` for each");
        Some((format!("the {name} is {least} to {most}, not {wrong}"), help))
    })
}

impl Crontab {
    pub(super) fn parse(text: &str, zone: TimeZone) -> Result<Crontab, Fault> {
        let fault =
            |message: String, help: &str| Fault { key: "cron", message, help: help.to_owned() };
        let text = text.trim();
        let line = match NICKNAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)) {
            Some((_, line)) => line,
            None if text.starts_with('@') => {
                let names: Vec<&str> = NICKNAMES.iter().map(|(name, _)| *name).collect();
                let help = format!("there are `{}`", names.join("`, `"));
                return Err(fault(format!("there is no nickname `{text}`"), &help));
            }
            None => text,
        };
        const SHAPE: &str =
            "write five fields: minute, hour, day of month, month, day of week, as in `30 2 * * *`";
        let fields: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let count = fields.len();
        let fields: [String; 5] = fields
            .try_into()
            .map_err(|_| fault(format!("`{text}` has {count} fields, not five"), SHAPE))?;
        if let Some((why, help)) = out_of_range(&fields).or_else(|| unknown_word(&fields)) {
            return Err(fault(format!("`{text}` is not a cron line: {why}"), &help));
        }
        let parser = CronParser::builder().seconds(Seconds::Disallowed).year(Year::Disallowed);
        let cron = parser.build().parse(line).map_err(|error| {
            let why = match error {
                CronError::InvalidPattern(why)
                | CronError::IllegalCharacters(why)
                | CronError::ComponentError(why) => why,
                other => other.to_string(),
            };
            fault(format!("`{text}` is not a cron line: {}", why.trim_end_matches('.')), SHAPE)
        })?;
        let crontab = Crontab { cron, fields, zone };
        // From the year 2000 on, which has every day that a year can have.
        if crontab.matching(DateTime::constant(2000, 1, 1, 0, 0, 0, 0), true).is_none() {
            return Err(fault(
                format!("`{text}` is never due: no month in it has such a day"),
                "correct the day of the month or the month",
            ));
        }
        Ok(crontab)
    }

    pub(super) fn zone(&self) -> &TimeZone {
        &self.zone
    }

    pub(super) fn words(&self) -> String {
        let zone = self.zone.iana_name().unwrap_or("UTC");
        format!("{} {zone}", words::of(&self.fields, &self.cron))
    }

    pub(super) fn next(&self, after: Timestamp) -> Option<Timestamp> {
        let elapses = |field: &String| field.contains(['*', '/']);
        match self.fields[..2].iter().any(elapses) {
            true => self.next_elapsed(after),
            false => self.next_named(after),
        }
    }

    /// The first time of an unchanging clock behind `from`, or at it, that matches.
    fn matching(&self, from: DateTime, inclusive: bool) -> Option<DateTime> {
        let from = from.to_zoned(TimeZone::UTC).ok()?;
        let next = self.cron.find_next_occurrence(&from, inclusive).ok()?;
        Some(next.datetime())
    }

    fn next_named(&self, after: Timestamp) -> Option<Timestamp> {
        // Later times of day never come to an earlier moment, so those behind this one suffice.
        let mut time = after.to_zoned(self.zone.clone()).datetime();
        loop {
            time = self.matching(time, false)?;
            if let Some(moment) = self.moment(time)
                && moment > after
            {
                return Some(moment);
            }
        }
    }

    /// When a named time of day fires. `None`: its day is left out (a zone that crosses the date
    /// line).
    fn moment(&self, time: DateTime) -> Option<Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(time);
        let AmbiguousOffset::Gap { before, .. } = ambiguous.offset() else {
            return ambiguous.earlier().ok();
        };
        let by_old_clock = before.to_timestamp(time).ok()?;
        let change = self.zone.preceding(by_old_clock.checked_add(1.second()).ok()?).next()?;
        let change = change.timestamp();
        let old = before.to_datetime(change.checked_sub(1.second()).ok()?).date();
        let new = change.to_zoned(self.zone.clone()).date();
        [old, new].contains(&time.date()).then_some(change)
    }

    fn next_elapsed(&self, after: Timestamp) -> Option<Timestamp> {
        // From one change of the clocks to the next they run like one that never changes.
        let (mut from, mut inclusive) = (after, false);
        loop {
            let offset = self.zone.to_offset(from);
            let until = self.zone.following(from).next().map(|change| change.timestamp());
            let time = self.matching(offset.to_datetime(from), inclusive)?;
            let moment = offset.to_timestamp(time).ok()?;
            match until {
                Some(until) if moment >= until => (from, inclusive) = (until, true),
                _ => return Some(moment),
            }
        }
    }
}
