//! What `with:` says, and what it means.

use super::orders::Settings;
use indexmap::IndexMap;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};
use orchestrator::kind::Problem;
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;

/// The output for the truth about fraud; all others get orders.
pub(super) const TRUTH: &str = "truth";

/// Options of `uses: generate`.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Options {
    /// How many rows to make, dirty ones among them.
    #[schemars(range(min = 0, max = 1_000_000_000))]
    pub(super) rows: u64,
    /// The same seed gives the same rows; products and customers depend on nothing else.
    pub(super) seed: u64,
    /// All orders lie before this time: a timestamp (`2026-11-24T00:00:00Z`) or a date (its
    /// midnight in UTC). Default: the end of the run's interval.
    pub(super) until: Option<String>,
    /// How much time before `until` the orders cover.
    #[serde(rename = "for")]
    pub(super) period: Period,
    /// The share of rows with a defect: a missing customer or price, a negative price, a timestamp
    /// that can't be read, or an order that is already there.
    #[schemars(range(min = 0.0, max = 0.5))]
    pub(super) dirty: f64,
    /// The share of rows that are fraudulent.
    #[schemars(range(min = 0.0, max = 0.2))]
    pub(super) fraud: f64,
    /// How many different products there are.
    #[schemars(range(min = 1, max = 100_000))]
    pub(super) products: u32,
    /// How many different customers there are.
    #[schemars(range(min = 1, max = 100_000_000))]
    pub(super) customers: u32,
    /// Weights of the outputs, by name: `{part1: 3, part2: 1}` puts the first three quarters of the
    /// rows into `part1`. Default: equal weights.
    pub(super) split: IndexMap<String, f64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Period {
    /// The year before `until`.
    #[default]
    Year,
    /// The 24 hours before `until`.
    Day,
}

impl Default for Options {
    fn default() -> Self {
        Options {
            rows: 1_000_000,
            seed: 42,
            until: None,
            period: Period::Year,
            dirty: 0.005,
            fraud: 0.002,
            products: 5_000,
            customers: 200_000,
            split: IndexMap::new(),
        }
    }
}

/// Order ids hold the hours since 1970 in six digits, which this range keeps with room to spare.
const YEARS: Range<i16> = 1990..2080;

impl Options {
    /// The end of the period, if the options name it.
    pub(super) fn until(&self) -> Result<Option<Timestamp>, Problem> {
        let Some(text) = &self.until else { return Ok(None) };
        let problem = |message: String| Problem::new(["with", "until"], message);
        let until = time(text).ok_or_else(|| {
            problem(format!("`{text}` is not a timestamp"))
                .help("write it as `2026-11-24T00:00:00Z`, or as a date such as `2026-11-24`")
        })?;
        let year = until.to_zoned(TimeZone::UTC).year();
        if !YEARS.contains(&year) {
            let (first, last) = (YEARS.start, YEARS.end - 1);
            return Err(problem(format!("`{text}` is out of range"))
                .help(format!("orders can be made for the years {first} to {last}")));
        }
        Ok(Some(until))
    }

    /// What the rows are determined by. `interval_end`: where the period ends by default.
    pub(super) fn settings(&self, interval_end: Timestamp) -> Result<Settings, Problem> {
        let options = Options {
            until: Some(self.until.clone().unwrap_or_else(|| interval_end.to_string())),
            ..self.clone()
        };
        let until = options.until()?.unwrap_or(interval_end);
        let span = match self.period {
            Period::Year => 1.year(),
            Period::Day => 24.hours(),
        };
        // In range, for `until` is.
        let start = until.to_zoned(TimeZone::UTC).saturating_sub(span).timestamp();
        Ok(Settings {
            rows: self.rows,
            seed: self.seed,
            start: start.as_second(),
            end: until.as_second(),
            day: self.period == Period::Day,
            dirty: self.dirty,
            fraud: self.fraud,
            products: self.products,
            customers: self.customers,
        })
    }

    /// Which rows each of the outputs gets: consecutive ones, by weight, to the last row.
    pub(super) fn split(&self, outputs: &[&str]) -> Result<Vec<Range<u64>>, Vec<Problem>> {
        let problems = self.split_problems(outputs);
        if !problems.is_empty() {
            return Err(problems);
        }
        let weight = |output: &&str| self.split.get(*output).copied().unwrap_or(1.0);
        let total: f64 = outputs.iter().map(weight).sum();
        let (mut before, mut start) = (0.0, 0);
        let mut parts = Vec::new();
        for output in outputs {
            before += weight(output);
            let end = (before / total * self.rows as f64).round() as u64;
            parts.push(start..end);
            start = end;
        }
        Ok(parts)
    }

    fn split_problems(&self, outputs: &[&str]) -> Vec<Problem> {
        if outputs.is_empty() {
            return vec![
                Problem::new(["outputs"], "there is no output for the orders")
                    .help("add one, such as `part1: file:raw/orders.csv`"),
            ];
        }
        let mut problems = Vec::new();
        for (name, weight) in &self.split {
            let problem = |message| Problem::new(["with", "split", name], message);
            if name == TRUTH {
                problems.push(problem("`truth` gets the fraud, and no share of the rows".into()));
            } else if !outputs.contains(&name.as_str()) {
                problems.push(
                    problem(format!("there is no output `{name}`"))
                        .help(format!("the outputs for orders are {}", list(outputs))),
                );
            } else if !(weight.is_finite() && *weight >= 0.0) {
                problems.push(problem(format!("the weight `{weight}` is not a positive number")));
            }
        }
        if self.split.is_empty() || !problems.is_empty() {
            return problems;
        }
        for output in outputs.iter().filter(|output| !self.split.contains_key(**output)) {
            problems.push(
                Problem::new(["with", "split"], format!("output `{output}` has no weight"))
                    .help(format!("add `{output}: 1`, or `{output}: 0` to give it no rows")),
            );
        }
        if problems.is_empty() && self.split.values().sum::<f64>() == 0.0 {
            problems.push(Problem::new(["with", "split"], "all weights are 0"));
        }
        problems
    }
}

/// A timestamp, or the midnight of a date in UTC. A time without its zone is neither.
fn time(text: &str) -> Option<Timestamp> {
    let midnight = || Date::strptime("%Y-%m-%d", text).ok()?.to_zoned(TimeZone::UTC).ok();
    text.parse().ok().or_else(|| Some(midnight()?.timestamp()))
}

fn list(names: &[&str]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn options(value: serde_json::Value) -> Options {
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn periods() {
        let check = |value, start: &str, end: &str| {
            let interval_end = "2026-11-24T00:00:00Z".parse().unwrap();
            let settings = options(value).settings(interval_end).unwrap();
            let secs = |text: &str| text.parse::<Timestamp>().unwrap().as_second();
            assert_eq!((settings.start, settings.end), (secs(start), secs(end)));
        };
        check(json!({}), "2025-11-24T00:00:00Z", "2026-11-24T00:00:00Z");
        check(json!({"for": "day"}), "2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z");
        check(
            json!({"until": "2025-03-01T12:30:00+01:00"}),
            "2024-03-01T11:30:00Z",
            "2025-03-01T11:30:00Z",
        );
        check(
            json!({"for": "day", "until": "2024-02-29"}),
            "2024-02-28T00:00:00Z",
            "2024-02-29T00:00:00Z",
        );
        check(json!({"until": "2024-02-29"}), "2023-02-28T00:00:00Z", "2024-02-29T00:00:00Z");
    }

    #[test]
    fn bad_times() {
        let check = |until: &str, expect: &str| {
            let problem = options(json!({ "until": until })).until().unwrap_err();
            assert_eq!(problem.path, ["with", "until"]);
            assert!(problem.message.contains(expect), "{problem:?}");
        };
        check("yesterday", "is not a timestamp");
        check("2026-11-24T00:00:00", "is not a timestamp");
        check("", "is not a timestamp");
        check("1066-10-14", "out of range");
        check("2080-01-01T00:00:00Z", "out of range");
    }

    #[test]
    fn shares_sum_up_to_all_rows() {
        let check = |rows: u64, split, outputs: &[&str], expect: &[u64]| {
            let parts = options(json!({"rows": rows, "split": split})).split(outputs).unwrap();
            let lengths: Vec<u64> = parts.iter().map(|part| part.end - part.start).collect();
            assert_eq!(lengths, expect);
            assert_eq!(parts.last().unwrap().end, rows);
        };
        check(10, json!({}), &["a"], &[10]);
        check(10, json!({}), &["a", "b", "c"], &[3, 4, 3]);
        check(1, json!({}), &["a", "b"], &[1, 0]);
        check(0, json!({}), &["a", "b"], &[0, 0]);
        check(1000, json!({"a": 3, "b": 1}), &["b", "a"], &[250, 750]);
        check(1000, json!({"a": 1, "b": 0}), &["a", "b"], &[1000, 0]);
    }

    #[test]
    fn bad_shares() {
        let check = |split, expect: &[&str]| {
            let problems = options(json!({ "split": split })).split(&["a", "b"]).unwrap_err();
            let messages: Vec<&str> = problems.iter().map(|p| p.message.as_str()).collect();
            assert_eq!(messages, expect);
        };
        check(json!({"a": 1, "c": 1, "b": 1}), &["there is no output `c`"]);
        check(json!({"a": 1}), &["output `b` has no weight"]);
        check(json!({"a": 0, "b": 0}), &["all weights are 0"]);
        check(json!({"a": -1, "b": 2}), &["the weight `-1` is not a positive number"]);
        check(
            json!({"truth": 1, "c": 2}),
            &["`truth` gets the fraud, and no share of the rows", "there is no output `c`"],
        );
        let problems = options(json!({})).split(&[]).unwrap_err();
        assert_eq!(problems[0].path, ["outputs"]);
    }

    /// Plans the kind's example with `from` replaced by `to`.
    fn plan(from: &str, to: &str) -> Result<orchestrator::plan::Plan, String> {
        use crate::generate::Generate;
        use orchestrator::kind::{Files, Kind, Kinds};
        use orchestrator::plan::{PlanRequest, plan};
        let kinds = Kinds::new(vec![std::sync::Arc::new(Generate::default())]);
        let text = Generate::default().example().replace(from, to);
        let definition =
            orchestrator::load::from_text("p.yaml", &text, Files::new(), &kinds, &|_| None)
                .map_err(|problems| problems.render(false))?;
        let request = PlanRequest::new("2026-11-24T10:00:00Z".parse().unwrap());
        let planned = plan(&definition, &kinds, &request);
        let planned = planned.map_err(|problems| {
            let lines = problems.iter().map(|p| format!("{}: {}", p.path, p.message));
            lines.collect::<Vec<_>>().join("\n")
        })?;
        assert!(planned.1.is_empty(), "{:?}", planned.1);
        Ok(planned.0)
    }

    #[test]
    fn the_example_is_a_plan() {
        let plan = plan("", "").unwrap();
        assert_eq!(plan.tasks[0].outputs.len(), 3);
        assert_eq!(plan.tasks[0].options["rows"], 100_000);
    }

    #[test]
    fn nonsense_is_found_by_the_plan() {
        let check = |from: &str, to: &str, expect: &[&str]| {
            let got = plan(from, to).unwrap_err();
            for expect in expect {
                assert!(got.contains(expect), "{to}: {got}");
            }
        };
        check("latest: 1}", "late: 1}", &["split.late: there is no output `late`"]);
        check("\"${{ interval.end }}\"", "soon", &["with.until: `soon` is not a timestamp"]);
        check("dirty: 0.01", "dirty: 0.7", &["tasks.generate.with.dirty"]);
        check("dirty: 0.01", "for: month", &["tasks.generate.with.for"]);
        check("\"${{ params.rows }}\"", "2000000000", &["tasks.generate.with.rows"]);
        check("file:raw/latest.csv", "kv:latest", &["tasks.generate.outputs.latest"]);
        check("latest: 1}", "latest: -1}", &["with.split.latest: the weight `-1`"]);
        check("dirty: 0.01", "seeed: 3\n      fraud: 1", &["`seeed`", "with.fraud"]);
    }
}
