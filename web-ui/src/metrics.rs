//! Prometheus: what the daemon has seen, and what the store holds.

use crate::Site;
use crate::failure::Failure;
use crate::runs;
use axum::extract::State;
use axum::http::header;
use axum::response::{IntoResponse, Response};
use jiff::SignedDuration;
use orchestrator::run::Timeline;
use orchestrator::store::{RunRow, RunStatus, Store, StoreError};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, text};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use std::fmt;
use std::sync::Arc;

/// The tasks of a pipeline with more are not told apart.
const MOST_TASKS: usize = 100;

/// What is counted since the daemon has begun. No label holds an id: there must be few of them.
pub struct Metrics {
    task_duration: Family<TaskLabels, Histogram>,
    schedule_delay: Family<PipelineLabels, Histogram>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TaskLabels {
    pipeline: String,
    task: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PipelineLabels {
    pipeline: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RunLabels {
    pipeline: String,
    state: String,
}

impl Default for Metrics {
    fn default() -> Metrics {
        // Seconds: tasks take from a moment to hours; a late fire is one by milliseconds.
        let tasks =
            || Histogram::new([0.1, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 14_400.0]);
        let delays =
            || Histogram::new([0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 5.0, 60.0, 3600.0]);
        Metrics {
            task_duration: Family::new_with_constructor(tasks),
            schedule_delay: Family::new_with_constructor(delays),
        }
    }
}

impl Metrics {
    /// Takes in a run that has ended.
    pub fn ended(&self, store: &mut Store, run: &RunRow) -> Result<(), StoreError> {
        let mut timeline = Timeline::default();
        let records = store.events(&run.id, 0)?;
        records.iter().for_each(|record| timeline.record(record));
        let ends = store.task_ends(&run.id)?;
        // Each name is a dozen lines in every answer.
        let has_few = ends.len() <= MOST_TASKS;
        for (task, _) in ends {
            if let Some(took) = timeline.task(&task, run.created_at) {
                let task = if has_few { task } else { String::new() };
                let labels = TaskLabels { pipeline: run.pipeline.clone(), task };
                self.task_duration.get_or_create(&labels).observe(took.as_secs_f64());
            }
        }
        Ok(())
    }

    /// A run was made so much later than it was due.
    pub fn delayed(&self, pipeline: &str, delay: SignedDuration) {
        let labels = PipelineLabels { pipeline: pipeline.to_owned() };
        self.schedule_delay.get_or_create(&labels).observe(delay.as_secs_f64().max(0.0));
    }
}

/// What the store holds at the moment of the question.
#[derive(Debug)]
struct Held {
    runs: Vec<(String, String, u64)>,
    active: u64,
    pipelines: u64,
    uptime: SignedDuration,
}

impl Collector for Held {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), fmt::Error> {
        let ended = self.runs.iter().filter(|(_, state, _)| state != "running");
        let counts: Vec<_> = ended
            .map(|(pipeline, state, count)| {
                let labels = RunLabels { pipeline: pipeline.clone(), state: state.clone() };
                (labels, ConstCounter::new(*count))
            })
            .collect();
        let mut family = encoder.encode_descriptor(
            "tidemill_runs",
            "Runs that have ended, by pipeline and state",
            None,
            prometheus_client::metrics::MetricType::Counter,
        )?;
        for (labels, counter) in counts {
            counter.encode(family.encode_family(&labels)?)?;
        }
        let mut gauge = |name: &str, help: &str, unit: Option<&Unit>, value: f64| {
            let gauge = ConstGauge::new(value);
            let encoder = encoder.encode_descriptor(name, help, unit, gauge.metric_type())?;
            gauge.encode(encoder)
        };
        gauge("tidemill_runs_active", "Runs that have a process", None, self.active as f64)?;
        gauge("tidemill_pipelines", "Valid pipelines of the daemon", None, self.pipelines as f64)?;
        let uptime = self.uptime.as_secs_f64();
        gauge("tidemill_uptime", "How long the daemon has been up", Some(&Unit::Seconds), uptime)
    }
}

pub(crate) async fn metrics(State(site): State<Arc<Site>>) -> Result<Response, Failure> {
    let held = site
        .ask(|site, store| {
            let open = store.open_runs()?;
            let running = |run: &&RunRow| runs::status(site, run) == RunStatus::Running;
            Ok(Held {
                runs: store.tally()?,
                active: open.iter().filter(running).count() as u64,
                pipelines: site.daemon.pipelines().iter().filter(|known| known.valid).count()
                    as u64,
                uptime: site.started.duration_until(jiff::Timestamp::now()),
            })
        })
        .await?;
    let mut registry = Registry::default();
    let Metrics { task_duration, schedule_delay } = &site.metrics;
    registry.register_with_unit(
        "tidemill_task_duration",
        "From the first attempt at a task to its end, of runs that ended since the daemon began",
        Unit::Seconds,
        task_duration.clone(),
    );
    registry.register_with_unit(
        "tidemill_schedule_delay",
        "How much later than due runs of schedules were made, since the daemon began",
        Unit::Seconds,
        schedule_delay.clone(),
    );
    registry.register_collector(Box::new(held));
    let mut text = String::new();
    text::encode(&mut text, &registry).map_err(|error| Failure::internal(error.to_string()))?;
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    Ok(([(header::CONTENT_TYPE, kind)], text).into_response())
}

/// Whether the daemon can do its work: its store answers.
pub(crate) async fn ready(State(site): State<Arc<Site>>) -> Result<&'static str, Failure> {
    site.ask(|_, store| Ok(store.version()?)).await?;
    Ok("ok\n")
}
