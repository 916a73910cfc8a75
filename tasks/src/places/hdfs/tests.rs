//! Against a real HDFS: `cargo xtask test` starts one and names it in `TIDEMILL_TEST_HDFS`.

use super::*;
use crate::places::Tables;
use crate::places::files::conformance::conformance;

/// A directory of its own in the HDFS of the tests.
fn hdfs(test: &str) -> Option<Hdfs> {
    let Ok(server) = std::env::var("TIDEMILL_TEST_HDFS") else {
        eprintln!("skipped: no HDFS; `cargo xtask test` starts one");
        return None;
    };
    let url = format!("{server}/tidemill/tests/{test}-{}", Uuid::now_v7().simple());
    let settings = HdfsSettings { url, config_dir: None, options: BTreeMap::new() };
    Some(Hdfs::new(&settings, Duration::ZERO).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn files_conform() {
    let Some(hdfs) = hdfs("files") else { return };
    conformance(&hdfs.files()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tables_conform() {
    let Some(hdfs) = hdfs("tables") else { return };
    let next = std::sync::atomic::AtomicUsize::new(0);
    crate::places::tables::conformance::conformance(|| {
        let number = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        Tables::new(hdfs.directory(&format!("case-{number}")), hdfs.store()).unwrap()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_that_loses_leaves_nothing() {
    use object_store::{ObjectStoreExt, PutMode};
    let Some(hdfs) = hdfs("race") else { return };
    let (store, directory) = (hdfs.store(), hdfs.files().path("t"));
    let path = directory.clone().join("00000000000000000000.json");
    let create = |text: &'static str| {
        let (store, path) = (store.clone(), path.clone());
        async move { store.put_opts(&path, text.into(), PutMode::Create.into()).await }
    };
    let tries = futures::future::join_all((0..8).map(|_| create("{}"))).await;
    assert_eq!(tries.iter().filter(|result| result.is_ok()).count(), 1);
    for lost in tries.into_iter().filter_map(Result::err) {
        assert!(matches!(lost, object_store::Error::AlreadyExists { .. }), "{lost}");
    }
    let raw = hdfs.remote.client.list_status(&format!("/{directory}"), true).await.unwrap();
    assert_eq!(raw.len(), 1, "{raw:?}");
    assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap().as_ref(), b"{}");
}

#[tokio::test]
async fn a_server_that_is_away() {
    let settings = HdfsSettings {
        url: "hdfs://127.0.0.1:9/tidemill".into(),
        config_dir: None,
        options: BTreeMap::new(),
    };
    let error = Hdfs::new(&settings, Duration::ZERO).unwrap().files().list("a").await.unwrap_err();
    assert!(matches!(error, TaskError::Transient(_)), "{error}");
    assert!(error.to_string().contains("can't list `file:a`: HDFS can't be reached"), "{error}");
}
