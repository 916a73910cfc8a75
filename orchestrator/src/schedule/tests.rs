//! Fire times, held against the rule that a schedule follows, written here a second time and in
//! another way: by looking at every moment.

use super::*;
use jiff::civil::{Date, DateTime, date};
use std::collections::{BTreeMap, BTreeSet};

fn timetable(cron: &str, zone: &str) -> Timetable {
    let schedule = Schedule {
        cron: Some(cron.to_owned()),
        timezone: Some(zone.to_owned()),
        ..Schedule::default()
    };
    Timetable::new(&schedule).unwrap_or_else(|fault| panic!("{cron}: {fault:?}"))
}

fn moment(text: &str) -> Timestamp {
    text.parse().unwrap()
}

/// The fire times in a span of time, as local time and offset.
fn fires(timetable: &Timetable, from: &str, until: &str) -> Vec<String> {
    let before = moment(from).checked_sub(1.second()).unwrap();
    let zone = timetable.zone();
    timetable
        .after(before)
        .take_while(|time| *time < moment(until))
        .map(|time| time.to_zoned(zone.clone()).strftime("%a %d %H:%M %:z").to_string())
        .collect()
}

#[test]
fn a_named_time_fires_once_in_both_nights() {
    let spring = |cron| {
        let timetable = timetable(cron, "Europe/Berlin");
        fires(&timetable, "2026-03-28T20:00Z", "2026-03-29T12:00Z")
    };
    assert_eq!(spring("30 2 * * *"), ["Sun 29 03:00 +02:00"]);
    assert_eq!(spring("30 2,14 * * *"), ["Sun 29 03:00 +02:00"]);
    assert_eq!(spring("30 1 * * *"), ["Sun 29 01:30 +01:00"]);
    assert_eq!(spring("0,30 2-3 * * *"), ["Sun 29 03:00 +02:00", "Sun 29 03:30 +02:00"]);
    let autumn = |cron| {
        let timetable = timetable(cron, "Europe/Berlin");
        fires(&timetable, "2026-10-24T20:00Z", "2026-10-25T12:00Z")
    };
    assert_eq!(autumn("30 2 * * *"), ["Sun 25 02:30 +02:00"]);
    assert_eq!(autumn("30 2,3 * * *"), ["Sun 25 02:30 +02:00", "Sun 25 03:30 +01:00"]);
}

#[test]
fn wildcards_and_steps_follow_elapsed_time() {
    let berlin = |cron| timetable(cron, "Europe/Berlin");
    let spring = |cron| fires(&berlin(cron), "2026-03-29T00:00Z", "2026-03-29T02:00Z");
    assert_eq!(spring("30 * * * *"), ["Sun 29 01:30 +01:00", "Sun 29 03:30 +02:00"]);
    assert_eq!(spring("*/30 2 * * *"), [""; 0]);
    let autumn = |cron| fires(&berlin(cron), "2026-10-25T00:00Z", "2026-10-25T02:00Z");
    assert_eq!(autumn("30 * * * *"), ["Sun 25 02:30 +02:00", "Sun 25 02:30 +01:00"]);
    assert_eq!(
        autumn("*/30 2 * * *"),
        [
            "Sun 25 02:00 +02:00",
            "Sun 25 02:30 +02:00",
            "Sun 25 02:00 +01:00",
            "Sun 25 02:30 +01:00"
        ]
    );
}

#[test]
fn a_day_that_a_zone_leaves_out_has_no_fire() {
    // Samoa went from Thursday 29 to Saturday 31 December 2011.
    let samoa = timetable("0 2 * * *", "Pacific/Apia");
    assert_eq!(
        fires(&samoa, "2011-12-29T00:00Z", "2011-12-31T00:00Z"),
        ["Thu 29 02:00 -10:00", "Sat 31 02:00 +14:00"]
    );
}

#[test]
fn the_dialect() {
    let utc = |cron| fires(&timetable(cron, "UTC"), "2026-11-01T00:00Z", "2026-11-16T00:00Z");
    // Sunday is 0 and 7.
    assert_eq!(utc("0 0 * * 0"), utc("0 0 * * 7"));
    assert_eq!(
        utc("0 0 * * sun"),
        ["Sun 01 00:00 +00:00", "Sun 08 00:00 +00:00", "Sun 15 00:00 +00:00"]
    );
    // The day of the month or the day of the week.
    assert_eq!(utc("0 0 3 * 0").len(), 4);
    assert_eq!(utc("@daily"), utc("0 0 * * *"));
    assert_eq!(
        utc("0 9-17/4 2 NOV *"),
        ["Mon 02 09:00 +00:00", "Mon 02 13:00 +00:00", "Mon 02 17:00 +00:00"]
    );
}

#[test]
fn what_is_wrong_is_said() {
    let fault = |cron: &str, zone: &str| {
        let schedule = Schedule {
            cron: Some(cron.to_owned()),
            timezone: Some(zone.to_owned()),
            ..Schedule::default()
        };
        let fault = Timetable::new(&schedule).unwrap_err();
        (fault.key, format!("{}; {}", fault.message, fault.help))
    };
    for (cron, words) in [
        ("0 2 * *", "has 4 fields, not five"),
        ("0 0 2 * * *", "has 6 fields, not five"),
        ("61 2 * * *", "`61 2 * * *` is not a cron line: the minute is 0 to 59, not 61"),
        ("0-5/2 2 * 1,13 *", "the month is 1 to 12, not 13"),
        ("5-1 * * * *", "is not a cron line"),
        ("x * * * *", "is not a cron line"),
        ("@nightly", "`@daily`"),
        ("@reboot", "there is no nickname"),
        ("0 0 30 2 *", "never due"),
        ("", "has 0 fields"),
    ] {
        let (key, said) = fault(cron, "UTC");
        assert_eq!(key, "cron");
        assert!(said.contains(words), "{cron}: {said}");
    }
    assert_eq!(
        fault("0 2 * * *", "Europe/Berln").1,
        "there is no time zone `Europe/Berln`; did you mean `Europe/Berlin`?"
    );
    assert!(fault("0 2 * * *", "nowhere").1.contains("IANA"));
}

#[test]
fn a_pace_begins_with_1970() {
    let every = |text: &str| {
        let every = Some(crate::duration::Duration(crate::duration::parse(text).unwrap()));
        Timetable::new(&Schedule { every, ..Schedule::default() })
    };
    let quarter = every("15m").unwrap();
    assert_eq!(quarter.next(moment("2026-11-28T16:14:59.5Z")), Some(moment("2026-11-28T16:15Z")));
    assert_eq!(quarter.next(moment("2026-11-28T16:15Z")), Some(moment("2026-11-28T16:30Z")));
    assert_eq!(quarter.previous(moment("2026-11-28T16:15Z")), Some(moment("2026-11-28T16:00Z")));
    assert_eq!(quarter.next(moment("1969-12-31T23:50Z")), Some(moment("1970-01-01T00:00Z")));
    assert_eq!(quarter.words(), "every 15 minutes");
    assert_eq!(every("500ms").unwrap_err().key, "every");
}

#[test]
fn intervals_lie_one_behind_the_other() {
    for cron in ["30 2 * * *", "*/20 * * * *", "0 2 29 2 *", "0 0 1 * *", "15 3 * * 1-5"] {
        let timetable = timetable(cron, "America/New_York");
        let mut end = None;
        for fire in timetable.after(moment("2026-10-30T00:00Z")).take(10) {
            let interval = timetable.interval(fire);
            assert_eq!(interval.end, fire);
            assert!(end.is_none_or(|end| end == interval.start), "{cron}: {interval:?}");
            end = Some(fire);
        }
    }
}

#[test]
fn schedules_in_words() {
    for (cron, words) in [
        ("0 2 * * *", "every day at 02:00"),
        ("30 2,14 * * *", "every day at 02:30 and 14:30"),
        ("0 6 * * 1-5", "Monday to Friday at 06:00"),
        ("0 6 * * sun,1", "every Monday and Sunday at 06:00"),
        ("0 0 1 * *", "on day 1 of the month at 00:00"),
        ("*/15 * * * *", "every 15 minutes"),
        ("@hourly", "every hour"),
        ("5,35 * * * *", "every hour at minute 5 and 35"),
        ("0 */6 * * *", "every 6 hours"),
        ("* * * * *", "every minute"),
    ] {
        let zone = "Europe/Berlin";
        assert_eq!(timetable(cron, zone).words(), format!("{words} {zone}"), "{cron}");
    }
    // What is rare is left to croner.
    let words = timetable("7-56/7 3 */2 5 *", "UTC").words();
    assert!(words.contains("May") && words.ends_with("UTC"), "{words}");
}

#[test]
fn both_nights_are_known_ahead() {
    let berlin = timetable("0 2 * * *", "Europe/Berlin");
    let changes = berlin.clock_changes(moment("2026-11-28T00:00Z"));
    assert_eq!(changes, [moment("2027-03-28T01:00Z"), moment("2027-10-31T01:00Z")]);
    assert!(timetable("0 2 * * *", "Asia/Tokyo").clock_changes(Timestamp::UNIX_EPOCH).is_empty());
}

/// Minutes and hours of a schedule for every day, as the oracle reads them: lists and steps.
struct Pattern {
    text: &'static str,
    minutes: BTreeSet<i8>,
    hours: BTreeSet<i8>,
    is_named: bool,
}

impl Pattern {
    fn new(text: &'static str) -> Pattern {
        let set = |field: &str, most: i8| match field.strip_prefix("*/") {
            Some(step) => (0..most).step_by(step.parse().unwrap()).collect(),
            None if field == "*" => (0..most).collect(),
            None => field.split(',').map(|part| part.parse().unwrap()).collect(),
        };
        let (minute, rest) = text.split_once(' ').unwrap();
        let hour = rest.split(' ').next().unwrap();
        let is_named = !minute.contains('*') && !hour.contains('*');
        Pattern { text, minutes: set(minute, 60), hours: set(hour, 24), is_named }
    }

    fn shows(&self, time: DateTime) -> bool {
        self.minutes.contains(&time.minute()) && self.hours.contains(&time.hour())
    }

    /// By the rule: of moments with the time that the clock shows, in order and without a gap, those
    /// that fire.
    fn fires(&self, moments: &[(Timestamp, DateTime)]) -> BTreeSet<Timestamp> {
        if !self.is_named {
            let shown = moments.iter().filter(|(_, time)| self.shows(*time));
            return shown.map(|(moment, _)| *moment).collect();
        }
        let mut days: BTreeMap<Date, Vec<(Timestamp, DateTime)>> = BTreeMap::new();
        for (moment, time) in moments {
            days.entry(time.date()).or_default().push((*moment, *time));
        }
        let mut fires = BTreeSet::new();
        for day in days.keys() {
            for (hour, minute) in
                self.hours.iter().flat_map(|hour| self.minutes.iter().map(move |m| (hour, m)))
            {
                let named = day.at(*hour, *minute, 0, 0);
                let exact = moments.iter().find(|(_, time)| *time == named);
                // Left out by the clock: the first moment at which it shows a later time.
                let fire = exact.or_else(|| moments.iter().find(|(_, time)| *time > named));
                fires.extend(fire.map(|(moment, _)| *moment));
            }
        }
        fires
    }
}

/// In all time zones, around each change of clocks in 20 years.
#[test]
fn the_rule_holds_in_all_zones() {
    let patterns = [
        "30 2 * * *",
        "0 0 * * *",
        "30 2,14 * * *",
        "0,15,45 0,1,2,3,23 * * *",
        "0 * * * *",
        "*/15 * * * *",
        "*/30 2 * * *",
        "30 */3 * * *",
        "45 23 * * *",
    ]
    .map(Pattern::new);
    let (from, until) = (moment("2016-01-01T00:00Z"), moment("2036-01-01T00:00Z"));
    let mut seen = BTreeSet::new();
    let mut changes = 0;
    for name in jiff::tz::db().available() {
        let zone = TimeZone::get(name.as_str()).unwrap();
        let transitions: Vec<_> = zone
            .following(from)
            .take_while(|change| change.timestamp() < until)
            .map(|change| (change.timestamp(), change.offset()))
            .collect();
        // Many names mean the same clock.
        if !seen.insert(format!("{:?} {transitions:?}", zone.to_offset(from))) {
            continue;
        }
        for (change, _) in &transitions {
            changes += 1;
            let begin = change.as_second().div_euclid(900) * 900 - 48 * 3600;
            let at = |step: i64| Timestamp::from_second(begin + step * 900).unwrap();
            let shown = |moment: Timestamp| (moment, moment.to_zoned(zone.clone()).datetime());
            // Each quarter of an hour, and the changes, which may be in between.
            let mut times: BTreeSet<Timestamp> = (0..4 * 96).map(at).collect();
            times.extend(
                transitions
                    .iter()
                    .map(|(change, _)| *change)
                    .filter(|change| (at(0)..at(4 * 96)).contains(change)),
            );
            let moments: Vec<_> = times.into_iter().map(shown).collect();
            // Days at the edges are not whole; those next to them are looked at.
            let (first, last) = (at(96), at(3 * 96));
            for pattern in &patterns {
                let timetable = timetable(pattern.text, name.as_str());
                let expected: Vec<Timestamp> =
                    pattern.fires(&moments).range(first..last).copied().collect();
                let before = first.checked_sub(1.second()).unwrap();
                let found: Vec<Timestamp> =
                    timetable.after(before).take_while(|time| *time < last).collect();
                assert_eq!(found, expected, "{} in {name} around {change}", pattern.text);
            }
        }
    }
    assert!(changes > 1000, "{changes} changes of clocks in {} zones", seen.len());
}

#[test]
fn no_day_goes_without_its_fire() {
    let timetable = timetable("30 2 * * *", "America/Sao_Paulo");
    let days: Vec<Date> = timetable
        .after(moment("2016-01-01T12:00Z"))
        .take(3000)
        .map(|time| time.to_zoned(timetable.zone()).date())
        .collect();
    assert_eq!(days[0], date(2016, 1, 2));
    assert!(days.windows(2).all(|pair| pair[0].tomorrow().unwrap() == pair[1]));
}
