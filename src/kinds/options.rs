//! The options of a kind, as its JSON Schema has them, one after the other.

use serde_json::{Map, Value};

/// One option, or one key of an option that is a mapping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// `roll.rows`; `NAME` stands for a key that the user chooses.
    pub path: String,
    /// What values it takes, in words.
    pub values: String,
    pub required: bool,
    pub default: Option<String>,
    pub description: String,
}

/// The options of a schema, in its order; those within an option follow it.
pub fn rows(schema: &Value) -> Vec<Row> {
    let mut rows = Vec::new();
    below(schema, schema, "", 0, &mut rows);
    rows
}

/// Mappings within mappings are listed to this depth.
const DEEPEST: usize = 3;

fn below(root: &Value, schema: &Value, path: &str, depth: usize, rows: &mut Vec<Row>) {
    let none = Map::new();
    let properties = schema["properties"].as_object().unwrap_or(&none);
    let required = schema["required"].as_array().map(Vec::as_slice).unwrap_or_default();
    for (name, property) in properties {
        let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
        let resolved = resolve(root, property);
        let text = |schema: &Value| schema["description"].as_str().map(str::to_owned);
        rows.push(Row {
            values: values(root, property),
            required: required.iter().any(|required| required == name),
            default: property.get("default").filter(|default| !is_empty(default)).map(in_yaml),
            description: text(property).or_else(|| text(resolved)).unwrap_or_default(),
            path: path.clone(),
        });
        if depth + 1 == DEEPEST {
            continue;
        }
        for case in cases(root, property) {
            below(root, case, &path, depth + 1, rows);
            let keyed = resolve(root, &case["additionalProperties"]);
            let items = resolve(root, &case["items"]);
            for (inner, path) in [(keyed, format!("{path}.NAME")), (items, format!("{path}[]"))] {
                for case in cases(root, inner) {
                    below(root, case, &path, depth + 1, rows);
                }
            }
        }
    }
}

/// What a default that says nothing looks like.
fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
        _ => false,
    }
}

/// A value as one writes it in YAML, on one line.
pub fn in_yaml(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Object(map) => {
            let pairs: Vec<String> = (map.iter())
                .filter(|(_, value)| !is_empty(value))
                .map(|(key, value)| format!("{key}: {}", in_yaml(value)))
                .collect();
            format!("{{{}}}", pairs.join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(in_yaml).collect::<Vec<_>>().join(", "))
        }
        other => other.to_string(),
    }
}

fn resolve<'a>(root: &'a Value, schema: &'a Value) -> &'a Value {
    let reference = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#'));
    match reference.and_then(|pointer| root.pointer(pointer)) {
        Some(target) => resolve(root, target),
        None => schema,
    }
}

/// The alternatives of a schema, without null; itself if it has none.
fn cases<'a>(root: &'a Value, schema: &'a Value) -> Vec<&'a Value> {
    let schema = resolve(root, schema);
    let several = ["anyOf", "oneOf"].iter().find_map(|word| schema[*word].as_array());
    match several {
        Some(several) => several.iter().flat_map(|case| cases(root, case)).collect(),
        None if schema["type"] == "null" => Vec::new(),
        None => vec![schema],
    }
}

/// What values a schema takes, in words: `integer, at least 1`, `list of string`.
fn values(root: &Value, schema: &Value) -> String {
    let mut words: Vec<String> = Vec::new();
    for case in cases(root, schema) {
        for word in of_case(root, case) {
            if !words.contains(&word) {
                words.push(word);
            }
        }
    }
    words.join(" or ")
}

fn of_case(root: &Value, case: &Value) -> Vec<String> {
    if let Some(constant) = case.get("const") {
        return vec![in_yaml(constant)];
    }
    if let Some(choices) = case["enum"].as_array() {
        return choices.iter().filter(|choice| !choice.is_null()).map(in_yaml).collect();
    }
    let types: Vec<&str> = match &case["type"] {
        Value::String(one) => vec![one],
        Value::Array(several) => several.iter().filter_map(Value::as_str).collect(),
        _ => return vec!["any value".to_owned()],
    };
    let format = case["format"].as_str();
    types
        .into_iter()
        .filter(|kind| *kind != "null")
        .map(|kind| match kind {
            "array" => format!("list of {}", inner(root, &case["items"])),
            "object" if case["properties"].is_object() => "mapping".to_owned(),
            "object" => format!("mapping to {}", inner(root, &case["additionalProperties"])),
            "string" => format.unwrap_or("text").replace('-', " "),
            "integer" | "number" => format!("{kind}{}", bounds(case)),
            other => other.to_owned(),
        })
        .collect()
}

fn inner(root: &Value, schema: &Value) -> String {
    match values(root, schema) {
        several if several.contains(" or ") => format!("({several})"),
        one => one,
    }
}

fn bounds(case: &Value) -> String {
    let mut text = String::new();
    for (word, said) in [
        ("minimum", "at least"),
        ("exclusiveMinimum", "more than"),
        ("maximum", "at most"),
        ("exclusiveMaximum", "less than"),
    ] {
        if let Some(bound) = case.get(word).filter(|bound| bound.is_number()) {
            let number = bound.as_f64().unwrap_or_default();
            // The bounds of a machine's integers are for machines.
            if number.abs() < 1e9 {
                text.push_str(&format!(", {said} {number}"));
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn options_in_words() {
        let schema = json!({
            "properties": {
                "rows": {"type": "integer", "minimum": 1, "description": "How many."},
                "mode": {"anyOf": [{"enum": ["fast", "safe"]}, {"type": "null"}], "default": null},
                "rules": {
                    "type": "object",
                    "additionalProperties": {"type": "string"},
                    "default": {},
                },
                "roll": {"$ref": "#/$defs/Roll", "default": {"every": "30s", "size": null}},
                "names": {"type": "array", "items": {"type": ["string", "boolean"]}},
            },
            "required": ["rows"],
            "$defs": {
                "Roll": {
                    "type": "object",
                    "description": "When to commit.",
                    "properties": {"every": {"type": "string", "format": "duration"}},
                },
            },
        });
        let lines: Vec<String> = rows(&schema)
            .into_iter()
            .map(|row| {
                let required = if row.required { " required" } else { "" };
                let default = row.default.map(|text| format!(" [{text}]")).unwrap_or_default();
                format!("{}: {}{required}{default}. {}", row.path, row.values, row.description)
            })
            .collect();
        assert_eq!(
            lines,
            [
                "rows: integer, at least 1 required. How many.",
                "mode: fast or safe. ",
                "rules: mapping to text. ",
                "roll: mapping [{every: 30s}]. When to commit.",
                "roll.every: duration. ",
                "names: list of (text or boolean). ",
            ]
        );
    }
}
