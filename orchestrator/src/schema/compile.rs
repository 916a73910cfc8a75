//! From JSON Schema to rules.

use super::{Rule, Schema, Type};
use serde_json::{Map, Value};
use std::collections::HashMap;

pub(super) fn compile(schema: &Value) -> Schema {
    let mut compiler = Compiler { document: schema, rules: Vec::new(), named: HashMap::new() };
    let root = compiler.rule(schema);
    Schema { rules: compiler.rules, root }
}

struct Compiler<'a> {
    document: &'a Value,
    rules: Vec<Rule>,
    /// Rules made for `$ref`s, by the reference; a type may refer to itself.
    named: HashMap<&'a str, usize>,
}

impl<'a> Compiler<'a> {
    fn rule(&mut self, schema: &'a Value) -> usize {
        if let Some(reference) = schema.get("$ref").and_then(Value::as_str) {
            return self.referred(reference);
        }
        let at = self.rules.len();
        self.rules.push(Rule::default());
        if let Value::Object(map) = schema {
            let rule = self.object(map);
            self.rules[at] = rule;
        }
        at
    }

    fn referred(&mut self, reference: &'a str) -> usize {
        if let Some(at) = self.named.get(reference) {
            return *at;
        }
        let at = self.rules.len();
        self.rules.push(Rule::default());
        self.named.insert(reference, at);
        let target = reference.strip_prefix('#').and_then(|at| self.document.pointer(at));
        match target {
            Some(Value::Object(map)) if map.contains_key("$ref") => {
                // A name for another name.
                let other = self.rule(target.unwrap_or(&Value::Null));
                self.rules[at].all_of = vec![other];
            }
            Some(Value::Object(map)) => {
                let rule = self.object(map);
                self.rules[at] = rule;
            }
            _ => {}
        }
        at
    }

    fn object(&mut self, map: &'a Map<String, Value>) -> Rule {
        let mut rule = bounds(map);
        if let Some(Value::Object(properties)) = map.get("properties") {
            rule.properties =
                properties.iter().map(|(name, schema)| (name.clone(), self.rule(schema))).collect();
        }
        let pattern = match map.get("patternProperties") {
            Some(Value::Object(patterns)) => patterns.values().next(),
            _ => None,
        };
        rule.additional = match (pattern, map.get("additionalProperties")) {
            (Some(schema), _) => Some(Some(self.rule(schema))),
            (None, Some(Value::Bool(false))) => Some(None),
            (None, Some(schema @ Value::Object(_))) => Some(Some(self.rule(schema))),
            _ => None,
        };
        let names = map.get("propertyNames").and_then(|names| names.get("format"));
        rule.key_format = names.and_then(Value::as_str).map(str::to_owned);
        rule.items = map.get("items").map(|schema| self.rule(schema));
        for word in ["anyOf", "oneOf"] {
            rule.any_of.extend(self.list(map.get(word)));
        }
        rule.all_of = self.list(map.get("allOf"));
        self.merge_choices(&mut rule);
        rule
    }

    fn list(&mut self, schemas: Option<&'a Value>) -> Vec<usize> {
        let schemas = schemas.and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        schemas.iter().map(|schema| self.rule(schema)).collect()
    }

    /// Alternatives that only name choices are one list of choices.
    fn merge_choices(&self, rule: &mut Rule) {
        if rule.any_of.is_empty() || rule.choices.is_some() {
            return;
        }
        let each = rule.any_of.iter().map(|at| self.rules[*at].choices.clone());
        if let Some(choices) = each.collect::<Option<Vec<_>>>() {
            rule.choices = Some(choices.into_iter().flatten().collect());
            rule.any_of.clear();
        }
    }
}

fn bounds(map: &Map<String, Value>) -> Rule {
    let number = |word: &str| map.get(word).and_then(Value::as_f64);
    let count = |word: &str| map.get(word).and_then(Value::as_u64);
    let types = match map.get("type") {
        Some(Value::String(name)) => type_of(name).map(|one| vec![one]),
        Some(Value::Array(names)) => {
            Some(names.iter().filter_map(Value::as_str).filter_map(type_of).collect())
        }
        _ => None,
    };
    let choices = match (map.get("enum"), map.get("const")) {
        (Some(Value::Array(choices)), _) => Some(choices.clone()),
        (_, Some(value)) => Some(vec![value.clone()]),
        _ => None,
    };
    let required = map.get("required").and_then(Value::as_array);
    let examples = map.get("examples").and_then(Value::as_array);
    Rule {
        types,
        required: required.map_or(Vec::new(), |names| {
            names.iter().filter_map(Value::as_str).map(str::to_owned).collect()
        }),
        choices,
        minimum: number("minimum"),
        maximum: number("maximum"),
        exclusive_minimum: number("exclusiveMinimum"),
        exclusive_maximum: number("exclusiveMaximum"),
        min_items: count("minItems"),
        min_properties: count("minProperties"),
        min_length: count("minLength"),
        format: map.get("format").and_then(Value::as_str).map(str::to_owned),
        example: examples.and_then(|examples| examples.first()).cloned(),
        ..Rule::default()
    }
}

fn type_of(name: &str) -> Option<Type> {
    Some(match name {
        "null" => Type::Null,
        "boolean" => Type::Boolean,
        "integer" => Type::Integer,
        "number" => Type::Number,
        "string" => Type::String,
        "array" => Type::Array,
        "object" => Type::Object,
        _ => return None,
    })
}
