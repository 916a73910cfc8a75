//! When a pipeline is due next, and both nights on which the clocks change.

use crate::failure::Failure;
use crate::words::Clock;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use orchestrator::scheduler::Scheduled;
use orchestrator::store::{Fate, Store};

/// Next fires shown.
const NEXT: usize = 5;
/// What was decided lately.
const LATELY: usize = 10;

pub struct Preview {
    pub words: String,
    pub fires: Vec<Fire>,
}

pub struct Fire {
    pub at: String,
    pub about: String,
    pub note: String,
}

pub fn preview(
    store: &mut Store,
    name: &str,
    schedule: &Scheduled,
    paused: bool,
    clock: &Clock,
) -> Result<Preview, Failure> {
    let timetable = schedule.timetable();
    let zone = timetable.zone();
    let local = Clock { now: clock.now, zone: zone.clone() };
    let about = |at: Timestamp| format!("for {}", local.interval(timetable.interval(at), &zone));
    let moment =
        |at: Timestamp| at.to_zoned(zone.clone()).strftime("%a %-d %b %Y, %H:%M").to_string();
    let mut fires = Vec::new();
    let mut left_out = store.fires(name, LATELY)?;
    left_out.reverse();
    for row in left_out {
        let (at, count) = (moment(row.first), row.count);
        let note = match &row.fate {
            Fate::Run(_) => continue,
            Fate::Queued => "Waits for its run to begin.".to_owned(),
            Fate::LeftOut(why) => format!("Not run: {}.", why.sentence()),
        };
        let at = match count {
            1 => at,
            many => format!("{at} to {}", moment(row.last)) + &format!(", {many} times"),
        };
        fires.push(Fire { at, about: String::new(), note });
    }
    for (index, at) in timetable.after(clock.now).take(NEXT).enumerate() {
        let note = match (index, paused) {
            (_, true) => "Paused: will be left out.".to_owned(),
            (0, false) => clock.until(at),
            _ => String::new(),
        };
        fires.push(Fire { at: moment(at), about: about(at), note });
    }
    for change in timetable.clock_changes(clock.now) {
        let note = changed(change, &zone);
        // The fire nearest to the change says most; the one before it may be the wrong day's.
        let day = change.to_zoned(zone.clone()).start_of_day().map(|day| day.timestamp());
        let (Ok(first), Ok(end)) = (day, change.to_zoned(zone.clone()).tomorrow()) else {
            continue;
        };
        let before = first.checked_sub(1.second()).unwrap_or(first);
        let of_day = timetable.after(before).take_while(|at| *at < end.timestamp());
        let nearest = of_day.min_by_key(|at| at.duration_until(change).abs());
        match nearest {
            Some(at) => fires.push(Fire { at: moment(at), about: about(at), note }),
            None => fires.push(Fire {
                at: change.to_zoned(zone.clone()).strftime("%a %-d %b %Y").to_string(),
                about: String::new(),
                note: format!("{note} Nothing is due on that day."),
            }),
        }
    }
    Ok(Preview { words: timetable.words(), fires })
}

/// What the clocks do.
fn changed(at: Timestamp, zone: &TimeZone) -> String {
    let before = at.checked_sub(1.second()).unwrap_or(at);
    let (old, new) = (zone.to_offset(before), zone.to_offset(at));
    let (from, to) = (at.to_zoned(old.to_time_zone()), at.to_zoned(zone.clone()));
    let (from, to) = (from.strftime("%H:%M"), to.strftime("%H:%M"));
    match new > old {
        true => format!(
            "The clocks go forward from {from} to {to}: a time of day in between is due right \
             after the gap."
        ),
        false => format!(
            "The clocks go back from {from} to {to}: a time of day that comes twice is due at its \
             first pass only."
        ),
    }
}
