//! What tasks said, and how it is found again.

use crate::project::{Project, end, wait_until};
use serde_json::Value;

/// Two attempts at `a`, which fail; `b` is not begun.
fn talkative() -> Project {
    let project = Project::new();
    project.write(
        "p.yaml",
        "name: p\ntasks:\n  a:\n    uses: shell\n    retry: {attempts: 2, delay: 1ms}\n    with:\n      \
         run: |\n        echo one\n        echo two Disks\n        sleep 0.1\n        echo careful >&2\n        \
         exit 3\n  b: {uses: shell, needs: [a], with: {run: 'true'}}\n",
    );
    assert_eq!(project.tidemill(&["run", "p.yaml"]).code, Some(1));
    project
}

#[test]
fn lines_are_chosen_by_level_words_attempt_and_number() {
    let project = talkative();
    let lines = |arguments: &[&str]| {
        let said = project.ok(&[&["logs", "latest", "-o", "json"], arguments].concat());
        let parse = |line: &str| serde_json::from_str::<Value>(line).expect(line);
        said.out.lines().map(parse).collect::<Vec<_>>()
    };
    let messages = |arguments: &[&str]| {
        let lines = lines(arguments);
        let message = |line: &Value| line["message"].as_str().unwrap_or_default().to_owned();
        lines.iter().map(message).collect::<Vec<_>>()
    };
    let all = lines(&["a"]);
    assert_eq!(all.len(), 8, "{all:#?}");
    assert_eq!((&all[0]["task"], &all[0]["attempt"]), (&"a".into(), &1.into()));
    assert_eq!((&all[0]["level"], &all[0]["source"]), (&"info".into(), &"stdout".into()));
    assert!(all[0]["time"].as_str().unwrap().ends_with('Z'), "{}", all[0]);
    let bad = messages(&["--level", "warn", "--attempt", "2"]);
    assert_eq!((bad.len(), bad[0].as_str()), (2, "careful"), "{bad:?}");
    assert_eq!(messages(&["--level", "error"]).len(), 2);
    assert_eq!(messages(&["--grep", "o disk"]), ["two Disks"; 2]);
    assert_eq!(messages(&["--grep", "^(One|two disks)"]), [""; 0]);
    assert_eq!(messages(&["a", "-n", "3"])[..2], ["two Disks", "careful"]);
    assert_eq!(messages(&["--grep", "one", "-n", "1", "-f"]), ["one"]);
}

#[test]
fn lines_are_in_local_time_with_what_matches_marked() {
    let project = talkative();
    let arguments = ["logs", "latest", "--grep", "two", "--color", "always"];
    let output = project.command(&arguments).env("TZ", "Asia/Tokyo").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!(said.matches("times: Asia/Tokyo").count(), 1, "{said}");
    assert!(said.contains("\u{1b}[31mtwo\u{1b}[0m Disks"), "{said:?}");
    let json = project.ok(&["logs", "latest", "a", "-n", "1", "-o", "json"]).out;
    let utc: jiff::Timestamp =
        serde_json::from_str::<Value>(&json).unwrap()["time"].as_str().unwrap().parse().unwrap();
    let local = utc.in_tz("Asia/Tokyo").unwrap().strftime("%Y-%m-%d %H:%M:%S%.3f ERROR");
    let output = project.command(&["logs", "latest"]).env("TZ", "Asia/Tokyo").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.contains(&local.to_string()), "`{local}` is not in {said}");
}

#[test]
fn what_is_not_there_is_said() {
    let project = talkative();
    let said = project.ok(&["logs", "latest", "--grep", "nosuch"]);
    assert!(said.err.contains("hold no line that is asked for"), "{said:?}");
    let fails = |arguments: &[&str], words: &str| {
        let said = project.tidemill(&[&["logs", "latest"], arguments].concat());
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""), "{said:?}");
        assert!(said.err.contains(words), "`{words}` is not in {}", said.err);
    };
    fails(&["c"], "has no task `c`; there are `a`, `b`");
    fails(&["b"], "has made no attempt at `b`");
    fails(&["a", "--attempt", "9"], "has made no attempt 9 at `a`");
    fails(&["--attempt", "9"], "no task of run ");
}

#[test]
fn a_running_task_is_followed() {
    let project = Project::new();
    project.write(
        "p.yaml",
        "name: p\ntasks: {a: {uses: shell, with: {run: 'echo first; echo noise; while ! test -e go; \
         do sleep 0.05; done; echo last; echo noise'}}}\n",
    );
    let run = project.start(&["run", "p.yaml"]);
    wait_until("it has spoken", || project.tidemill(&["logs", "latest"]).out.contains("noise"));
    let follow = project.start(&["logs", "latest", "-f", "--grep", "first|last", "-o", "json"]);
    project.write("go", "");
    let (run, follow) = (end(run), end(follow));
    assert_eq!((run.code, follow.code), (Some(0), Some(0)), "{follow:?}");
    let said: Vec<&str> =
        follow.out.lines().filter_map(|l| l.split("\"message\":").nth(1)).collect();
    assert_eq!(said, ["\"first\"}", "\"last\"}"]);
}
