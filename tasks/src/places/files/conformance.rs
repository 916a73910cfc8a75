//! What every place of files must do.

use super::{FileEntry, Files};
use bytes::Bytes;

pub(crate) async fn conformance(files: &dyn Files) {
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
