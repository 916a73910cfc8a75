//! The pages of docs/errors: each code has one, and what it shows is what one sees.
//!
//! Fenced blocks of a page, in their order: ```` ```LANGUAGE PATH ```` is a file beside the pipeline,
//! ```` ```yaml wrong ```` a pipeline with the problem, ```` ```text ```` what is said of it, and
//! ```` ```yaml right ```` the same pipeline mended. `<!-- arguments: ... -->` before a pipeline says
//! how it is looked at, by default with `validate p.yaml`. `UPDATE_EXPECT=1` writes what is said.

use crate::project::Project;
use orchestrator::diagnostic::Code;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/errors")
}

/// Nothing makes it, so that nobody looks it up.
const WITHOUT_PAGE: [Code; 1] = [Code::Internal];

fn codes() -> BTreeSet<&'static str> {
    Code::ALL.iter().filter(|code| !WITHOUT_PAGE.contains(code)).map(|code| code.as_str()).collect()
}

#[test]
fn each_code_has_a_page_in_the_index() {
    let files = std::fs::read_dir(directory()).unwrap().map(|file| file.unwrap().file_name());
    let names: BTreeSet<String> = files.map(|name| name.into_string().unwrap()).collect();
    let expect: BTreeSet<String> =
        codes().into_iter().chain(["README"]).map(|code| format!("{code}.md")).collect();
    assert_eq!(names, expect);
    let index = std::fs::read_to_string(directory().join("README.md")).unwrap();
    for code in codes() {
        assert!(
            index.contains(&format!("| [`{code}`]({code}.md) |")),
            "{code} is not in the index"
        );
    }
}

#[test]
fn what_a_page_shows_is_what_is_said() {
    let mut shown = 0;
    for code in codes() {
        let path = directory().join(format!("{code}.md"));
        let text = std::fs::read_to_string(&path).unwrap();
        let project = Project::empty();
        let mut printed = String::new();
        // In turn: what stands between blocks, and a block.
        let mut parts = text.split("\n```");
        while let (Some(between), Some(block)) = (parts.next(), parts.next()) {
            let (info, body) = block.split_once('\n').unwrap();
            let arguments = between.split_once("<!-- arguments: ").map(|(_, rest)| rest);
            let arguments = arguments.and_then(|rest| rest.split(" -->").next());
            let arguments: Vec<&str> = arguments.unwrap_or("validate p.yaml").split(' ').collect();
            let said = || {
                project.write("p.yaml", &format!("{body}\n"));
                project.tidemill(&arguments)
            };
            match info.split_once(' ') {
                Some(("yaml", "wrong")) => {
                    let said = said();
                    let is_error = said.err.starts_with(&format!("error[{code}]"));
                    let is_warning = said.err.starts_with(&format!("warning[{code}]"));
                    assert!(is_error || is_warning, "{code}: {}", said.err);
                    assert_eq!(said.code, Some(if is_error { 2 } else { 0 }), "{code}");
                    said.err.trim_end().clone_into(&mut printed);
                }
                Some(("yaml", "right")) => {
                    let said = said();
                    assert_eq!(said.code, Some(0), "{code}: {}", said.err);
                    assert!(!said.err.contains(&format!("[{code}]")), "{code}: {}", said.err);
                }
                Some((_, name)) => project.write(name, &format!("{body}\n")),
                None if info == "text" => {
                    shown += 1;
                    if std::env::var_os("UPDATE_EXPECT").is_some() {
                        std::fs::write(&path, text.replace(body, &printed)).unwrap();
                    } else {
                        assert_eq!(printed, body, "{code}");
                    }
                }
                None => {}
            }
        }
    }
    assert!(shown > 30, "{shown} pages show what is said");
}

/// `cargo xtask peers` writes the page. A right pipeline stands beside those with a mistake.
#[test]
fn the_page_of_mistakes_shows_what_is_said() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = std::fs::read_to_string(root.join("docs/mistakes.md")).unwrap();
    let inputs = root.join("xtask/src/peers");
    let mut mistakes = 0;
    for entry in std::fs::read_dir(&inputs).unwrap() {
        let directory = entry.unwrap().path();
        if !directory.is_dir() {
            continue;
        }
        let project = Project::empty();
        for name in ["pipeline.yaml", "clean.sql"] {
            let own = std::fs::read_to_string(directory.join(name));
            let right = || std::fs::read_to_string(inputs.join("right").join(name)).unwrap();
            project.write(name, &own.unwrap_or_else(|_| right()));
        }
        let said = project.tidemill(&["validate", "pipeline.yaml"]);
        if directory.ends_with("right") {
            assert_eq!(said.code, Some(0), "{}", said.err);
            continue;
        }
        mistakes += 1;
        let shown = format!("{}{}", said.out, said.err);
        let code = said.code.unwrap();
        let block =
            format!("$ tidemill validate pipeline.yaml\n{}\n[exit code {code}]", shown.trim());
        assert!(page.contains(&block), "{}: not on the page:\n{block}", directory.display());
    }
    assert!(mistakes > 10, "{mistakes} mistakes");
}
