//! The JSON Schema for editors, and the reference.

use crate::kinds::{documented_kinds, kinds};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tidemill_orchestrator::kind::Files;
use tidemill_orchestrator::load::from_text;
use tidemill_orchestrator::plan::{PlanRequest, plan};
use tidemill_orchestrator::spec::pipeline_schema;

#[test]
fn uses_chooses_the_options() {
    let schema = pipeline_schema(&kinds());
    let task = &schema["$defs"]["Task"];
    let names: Vec<&Value> = task["properties"]["uses"]["oneOf"]
        .as_array()
        .unwrap()
        .iter()
        .map(|c| &c["const"])
        .collect();
    assert_eq!(names, ["noop", "make", "query", "send"]);
    let case = &task["allOf"][1];
    assert_eq!(case["if"]["properties"]["uses"], json!({"const": "make"}));
    assert_eq!(case["then"]["properties"]["with"], json!({"$ref": "#/$defs/make.with"}));
    assert_eq!(case["then"]["required"], json!(["with"]));
    let rows = &schema["$defs"]["make.with"]["properties"]["rows"];
    assert_eq!(rows["description"], "How many rows to make.");
    assert_eq!(rows["anyOf"][0]["maximum"], 1000);
    assert_eq!(rows["anyOf"][1], json!({"type": "string", "pattern": "\\$\\{\\{"}));
    let names = &schema["properties"]["tasks"]["propertyNames"];
    assert_eq!(names["pattern"], "^[A-Za-z_][A-Za-z0-9_-]{0,99}$");
}

#[test]
fn every_reference_leads_somewhere() {
    let schema = pipeline_schema(&kinds());
    let mut references = BTreeSet::new();
    collect(&schema, &mut references);
    assert!(references.len() > 5, "{references:?}");
    for reference in references {
        let target = schema.pointer(reference.strip_prefix('#').unwrap());
        assert!(target.is_some(), "{reference}");
    }
}

fn collect(schema: &Value, references: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::String(reference)) = map.get("$ref") {
                references.insert(reference.clone());
            }
            map.values().for_each(|value| collect(value, references));
        }
        Value::Array(items) => items.iter().for_each(|item| collect(item, references)),
        _ => {}
    }
}

/// Every YAML block of the reference is a pipeline, or a part of one that can be put into one.
#[test]
fn the_reference_is_true() {
    let text = include_str!("../../../docs/language.md");
    let blocks: Vec<&str> =
        text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap()).collect();
    assert!(blocks.len() >= 8, "{}", blocks.len());
    for block in blocks {
        if block.starts_with("# tidemill.yaml") {
            let parsed = tidemill_orchestrator::project::parse("tidemill.yaml", block);
            assert!(parsed.is_ok(), "{block}\n{parsed:?}");
            continue;
        }
        let mut whole = block.to_owned();
        for (key, part) in [("name", "name: doc\n"), ("tasks", "tasks: {t: {uses: noop}}\n")] {
            if !block.lines().any(|line| line.starts_with(&format!("{key}:"))) {
                whole.push_str(part);
            }
        }
        let sql = "select 1".to_owned();
        let paths = ["sql/daily.sql", "sql/products.sql"];
        let files: Files = paths.iter().map(|path| ((*path).to_owned(), sql.clone())).collect();
        let env = |_: &str| Some("value".to_owned());
        let definition = from_text("doc.yaml", &whole, files, &documented_kinds(), &env)
            .unwrap_or_else(|problems| panic!("{whole}\n{}", problems.render(false)));
        let request = PlanRequest::new("2026-11-24T12:00:00Z".parse().unwrap());
        if let Err(diagnostics) = plan(&definition, &documented_kinds(), &request) {
            let sources = definition.sources();
            let rendered = tidemill_orchestrator::diagnostic::render(&diagnostics, &sources, false);
            panic!("{whole}\n{rendered}");
        }
    }
}

/// The keys that the reference has sections for are those that the schema knows.
#[test]
fn the_reference_names_every_key() {
    let text = include_str!("../../../docs/language.md");
    let schema = schemars::schema_for!(tidemill_orchestrator::spec::Pipeline).to_value();
    let types = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    for properties in types.filter_map(|one| one["properties"].as_object()) {
        for key in properties.keys() {
            assert!(text.contains(&format!("`{key}`")), "`{key}` is not in the reference");
        }
    }
}

/// Each row of a table with an example and what it gives is tried.
#[test]
fn the_examples_of_expressions_are_true() {
    let text = include_str!("../../../docs/language.md");
    let (_, text) = text.split_once("### Operators").unwrap();
    let (text, _) = text.split_once("\n### ").unwrap();
    let plain = |cell: &str| cell.trim().trim_matches('`').replace('\u{0}', "|");
    let mut tried = 0;
    for row in text.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<String> =
            row.replace("\\|", "\u{0}").trim_matches('|').split('|').map(plain).collect();
        let [name, _, example, gives] = cells.as_slice() else { continue };
        let Ok(gives) = serde_json::from_str::<Value>(gives) else { continue };
        let task = json!({"uses": "noop", "with": {"x": format!("${{{{ {example} }}}}")}});
        let pipeline = json!({
            "name": "doc",
            "params": {
                "rows": {"type": "integer", "default": 1000},
                "full": {"type": "boolean", "default": false},
            },
            "tasks": {"t": task},
        });
        let definition =
            from_text("doc.yaml", &pipeline.to_string(), Files::new(), &kinds(), &|_| None)
                .unwrap_or_else(|problems| panic!("{example}\n{}", problems.render(false)));
        let request = PlanRequest::new("2026-11-24T12:00:00Z".parse().unwrap());
        let (plan, _) = plan(&definition, &kinds(), &request)
            .unwrap_or_else(|problems| panic!("{name}: {example}: {problems:#?}"));
        assert_eq!(plan.tasks[0].options["x"], gives, "{name}: {example}");
        tried += 1;
    }
    assert!(tried > 30, "{tried}");
}
