use super::*;

#[test]
fn options_are_checked() {
    let check = |options: Value, outputs: &[(&str, &str)], expect: &str| {
        let dir = TempDir::new().unwrap();
        let inputs = [("topic", "topic:t")];
        let (attempt, _) = testing::attempt(dir.path(), options.clone(), &inputs, outputs);
        let task = PlannedTask {
            name: "land".into(),
            kind: "land".into(),
            options,
            late: Vec::new(),
            inputs: Default::default(),
            outputs: attempt.outputs.iter().map(|(k, v)| (k.clone(), v.planned.clone())).collect(),
            when: None,
            skip: None,
            trigger_rule: Default::default(),
            retry: Default::default(),
            timeout: None,
        };
        let problems = Land.check(&task, &kind::Files::new(), &kind::Known::new());
        let told: Vec<String> =
            problems.iter().map(|p| format!("{}: {}", p.path.join("."), p.message)).collect();
        assert_eq!(told.join("; "), expect);
    };
    let both = [("orders", "table:a"), ("dead_letters", "table:b")];
    check(json!({}), &both, "");
    check(json!({}), &both[1..], "outputs: there are 0 outputs for the rows");
    let roll = json!({"roll": {"every": "soon"}});
    check(roll, &both, "with.roll.every: `soon` is not a duration; write it as `30s` or `5m`");
    let add = json!({"add": {"topic_offset": "1"}});
    check(
        add,
        &both,
        "with.add.topic_offset: `topic_offset` is the name of a column of `metadata: true`",
    );
    let files = [("orders", "file:a"), ("dead_letters", "table:b")];
    check(json!({"format": "parquet"}), &files, "");
    check(
        json!({"format": "json"}),
        &both,
        "with.format: `format` is that of files, and `table:a` has none",
    );
}
