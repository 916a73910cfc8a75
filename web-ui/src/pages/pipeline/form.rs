//! The form that starts a run, made from the params of the pipeline.

use super::PipelineQuery;
use crate::Site;
use crate::chrome::Taste;
use crate::daemon::{Inspected, Refusal, Start};
use crate::failure::Failure;
use crate::pages::render;
use axum::extract::{Form, Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use jiff::civil::Date;
use orchestrator::spec::{Param, ParamKind};
use serde_json::Value;
use std::sync::Arc;

pub struct RunForm {
    pub fields: Vec<Field>,
    /// The day that the run is about if none is given.
    pub date: String,
    /// The time zone that the day is of.
    pub zone: String,
    pub profiles: Vec<(String, bool)>,
    /// What is wrong with more than a field.
    pub wrong: Option<String>,
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
    /// What is wrong with the value that was given.
    pub wrong: Option<String>,
    /// Whether the page opens here.
    pub focus: bool,
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl RunForm {
    pub fn of(valid: &Inspected) -> RunForm {
        let params = valid.definition.params();
        let zone = valid.plan.zone();
        let date = valid.plan.interval.start.to_zoned(zone.clone()).date().to_string();
        let default = &valid.plan.profile;
        RunForm {
            fields: params.iter().map(|(name, param)| Field::of(name, param)).collect(),
            date,
            zone: zone.iana_name().unwrap_or("UTC").to_owned(),
            wrong: None,
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
            wrong: None,
            focus: false,
            value: default,
        }
    }
}

/// The values of the form: `param.NAME`, `date` and `profile`.
type Values = Vec<(String, String)>;

impl RunForm {
    /// The form with what was given, and what is wrong with it.
    pub fn refused(mut self, values: &Values, text: &str, params: &[(String, String)]) -> RunForm {
        for (key, value) in values {
            let choose = |choices: &mut Vec<(String, bool)>| {
                choices.iter_mut().for_each(|(choice, chosen)| *chosen = choice == value);
            };
            match key.as_str() {
                "date" => self.date.clone_from(value),
                "profile" => choose(&mut self.profiles),
                key => {
                    let name = key.strip_prefix("param.").unwrap_or_default();
                    if let Some(field) = self.fields.iter_mut().find(|field| field.name == name) {
                        field.value.clone_from(value);
                        choose(&mut field.choices);
                    }
                }
            }
        }
        let mut told = false;
        for (name, message) in params {
            if let Some(field) = self.fields.iter_mut().find(|field| field.name == *name) {
                field.focus = !told;
                field.wrong = Some(message.clone());
                told = true;
            }
        }
        // What is not of one field, such as an unknown profile, is told as a whole.
        let all_told = params.iter().all(|(name, _)| self.fields.iter().any(|f| f.name == *name));
        let count = text.lines().filter(|line| line.starts_with("error")).count();
        let is_whole = told && all_told && count <= params.len();
        self.wrong = (!is_whole).then(|| text.replace("--set ", ""));
        self
    }
}

/// Starts a run; what is empty or missing keeps its default.
pub async fn start(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Form(values): Form<Values>,
) -> Result<Response, Failure> {
    let taste = Taste::of(&headers);
    site.ask(move |site, store| {
        let start = read(name.clone(), &values)?;
        match site.daemon.start(start) {
            Ok(run) => Ok(Redirect::to(&format!("/runs/{run}")).into_response()),
            Err(Refusal::Invalid { text, params }) => {
                let mut page = super::view(site, store, &name, &PipelineQuery::default(), taste)?;
                page.chrome.is_live = false;
                page.form = page.form.map(|form| form.refused(&values, &text, &params));
                if page.form.is_none() {
                    return Err(Failure::new(StatusCode::UNPROCESSABLE_ENTITY, text));
                }
                Ok((StatusCode::UNPROCESSABLE_ENTITY, render(&page)?).into_response())
            }
            Err(refusal) => Err(refusal.into()),
        }
    })
    .await
}

fn read(pipeline: String, values: &Values) -> Result<Start, Failure> {
    let mut start = Start { pipeline, ..Start::default() };
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
                    start.set.push((param.to_owned(), value.clone()));
                }
            }
        }
    }
    Ok(start)
}
