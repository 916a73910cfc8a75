//! What a run costs beside its work: `cargo run --release -p tidemill-orchestrator --example
//! overhead`. Prints JSON: milliseconds in all, and per task. `cargo xtask bench` runs it.

use async_trait::async_trait;
use jiff::Timestamp;
use orchestrator::attempt::{Attempt, Outcome, Profile, Progress, RunContext, TaskError};
use orchestrator::kind::{Files, Kind, Kinds, Ports};
use orchestrator::load;
use orchestrator::plan::{self, Plan, PlanRequest};
use orchestrator::run::ownership::RunLock;
use orchestrator::run::{Driver, Observer, Run, RunState};
use orchestrator::store::{NewRun, Record, Store, Trigger};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Instant;
use tidemill_orchestrator as orchestrator;

/// A task that does nothing.
struct Nothing;

#[async_trait]
impl Kind for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    fn summary(&self) -> &'static str {
        "does nothing"
    }

    fn description(&self) -> &'static str {
        "Does nothing."
    }

    fn example(&self) -> &'static str {
        "name: nothing\ntasks: {a: {uses: nothing}}\n"
    }

    fn options(&self) -> schemars::Schema {
        schemars::json_schema!({ "type": "object", "additionalProperties": false })
    }

    fn ports(&self) -> Ports {
        Ports::default()
    }

    async fn run(&self, _attempt: &Attempt) -> Result<Outcome, TaskError> {
        Ok(Outcome::default())
    }
}

struct Blind;

impl Observer for Blind {
    fn events(&self, _state: &RunState, _records: &[Record]) {}
    fn progress(&self, _task: &str, _attempt: u32, _progress: &Arc<Progress>) {}
}

/// A pipeline of `count` tasks, each after the one that `before` names.
fn pipeline(count: usize, before: impl Fn(usize) -> Option<usize>) -> String {
    let mut text = String::from("name: overhead\ntasks:\n");
    for task in 0..count {
        let _ = match before(task) {
            Some(before) => writeln!(text, "  t{task}: {{uses: nothing, needs: [t{before}]}}"),
            None => writeln!(text, "  t{task}: {{uses: nothing}}"),
        };
    }
    text
}

fn plan_of(text: &str, kinds: &Kinds) -> Plan {
    let definition = load::from_text("overhead.yaml", text, Files::new(), kinds, &|_| None);
    let definition = definition.unwrap_or_else(|problems| panic!("{}", problems.render(false)));
    let request = PlanRequest::new(Timestamp::now());
    plan::plan(&definition, kinds, &request).map(|(plan, _)| plan).expect("a plan")
}

/// Runs the pipeline with every transition durable; milliseconds.
fn run(text: &str) -> f64 {
    let kinds = Kinds::new(vec![Arc::new(Nothing)]);
    let plan = Arc::new(plan_of(text, &kinds));
    let data = tempfile::tempdir().expect("a temporary directory");
    let mut store = Store::open(data.path()).expect("a store");
    let new = NewRun {
        id: "run".into(),
        pipeline: plan.pipeline.clone(),
        created_at: Timestamp::now(),
        interval: plan.interval,
        definition_digest: "digest".into(),
        definition: "{}".into(),
        request: "{}".into(),
        trigger: Trigger::Manual,
    };
    store.create_run(&new, 1, |_| false).expect("a store").expect("no other run");
    let lock = RunLock::acquire(data.path(), &new.id).expect("a lock").expect("no other owner");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let _in_tokio = runtime.enter();
    let run = Run {
        plan: plan.clone(),
        context: Arc::new(RunContext {
            id: new.id,
            pipeline: new.pipeline,
            interval: plan.interval,
            profile: Profile { name: "embedded".into(), settings: Default::default() },
            data_dir: data.path().to_owned(),
            project_dir: data.path().to_owned(),
        }),
        files: Arc::default(),
        env: Default::default(),
        kinds,
        jobs: 16,
        observer: Arc::new(Blind),
    };
    let start = Instant::now();
    let driver = Driver::take_over(run, lock, store).expect("the run");
    driver.finish().expect("the run ends");
    start.elapsed().as_secs_f64() * 1e3
}

fn main() {
    let chain = run(&pipeline(1_000, |task| task.checked_sub(1)));
    let fan_out = run(&pipeline(10_001, |task| (task > 0).then_some(0)));
    let text = pipeline(100_000, |task| task.checked_sub(10));
    let kinds = Kinds::new(vec![Arc::new(Nothing)]);
    let start = Instant::now();
    let planned = plan_of(&text, &kinds).tasks.len();
    let plan = start.elapsed().as_secs_f64() * 1e3;
    let result = serde_json::json!({
        "chain_1000": { "ms": chain, "ms_per_task": chain / 1e3 },
        "fan_out_10000": { "ms": fan_out, "ms_per_task": fan_out / 1e4 },
        "plan_100000": { "ms": plan, "tasks": planned },
    });
    println!("{result}");
}
