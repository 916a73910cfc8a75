//! The JSON Schema of pipelines, for editors: made of the same types that the program reads with.

use super::Pipeline;
use crate::kind::Kinds;
use serde_json::{Map, Value, json};

/// The schema of a pipeline, where `uses` decides which options `with` has.
///
/// Editors check a text before expressions are rendered, so an option of any type may also be a
/// text that holds an expression.
pub fn pipeline_schema(kinds: &Kinds) -> Value {
    let mut schema = schemars::schema_for!(Pipeline).to_value();
    let mut definitions = Map::new();
    let mut cases = Vec::new();
    let mut names = Vec::new();
    for kind in kinds.iter() {
        let name = kind.name();
        names.push(json!({"const": name, "description": kind.summary()}));
        let mut options = kind.options().to_value();
        rename(&mut options, name);
        if let Some(Value::Object(inner)) = options.as_object_mut().and_then(|o| o.remove("$defs"))
        {
            for (key, mut definition) in inner {
                or_expression(&mut definition, false);
                definitions.insert(format!("{name}.{key}"), definition);
            }
        }
        or_expression(&mut options, true);
        if let Value::Object(options) = &mut options {
            options.remove("$schema");
            options.remove("title");
        }
        let needs_options = options.get("required").is_some_and(|names| names != &json!([]));
        definitions.insert(format!("{name}.with"), options);
        let mut then = json!({"properties": {"with": {"$ref": format!("#/$defs/{name}.with")}}});
        if needs_options {
            then["required"] = json!(["with"]);
        }
        cases.push(json!({
            "if": {"properties": {"uses": {"const": name}}, "required": ["uses"]},
            "then": then,
        }));
    }
    if let Some(Value::Object(own)) = schema.pointer_mut("/$defs") {
        if let Some(task) = own.get_mut("Task") {
            task["properties"]["uses"] = json!({
                "description": "The kind of task.",
                "oneOf": names,
            });
            task["allOf"] = Value::Array(cases);
        }
        own.extend(definitions);
    }
    add_patterns(&mut schema);
    drop_blank_defaults(&mut schema);
    schema
}

/// Takes defaults away that say nothing, such as null: editors would write them down.
fn drop_blank_defaults(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            if map.get("default").is_some_and(is_blank) {
                map.remove("default");
            }
            map.values_mut().for_each(drop_blank_defaults);
        }
        Value::Array(items) => items.iter_mut().for_each(drop_blank_defaults),
        _ => {}
    }
}

fn is_blank(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.values().all(is_blank),
        _ => false,
    }
}

/// What editors, which do not know our formats, can check of them.
const PATTERNS: [(&str, &str); 4] = [
    ("dataset", "^(topic|table|kv|artifact):[A-Za-z0-9_.=-]+$|^file:[A-Za-z0-9_.=/-]+$"),
    ("duration", "^[0-9]"),
    ("identifier", "^[A-Za-z_][A-Za-z0-9_]{0,99}$"),
    ("name", "^[A-Za-z_][A-Za-z0-9_-]{0,99}$"),
];

fn add_patterns(schema: &mut Value) {
    match schema {
        Value::Object(map) => {
            let format = map.get("format").and_then(Value::as_str);
            let known = PATTERNS.iter().find(|(name, _)| Some(*name) == format);
            if let Some((_, pattern)) = known {
                map.insert("pattern".to_owned(), json!(pattern));
            }
            map.values_mut().for_each(add_patterns);
        }
        Value::Array(items) => items.iter_mut().for_each(add_patterns),
        _ => {}
    }
}

/// Gives the references in a kind's schema names of their own.
fn rename(schema: &mut Value, kind: &str) {
    match schema {
        Value::Object(map) => {
            for (key, value) in map {
                match value {
                    Value::String(reference) if key == "$ref" => {
                        if let Some(name) = reference.strip_prefix("#/$defs/") {
                            *reference = format!("#/$defs/{kind}.{name}");
                        }
                    }
                    value => rename(value, kind),
                }
            }
        }
        Value::Array(items) => items.iter_mut().for_each(|item| rename(item, kind)),
        _ => {}
    }
}

/// Lets every value below a schema (and itself, unless it is the `root`) also be a text with an
/// expression.
fn or_expression(schema: &mut Value, root: bool) {
    let Value::Object(map) = schema else { return };
    for word in ["properties", "patternProperties"] {
        if let Some(Value::Object(inner)) = map.get_mut(word) {
            inner.values_mut().for_each(|inner| or_expression(inner, false));
        }
    }
    for word in ["items", "additionalProperties"] {
        if let Some(inner @ Value::Object(_)) = map.get_mut(word) {
            or_expression(inner, false);
        }
    }
    for word in ["anyOf", "oneOf", "allOf"] {
        if let Some(Value::Array(inner)) = map.get_mut(word) {
            inner.iter_mut().for_each(|inner| or_expression(inner, true));
        }
    }
    let is_text = map.get("type") == Some(&json!("string"))
        && !["enum", "const", "format", "pattern"].iter().any(|word| map.contains_key(*word));
    if root || is_text || map.contains_key("$ref") {
        return;
    }
    let expression = json!({"type": "string", "pattern": "\\$\\{\\{"});
    let mut outer = Map::new();
    for word in ["description", "default", "examples"] {
        if let Some(value) = map.get(word) {
            outer.insert(word.to_owned(), value.clone());
        }
    }
    outer.insert("anyOf".to_owned(), json!([Value::Object(map.clone()), expression]));
    *schema = Value::Object(outer);
}
