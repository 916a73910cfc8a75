//! What the documents name exists, and the pipelines that they show are good.

use crate::project::Project;
use std::path::{Path, PathBuf};

/// Directories whose paths the documents name.
const ROOTS: [&str; 8] =
    ["orchestrator", "tasks", "src", "tests", "pipelines", "xtask", "docs", "docker"];

fn documents() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents: Vec<_> =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root.join(name)).to_vec();
    for entry in std::fs::read_dir(root.join("docs")).unwrap() {
        let path = entry.unwrap().path();
        // Beside them are the pictures.
        if path.extension().is_some_and(|ending| ending == "md") {
            documents.push(path);
        }
    }
    documents
}

#[test]
fn every_path_in_a_document_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = 0;
    for document in documents() {
        let text = std::fs::read_to_string(&document).unwrap();
        let ends = |c: char| !(c.is_ascii_alphanumeric() || matches!(c, '_' | '/' | '.' | '-'));
        for path in text.split(ends).map(|word| word.trim_end_matches('.')) {
            let begins = path.split_once('/').is_some_and(|(first, _)| ROOTS.contains(&first));
            if begins && Path::new(path).extension().is_some() {
                found += 1;
                assert!(root.join(path).exists(), "{}: no `{path}`", document.display());
            }
        }
    }
    assert!(found > 20, "the documents name {found} paths");
}

/// Those of the reference are parts of pipelines; a test of the orchestrator checks them.
#[test]
fn every_pipeline_in_a_document_is_valid() {
    let project = Project::shipped();
    let mut found = 0;
    for document in documents().iter().filter(|path| !path.ends_with("language.md")) {
        let text = std::fs::read_to_string(document).unwrap();
        let blocks = text.split("```yaml\n").skip(1).map(|rest| rest.split("```").next().unwrap());
        for block in blocks.filter(|block| block.lines().any(|line| line == "tasks:")) {
            found += 1;
            project.write("pipelines/document.yaml", block);
            let said = project.tidemill(&["validate", "pipelines/document.yaml"]);
            let document = document.display();
            assert!(said.code == Some(0) && said.err.is_empty(), "{document}: {block}{}", said.err);
        }
    }
    assert!(found >= 8, "the documents show {found} pipelines");
}
