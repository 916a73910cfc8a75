//! When the runs of a pipeline are due, and which interval each is about. Pure: time comes in.

mod crontab;
#[cfg(test)]
mod tests;
mod words;

use crate::plan::Interval;
use crate::spec::Schedule;
use crontab::Crontab;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// Whether and when runs are due: the fire times of a [`Schedule`].
#[derive(Clone, Debug)]
pub struct Timetable(Pace);

#[derive(Clone, Debug)]
enum Pace {
    Crontab(Box<Crontab>),
    /// At the multiples of a duration since 1970 began in UTC, so that it does not matter when one
    /// begins to count.
    Every(SignedDuration),
}

/// What is wrong with a schedule: the key to look at, and a sentence with the remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub key: &'static str,
    pub message: String,
    pub help: String,
}

/// The shortest pace: a run is a process.
const SHORTEST: SignedDuration = SignedDuration::from_secs(1);
/// How far back [`Timetable::previous`] looks: further than the 8 years that February 29 can be
/// away (1896 to 1904), or a day of the week on it (40 years).
const LONGEST: SignedDuration = SignedDuration::from_hours(24 * 366 * 41);

impl Timetable {
    /// The timetable of `schedule`, which has either `cron` or `every`.
    pub fn new(schedule: &Schedule) -> Result<Timetable, Fault> {
        if let Some(every) = schedule.every {
            if every.0 < SHORTEST {
                return Err(Fault {
                    key: "every",
                    message: "a schedule can't be faster than once a second".to_owned(),
                    help: "write a duration of 1s or more, such as `every: 15m`".to_owned(),
                });
            }
            return Ok(Timetable(Pace::Every(every.0)));
        }
        let zone = match schedule.timezone.as_deref() {
            None => TimeZone::UTC,
            Some(name) => TimeZone::get(name).map_err(|_| no_zone(name))?,
        };
        let text = schedule.cron.as_deref().unwrap_or_default();
        Ok(Timetable(Pace::Crontab(Box::new(Crontab::parse(text, zone)?))))
    }

    /// The first fire time after `after`. `None`: there is none before the year 5000.
    pub fn next(&self, after: Timestamp) -> Option<Timestamp> {
        match &self.0 {
            Pace::Crontab(crontab) => crontab.next(after),
            Pace::Every(every) => {
                let every = every.as_nanos();
                let next = (after.as_nanosecond().div_euclid(every) + 1) * every;
                Timestamp::from_nanosecond(next).ok()
            }
        }
    }

    /// The fire times after `after`, in their order.
    pub fn after(&self, after: Timestamp) -> impl Iterator<Item = Timestamp> + '_ {
        std::iter::successors(self.next(after), |last| self.next(*last))
    }

    /// The last fire time before `before`.
    pub fn previous(&self, before: Timestamp) -> Option<Timestamp> {
        let mut back = SignedDuration::from_mins(1);
        while back < LONGEST {
            let from = before.checked_sub(back).ok()?;
            if let Some(last) = self.after(from).take_while(|time| *time < before).last() {
                return Some(last);
            }
            back *= 4;
        }
        None
    }

    /// What the run that is due at `fire` is about: the time since the fire time before it.
    pub fn interval(&self, fire: Timestamp) -> Interval {
        let start = self.previous(fire).or_else(|| fire.checked_sub(24.hours()).ok());
        Interval { start: start.unwrap_or(fire), end: fire }
    }

    /// The time zone that people read the fire times in.
    pub fn zone(&self) -> TimeZone {
        match &self.0 {
            Pace::Crontab(crontab) => crontab.zone().clone(),
            Pace::Every(_) => TimeZone::UTC,
        }
    }

    /// In words, such as `every day at 02:00 Europe/Berlin`.
    pub fn words(&self) -> String {
        match &self.0 {
            Pace::Crontab(crontab) => crontab.words(),
            Pace::Every(every) => words::pace(*every),
        }
    }

    /// The next two moments after `after` at which the clocks of the time zone change.
    pub fn clock_changes(&self, after: Timestamp) -> Vec<Timestamp> {
        let zone = self.zone();
        let offset = |time: Timestamp| zone.to_offset(time);
        // Some transitions change no more than the zone's abbreviation.
        let changes = |time: &Timestamp| {
            let before = time.checked_sub(1.second()).unwrap_or(*time);
            offset(before) != offset(*time)
        };
        zone.following(after).map(|change| change.timestamp()).filter(changes).take(2).collect()
    }
}

/// The time zone of a schedule; UTC where there is none, or none of that name.
pub fn zone(schedule: Option<&Schedule>) -> TimeZone {
    let name = schedule.and_then(|schedule| schedule.timezone.as_deref());
    name.and_then(|name| TimeZone::get(name).ok()).unwrap_or(TimeZone::UTC)
}

fn no_zone(name: &str) -> Fault {
    let known = jiff::tz::db().available().map(|name| name.to_string());
    let near = known
        .map(|known| (strsim::jaro_winkler(&known.to_lowercase(), &name.to_lowercase()), known))
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b));
    Fault {
        key: "timezone",
        message: format!("there is no time zone `{name}`"),
        help: match near {
            Some((_, near)) => format!("did you mean `{near}`?"),
            None => "write a name of the IANA database, such as `Europe/Berlin`".to_owned(),
        },
    }
}
