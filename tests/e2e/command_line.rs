//! The command line as a whole: paging, wrong arguments, help.

use crate::project::{Project, said};
use std::path::Path;
use std::process::Command;

/// Runs a line of a shell in a terminal of 24 lines; gives what stood there.
fn in_terminal(project: &Project, pager: &str, line: &str) -> Option<String> {
    let tidemill = project.command(&[]);
    let mut command = Command::new("script");
    command.args(["-qec", &line.replace("tidemill", &tidemill.get_program().to_string_lossy())]);
    command.arg("/dev/null").current_dir(project.path(""));
    command.env("TIDEMILL_PAGER", pager).env("TERM", "xterm").env_remove("NO_COLOR");
    let Ok(output) = command.stdin(std::process::Stdio::null()).output() else {
        eprintln!("skipped: there is no `script` (util-linux)");
        return None;
    };
    let said = said(output);
    assert_eq!(said.code, Some(0), "{line}: {said:#?}");
    Some(said.out.replace('\r', ""))
}

#[test]
fn results_go_through_a_pager_in_a_terminal_alone() {
    let project = Project::shipped();
    project.write("pager", "#!/bin/sh\nsed 's/^/paged: /'\n");
    let pager = project.path("pager");
    Command::new("chmod").arg("+x").arg(&pager).status().unwrap();
    let pager = pager.display().to_string();
    let Some(shown) = in_terminal(&project, &pager, "tidemill kinds") else { return };
    // In colour, though the pager's input is a pipe.
    assert!(shown.starts_with("paged: \u{1b}["), "{shown:?}");
    assert!(shown.lines().all(|line| line.starts_with("paged: ")), "{shown}");
    for line in ["tidemill kinds --no-pager", "tidemill kinds | cat", "tidemill validate pipelines"]
    {
        let shown = in_terminal(&project, &pager, line).unwrap();
        assert!(!shown.contains("paged"), "{line}: {shown}");
    }
    // `less` leaves what fits, and shows the first screen of what does not.
    let shown = in_terminal(&project, "less", "stty rows 24; tidemill lineage x:y; tidemill kinds")
        .unwrap();
    assert!(shown.contains("stream"), "{shown}");
}

#[test]
fn a_pager_that_ends_early_is_no_error() {
    let project = Project::shipped();
    for verb in ["kinds etl", "query 'select * from range(1, 2000000)' -o csv"] {
        let line = format!("tidemill {verb}; echo code $?");
        let Some(shown) = in_terminal(&project, "head -n 1", &line) else { return };
        let lines: Vec<&str> = shown.lines().collect();
        assert_eq!((lines.len(), lines.last()), (2, Some(&"code 0")), "{shown}");
    }
    let shown = in_terminal(&project, "nosuchpager", "tidemill kinds").unwrap();
    assert!(shown.starts_with("cannot start the pager `nosuchpager`"), "{shown}");
    assert!(shown.contains("shell"), "{shown}");
}

#[test]
fn what_is_wrong_with_a_command_line_is_said_with_a_remedy() {
    let project = Project::shipped();
    let wrong = |arguments: &[&str], words: &str| {
        let said = project.tidemill(arguments);
        assert_eq!((said.code, said.out.as_str()), (Some(2), ""), "{said:?}");
        assert!(said.err.contains(words), "`{words}` is not in {}", said.err);
    };
    for verb in ["plan", "run", "graph"] {
        wrong(&[verb, "pipelines"], "name one of its pipelines: `pipelines/ecommerce.yaml`, ");
        wrong(&[verb, "tidemill.yaml"], "it is the project file; name a pipeline");
    }
    wrong(&["run", "pipelines/sql"], "it is a directory, without pipelines");
    wrong(&["validate", "tidemill.yaml"], "it is the project file; name a pipeline");
    let days = "a run can be about days from 0001-01-01 to 9999-12-29";
    wrong(&["plan", "pipelines/hello.yaml", "--date", "9999-12-31"], days);
    wrong(&["backfill", "pipelines/hello.yaml", "--from", "9999-12-30"], days);
    project.ok(&["plan", "pipelines/hello.yaml", "--date", "9999-12-29"]);
    project.ok(&["plan", "pipelines/hello.yaml", "--date", "0001-01-01"]);
    let profile = "there is no profile `embeded`; did you mean `embedded`?";
    wrong(&["query", "select 1", "--profile", "embeded"], profile);
    wrong(&["kinds", "ship"], "there is no kind of task `ship`; there are `bulk_load`");
}

/// What they print is for people or for one program alone.
const WITHOUT_JSON: [&str; 4] = ["serve", "schema", "completions", "man"];

#[test]
fn every_verb_has_examples_json_and_a_line_in_the_page() {
    let project = Project::empty();
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/command-line.md");
    let page = std::fs::read_to_string(page).unwrap();
    let verbs = |of: &[&str]| {
        let help = project.ok(&[of, &["--help"]].concat()).out;
        let (_, commands) = help.split_once("Commands:\n").unwrap();
        let names = commands.lines().map_while(|line| line.strip_prefix("  "));
        let names = names.filter_map(|line| line.split(' ').next()).filter(|name| *name != "help");
        names.filter(|name| !name.is_empty()).map(str::to_owned).collect::<Vec<_>>()
    };
    let kv = verbs(&["kv"]).into_iter().map(|verb| vec!["kv".to_owned(), verb]);
    let all = verbs(&[]).into_iter().map(|verb| vec![verb]);
    let all: Vec<Vec<String>> = all.filter(|verb| verb[0] != "kv").chain(kv).collect();
    assert!(all.len() > 20, "{all:?}");
    for verb in all {
        let words: Vec<&str> = verb.iter().map(String::as_str).collect();
        let name = words.join(" ");
        let short = project.ok(&[&words[..], &["-h"]].concat()).out;
        let long = project.ok(&[&words[..], &["--help"]].concat()).out;
        for help in [&short, &long] {
            let example = format!("tidemill {name}");
            let (_, examples) = help.split_once("Examples:\n").expect(&name);
            assert!(examples.contains(&example), "{name} has no example: {help}");
        }
        let speaks_json = short.contains("--output") && long.contains("json");
        assert_eq!(speaks_json, !WITHOUT_JSON.contains(&words[0]), "{name}: {short}");
        assert!(page.contains(&format!("`{name}`")), "`{name}` is not in docs/command-line.md");
    }
}
