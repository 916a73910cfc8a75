//! What is wrong with inputs, queries and options, and how it is told.

use super::{CLEAN, Case, keep, orders};
use crate::engine::Engine;
use crate::etl::Etl;
use indexmap::IndexMap;
use orchestrator::kind::{Files, Kind, Known, Part, Write};
use orchestrator::plan::{PlannedOutput, PlannedTask, Retry, TriggerRule};
use serde_json::{Value, json};
use std::sync::Arc;

async fn check(files: &[(&str, &str)], options: Value, expect: &[&str]) {
    let error = Case::clean(files, options).error().await;
    for part in expect {
        assert!(error.contains(part), "{part:?} is not in {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_that_cannot_be_read() {
    let a = |text: &'static str| [("a.csv", text)];
    check(&a(""), keep(json!({})), &["`file:raw/a.csv` is empty; not even a header"]).await;
    check(
        &a("k,w\n1,2\n"),
        keep(json!({})),
        &[
            "the header `k,w`, but the columns are `k,v`",
            "`v` is missing in the header, and `w` is not among the columns declared",
        ],
    )
    .await;
    check(&a("k,vv\n"), keep(json!({})), &["did you mean `vv`?"]).await;
    check(&a("k,k\n"), keep(json!({})), &["a header with `k` twice"]).await;
    check(&a("k,\n"), keep(json!({})), &["field 2 has no name"]).await;
    check(&a("k,\"v\n"), keep(json!({})), &["is a quote not closed?"]).await;
    check(&[("a/1.csv", "k,v\n"), ("a/2.json", "{}")], keep(json!({})), &["mixes files"]).await;
    check(
        &[("a/1.csv", "k,v\n1,2"), ("a/2.csv", "k,x\n")],
        json!({"from": "select * from a"}),
        &["raw/a/2.csv", "the first file"],
    )
    .await;
    let mut case = Case::clean(&a("k,v\n"), keep(json!({})));
    case.attempt.inputs["a"].dataset = "file:raw/b.csv".parse().unwrap();
    assert!(case.error().await.contains("`file:raw/b.csv` does not exist"));
    case.attempt.inputs["a"].dataset = "table:b".parse().unwrap();
    assert!(case.error().await.contains("`table:b` does not exist"));
    let array = [("a.json", "[{\"k\": 1}]")];
    check(&array, keep(json!({})), &["write one object on each line"]).await;
    check(&[("a.ndjsn", "{}")], keep(json!({})), &["did you mean `.ndjson`?"]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queries_and_rules_that_do_not_fit_the_input() {
    let files = [("orders.csv", "id,name,price,at\n")];
    let from = |from: &str, more: Value| {
        let mut options = json!({"columns": orders(), "from": from});
        options.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        options
    };
    check(
        &files,
        from("select prize from orders", json!({})),
        &[
            "from:1:8: no column `prize`; did you mean `price`?\n1 | select prize from orders\n",
            "  |        ^^^^^",
        ],
    )
    .await;
    check(&files, from("select * from order", json!({})), &["did you mean `orders`?"]).await;
    let rule = json!({"rules": {"positive": "prize > 0"}});
    check(
        &files,
        from("select * from orders", rule),
        &["rule `positive`:1:1: no column `prize`; did you mean `price`?"],
    )
    .await;
    let rule = json!({"rules": {"positive": "price + 1"}});
    check(&files, from("select * from orders", rule), &["neither true nor false"]).await;
    let dedupe = json!({"dedupe": {"key": ["order_id"]}});
    check(&files, from("select * from orders", dedupe), &["dedupe: no column `order_id`"]).await;
    check(
        &files,
        from("select name as reason from orders", json!({})),
        &["`reason`, which rejected rows need"],
    )
    .await;
    let twice = "select a.id, b.id from orders a, orders b";
    check(&files, from(twice, json!({})), &["two columns `id`"]).await;
}

fn task(inputs: &[(&str, &str)], outputs: &[(&str, &str)], options: Value) -> PlannedTask {
    let planned = |dataset: &str| PlannedOutput {
        dataset: dataset.parse().unwrap(),
        write: Write::Overwrite,
        replace_where: None,
        partition_by: Vec::new(),
        key: Vec::new(),
    };
    PlannedTask {
        name: "t".into(),
        kind: "etl".into(),
        options,
        late: vec!["/sql/late".into()],
        inputs: inputs.iter().map(|(a, b)| ((*a).to_owned(), b.parse().unwrap())).collect(),
        outputs: outputs.iter().map(|(a, b)| ((*a).to_owned(), planned(b))).collect(),
        when: None,
        skip: None,
        trigger_rule: TriggerRule::default(),
        retry: Retry::default(),
        timeout: None,
    }
}

fn problems(outputs: &[(&str, &str)], options: Value, files: &[(&str, &str)]) -> Vec<String> {
    let files = files.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect();
    let task = task(&[("a", "file:a.csv"), ("b", "table:b")], outputs, options);
    let etl = Etl::new(Arc::new(Engine::default()));
    let told = |problem: orchestrator::kind::Problem| {
        let place = problem.part.and_then(|part| match part {
            Part::File(at) => Some(format!(" [{}:{}]", at.path, at.range.start)),
            Part::Text(_) => None,
        });
        let help = problem.help.map(|help| format!(" ({help})"));
        format!(
            "{}{}: {}{}",
            problem.path.join("."),
            place.unwrap_or_default(),
            problem.message,
            help.unwrap_or_default()
        )
    };
    etl.check(&task, &files, &Known::new()).into_iter().map(told).collect()
}

#[test]
fn columns_are_known_from_task_to_task() {
    let columns = [("id", "Int64"), ("price", "Float64")];
    let columns = columns.map(|(name, kind)| (name.to_owned(), kind.to_owned()));
    let known = Known::from([("b".to_owned(), columns.into())]);
    let etl = Etl::new(Arc::new(Engine::default()));
    let check = |options: Value, outputs: &[(&str, &str)], expect: &str| {
        let mut task = task(&[("b", "table:b")], outputs, options);
        task.late.clear();
        let files = Files::new();
        let problems = etl.check(&task, &files, &known);
        let told: Vec<String> = problems
            .into_iter()
            .map(|problem| {
                let help = problem.help.map(|help| format!(" ({help})")).unwrap_or_default();
                format!("{}: {}{help}", problem.path.join("."), problem.message)
            })
            .collect();
        assert_eq!(told.join("\n"), expect);
        etl.columns(&task, &files, &known)
    };
    let valid = [("valid", "table:v"), ("rejected", "table:r")];
    let out = check(
        json!({"from": "select * from b", "rules": {"good": "price > 0"}, "dedupe": {"key": ["id"]}}),
        &valid,
        "",
    );
    assert_eq!(out, Known::from([("valid".to_owned(), known["b"].clone())]));
    check(
        json!({"from": "select * from b", "rules": {"good": "prize > 0"}, "dedupe": {"key": ["di"]}}),
        &valid,
        "with.rules.good: no column `prize` (did you mean `price`?)\n\
         with.dedupe.key: the query has no column `di` (there are `id`, `price`)",
    );
    check(
        json!({"sql": {"o": "select sum(prices) as s\nfrom b"}}),
        &[("o", "table:o")],
        "with.sql.o: no column `prices` (did you mean `price`?)",
    );
    let out = check(
        json!({"sql": {"o": "select cast(id as varchar) as name, sum(price) as s from b group by 1"}}),
        &[("o", "table:o")],
        "",
    );
    let names: Vec<&str> = out["o"].keys().map(String::as_str).collect();
    assert_eq!(names, ["name", "s"]);
    check(
        json!({"sql": {"o": "select * from c"}}),
        &[("o", "table:o")],
        "with.sql.o: no input `c` (there are `b`)",
    );
    // What is stored can be another type than what was computed, and not all can be.
    let ranked = "select row_number() over () as rank from b";
    let out = check(json!({"sql": {"o": ranked}}), &[("o", "table:o")], "");
    assert_eq!(out["o"]["rank"], "Int64");
    check(
        json!({"sql": {"o": "select max(price) from b"}}),
        &[("o", "table:o")],
        "with.sql.o: column `max(b.price)` needs a name without spaces, brackets, `,`, `;` and `=`; \
         give it one with `as`",
    );
    // An output of another name is told, and no reason to end.
    let out = check(
        json!({"sql": {"oo": "select id from b"}}),
        &[("o", "table:o")],
        "with.sql.oo: the task has no output `oo` (did you mean `o`?)\noutputs.o: `sql` has no query for the output `o`",
    );
    assert_eq!(out, Known::new());
    // What is computed by Spark is not known here.
    check(json!({"engine": "spark", "sql": {"o": "select x from b"}}), &[("o", "table:o")], "");
}

#[test]
fn problems_of_a_plan() {
    let all_is_well = json!({
        "from": "q.sql", "rules": {"r": "x > $most"}, "dedupe": {"key": ["x"]},
        "parameters": {"most": 1}, "columns": {"a": {"x": "decimal(10,2)"}}, "memory": "1GiB",
    });
    let q = [("q.sql", "select x\nfrom a")];
    assert_eq!(problems(&CLEAN, all_is_well, &q), Vec::<String>::new());
    let check = |outputs: &[(&str, &str)], options: Value, expect: &[&str]| {
        assert_eq!(problems(outputs, options, &[("q.sql", "select x\nfrom a where )")]), expect);
    };
    check(
        &CLEAN,
        json!({"from": "q.sql"}),
        &["with.from [q.sql:22]: expected: an expression, found: )"],
    );
    check(
        &CLEAN,
        json!({}),
        &[
            "with: an etl task needs `from` or `sql` (`from` routes the rows of one query to `valid` \
         and `rejected`; `sql` has one query for each output)",
        ],
    );
    check(
        &[("vald", "table:v"), ("rejected", "table:r")],
        json!({"from": "select 1"}),
        &[
            "outputs: `from` needs the output `valid`",
            "outputs.vald: `from` has no output `vald` (its outputs are `valid` and `rejected`)",
        ],
    );
    check(
        &CLEAN,
        json!({"from": "select $nigth", "parameters": {"night": 1}, "columns": {"c": {}, "b": {}},
            "rules": {"duplicate": "a >"}, "dedupe": {"key": ["x", "x"]}}),
        &[
            "with.from: no parameter `nigth` (did you mean \
             `$night`?)",
            "with.rules.duplicate: `duplicate` is a reason of its own; give the rule another name",
            "with.rules.duplicate: expected: an expression, found: EOF",
            "with.dedupe.key: `key` names a column twice",
            "with.parameters.night: no query uses the parameter `night` (SQL names it as `$night`)",
            "with.columns.c: the task has no input `c`",
            "with.columns.b: the columns of `table:b` have their types already",
        ],
    );
    check(
        &CLEAN,
        json!({"from": "select 1", "engine": "spark", "dedupe": {"key": ["x"], "keep": "first"}}),
        &["with.dedupe.keep: `engine: spark` reads rows in no order, so it knows no first one \
           (leave `keep` out to keep the smallest row of each key)"],
    );
    check(
        &[("daily", "table:d"), ("late", "table:l"), ("more", "table:m")],
        json!({"sql": {"daly": "select 1; select 2", "late": "not sql"}, "rules": {"r": "true"}}),
        &[
            "with.sql.daly: the task has no output `daly` (did you mean `daily`?)",
            "with.sql.daly: 2 statements here; write one SELECT",
            "outputs.daily: `sql` has no query for the output `daily`",
            "outputs.more: `sql` has no query for the output `more`",
            "with.rules: `rules` belongs to `from`, not to `sql`",
        ],
    );
    let options: IndexMap<&str, Value> = [("columns", json!({"a": {"x": "int"}}))].into();
    let problem = problems(&CLEAN, json!(options), &[]);
    // What the attempt will render may be of any type: nothing is told of it here.
    assert_eq!(problem, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn spark_has_to_be_there() {
    let missing = if cfg!(feature = "spark") {
        ["the profile `embedded` names none", "`tidemill.yaml`", "`spark: {remote:"]
    } else {
        ["built without Spark", "`cargo build --features spark`", "leave `engine` out"]
    };
    check(&[("a.csv", "k,v\n1,1\n")], keep(json!({"engine": "spark"})), &missing).await;
}

#[test]
fn files_of_queries_are_referred_to() {
    let etl = Etl::new(Arc::new(Engine::default()));
    let options = json!({"from": "sql/a.sql", "sql": {"x": "b.sql", "y": "select 1 -- .sql"}});
    let mut read = Vec::new();
    etl.refer(&options, &mut |path| {
        read.push(path.to_owned());
        None
    });
    assert_eq!(read, ["sql/a.sql", "b.sql"]);
}
