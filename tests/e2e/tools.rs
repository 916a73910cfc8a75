//! The verbs that help to write pipelines.

use crate::project::{Project, end, wait_until};
use serde_json::Value;
use std::path::Path;

#[test]
fn each_template_works_at_once() {
    for (template, file) in [
        ("hello", "pipelines/hello.yaml"),
        ("nightly", "pipelines/ecommerce_nightly.yaml"),
        ("ecommerce", "pipelines/ecommerce.yaml"),
    ] {
        let project = Project::empty();
        let said = project.ok(&["init", "--template", template]);
        assert!(said.out.contains(file) && said.out.contains("tidemill run"), "{}", said.out);
        let checked = project.ok(&["validate", "pipelines"]);
        assert_eq!(checked.err, "", "{template}");
        project.ok(&["plan", file]);
        if template != "ecommerce" {
            let rows: &[&str] = if template == "nightly" { &["--set", "rows=500"] } else { &[] };
            project.ok(&[&["run", file], rows].concat());
        }
        let again = project.ok(&["init", "--template", template]);
        assert!(again.out.starts_with("All is there"), "{}", again.out);
    }
}

#[test]
fn init_overwrites_nothing() {
    let project = Project::empty();
    project.write("shop/README.md", "mine\n");
    let said = project.tidemill(&["init", "shop"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("in the way: `README.md`; nothing was written"), "{}", said.err);
    assert_eq!(project.read("shop/README.md"), "mine\n");
    assert!(!project.path("shop/tidemill.yaml").exists());
}

#[test]
fn the_manual_of_the_kinds_is_in_the_documents() {
    let project = Project::empty();
    let printed = project.ok(&["kinds", "-o", "markdown"]).out;
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/kinds.md");
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        std::fs::write(&path, &printed).unwrap();
    }
    let kept = std::fs::read_to_string(path).unwrap_or_default();
    assert!(printed == kept, "docs/kinds.md is another; UPDATE_EXPECT=1 writes it");
    let manual = project.ok(&["kinds", "land"]).out;
    for words in ["Options", "message_format", "roll.every", "Inputs", "Outputs", "uses: land"] {
        assert!(manual.contains(words), "`{words}` is not in {manual}");
    }
    let wrong = project.tidemill(&["kinds", "lnad"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("did you mean `land`?"), "{}", wrong.err);
}

#[test]
fn problems_for_other_programs() {
    let project = Project::empty();
    project.write("p.yaml", "name: p\ntasks:\n  a: {uses: shel, with: {run: 'true'}}\n");
    project.write("q.yaml", "name: q\ntasks:\n  a: {uses: shell, with: {run: 'true'}}\n");
    let said = project.tidemill(&["validate", "p.yaml", "q.yaml", "-o", "json"]);
    assert_eq!((said.code, said.err.as_str()), (Some(2), ""));
    let files: Value = serde_json::from_str(&said.out).unwrap();
    let problem = &files[0]["problems"][0];
    assert_eq!((&problem["code"], &problem["line"]), (&"unknown-kind".into(), &3.into()));
    assert_eq!((&problem["column"], &problem["end_column"]), (&13.into(), &17.into()));
    assert_eq!((&files[0]["valid"], &files[1]["valid"]), (&false.into(), &true.into()));
    assert_eq!(files[1]["pipeline"], "q");
    let said = project.tidemill(&["validate", "p.yaml", "-o", "github"]);
    let expect = "::error file=p.yaml,line=3,endLine=3,col=13,endColumn=17,title=unknown-kind::";
    assert!(said.out.starts_with(expect), "{}", said.out);
    assert!(said.out.contains("%0A"), "{}", said.out);
}

#[test]
fn graphs() {
    let project = Project::shipped();
    let drawn = project.ok(&["graph", "pipelines/fan_in.yaml"]).out;
    assert!(drawn.contains("├─╯"), "{drawn}");
    let mermaid = project.ok(&["graph", "pipelines/ecommerce.yaml", "-o", "mermaid"]).out;
    assert!(mermaid.starts_with("flowchart LR\n"), "{mermaid}");
    assert!(mermaid.contains("-.->|\"topic:bda_proj\"|"), "{mermaid}");
    let dot = project.ok(&["graph", "pipelines/ecommerce.yaml", "-o", "dot"]).out;
    assert!(
        dot.contains("\"stream\" -> \"land\" [label=\"topic:bda_proj\", style=dotted]"),
        "{dot}"
    );
}

#[test]
fn shells_complete_what_there_is() {
    let project = Project::shipped();
    project.ok(&["run", "pipelines/hello.yaml"]);
    for shell in ["bash", "zsh", "fish", "powershell"] {
        let script = project.ok(&["completions", shell]).out;
        assert!(script.contains("TIDEMILL_COMPLETE"), "{shell}: {script}");
    }
    let offered = |words: &[&str]| {
        let mut command = project.command(&["--", "tidemill"]);
        let output = command.args(words).env("TIDEMILL_COMPLETE", "fish").output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(offered(&["grap"]).starts_with("graph"));
    assert!(offered(&["show", "la"]).contains("latest"));
    assert!(offered(&["show", ""]).contains("hello, "));
    assert_eq!(offered(&["logs", "latest", "sp"]).trim(), "speak");
    assert_eq!(offered(&["run", "pipelines/fan_in.yaml", "--only", "to"]).trim(), "total");
    assert_eq!(offered(&["history", "he"]).trim(), "hello");
}

#[test]
fn manual_pages() {
    let project = Project::empty();
    assert!(project.ok(&["man"]).out.contains(".TH tidemill 1"));
    project.ok(&["man", "--dir", "man1"]);
    assert!(project.read("man1/tidemill-run.1").contains("Set a parameter"));
}

#[test]
fn history_is_filtered_and_drawn() {
    let project = Project::new();
    project.write("good.yaml", "name: good\ntasks: {a: {uses: shell, with: {run: 'true'}}}\n");
    project.write("bad.yaml", "name: bad\ntasks: {a: {uses: shell, with: {run: exit 1}}}\n");
    project.ok(&["run", "good.yaml"]);
    project.ok(&["run", "good.yaml"]);
    assert_eq!(project.tidemill(&["run", "bad.yaml"]).code, Some(1));
    let count = |arguments: &[&str]| {
        let all = [&["history", "-o", "json"], arguments].concat();
        let runs: Value = serde_json::from_str(&project.ok(&all).out).unwrap();
        runs.as_array().unwrap().len()
    };
    assert_eq!(count(&[]), 3);
    assert_eq!(count(&["--state", "failed"]), 1);
    assert_eq!(count(&["--state", "running"]), 0);
    assert_eq!(count(&["good", "-n", "1"]), 1);
    assert_eq!(count(&["--since", "1h"]), 3);
    assert_eq!(count(&["--until", "1h ago"]), 0);
    assert_eq!(count(&["--since", "2100-01-01"]), 0);
    let drawn = project.ok(&["history"]).out;
    assert!(drawn.contains("2 of 2") && drawn.contains("0 of 1"), "{drawn}");
    let wrong = project.tidemill(&["history", "--since", "yesterdayish"]);
    assert_eq!(wrong.code, Some(2));
    assert!(wrong.err.contains("write 2026-11-20"), "{}", wrong.err);
    let shown = project.ok(&["show", "latest"]).out;
    assert!(shown.contains("Timeline"), "{shown}");
}

#[test]
fn a_run_is_watched_from_another_process() {
    let project = Project::new();
    let wait = "while ! test -e go; do sleep 0.05; done; exit 3";
    let text = format!("name: p\ntasks: {{a: {{uses: shell, with: {{run: '{wait}'}}}}}}\n");
    project.write("p.yaml", &text);
    let run = project.start(&["run", "p.yaml"]);
    wait_until("it is at work", || {
        project.tidemill(&["history", "--state", "running"]).out.contains("running")
    });
    let watch = project.start(&["watch"]);
    project.write("go", "");
    let (run, watch) = (end(run), end(watch));
    assert_eq!((run.code, watch.code), (Some(1), Some(1)), "{watch:?}");
    assert!(watch.err.contains("a, attempt 1: the command ended with exit code 3"), "{watch:?}");
    assert!(watch.out.contains("p ■ failed in"), "{watch:?}");
    // One that is over is told from its beginning.
    let again = project.tidemill(&["watch", "-1"]);
    assert_eq!((again.code, again.out.contains("p ■ failed in")), (Some(1), true), "{again:?}");
}

#[test]
fn what_has_changed_since_a_run() {
    let project = Project::new();
    let text = "name: p\nparams: {n: {type: integer, default: 1}}\ntasks:\n  a: {uses: shell, with: \
                {run: 'echo ${{ params.n }}'}}\n";
    project.write("p.yaml", text);
    project.ok(&["run", "p.yaml"]);
    let same = project.ok(&["plan", "p.yaml", "--diff", "latest"]).out;
    assert!(same.starts_with("nothing differs from the definition of run "), "{same}");
    project
        .write("p.yaml", &format!("{text}  b: {{uses: shell, needs: [a], with: {{run: ls}}}}\n"));
    let other = project.ok(&["plan", "p.yaml", "--set", "n=2", "--diff", "latest"]).out;
    assert!(other.starts_with("param n: 1 -> 2\n"), "{other}");
    assert!(other.contains("\n+  b: {uses: shell, needs: [a], with: {run: ls}}\n"), "{other}");
    project.ok(&["run", "p.yaml", "--set", "n=2"]);
    let runs = project.ok(&["show", "-1", "--diff", "-2"]).out;
    assert!(runs.contains("- -> succeeded") && runs.contains("param n: 1 -> 2"), "{runs}");
}

/// From the generator by the stream to the dashboard, each task tells the next what its columns are.
#[test]
fn misspelt_columns_are_found_before_anything_runs() {
    let check = |damages: &[(&str, &str, &str)], expect: &[(&str, &str, &str)]| {
        let project = Project::shipped();
        for (file, from, to) in damages {
            let text = project.read(file);
            assert!(text.contains(from), "{text}");
            project.write(file, &text.replacen(from, to, 1));
        }
        let said = project.tidemill(&["validate", "pipelines/ecommerce.yaml"]);
        assert_eq!(said.code, Some(2), "{}", said.err);
        for (place, message, help) in expect {
            let found = said.err.split("\n\n").find(|problem| problem.contains(message));
            let found = found.unwrap_or_else(|| panic!("{message}: {}", said.err));
            assert!(found.contains(place) && found.contains(help), "{found}");
        }
    };
    const PIPELINE: &str = "pipelines/ecommerce.yaml";
    check(
        &[
            (PIPELINE, "price > 0", "prise > 0"),
            (PIPELINE, "{key: order_id,", "{key: orderid,"),
            (PIPELINE, "is_prime: boolean", "is_price: boolean"),
        ],
        &[
            ("pipelines/ecommerce.yaml:33:17", "no column `orderid`", "did you mean `order_id`?"),
            ("pipelines/ecommerce.yaml:39:7", "`columns` declares `is_price`", "`is_prime`"),
        ],
    );
    check(
        &[(PIPELINE, "price > 0", "prise > 0")],
        &[("pipelines/ecommerce.yaml:67:28", "no column `prise`", "did you mean `price`?")],
    );
    check(
        &[
            ("pipelines/sql/daily_sales.sql", "sum(quantity)", "sum(quantities)"),
            (PIPELINE, "[customer_id, order_timestamp", "[customer, order_timestamp"),
        ],
        &[
            (
                "pipelines/sql/daily_sales.sql:9:7",
                "no column `quantities`",
                "did you mean `quantity`?",
            ),
            (PIPELINE, "the input has no column `customer`", "did you mean `customer_id`?"),
        ],
    );
    let dashboard = "pipelines/dashboards/sales.yaml";
    check(
        &[(dashboard, "sql: select category, orders", "sql: select kategory, orders")],
        &[(dashboard, "no column `kategory`", "")],
    );
}

#[test]
fn the_example_of_each_kind_runs() {
    let orders = "order_id,customer_id,price,ordered_at\n\
                  1,anna,2.5,2026-11-20T08:00:00Z\n2,,3.5,2026-11-20T09:00:00Z\n";
    let small = Project::shipped();
    small.write("data/files/raw/orders.csv", orders);
    let whole = Project::shipped();
    whole.ok(&["run", "pipelines/ecommerce.yaml", "--set", "rows=2000"]);
    let kinds = small.ok(&["kinds", "-o", "json"]).out;
    let kinds: Value = serde_json::from_str(&kinds).unwrap();
    let mut kinds: Vec<&str> =
        kinds.as_array().unwrap().iter().map(|kind| kind["kind"].as_str().unwrap()).collect();
    // What `land` reads, `stream` has written.
    kinds.sort_by_key(|kind| *kind == "land");
    for kind in kinds {
        let project = if ["bulk_load", "report"].contains(&kind) { &whole } else { &small };
        let manual: Value =
            serde_json::from_str(&project.ok(&["kinds", kind, "-o", "json"]).out).unwrap();
        project.write("pipelines/example.yaml", manual["example"].as_str().unwrap());
        project.ok(&["run", "pipelines/example.yaml"]);
    }
    let rows = small.ok(&["query", "select count(*) as rows from landed_orders", "-o", "csv"]).out;
    assert_eq!(rows, "rows\n2\n");
}

#[test]
fn a_mistake_in_a_profile_concerns_who_chooses_it() {
    let project = Project::empty();
    project.write("tidemill.yaml", "profiles:\n  old: {kafka: {broker: 'h:9092'}}\n");
    project.write("p.yaml", "name: p\ntasks:\n  a: {uses: shell, with: {run: echo}}\n");
    let said = project.tidemill(&["validate", "p.yaml"]);
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.err.contains("warning[unknown-key]: `kafka` has no key `broker`"), "{}", said.err);
    let said = project.tidemill(&["plan", "p.yaml", "--profile", "old"]);
    assert_eq!(said.code, Some(2), "{}", said.err);
    assert!(said.err.contains("tidemill.yaml:2:17"), "{}", said.err);
    assert!(said.err.contains("did you mean `brokers`?"), "{}", said.err);
}

#[test]
fn a_skipped_writer_does_not_say_what_its_readers_find() {
    let project = Project::empty();
    let pipeline = |extra: &str, when: &str| {
        format!(
            "name: p\nparams: {{full: {{type: boolean, default: true}}}}\ntasks:\n  make: {{uses: \
             etl, inputs: {{r: file:r.csv}}, outputs: {{t: table:t}}, when: {when}, with: {{columns: \
             {{r: {{id: integer, name: string}}}}, sql: {{t: \"select id{extra} from r\"}}}}}}\n  read: \
             {{uses: etl, inputs: {{t: table:t}}, outputs: {{u: table:u}}, trigger_rule: all_done, \
             with: {{sql: {{u: \"select name from t\"}}}}}}\n"
        )
    };
    project.write("data/files/r.csv", "id,name\n1,anna\n");
    project.write("tidemill.yaml", "data_dir: data\n");
    project.write("p.yaml", &pipeline(", name", "params.full"));
    project.ok(&["run", "p.yaml"]);
    project.write("p.yaml", &pipeline("", "params.full"));
    project.ok(&["run", "p.yaml", "--set", "full=false"]);
    project.ok(&["run", "p.yaml", "--only", "read"]);
    project.write("p.yaml", &pipeline("", "true"));
    assert_eq!(project.tidemill(&["run", "p.yaml"]).code, Some(2));
}
