//! The form that starts a run, made from the params of the pipeline.

use crate::Site;
use crate::daemon::{Inspected, Start};
use crate::failure::Failure;
use crate::words::Clock;
use axum::extract::{Form, Path, State};
use axum::response::Redirect;
use jiff::civil::Date;
use orchestrator::spec::{Param, ParamKind};
use serde_json::Value;
use std::sync::Arc;

pub struct RunForm {
    pub fields: Vec<Field>,
    /// The day that the run is about if none is given.
    pub date: String,
    pub profiles: Vec<(String, bool)>,
}

pub struct Field {
    pub name: String,
    pub value: String,
    /// For the keyboard of a phone: `numeric`, `decimal` or `text`.
    pub mode: &'static str,
    /// The only values, each with whether it is the default.
    pub choices: Vec<(String, bool)>,
    pub help: String,
    pub required: bool,
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl RunForm {
    pub fn of(valid: &Inspected, clock: &Clock) -> RunForm {
        let params = valid.definition.params();
        let yesterday = orchestrator::plan::Interval::day_before(clock.now).start;
        let date = yesterday.to_zoned(jiff::tz::TimeZone::UTC).date().to_string();
        let default = &valid.plan.profile;
        RunForm {
            fields: params.iter().map(|(name, param)| Field::of(name, param)).collect(),
            date,
            profiles: (valid.definition.profiles.keys())
                .map(|name| (name.clone(), name == default))
                .collect(),
        }
    }
}

impl Field {
    fn of(name: &str, param: &Param) -> Field {
        let default = param.default.as_ref().map(shown).unwrap_or_default();
        let choices: Vec<Value> = match (&param.choices, param.kind) {
            (Some(choices), _) => choices.clone(),
            (None, ParamKind::Boolean) => vec![true.into(), false.into()],
            (None, _) => Vec::new(),
        };
        let kind = match param.kind {
            ParamKind::String => "",
            ParamKind::Integer => "A whole number",
            ParamKind::Number => "A number",
            ParamKind::Boolean => "",
        };
        let bounds = match (param.minimum, param.maximum) {
            (Some(least), Some(most)) => format!(" from {least} to {most}"),
            (Some(least), None) => format!(", at least {least}"),
            (None, Some(most)) => format!(", at most {most}"),
            (None, None) => String::new(),
        };
        let mut help = param.description.clone().unwrap_or_default();
        let about = match (kind, bounds.as_str()) {
            ("", "") => String::new(),
            ("", bounds) => bounds.trim_start_matches([',', ' ']).to_owned(),
            (kind, bounds) => format!("{kind}{bounds}"),
        };
        if !about.is_empty() {
            if !help.is_empty() {
                help = format!("{}. ", help.trim_end_matches('.'));
            }
            help.push_str(&format!("{about}."));
        }
        Field {
            name: name.to_owned(),
            mode: match param.kind {
                ParamKind::Integer if param.minimum.is_some_and(|least| least >= 0.0) => "numeric",
                ParamKind::Integer | ParamKind::Number => "decimal",
                ParamKind::String | ParamKind::Boolean => "text",
            },
            choices: choices
                .iter()
                .map(|choice| {
                    let text = shown(choice);
                    let is_default = text == default;
                    (text, is_default)
                })
                .collect(),
            help,
            required: param.default.is_none(),
            value: default,
        }
    }
}

/// Starts a run with the values of the form: `param.NAME`, `date` and `profile`; what is empty or
/// missing keeps its default.
pub async fn start(
    State(site): State<Arc<Site>>,
    Path(name): Path<String>,
    Form(values): Form<Vec<(String, String)>>,
) -> Result<Redirect, Failure> {
    let mut start = Start { pipeline: name, ..Start::default() };
    for (key, value) in values {
        match (key.as_str(), value.trim()) {
            (_, "") => {}
            ("date", date) => {
                let date: Date = date.parse().map_err(|_| {
                    Failure::bad_request(format!("`{date}` is not a date such as 2026-11-23"))
                })?;
                start.date = Some(date);
            }
            ("profile", profile) => start.profile = Some(profile.to_owned()),
            (key, _) => {
                if let Some(param) = key.strip_prefix("param.") {
                    start.set.push((param.to_owned(), value));
                }
            }
        }
    }
    let run = site.ask(move |site, _| Ok(site.daemon.start(start)?)).await?;
    Ok(Redirect::to(&format!("/runs/{run}")))
}
