use super::conformance::conformance;
use super::*;

#[tokio::test]
async fn on_the_local_file_system() {
    let root = tempfile::tempdir().unwrap();
    let files = LocalFiles::new(&root.path().join("with space é%")).unwrap();
    conformance(&files).await;
    let path = files.url("raw/a.csv").to_file_path().unwrap();
    assert!(path.is_file(), "{}", path.display());
    let left: Vec<_> = std::fs::read_dir(path.parent().unwrap()).unwrap().collect();
    assert_eq!(left.len(), 2, "{left:?}");
}

#[tokio::test]
async fn what_is_torn_is_no_file() {
    let root = tempfile::tempdir().unwrap();
    let files = LocalFiles::new(root.path()).unwrap();
    // What a killed process leaves.
    std::fs::create_dir(root.path().join("raw")).unwrap();
    std::fs::write(root.path().join("raw/.part.csv.0123.tmp"), "half").unwrap();
    assert!(files.list("raw").await.unwrap().is_empty());
}

/// Root may write everywhere, so a file that stands where a directory is needed plays the place
/// without permission.
#[tokio::test]
async fn a_place_that_cannot_be_written() {
    let root = tempfile::tempdir().unwrap();
    std::fs::write(root.path().join("raw"), "a file").unwrap();
    let files = LocalFiles::new(root.path()).unwrap();
    let error = files.create("raw/a.csv").await.err().unwrap();
    assert!(matches!(error, TaskError::Permanent(_)), "{error:?}");
    assert!(error.to_string().contains("can't write `file:raw/a.csv`"), "{error}");
    let error = files.create("raw/deeper/a.csv").await.err().unwrap();
    assert!(matches!(error, TaskError::Permanent(_)), "{error:?}");
}
