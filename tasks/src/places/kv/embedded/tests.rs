use super::*;
use crate::places::Places;
use crate::places::kv::conformance::{self, Line, load_of, scan};
use tempfile::TempDir;

fn kv() -> (TempDir, EmbeddedKeyValues) {
    let dir = TempDir::new().unwrap();
    let places = Places::embedded(dir.path()).unwrap();
    let root = url::Url::from_directory_path(dir.path().join("kv")).unwrap();
    let kv = EmbeddedKeyValues::new(Tables::new(root, places.tables().store()).unwrap());
    (dir, kv)
}

async fn put(kv: &EmbeddedKeyValues, id: &str, day: i8, lines: &[Line<'_>]) -> Published {
    let load = load_of(id, day, &["f:a"], lines).await;
    kv.load("t", load).await.unwrap()
}

#[tokio::test]
async fn conforms() {
    let (_dir, kv) = kv();
    conformance::all(&kv, "c", conformance::NewFamily::Added).await;
}

#[tokio::test]
async fn a_publication_comes_once() {
    let (_dir, kv) = kv();
    let first = put(&kv, "r1", 1, &[("a", &[("f:a", "1")])]).await;
    let again = put(&kv, "r1", 1, &[("a", &[("f:a", "other")])]).await;
    assert_eq!((first.version, first.rows), (again.version, again.rows));
    assert_eq!(scan(&kv, "t", "", 9).await, ["a f:a=1@1"]);
}

#[tokio::test]
async fn loads_at_once_lose_nothing() {
    let (_dir, kv) = kv();
    put(&kv, "r0", 1, &[("a", &[("f:a", "0")]), ("z", &[("f:a", "0")])]).await;
    tokio::join!(
        put(&kv, "r1", 2, &[("a", &[("f:a", "1")]), ("b", &[("f:a", "1")])]),
        put(&kv, "r2", 3, &[("a", &[("f:a", "2")]), ("c", &[("f:a", "2")])]),
        put(&kv, "r3", 1, &[("d", &[("f:a", "3")])]),
    );
    let expect = ["a f:a=2@3", "b f:a=1@2", "c f:a=2@3", "d f:a=3@1", "z f:a=0@1"];
    assert_eq!(scan(&kv, "t", "", 9).await, expect);
}

#[tokio::test]
async fn first_loads_at_once_lose_nothing() {
    let (_dir, kv) = kv();
    tokio::join!(
        put(&kv, "r1", 1, &[("a", &[("f:a", "1")])]),
        put(&kv, "r2", 1, &[("b", &[("f:a", "2")])]),
    );
    assert_eq!(scan(&kv, "t", "", 9).await, ["a f:a=1@1", "b f:a=2@1"]);
}

#[tokio::test]
async fn each_key_is_in_one_row_of_the_table() {
    let (_dir, kv) = kv();
    let keys: Vec<String> = (0..500).map(|n| format!("{n:04}")).collect();
    let lines: Vec<Line> = keys.iter().map(|key| (&**key, &[("f:a", "x")][..])).collect();
    for day in 1..4 {
        put(&kv, &format!("r{day}"), day, &lines).await;
    }
    let snapshot = kv.newest("t").await.unwrap().unwrap();
    assert_eq!((snapshot.rows, snapshot.files.len()), (500, 1));
    assert_eq!(kv.summary("t").await.unwrap().unwrap().rows, Some(500));
}

/// A load that is larger than its memory spills, and is the same.
#[tokio::test(flavor = "multi_thread")]
async fn memory_is_limited() {
    let (dir, kv) = kv();
    let engine = crate::engine::Engine::default();
    let session = engine.session_limited(dir.path(), 48 << 20).unwrap();
    let rows = session
        .sql(
            "select cast(value * 7919 % 300000 as varchar) as row_key, \
             'a text of some length, so that rows take memory: ' || value as \"f:a\" \
             from generate_series(0, 299999)",
        )
        .await
        .unwrap();
    let keys = rows.clone().select_columns(&["row_key"]).unwrap();
    let load = Load {
        rows: rows.create_physical_plan().await.unwrap(),
        keys: keys.create_physical_plan().await.unwrap(),
        session,
        ..load_of("r1", 1, &[], &[]).await
    };
    assert_eq!(kv.load("t", load).await.unwrap().rows, 300_000);
    let rows = scan(&kv, "t", "29999", 99).await;
    assert_eq!(rows.len(), 11);
    assert!(rows[0].starts_with("29999 f:a=a text of some length"), "{rows:?}");
}
