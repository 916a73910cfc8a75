use super::*;
use crate::plan::Interval;
use crate::store::{Fate, NewRun, Store, Trigger};
use serde_json::{Value, json};
use std::collections::BTreeMap;

fn scheduled(schedule: Value) -> Scheduled {
    let schedule = serde_json::from_value(schedule).unwrap();
    let timetable = Timetable::new(&schedule).unwrap();
    Scheduled::new(&schedule, timetable, 1)
}

fn time(text: &str) -> Timestamp {
    format!("2026-03-{text}Z").parse().unwrap()
}

fn waiting(due: Timestamp) -> Interval {
    Interval { start: due - SignedDuration::from_hours(1), end: due }
}

/// A decision in words: `queue 3`, the hours of what is run; `missed 1-2` of what is not.
fn told(decision: &Decision) -> String {
    let hour = |at: Timestamp| at.strftime("%H").to_string().trim_start_matches('0').to_owned();
    let queue: Vec<String> =
        decision.queue.iter().map(|run| format!("run {}", hour(run.end))).collect();
    let left = decision.left_out.iter().map(|row| {
        let LeftOut { first, last, count, why } = row;
        let span = match count {
            1 => hour(*first),
            count => format!("{}-{} ({count})", hour(*first), hour(*last)),
        };
        format!("{} {span}", why.as_str())
    });
    let replaces = decision.replaces_queued.then(|| "replace".to_owned());
    let cancel = decision.cancel.iter().map(|run| format!("cancel {run}"));
    left.chain(queue).chain(replaces).chain(cancel).collect::<Vec<_>>().join(", ")
}

#[test]
fn what_is_due_is_run_or_left_out() {
    let check = |schedule: Value, standing: Value, now: &str, expect: &str| {
        let mut schedule = schedule;
        schedule["cron"] = "0 * * * *".into();
        let list = |key: &str| standing[key].as_array().cloned().unwrap_or_default();
        let standing = Standing {
            decided_until: time("10T00:30:00"),
            paused: standing["paused"] == true,
            queued: list("queued").iter().map(|at| waiting(time(at.as_str().unwrap()))).collect(),
            active: list("active").iter().map(|run| run.as_str().unwrap().into()).collect(),
        };
        let decision = scheduled(schedule.clone()).decide(&standing, time(now), time(now));
        assert_eq!(told(&decision), expect, "{schedule} at {now}");
        assert!(decision.decided_until >= standing.decided_until);
    };
    let free = || json!({});
    check(json!({}), free(), "10T00:59:59", "");
    check(json!({}), free(), "10T01:00:00", "run 1");
    check(json!({}), free(), "10T01:01:00", "run 1");
    // Away for a while.
    check(json!({}), free(), "10T01:01:01", "missed 1");
    check(json!({}), free(), "10T04:00:10", "missed 1-3 (3), run 4");
    check(json!({"catch_up": "latest"}), free(), "10T03:30:00", "missed 1-2 (2), run 3");
    check(json!({"catch_up": "latest"}), free(), "10T04:00:10", "missed 1-3 (3), run 4");
    check(json!({"catch_up": "all"}), free(), "10T03:30:00", "run 1, run 2, run 3");
    let window = json!({"catch_up": "all", "window": "2h"});
    check(window, free(), "10T04:30:00", "too_old 1-2 (2), run 3, run 4");
    let window = json!({"catch_up": "latest", "window": "10m"});
    check(window, free(), "10T03:30:00", "too_old 1-3 (3)");
    // The clock was set back: nothing twice.
    check(json!({"catch_up": "all"}), free(), "09T20:00:00", "");
    // Others are active, or wait.
    let busy = || json!({"active": ["a"]});
    check(json!({}), busy(), "10T01:00:00", "run 1");
    check(json!({"overlap": "skip"}), busy(), "10T01:00:00", "overlap 1");
    check(json!({"overlap": "skip"}), free(), "10T01:00:00", "run 1");
    let waiting = json!({"queued": ["09T23:00:00"]});
    check(json!({"overlap": "skip"}), waiting, "10T01:00:00", "overlap 1");
    let cancel = || json!({"overlap": "cancel_running"});
    check(cancel(), busy(), "10T01:00:00", "run 1, replace, cancel a");
    check(cancel(), free(), "10T01:00:00", "run 1");
    let paused = json!({"paused": true, "active": ["a"]});
    check(json!({"catch_up": "all"}), paused, "10T03:00:00", "paused 1-3 (3)");
}

#[test]
fn a_fast_schedule_replaces_what_it_has_just_queued() {
    let fast = scheduled(json!({"every": "20s", "overlap": "cancel_running"}));
    let standing = Standing { decided_until: time("10T01:00:00"), ..Standing::default() };
    let decision = fast.decide(&standing, time("10T01:00:50"), time("10T01:00:50"));
    let last = Interval { start: time("10T01:00:20"), end: time("10T01:00:40") };
    assert_eq!(decision.queue, [last]);
    assert_eq!(decision.left_out.len(), 1);
    assert_eq!(
        (decision.left_out[0].first, decision.left_out[0].why),
        (time("10T01:00:20"), Why::Replaced)
    );
}

#[test]
fn what_was_due_while_the_daemon_could_not_decide_was_not_missed() {
    let hourly = scheduled(json!({"cron": "0 * * * *"}));
    let standing = Standing { decided_until: time("10T00:30:00"), ..Standing::default() };
    // From 02:00 on it was there, but the disk was full until 03:10.
    let decision = hourly.decide(&standing, time("10T03:10:00"), time("10T02:00:00"));
    assert_eq!(told(&decision), "missed 1, run 2, run 3");
}

#[test]
fn what_is_left_out_for_one_reason_is_one_row() {
    let hourly = scheduled(json!({"cron": "0 * * * *"}));
    let mut store = Store::in_memory().unwrap();
    store.standing(PIPELINE, hourly.identity(), time("10T00:30:00")).unwrap();
    let mut look = |hour: u32, paused: bool| {
        let now = time(&format!("10T{hour:02}:00:00"));
        store.set_paused(PIPELINE, paused, now).unwrap();
        let standing = store.standing(PIPELINE, hourly.identity(), now).unwrap();
        store.record_decision(PIPELINE, &hourly.decide(&standing, now, now), now).unwrap();
        let rows = store.fires(PIPELINE, 10).unwrap().into_iter().rev();
        rows.map(|row| row.count).collect::<Vec<_>>()
    };
    assert_eq!(look(1, true), [1]);
    assert_eq!(look(2, true), [2]);
    assert_eq!(look(5, true), [5]);
    assert_eq!(look(6, false), [5, 1]);
    assert_eq!(look(7, true), [5, 1, 1]);
    assert_eq!(look(8, true), [5, 1, 2]);
}

#[test]
fn a_run_that_others_have_started_keeps_a_fire_waiting() {
    let hourly = scheduled(json!({"cron": "0 * * * *"}));
    let mut store = Store::in_memory().unwrap();
    let now = time("10T01:00:00");
    store.standing(PIPELINE, hourly.identity(), time("10T00:30:00")).unwrap();
    let standing = store.standing(PIPELINE, hourly.identity(), now).unwrap();
    store.record_decision(PIPELINE, &hourly.decide(&standing, now, now), now).unwrap();
    let interval = hourly.timetable().interval(now);
    let by_hand = Interval { start: time("09T00:00:00"), end: time("10T00:00:00") };
    let by_hand = new_run("by_hand", by_hand, now);
    store.create_run(&by_hand, 1, |_| true).unwrap().unwrap();
    let run = new_run("r", interval, now);
    assert!(!store.start_fire(&run, 1, |_| true).unwrap());
    assert_eq!(store.fires(PIPELINE, 1).unwrap()[0].fate, Fate::Queued);
    assert!(store.start_fire(&run, 1, |_| false).unwrap());
    assert!(!store.start_fire(&run, 1, |_| false).unwrap(), "a fire has one run");
}

#[test]
fn a_schedule_that_is_changed_is_not_applied_to_the_past() {
    let mut store = Store::in_memory().unwrap();
    let (early, late) =
        (json!({"cron": "0 2 * * *"}), json!({"cron": "0 9 * * *", "catch_up": "all"}));
    let (early, late) = (scheduled(early), scheduled(late));
    store.standing("p", early.identity(), time("10T00:00:00")).unwrap();
    let now = time("10T10:00:00");
    let standing = store.standing("p", late.identity(), now).unwrap();
    assert_eq!(told(&late.decide(&standing, now, now)), "");
    let now = time("11T10:00:00");
    let standing = store.standing("p", late.identity(), now).unwrap();
    let decision = late.decide(&standing, now, now);
    assert_eq!(told(&decision), "run 9");
    // What waits keeps its interval.
    store.record_decision("p", &decision, now).unwrap();
    let standing = store.standing("p", early.identity(), now).unwrap();
    let interval = Interval { start: time("10T09:00:00"), end: time("11T09:00:00") };
    assert_eq!(standing.queued, [interval]);
}

/// SplitMix64, as in `tests/simulation.rs`.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// A machine with a clock that is set, sleeps and dies, and the runs on it.
struct World {
    store: Store,
    random: Random,
    now: Timestamp,
    /// When each active run ends.
    active: BTreeMap<String, Timestamp>,
    runs: u64,
}

const PIPELINE: &str = "p";

impl World {
    fn new(seed: u64) -> World {
        World {
            store: Store::in_memory().unwrap(),
            random: Random(seed),
            now: time("01T00:00:00") + SignedDuration::from_hours(24 * 31) * seed as i32,
            active: BTreeMap::new(),
            runs: 0,
        }
    }

    fn pass(&mut self, seconds: i64) {
        self.now += SignedDuration::from_secs(seconds);
        self.active.retain(|_, end| *end > self.now);
    }

    /// What the daemon does when it looks at a pipeline. The daemon may die at any write.
    fn look(&mut self, scheduled: &Scheduled) {
        let mut standing = self.store.standing(PIPELINE, scheduled.identity(), self.now).unwrap();
        standing.active = self.active.keys().cloned().collect();
        if scheduled.next(&standing).is_some_and(|next| next <= self.now) {
            if self.random.chance(3) {
                return;
            }
            let decision = scheduled.decide(&standing, self.now, self.now);
            self.store.record_decision(PIPELINE, &decision, self.now).unwrap();
            self.active.retain(|run, _| !decision.cancel.contains(run));
            if self.random.chance(3) {
                return;
            }
        }
        let mut standing = self.store.standing(PIPELINE, scheduled.identity(), self.now).unwrap();
        standing.active = self.active.keys().cloned().collect();
        let room = scheduled.room(&standing);
        for interval in standing.queued.iter().take(room) {
            self.runs += 1;
            let run = new_run(&format!("r{}", self.runs), *interval, self.now);
            let alive = |run: &str| self.active.contains_key(run);
            assert!(self.store.start_fire(&run, scheduled.max_active_runs(), alive).unwrap());
            let lasts = self.random.below(3 * 3600).cast_signed();
            self.active.insert(run.id, self.now + SignedDuration::from_secs(lasts));
        }
    }
}

fn new_run(id: &str, interval: Interval, now: Timestamp) -> NewRun {
    NewRun {
        id: id.into(),
        pipeline: PIPELINE.into(),
        created_at: now,
        interval,
        definition_digest: "d".into(),
        definition: "{}".into(),
        request: "{}".into(),
        trigger: Trigger::Schedule,
    }
}

/// Years of a daemon's life: every fire time has exactly one run or one reason, and the intervals
/// of runs follow one another.
#[test]
fn every_fire_has_one_run_or_one_reason() {
    let schedules = [
        json!({"cron": "30 2,14 * * *", "timezone": "Europe/Berlin", "catch_up": "all"}),
        json!({"cron": "15 * * * *", "timezone": "Australia/Lord_Howe", "catch_up": "latest"}),
        json!({"cron": "*/20 * * * *", "overlap": "skip"}),
        json!({"every": "45m", "overlap": "cancel_running", "catch_up": "all", "window": "3h"}),
    ];
    for seed in 0..12 {
        let schedule = &schedules[seed as usize % schedules.len()];
        let scheduled = scheduled(schedule.clone());
        let mut world = World::new(seed);
        let begun = world.now;
        world.look(&scheduled);
        for _ in 0..4000 {
            match world.random.below(100) {
                // The daemon was away, or the machine slept.
                0..5 => {
                    let away = world.random.below(40 * 3600).cast_signed();
                    world.pass(away);
                }
                // The clock was set back.
                5..8 => {
                    let back = world.random.below(2 * 3600).cast_signed();
                    world.pass(-back);
                }
                8..10 => {
                    let paused = world.random.chance(25);
                    world.store.set_paused(PIPELINE, paused, world.now).unwrap();
                }
                _ => {
                    let wait = world.random.below(1800).cast_signed();
                    world.pass(wait);
                }
            }
            world.look(&scheduled);
        }
        let standing = world.store.standing(PIPELINE, scheduled.identity(), world.now).unwrap();
        let mut fires = world.store.fires(PIPELINE, usize::MAX).unwrap();
        fires.reverse();
        let mut due = scheduled.timetable().after(begun);
        for row in &fires {
            let mut covered = due.by_ref().take(row.count as usize);
            assert_eq!(covered.next(), Some(row.first), "seed {seed}: {schedule}");
            assert_eq!(covered.last().unwrap_or(row.first), row.last, "seed {seed}: {schedule}");
        }
        assert!(due.next().unwrap() > standing.decided_until, "seed {seed}: {schedule}");
        let runs = fires.iter().filter(|row| matches!(row.fate, Fate::Run(_))).count();
        assert_eq!(runs as u64, world.runs, "seed {seed}: {schedule}");
        assert!(runs > 50, "seed {seed}: {schedule}: only {runs} runs");
        for row in &fires {
            let Interval { start, end } = scheduled.timetable().interval(row.first);
            assert_eq!(end, row.first);
            assert_eq!(scheduled.timetable().next(start), Some(end));
        }
    }
}
