//! Killed at every write of the journal, a run finishes with the same result.

use crate::project::Project;

/// Each task appends a line to a file of its own, so that work done twice shows.
const PIPELINE: &str = "
name: p
tasks:
  a: {uses: shell, with: {run: 'echo a >> a.txt; echo \"{\\\"n\\\": 1}\" >> \"$TIDEMILL_OUTPUT\"'}}
  b: {uses: shell, needs: [a], with: {run: 'echo b >> b.txt'}, outputs: {}}
  c:
    uses: shell
    needs: [a]
    outputs: {file: file:c.txt}
    with: {run: 'echo \"${{ tasks.a.values.n }}\" > \"$TIDEMILL_OUTPUT_FILE\"'}
  d: {uses: shell, inputs: {file: file:c.txt}, with: {run: 'cat \"$TIDEMILL_INPUT_FILE\" > d.txt'}}
";

#[test]
fn killed_at_every_write_of_the_journal() {
    for point in
        ["journal.before_commit", "journal.after_commit", "file.before_rename", "file.after_rename"]
    {
        let mut kills = 0;
        for nth in 1.. {
            let project = Project::new();
            project.write("p.yaml", PIPELINE);
            if !project.killed_at(&format!("{point}:{nth}"), &["run", "p.yaml"]) {
                break;
            }
            kills += 1;
            // Killed behind its last write, there is nothing left to do.
            if project.show("latest")["state"] == "crashed" {
                project.ok(&["run", "--resume", "latest"]);
            }
            assert_eq!(
                project.states(),
                ["a: succeeded", "b: succeeded", "c: succeeded", "d: succeeded"],
                "{point}:{nth}"
            );
            assert_eq!(project.read("d.txt"), "1\n", "{point}:{nth}");
            // An attempt that was cut off may have done its work; one that ended is not repeated.
            for (file, line) in [("a.txt", "a\n"), ("b.txt", "b\n")] {
                let text = project.read(file);
                assert!(text == line || text == line.repeat(2), "{point}:{nth}: {text}");
            }
        }
        assert!(kills >= 1, "{point} was never reached");
    }
}

#[test]
fn a_run_that_has_ended_is_not_resumed() {
    let project = Project::new();
    project.write("p.yaml", "name: p\ntasks: {a: {uses: shell, with: {run: exit 1}}}\n");
    assert_eq!(project.tidemill(&["run", "p.yaml"]).code, Some(1));
    let said = project.tidemill(&["run", "--resume", "latest"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("no run is unfinished"), "{said:?}");
    let run = project.show("latest")["run"].as_str().unwrap().to_owned();
    let said = project.tidemill(&["run", "--resume", &run]);
    assert!(said.err.contains("has ended (failed)"), "{said:?}");
}
