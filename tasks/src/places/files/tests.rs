use super::*;

/// What every place of files must do.
async fn conformance(files: &dyn Files) {
    let entry = |name: &str, size: u64| FileEntry { name: name.into(), size };
    assert!(files.list("raw").await.unwrap().is_empty());
    let mut sink = files.create("raw/b/part.csv").await.unwrap();
    sink.write(Bytes::from_static(b"one,")).await.unwrap();
    // Nobody sees half a file.
    assert!(files.list("raw").await.unwrap().is_empty());
    sink.write(Bytes::from_static(b"two")).await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 7);
    assert_eq!(files.list("raw/b/part.csv").await.unwrap(), [entry("raw/b/part.csv", 7)]);

    // One that is given up leaves nothing, not even in place of an older one.
    let mut sink = files.create("raw/b/part.csv").await.unwrap();
    sink.write(Bytes::from_static(b"rubbish that nobody wants")).await.unwrap();
    drop(sink);
    assert_eq!(files.list("raw").await.unwrap(), [entry("raw/b/part.csv", 7)]);
    let read = async |name: &str| {
        let found = object_store::ObjectStoreExt::get(&files.store(), &files.path(name)).await;
        found.unwrap().bytes().await.unwrap()
    };
    assert_eq!(read("raw/b/part.csv").await.as_ref(), b"one,two");

    let sink = files.create("raw/a.csv").await.unwrap();
    assert_eq!(sink.finish().await.unwrap(), 0);
    let mut sink = files.create("raw/b/part.csv").await.unwrap();
    sink.write(Bytes::from_static(b"new")).await.unwrap();
    sink.finish().await.unwrap();
    assert_eq!(
        files.list("raw").await.unwrap(),
        [entry("raw/a.csv", 0), entry("raw/b/part.csv", 3)]
    );
    assert_eq!(read("raw/b/part.csv").await.as_ref(), b"new");
    assert_eq!(files.list("ra").await.unwrap(), []);
}

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
