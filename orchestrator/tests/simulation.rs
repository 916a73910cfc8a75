//! The life of runs, simulated: random graphs, a virtual clock, attempts that fail as the seed
//! says, and a crash at every write of the journal. A failing seed is printed: put it into
//! `regressions`.

use jiff::{SignedDuration, Timestamp};
use orchestrator::event::{AttemptResult, Counts, ErrorClass, Event, TaskEnd};
use orchestrator::kind::Write;
use orchestrator::plan::{
    Backoff, Edge, EdgeReason, Interval, Plan, PlannedOutput, PlannedTask, Retry, TriggerRule,
};
use orchestrator::run::{Conditions, Phase, RunState};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tidemill_orchestrator as orchestrator;

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

fn task(name: String, random: &mut Random) -> PlannedTask {
    let rules = [
        TriggerRule::AllSuccess,
        TriggerRule::AllSuccess,
        TriggerRule::AllSuccess,
        TriggerRule::AllDone,
        TriggerRule::AnyFailed,
        TriggerRule::Always,
    ];
    PlannedTask {
        name,
        kind: "test".into(),
        options: serde_json::Value::Null,
        late: Vec::new(),
        inputs: Default::default(),
        outputs: Default::default(),
        when: random.chance(10).then(|| if random.chance(50) { "true" } else { "false" }.into()),
        skip: None,
        trigger_rule: rules[random.below(6) as usize],
        retry: Retry {
            attempts: 1 + random.below(3) as u32,
            delay: SignedDuration::from_secs(2),
            backoff: Backoff::Exponential,
            max_delay: SignedDuration::from_secs(60),
        },
        timeout: None,
    }
}

/// A random graph: edges lead from lower to higher numbers, some of them are streams.
fn plan(random: &mut Random) -> Plan {
    let count = 1 + random.below(12) as usize;
    let mut tasks: Vec<_> = (0..count).map(|i| task(format!("t{i}"), random)).collect();
    let mut edges = Vec::new();
    for to in 1..count {
        for from in 0..to {
            if !random.chance(25) {
                continue;
            }
            let reason = if random.chance(30) {
                let dataset: orchestrator::dataset::DatasetName =
                    format!("topic:{from}").parse().unwrap();
                let output = PlannedOutput {
                    dataset: dataset.clone(),
                    write: Write::Append,
                    replace_where: None,
                    partition_by: Vec::new(),
                    key: Vec::new(),
                };
                tasks[from].outputs.insert("topic".into(), output);
                // The plan refuses any other rule on the reader of a stream.
                tasks[to].trigger_rule = TriggerRule::AllSuccess;
                EdgeReason::Stream(dataset)
            } else {
                EdgeReason::Needs
            };
            edges.push(Edge { from, to, reason });
        }
    }
    let start = Timestamp::UNIX_EPOCH;
    Plan {
        pipeline: "simulated".into(),
        profile: "embedded".into(),
        params: Default::default(),
        interval: Interval { start, end: start },
        tasks,
        edges,
        order: (0..count).collect(),
        ..Plan::default()
    }
}

struct Literal;

impl Conditions for Literal {
    fn holds(&self, _state: &RunState, expression: &str) -> Result<bool, String> {
        expression.parse().map_err(|_| "not a literal".into())
    }
}

/// What a simulation varies.
#[derive(Clone, Copy)]
struct Faults {
    /// The process dies at this write of the journal, counted over the whole life.
    crash_at: Option<u64>,
    /// Somebody cancels the run at this write.
    cancel_at: Option<u64>,
}

/// A run in a virtual world.
struct World {
    seed: u64,
    plan: Arc<Plan>,
    jobs: usize,
    state: RunState,
    journal: Vec<Event>,
    writes: u64,
    faults: Faults,
    now: Timestamp,
    epoch: u64,
    /// Running attempts, by the time of their next act.
    running: BTreeMap<(Timestamp, String), Act>,
}

#[derive(Clone, Copy, Debug)]
enum Act {
    OpenTopic,
    End,
}

impl World {
    fn new(seed: u64, faults: Faults) -> World {
        let mut random = Random(seed);
        let plan = Arc::new(plan(&mut random));
        let jobs = 1 + random.below(4) as usize;
        let state = RunState::new(plan.clone(), seed.to_string(), jobs);
        let (now, running) = (Timestamp::UNIX_EPOCH, BTreeMap::new());
        let journal = Vec::new();
        World { seed, plan, jobs, state, journal, writes: 0, faults, now, epoch: 0, running }
    }

    /// Writes events that are applied; false if the process dies instead, and loses them.
    fn write(&mut self, events: Vec<Event>) -> bool {
        self.writes += 1;
        if self.faults.crash_at == Some(self.writes) {
            return false;
        }
        for event in &events {
            if let Event::AttemptStarted { task, .. } = event {
                self.check_start(task);
                let index = self.state.index_of(task).unwrap();
                let opens = !self.plan.tasks[index].outputs.is_empty();
                let act = if opens { Act::OpenTopic } else { Act::End };
                self.running.insert((self.later(task), task.clone()), act);
            }
        }
        self.journal.extend(events);
        self.check_slots();
        true
    }

    fn later(&self, task: &str) -> Timestamp {
        let mut random = Random(self.seed ^ task.len() as u64 ^ self.writes.rotate_left(17));
        self.now + SignedDuration::from_millis(1 + random.below(5000) as i64)
    }

    /// All before a task is decided when it starts.
    fn check_start(&self, task: &str) {
        let to = self.state.index_of(task).unwrap();
        for edge in self.plan.edges.iter().filter(|edge| edge.to == to) {
            let from = self.state.task(&self.plan.tasks[edge.from].name).unwrap();
            let ended = matches!(from.phase, Phase::Ended(_));
            let opened = from.outputs.values().all(|output| output.opened.is_some());
            let stream = matches!(edge.reason, EdgeReason::Stream(_));
            let needed = self.plan.edges.iter().any(|other| {
                other.from == edge.from && other.to == to && other.reason == EdgeReason::Needs
            });
            assert!(ended || (stream && opened && !needed), "{task} starts too early");
        }
    }

    fn check_slots(&self) {
        let reads_stream = |task: usize| {
            let into = |edge: &&Edge| edge.to == task;
            self.plan.edges.iter().filter(into).any(|edge| {
                let both = |other: &&Edge| other.from == edge.from && other.to == task;
                self.plan
                    .edges
                    .iter()
                    .filter(both)
                    .all(|other| matches!(other.reason, EdgeReason::Stream(_)))
            })
        };
        let running = self
            .state
            .tasks()
            .enumerate()
            .filter(|(index, (_, task))| task.phase == Phase::Running && !reads_stream(*index));
        assert!(running.count() <= self.jobs, "more attempts than --jobs");
    }

    /// What the attempt comes to: the same for the same number of failures before it, so that a
    /// crash changes nothing.
    fn result(&self, task: &str) -> AttemptResult {
        let state = self.state.task(task).unwrap();
        let key = self.state.index_of(task).unwrap() as u64;
        let mut random = Random(self.seed ^ (key << 32) ^ u64::from(state.failures) << 8);
        match random.below(10) {
            0 => failed(ErrorClass::Permanent),
            1..=3 => failed(ErrorClass::Transient),
            _ => {
                AttemptResult::Succeeded { values: Default::default(), report: Default::default() }
            }
        }
    }

    /// One step of a process: false if it dies.
    fn step(&mut self) -> bool {
        let mut events = Vec::new();
        if self.faults.cancel_at == Some(self.writes) && self.state.cancel_reason().is_none() {
            events.push(Event::CancelRequested { reason: "test".into() });
        } else if let Some(((at, task), act)) = self.running.pop_first() {
            self.now = self.now.max(at);
            events.push(self.act(&task, act));
        } else if let Some(at) = self.state.wakes_at() {
            self.now = self.now.max(at);
        }
        for event in &events {
            self.state.apply(event).unwrap();
        }
        events.extend(self.state.advance(self.now, &Literal));
        events.is_empty() || self.write(events)
    }

    fn act(&mut self, task: &str, act: Act) -> Event {
        let index = self.state.index_of(task).unwrap();
        let stopped = self.state.orphans().any(|orphan| orphan == index)
            || (self.state.cancel_reason().is_some()
                && self.plan.tasks[index].trigger_rule != TriggerRule::Always);
        let attempt = self.state.task(task).unwrap().attempts;
        let end = |result| Event::AttemptEnded {
            task: task.to_owned(),
            attempt,
            result,
            counts: Counts::default(),
        };
        if stopped {
            return end(AttemptResult::Cancelled);
        }
        match act {
            Act::OpenTopic => {
                self.running.insert((self.later(task), task.to_owned()), Act::End);
                Event::StreamOpened {
                    task: task.to_owned(),
                    output: "topic".into(),
                    dataset: format!("topic:{index}").parse().unwrap(),
                    start: BTreeMap::from([(0, 0)]),
                }
            }
            Act::End if self.waits_for_writer(index) => {
                // A reader ends only after its writers.
                self.running.insert((self.later(task), task.to_owned()), Act::End);
                Event::ReadPinned {
                    task: task.to_owned(),
                    input: "topic".into(),
                    dataset: "topic:x".parse().unwrap(),
                    version: None,
                }
            }
            Act::End => end(self.result(task)),
        }
    }

    fn waits_for_writer(&self, reader: usize) -> bool {
        self.plan.edges.iter().any(|edge| {
            let writer = self.state.task(&self.plan.tasks[edge.from].name).unwrap();
            edge.to == reader && !matches!(writer.phase, Phase::Ended(_))
        })
    }

    /// A new process takes the run over.
    fn recover(&mut self) {
        let mut state = RunState::new(self.plan.clone(), self.seed.to_string(), self.jobs);
        for event in &self.journal {
            state.apply(event).unwrap();
        }
        self.state = state;
        self.running.clear();
        self.epoch = self.state.epoch() + 1;
        let mut events = vec![Event::RunOwned { epoch: self.epoch, pid: 1 }];
        events.extend(self.state.lost_attempts());
        for event in &events {
            self.state.apply(event).unwrap();
        }
        if !self.write(events) {
            self.faults.crash_at = None;
            self.recover();
        }
    }

    /// Lives until the run has ended; returns the tasks' final states.
    fn live(mut self) -> (BTreeMap<String, TaskEnd>, u64) {
        self.recover();
        let mut steps = 0;
        while self.state.end().is_none() {
            if !self.step() {
                self.faults.crash_at = None;
                self.recover();
            }
            steps += 1;
            assert!(steps < 20_000, "the run is stuck: {:?}", self.state);
        }
        let ends = self.state.tasks().map(|(name, task)| match task.phase {
            Phase::Ended(end) => (name.to_owned(), end),
            other => panic!("{name} is {other:?} in a run that has ended"),
        });
        let ends = ends.collect();
        let mut replayed = RunState::new(self.plan.clone(), self.seed.to_string(), self.jobs);
        for event in &self.journal {
            replayed.apply(event).unwrap();
        }
        assert_eq!(replayed.end(), self.state.end());
        self.check_attempts();
        (ends, self.writes)
    }

    /// Each attempt that began has ended once, and no attempt follows a success.
    fn check_attempts(&self) {
        let mut open = BTreeSet::new();
        let mut succeeded = BTreeSet::new();
        for event in &self.journal {
            match event {
                Event::AttemptStarted { task, attempt } => {
                    assert!(!succeeded.contains(task), "{task} runs again after its success");
                    assert!(open.insert((task.clone(), *attempt)));
                }
                Event::AttemptEnded { task, attempt, result, .. } => {
                    assert!(open.remove(&(task.clone(), *attempt)));
                    if matches!(result, AttemptResult::Succeeded { .. }) {
                        succeeded.insert(task.clone());
                    }
                }
                _ => {}
            }
        }
        assert!(open.is_empty(), "attempts without an end: {open:?}");
    }
}

fn failed(class: ErrorClass) -> AttemptResult {
    AttemptResult::Failed { class, message: "as the seed says".into() }
}

const CALM: Faults = Faults { crash_at: None, cancel_at: None };

fn check_seed(seed: u64) {
    let (undisturbed, writes) = World::new(seed, CALM).live();
    for at in 1..=writes {
        let crash = Faults { crash_at: Some(at), cancel_at: None };
        let (crashed, _) = World::new(seed, crash).live();
        assert_eq!(undisturbed, crashed, "a crash at write {at} changes the run's result");
    }
    for at in 1..writes {
        let cancel = Faults { crash_at: None, cancel_at: Some(at) };
        World::new(seed, cancel).live();
        let both = Faults { crash_at: Some(at + 1), cancel_at: Some(at) };
        World::new(seed, both).live();
    }
}

#[test]
fn every_crash_and_every_cancellation_of_thousands_of_runs() {
    for seed in 0..3000 {
        let result = std::panic::catch_unwind(|| check_seed(seed));
        assert!(result.is_ok(), "seed {seed}");
    }
}
