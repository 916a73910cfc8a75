//! What only a run knows, rendered right before an attempt.

use crate::kinds::kinds;
use indexmap::IndexMap;
use serde_json::{Map, json};
use std::collections::BTreeMap;
use tidemill_orchestrator::event::{Published, TaskEnd};
use tidemill_orchestrator::kind::Files;
use tidemill_orchestrator::load::{Definition, from_text};
use tidemill_orchestrator::plan::{Plan, PlanRequest, plan, recheck};
use tidemill_orchestrator::template::{LateContext, LateTask, holds_late, render_late};

const TEXT: &str = r#"
name: p
params: {factor: {type: integer, default: 2}, text: {type: string, default: '${{ run.id }}'}}
tasks:
  a: {uses: make, with: {rows: 5}, outputs: {rows: table:a}}
  b-2:
    uses: make
    with:
      rows: ${{ tasks.a.outputs.rows.rows * params.factor }}
      columns: ["${{ run.id }}/${{ interval.date }}/${{ env.HOME }}", "${{ params.text }}"]
      shape: ${{ tasks.a.values['shape'] }}
    when: tasks.a.state == "succeeded" and tasks.a.outputs.rows.version | default(0) == 0
    outputs: {rows: table:b}
  c: {uses: noop, with: {"a/b~c": "${{ tasks['b-2'].state }}"}}
"#;

fn planned() -> (Definition, Plan) {
    let env = |name: &str| Some(format!("value of {name}"));
    let definition = from_text("p.yaml", TEXT, Files::new(), &kinds(), &env).unwrap();
    let request = PlanRequest::new("2026-11-24T12:00:00Z".parse().unwrap());
    let (plan, warnings) = plan(&definition, &kinds(), &request).unwrap();
    assert_eq!(warnings, []);
    (definition, plan)
}

fn with_late<T>(
    shape: &str,
    rows: Option<u64>,
    check: impl FnOnce(&Plan, &LateContext<'_>) -> T,
) -> T {
    let (definition, plan) = planned();
    let outputs: IndexMap<String, Published> = rows
        .map(|rows| ("rows".to_owned(), Published { rows, bytes: 7, ..Published::default() }))
        .into_iter()
        .collect();
    let mut values = Map::new();
    values.insert("shape".into(), json!(shape));
    let a = LateTask { state: Some(TaskEnd::Succeeded), values, outputs };
    let tasks = |name: &str| match name {
        "a" => Some(a.clone()),
        "b-2" => Some(LateTask { state: Some(TaskEnd::Skipped), ..LateTask::default() }),
        _ => None,
    };
    check(&plan, &LateContext { plan: &plan, env: &definition.env, run_id: "r1", tasks: &tasks })
}

#[test]
fn late_texts_are_rendered_with_their_types() {
    with_late("seasonal", Some(21), |plan, late| {
        let b = &plan.tasks[1];
        assert_eq!(b.late, ["/rows", "/columns/0", "/shape"]);
        let options = render_late(b, late).unwrap();
        let expect = json!({
            "rows": 42,
            // A param's value is never taken for an expression.
            "columns": ["r1/2026-11-23/value of HOME", "${{ run.id }}"],
            "shape": "seasonal",
        });
        assert_eq!(options, expect);
        let kind = kinds();
        let kind = kind.get("make").unwrap();
        assert_eq!(recheck(kind.as_ref(), &options), Ok(()));
        let c = render_late(&plan.tasks[2], late).unwrap();
        assert_eq!(c, json!({"a/b~c": "skipped"}));
        assert_eq!(holds_late(b.when.as_deref().unwrap(), late), Ok(true));
    });
}

#[test]
fn late_values_are_checked_like_others() {
    with_late("round", Some(5_000), |plan, late| {
        let options = render_late(&plan.tasks[1], late).unwrap();
        let kinds = kinds();
        let error = recheck(kinds.get("make").unwrap().as_ref(), &options).unwrap_err();
        assert_eq!(
            error,
            "with.rows: `rows` must be at most 1000, not 10000; \
             with.shape: `shape` must be `flat` or `seasonal`, not `round`"
        );
    });
}

#[test]
fn what_a_task_did_not_leave_is_an_error() {
    with_late("flat", None, |plan, late| {
        let error = render_late(&plan.tasks[1], late).unwrap_err();
        assert!(error.starts_with("`with.rows`: `"), "{error}");
        assert!(error.contains("tasks.a.outputs.rows"), "{error}");
        assert!(holds_late("tasks.a.outputs.rows.rows > 5", late).is_err());
        assert!(holds_late("tasks.a.values.shape", late).unwrap_err().contains("neither true"));
    });
}

#[test]
fn a_plan_says_which_environment_it_used() {
    let (definition, _) = planned();
    let expect = BTreeMap::from([("HOME".to_owned(), "value of HOME".to_owned())]);
    assert_eq!(definition.env, expect);
}
