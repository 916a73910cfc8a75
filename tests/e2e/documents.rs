//! What the documents name exists.

use std::path::Path;

/// Directories whose paths the documents name.
const ROOTS: [&str; 8] =
    ["orchestrator", "tasks", "src", "tests", "pipelines", "xtask", "docs", "docker"];

#[test]
fn every_path_in_a_document_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut documents: Vec<_> =
        ["README.md", "ARCHITECTURE.md", "CHANGELOG.md"].map(|name| root.join(name)).to_vec();
    for entry in std::fs::read_dir(root.join("docs")).unwrap() {
        documents.push(entry.unwrap().path());
    }
    let mut found = 0;
    for document in documents {
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
