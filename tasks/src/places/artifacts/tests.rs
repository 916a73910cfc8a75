use super::*;

async fn publish(artifacts: &Artifacts, run: &str, text: &str) -> PathBuf {
    let sink = artifacts.create("sales", run).await.unwrap();
    std::fs::create_dir(sink.directory().join("charts")).unwrap();
    std::fs::write(sink.directory().join("charts/a.svg"), "<svg/>").unwrap();
    std::fs::write(sink.directory().join("index.html"), text).unwrap();
    sink.finish().await.unwrap()
}

fn names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_directory_for_each_run_and_latest() {
    let root = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::new(&root.path().join("artifacts"));
    let directory = artifacts.directory("sales");
    let latest = || std::fs::read_to_string(directory.join("latest/index.html")).unwrap();

    let first = publish(&artifacts, "run-1", "one").await;
    assert_eq!(first, directory.join("run-1"));
    assert_eq!(latest(), "one");
    publish(&artifacts, "run-2", "two").await;
    assert_eq!(latest(), "two");
    // An attempt after one that died behind its rename.
    publish(&artifacts, "run-1", "one again").await;
    assert_eq!(latest(), "one again");
    assert_eq!(names(&directory), ["latest", "run-1", "run-2"]);
    assert_eq!(names(&first), ["charts", "index.html"]);
    // The data directory can be moved.
    let moved = root.path().join("moved");
    std::fs::rename(root.path().join("artifacts"), &moved).unwrap();
    assert!(moved.join("sales/latest/index.html").exists());
}

#[tokio::test]
async fn what_is_not_finished_is_not_there() {
    let root = tempfile::tempdir().unwrap();
    let artifacts = Artifacts::new(root.path());
    let sink = artifacts.create("sales", "run-1").await.unwrap();
    std::fs::write(sink.directory().join("index.html"), "half").unwrap();
    drop(sink);
    assert!(names(&artifacts.directory("sales")).is_empty());
}

#[tokio::test]
async fn a_place_that_cannot_be_written() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("sales"), "a file").unwrap();
    let error = Artifacts::new(root.path()).create("sales", "run-1").await.unwrap_err();
    assert!(matches!(error, TaskError::Permanent(_)), "{error:?}");
    assert!(error.to_string().contains("can't write `artifact:sales`"), "{error}");
}
