//! The values of params: from the request, else from the file.

use super::planner::Planner;
use crate::diagnostic::{Code, Diagnostic};
use crate::schema::instead_of;
use crate::spec::{Param, ParamKind};
use serde_json::{Map, Number, Value};
use std::collections::{HashMap, HashSet};

pub(super) struct Params {
    pub(super) values: Map<String, Value>,
    /// Declared, but without a usable value; that is reported already.
    pub(super) lacking: HashSet<String>,
}

pub(super) fn resolve(planner: &mut Planner<'_>) -> Params {
    let spec = planner.spec;
    let mut values = Map::new();
    let mut lacking: HashSet<String> = spec.broken.clone();
    let mut set: HashMap<&str, &str> = HashMap::new();
    for (name, text) in &planner.request.set {
        if spec.pipeline.params.contains_key(name) || spec.broken.contains(name) {
            set.insert(name, text);
        } else {
            let span = spec.tree.entry("params").map(|params| params.key_span);
            let help = instead_of(name, spec.pipeline.params.keys().map(String::as_str));
            let message = format!("--set {name}: the pipeline has no param `{name}`");
            let problem = Diagnostic::error(Code::UnknownParam, message).help(help);
            planner.problems.push(match span {
                Some(span) => problem.at(planner.file(), span).path("params"),
                None => problem.in_file(planner.file()),
            });
        }
    }
    for (entry, (name, param)) in spec.entries("params").iter().zip(&spec.pipeline.params) {
        let path = ["params", name.as_str(), "default"];
        for (key, Misfit { code, message, help }) in contradictions(name, param) {
            let span = entry.node.place(&[key]);
            planner.error(code, span, &["params", name, key], message, help);
        }
        let own = param.default.as_ref().map(|value| judge(name, param, value.clone()));
        if let Some(Err(misfit)) = &own {
            let span = entry.node.place(&["default"]);
            let Misfit { code, message, help } = misfit.clone();
            planner.error(code, span, &path, message, help);
        }
        let value = match (set.get(name.as_str()), own) {
            (Some(text), _) => {
                let value = read(name, param, text).and_then(|value| judge(name, param, value));
                value.map_err(|misfit| {
                    let message = format!("--set {name}={text}: {}", misfit.message);
                    planner.error(Code::BadParam, entry.key_span, &path[..2], message, None);
                })
            }
            (None, Some(own)) => own.map_err(drop),
            (None, None) if spec.damaged.contains(name) => Err(()),
            (None, None) if planner.leeway.params => {
                if spec.pipeline.schedule.is_some() {
                    let message = format!("runs of the schedule have no value for `{name}`");
                    let help = Some("give it a `default`".to_owned());
                    planner.error(Code::MissingParam, entry.key_span, &path[..2], message, help);
                }
                Err(())
            }
            (None, None) => {
                let message = format!("the param `{name}` has no value");
                let help = Some(format!("give it one by --set {name}=…, or a `default`"));
                planner.error(Code::MissingParam, entry.key_span, &path[..2], message, help);
                Err(())
            }
        };
        match value {
            Ok(value) => drop(values.insert(name.clone(), value)),
            Err(()) => drop(lacking.insert(name.clone())),
        }
    }
    Params { values, lacking }
}

/// What of a param's own definition can't be: the key, and why.
fn contradictions(name: &str, param: &Param) -> Vec<(&'static str, Misfit)> {
    let misfit = |code, message, help| Misfit { code, message, help };
    let mut found = Vec::new();
    if let (Some(least), Some(most)) = (param.minimum, param.maximum)
        && least > most
    {
        let message = format!("no value of `{name}` is at least {least} and at most {most}");
        found.push(("maximum", misfit(Code::OutOfRange, message, None)));
    }
    let is_number = matches!(param.kind, ParamKind::Integer | ParamKind::Number);
    for (key, bound) in [("minimum", param.minimum), ("maximum", param.maximum)] {
        if bound.is_some() && !is_number {
            let message = format!("`{key}` is for numbers; `{name}` is {}", wanted(param.kind));
            let help = Some("remove it, or list the values with `enum`".to_owned());
            found.push((key, misfit(Code::BadParam, message, help)));
        }
    }
    let free = Param { choices: None, minimum: None, maximum: None, ..param.clone() };
    let choices = param.choices.iter().flatten();
    let misfits = choices.filter_map(|choice| judge(name, &free, choice.clone()).err());
    found.extend(misfits.take(1).map(|misfit| ("enum", misfit)));
    found
}

/// Why a value does not fit its param.
#[derive(Clone)]
struct Misfit {
    code: Code,
    message: String,
    help: Option<String>,
}

/// The value that a text on the command line stands for.
fn read(name: &str, param: &Param, text: &str) -> Result<Value, Misfit> {
    let plain = text.replace('_', "");
    let value = match param.kind {
        ParamKind::String => Some(Value::String(text.to_owned())),
        ParamKind::Integer => plain.parse::<i64>().ok().map(Value::from),
        ParamKind::Number => {
            let integer = plain.parse::<i64>().ok().map(Number::from);
            let float = || plain.parse::<f64>().ok().and_then(Number::from_f64);
            integer.or_else(float).map(Value::Number)
        }
        ParamKind::Boolean => match text {
            "true" => Some(Value::Bool(true)),
            "false" => Some(Value::Bool(false)),
            _ => None,
        },
    };
    let message = || format!("`{name}` must be {}, not `{text}`", wanted(param.kind));
    value.ok_or_else(|| Misfit { code: Code::BadParam, message: message(), help: None })
}

/// A value that fits the param's type and bounds, or why it does not.
fn judge(name: &str, param: &Param, value: Value) -> Result<Value, Misfit> {
    let misfit = |code, message| Err(Misfit { code, message, help: None });
    let fits = match param.kind {
        ParamKind::String => value.is_string(),
        ParamKind::Integer => value.is_i64() || value.is_u64(),
        ParamKind::Number => value.is_number(),
        ParamKind::Boolean => value.is_boolean(),
    };
    if !fits {
        let message = format!("`{name}` must be {}, not {}", wanted(param.kind), shown(&value));
        let help = match (param.kind, &value) {
            (ParamKind::String, Value::Number(_) | Value::Bool(_)) => {
                Some(format!("put it in quotes: \"{value}\""))
            }
            (ParamKind::Integer | ParamKind::Number, Value::String(text))
                if text.parse::<f64>().is_ok() =>
            {
                Some("remove the quotes".to_owned())
            }
            (ParamKind::Boolean, Value::String(_)) => {
                Some("YAML's words for it are `true` and `false`".to_owned())
            }
            _ => None,
        };
        return Err(Misfit { code: Code::WrongType, message, help });
    }
    let is_same = |choice: &Value| {
        *choice == value || (choice.is_number() && choice.as_f64() == value.as_f64())
    };
    if let Some(choices) = &param.choices
        && !choices.iter().any(is_same)
    {
        let all: Vec<String> = choices.iter().map(shown).collect();
        let message = format!("`{name}` must be one of {}, not {}", all.join(", "), shown(&value));
        return misfit(Code::NotAChoice, message);
    }
    if let Some(number) = value.as_f64() {
        if let Some(bound) = param.minimum.filter(|bound| number < *bound) {
            let message = format!("`{name}` must be at least {bound}, not {value}");
            return misfit(Code::OutOfRange, message);
        }
        if let Some(bound) = param.maximum.filter(|bound| number > *bound) {
            let message = format!("`{name}` must be at most {bound}, not {value}");
            return misfit(Code::OutOfRange, message);
        }
    }
    Ok(value)
}

/// A value in a message.
fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => format!("`{text}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "a mapping".to_owned(),
        other => format!("`{other}`"),
    }
}

fn wanted(kind: ParamKind) -> &'static str {
    match kind {
        ParamKind::String => "a text",
        ParamKind::Integer => "a whole number",
        ParamKind::Number => "a number",
        ParamKind::Boolean => "true or false",
    }
}
