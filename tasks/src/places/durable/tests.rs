use super::*;
use futures::TryStreamExt;
use object_store::ObjectStoreExt;

fn place() -> (tempfile::TempDir, DurableStore, StorePath) {
    let root = tempfile::tempdir().unwrap();
    let path = StorePath::from_absolute_path(root.path()).unwrap();
    (root, DurableStore::new(), path)
}

async fn read(store: &DurableStore, path: &StorePath) -> String {
    let bytes = store.get(path).await.unwrap().bytes().await.unwrap();
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[tokio::test]
async fn a_taken_name_is_refused() {
    let (_root, store, root) = place();
    let path = root.clone().join("log").join("0.json");
    let create = || PutOptions::from(PutMode::Create);
    store.put_opts(&path, "first".into(), create()).await.unwrap();
    let error = store.put_opts(&path, "second".into(), create()).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error:?}");
    assert_eq!(read(&store, &path).await, "first");
    store.put(&path, "third".into()).await.unwrap();
    assert_eq!(read(&store, &path).await, "third");
    let error = store.copy_if_not_exists(&path, &path).await.unwrap_err();
    assert!(matches!(error, Error::AlreadyExists { .. }), "{error:?}");
    let other = root.clone().join("log").join("1.json");
    store.rename_if_not_exists(&path, &other).await.unwrap();
    assert_eq!(read(&store, &other).await, "third");
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    // Neither the winners nor the losers leave anything beside it.
    let left: Vec<_> = store.list(Some(&root)).try_collect().await.unwrap();
    assert_eq!(left.iter().map(|o| &o.location).collect::<Vec<_>>(), [&other]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_at_once_one_gets_the_name() {
    let (_root, store, root) = place();
    let path = root.join("0.json");
    let store = Arc::new(store);
    let puts = (0..16).map(|number| {
        let (store, path) = (store.clone(), path.clone());
        tokio::spawn(async move {
            let payload = format!("writer {number}").into();
            store.put_opts(&path, payload, PutMode::Create.into()).await.is_ok()
        })
    });
    let won = futures::future::join_all(puts).await;
    assert_eq!(won.iter().filter(|won| *won.as_ref().unwrap()).count(), 1);
}

#[tokio::test]
async fn parts_in_order_and_all_at_once() {
    let (_root, store, root) = place();
    let path = root.clone().join("deep").join("er").join("file");
    let mut upload = store.put_multipart(&path).await.unwrap();
    // The parts may be written in any order; they lie in that in which they were handed over.
    let parts: Vec<_> = ["one", "two", "three"].map(|part| upload.put_part(part.into())).into();
    for part in parts.into_iter().rev() {
        part.await.unwrap();
    }
    assert!(matches!(store.head(&path).await, Err(Error::NotFound { .. })));
    upload.complete().await.unwrap();
    assert_eq!(read(&store, &path).await, "onetwothree");

    let mut upload = store.put_multipart(&path).await.unwrap();
    upload.put_part("rubbish".into()).await.unwrap();
    drop(upload);
    assert_eq!(read(&store, &path).await, "onetwothree");
    // The last file takes its directories with it.
    store.delete(&path).await.unwrap();
    assert!(store.list_with_delimiter(Some(&root)).await.unwrap().common_prefixes.is_empty());
}

/// A full disk is told as such, and leaves what was there.
#[tokio::test]
async fn a_full_disk() {
    let root = tempfile::tempdir().unwrap();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(root.path())
        .output();
    if !mounted.as_ref().is_ok_and(|output| output.status.success()) {
        eprintln!("skipped: a small tmpfs can't be mounted here ({mounted:?})");
        return;
    }
    let store = DurableStore::new();
    let path = StorePath::from_absolute_path(root.path()).unwrap().join("file");
    let result = async {
        store.put(&path, "kept".into()).await.unwrap();
        let full = store.put(&path, vec![0_u8; 1 << 20].into()).await.unwrap_err();
        let mut upload = store.put_multipart(&path).await.unwrap();
        let part = upload.put_part(vec![0_u8; 1 << 20].into()).await.unwrap_err();
        drop(upload);
        (full, part, read(&store, &path).await, std::fs::read_dir(root.path()).unwrap().count())
    };
    let (full, part, kept, files) = result.await;
    let unmounted = std::process::Command::new("umount").arg(root.path()).status();
    for error in [full, part] {
        let text = orchestrator::attempt::chain(&error);
        assert!(text.contains("No space left on device"), "{text}");
    }
    assert_eq!((kept.as_str(), files), ("kept", 1));
    assert!(unmounted.unwrap().success());
}
