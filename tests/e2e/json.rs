//! What verbs print with `-o json` is what docs/command-line.md says, field by field and both ways.

use crate::project::Project;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The fields that the page documents for a verb: paths such as `tasks[].outputs.OUTPUT.rows`, and
/// their types.
type Fields = BTreeMap<String, String>;

/// The sections of the page, by their headings.
fn documented() -> BTreeMap<String, Fields> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/command-line.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, json) = page.split_once("\n## JSON\n").unwrap();
    let sections = json.split("\n### ").skip(1).map(|section| {
        let (heading, body) = section.split_once('\n').unwrap();
        let mut fields = Fields::new();
        for row in body.lines().filter_map(|line| line.strip_prefix("| `")) {
            let cells: Vec<&str> = row.split(" | ").collect();
            let names = cells[0].trim_end_matches('`').split("`, `");
            fields.extend(names.map(|name| (name.to_owned(), cells[1].to_owned())));
        }
        (heading.to_owned(), fields)
    });
    sections.collect()
}

/// Compares what is printed with what is documented for it.
struct Check<'a> {
    heading: &'a str,
    fields: &'a Fields,
    seen: BTreeSet<&'a str>,
}

impl<'a> Check<'a> {
    /// Whether something is documented at a path or below it.
    fn knows(&self, path: &str) -> bool {
        let below = |field: &str| {
            let rest = field.strip_prefix(path);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        };
        self.fields.keys().any(|field| below(field))
    }

    /// The path of a key: as it is named, else by the word in capitals that stands for any name.
    fn path_of(&self, at: &str, key: &str) -> String {
        let prefix = if at.is_empty() { String::new() } else { format!("{at}.") };
        let exact = format!("{prefix}{key}");
        if self.knows(&exact) {
            return exact;
        }
        let words = self.fields.keys().filter_map(|field| {
            let word = field.strip_prefix(&prefix)?.split(['.', '[']).next()?;
            word.chars().all(|c| c.is_ascii_uppercase()).then(|| format!("{prefix}{word}"))
        });
        let found = words.into_iter().next();
        found.unwrap_or_else(|| panic!("{}: `{exact}` is not documented", self.heading))
    }

    fn walk(&mut self, at: &str, value: &Value) {
        let field = self.fields.get_key_value(at);
        if let Some((field, kind)) = field {
            let fits = match (kind.trim_end_matches('?'), value) {
                ("any", _) => true,
                (_, Value::Null) => kind.ends_with('?'),
                ("number", value) => value.is_number(),
                ("boolean", value) => value.is_boolean(),
                ("time", Value::String(text)) => text.parse::<jiff::Timestamp>().is_ok(),
                ("text", value) => value.is_string() || self.fields.keys().any(|k| is_in(k, at)),
                _ => false,
            };
            assert!(fits, "{}: `{at}` is no {kind}: {value}", self.heading);
            if kind == "any" || !value.is_object() {
                self.seen.insert(field);
                return;
            }
        }
        match value {
            Value::Object(object) => {
                for (key, value) in object {
                    self.walk(&self.path_of(at, key), value);
                }
            }
            Value::Array(items) => {
                for item in items {
                    self.walk(&format!("{at}[]"), item);
                }
            }
            // In the place of an object.
            Value::Null => {}
            _ => panic!("{}: `{at}` is not documented: {value}", self.heading),
        }
    }
}

/// Whether a field is one of the object at a path.
fn is_in(field: &str, path: &str) -> bool {
    field.strip_prefix(path).is_some_and(|rest| rest.starts_with('.'))
}

const OTHER: &str = "\
name: other
description: has what the shipped ones have not
schedule: {cron: 0 2 * * *, timezone: Europe/Berlin, catch_up: all, window: 2d}
params: {n: {type: integer, default: 1}}
datasets:
  table:t: {write: merge, key: [id]}
tasks:
  a:
    uses: shell
    with: {run: 'echo ${{ params.n }} ${{ env.REGION }}; exit 3'}
    retry: {attempts: 2, delay: 1ms}
    timeout: 1m
  b:
    uses: etl
    needs: [a]
    when: params.n < 0
    inputs: {rows: file:rows.csv}
    outputs: {all: table:t}
    with: {sql: {all: 'select 1 as id from rows'}}
  c: {uses: shell, when: tasks.a.state == \"failed\", with: {run: 'true'}}
";

const WRONG: &str = "\
name: wrong
tasks:
  a: {uses: shel, with: {run: 'true'}, outputs: {x: file:x}}
  b: {uses: shell, with: {run: 'true'}, outputs: {x: file:y}}
  c: {uses: shell, with: {run: 'true'}, outputs: {x: file:y}}
";

#[test]
fn what_is_printed_as_json_is_what_the_page_documents() {
    let project = Project::shipped();
    let profiles = "data_dir: data\nprofiles: {embedded: {}, other: {}}\n";
    project.write("tidemill.yaml", profiles);
    project.write("data/files/rows.csv", "x\n1\n");
    project.write("pipelines/other.yaml", OTHER);
    let sections = documented();
    let mut left: BTreeSet<&str> = sections.keys().map(String::as_str).collect();
    let run = |arguments: &[&str]| {
        let arguments = [arguments, &["-o", "json"]].concat();
        let mut command = project.command(&arguments);
        let output = command.env("REGION", arguments.len().to_string()).output().unwrap();
        let said = crate::project::said(output);
        let values = serde_json::Deserializer::from_str(&said.out).into_iter::<Value>();
        let values: Vec<Value> = values.collect::<Result<_, _>>().expect(&said.out);
        assert!(!values.is_empty(), "{arguments:?}: {said:?}");
        // Lists are looked at item by item.
        let items = values.into_iter().flat_map(|value| match value {
            Value::Array(items) => items,
            value => vec![value],
        });
        items.collect::<Vec<Value>>()
    };
    let mut holds = |heading: &'static str, printed: &[Value]| {
        assert!(left.remove(heading), "`{heading}` is not in the page, or looked at twice");
        let fields = &sections[heading];
        let mut check = Check { heading, fields, seen: BTreeSet::new() };
        printed.iter().for_each(|value| check.walk("", value));
        let unseen: Vec<&String> =
            fields.keys().filter(|field| !check.seen.contains(field.as_str())).collect();
        assert!(unseen.is_empty(), "{heading}: documented, but never printed: {unseen:?}");
    };
    let nightly = "pipelines/ecommerce_nightly.yaml";
    let other = "pipelines/other.yaml";

    let mut events = run(&["run", nightly, "--set", "rows=300"]);
    events.extend(run(&["run", "pipelines/hello.yaml"]));
    events.extend(run(&["run", other]));
    let is_summary = |event: &Value| event["kind"] == "summary";
    let (mut shown, events): (Vec<Value>, Vec<Value>) = events.into_iter().partition(is_summary);
    holds("run, watch", &events);
    for summary in &mut shown {
        summary.as_object_mut().unwrap().remove("kind");
    }
    shown.extend(run(&["show", "latest"]));
    holds("show", &shown);
    let watched = run(&["watch"]);
    assert!(is_summary(watched.last().unwrap()));
    assert_eq!(watched[0]["kind"], run(&["show", "latest", "--events"])[0]["kind"]);
    holds("show --diff", &run(&["show", "latest", "--diff", "-2"]));
    let planned = [nightly, other, "pipelines/hello.yaml"].map(|file| run(&["plan", file]));
    holds("plan", &planned.concat());
    project.write("pipelines/other.yaml", &OTHER.replace("1m", "2m"));
    let changed = ["plan", other, "--set", "n=2", "--profile", "other", "--diff", "latest"];
    holds("plan --diff", &run(&changed));
    holds("graph", &[run(&["graph", nightly]), run(&["graph", other])].concat());
    project.write("wrong.yaml", WRONG);
    holds("validate", &run(&["validate", "wrong.yaml", nightly]));
    holds("kinds", &run(&["kinds"]));
    holds("init", &run(&["init", "shop"]));
    let days = ["backfill", "pipelines/hello.yaml", "--from", "2026-11-01", "--to", "2026-11-02"];
    let mut made = run(&days);
    assert_eq!(made.len(), 4, "two begin, two end: {made:?}");
    made.extend(run(&[&days[..], &["--missing-only"]].concat()));
    holds("backfill", &made);
    holds("cancel", &run(&["cancel", "latest"]));
    holds("pause, unpause", &[run(&["pause", other]), run(&["unpause", other])].concat());
    // As if a daemon had left something out.
    let store = rusqlite::Connection::open(project.data().join("store.db")).unwrap();
    let row = "insert into fires values ('other', 0, 0, 1, 'missed', null, null)";
    store.execute(row, []).unwrap();
    holds("schedule", &run(&["schedule"]));
    holds("history", &run(&["history"]));
    holds("logs", &run(&["logs", "latest"]));
    holds("datasets", &run(&["datasets"]));
    holds("lineage", &run(&["lineage", "table:nightly_orders"]));
    holds("query", &run(&["query", "select 1 as one"]));
    holds("kv get, kv scan", &run(&["kv", "scan", project.kv()]));
    holds("doctor", &run(&["doctor"]));
    assert!(left.is_empty(), "in the page, but not looked at: {left:?}");
}
