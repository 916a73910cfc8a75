//! A line of a crontab in words.

use cron::Cron;
use jiff::SignedDuration;

const DAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// Such as `every day at 02:00`: in our words for what most schedules are, in croner's for the rest.
pub(super) fn of(fields: &[String; 5], cron: &Cron) -> String {
    common(fields).unwrap_or_else(|| {
        let said = cron.describe();
        let said = said.trim_end_matches('.');
        let mut letters = said.chars();
        let first = letters.next().map(|letter| letter.to_ascii_lowercase());
        first.into_iter().chain(letters).collect()
    })
}

fn common([minute, hour, day, month, weekday]: &[String; 5]) -> Option<String> {
    if month != "*" || (day != "*" && weekday != "*") {
        return None;
    }
    let days = match (day.as_str(), weekday.as_str()) {
        ("*", "*") => None,
        ("*", weekday) => Some(weekdays(weekday)?),
        (day, _) => Some(format!("on day {} of the month", joined(&numbers(day, 31)?))),
    };
    let times = match (minute.as_str(), hour.as_str()) {
        ("*", "*") => "every minute".to_owned(),
        ("0", "*") => "every hour".to_owned(),
        (minute, "*") if minute.starts_with("*/") => {
            let step = minute[2..].parse().ok().filter(|step| 60 % step == 0)?;
            every(step, "minute")
        }
        (minute, "*") => format!("every hour at minute {}", joined(&numbers(minute, 59)?)),
        ("0", hour) if hour.starts_with("*/") => {
            let step = hour[2..].parse().ok().filter(|step| 24 % step == 0)?;
            every(step, "hour")
        }
        (minute, hour) => {
            let (minutes, hours) = (numbers(minute, 59)?, numbers(hour, 23)?);
            let at = |hour: u8| minutes.iter().map(move |minute| (hour, *minute));
            let times: Vec<String> =
                hours.iter().copied().flat_map(at).map(|(h, m)| format!("{h:02}:{m:02}")).collect();
            if times.len() > 6 {
                return None;
            }
            let at = format!("at {}", joined(&times));
            let day = days.unwrap_or_else(|| "every day".to_owned());
            return Some(format!("{day} {at}"));
        }
    };
    Some(match days {
        None => times,
        Some(days) => format!("{times}, {days}"),
    })
}

/// `every 15 minutes`, `every 1h 30m`
pub(super) fn pace(every: SignedDuration) -> String {
    let seconds = every.as_secs();
    let whole = |unit: i64| every.subsec_nanos() == 0 && seconds % unit == 0;
    match seconds {
        _ if whole(86_400) => self::every(seconds / 86_400, "day"),
        _ if whole(3600) => self::every(seconds / 3600, "hour"),
        _ if whole(60) => self::every(seconds / 60, "minute"),
        0..60 if whole(1) => self::every(seconds, "second"),
        _ => format!("every {every:#}"),
    }
}

fn every(step: i64, unit: &str) -> String {
    match step {
        1 => format!("every {unit}"),
        step => format!("every {step} {unit}s"),
    }
}

/// The numbers of a field that lists them.
fn numbers(field: &str, most: u8) -> Option<Vec<u8>> {
    let mut numbers: Vec<u8> =
        field.split(',').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    numbers.sort_unstable();
    numbers.dedup();
    numbers.iter().all(|number| *number <= most).then_some(numbers)
}

fn weekdays(field: &str) -> Option<String> {
    let day = |part: &str| {
        let named = DAYS.iter().position(|day| day[..3].eq_ignore_ascii_case(part));
        named.or_else(|| part.parse().ok().filter(|number: &usize| *number <= 7)).map(|day| day % 7)
    };
    if let Some((first, last)) = field.split_once('-') {
        let (first, last) = (day(first)?, day(last)?);
        return Some(format!("{} to {}", DAYS[first], DAYS[last]));
    }
    let mut days: Vec<usize> = field.split(',').map(day).collect::<Option<_>>()?;
    // The week begins on Monday.
    days.sort_by_key(|day| (day + 6) % 7);
    days.dedup();
    let names: Vec<&str> = days.iter().map(|day| DAYS[*day]).collect();
    Some(format!("every {}", joined(&names)))
}

/// `a`, `a and b`, `a, b and c`.
fn joined<T: std::fmt::Display>(values: &[T]) -> String {
    let texts: Vec<String> = values.iter().map(T::to_string).collect();
    match texts.split_last() {
        None => String::new(),
        Some((last, [])) => last.clone(),
        Some((last, before)) => format!("{} and {last}", before.join(", ")),
    }
}
