//! Part of the suite for every place of tables.

use crate::places::tables::conformance::{publication, publish, read, rows, stage};
use crate::places::tables::{Publication, Swept, Tables};
use object_store::ObjectStoreExt;
use orchestrator::kind::Write;

/// Many small appends: all rows are there, in few files, every commit is found, and every version
/// still reads as it was.
pub(crate) async fn many_commits(tables: &Tables) {
    for number in 0..70 {
        let mut append = publication(&format!("run-1/land/{number}"), Write::Append);
        append.base = (number > 0).then(|| number - 1);
        append.positions = vec![("topic/0".into(), number + 1)];
        publish(tables, &append, &rows(&[(number, "x")])).await.unwrap();
    }
    let newest = tables.latest("t").await.unwrap().unwrap();
    assert_eq!(newest, 70, "70 appends and one compaction");
    let history = tables.history("t").await.unwrap();
    let compacted = history.iter().find(|version| version.operation == "OPTIMIZE").unwrap();
    assert_eq!(compacted.rows, Some(compacted.version as u64), "no rows came or went");
    let expect = |rows: i64| {
        let mut expect: Vec<String> = (0..rows).map(|number| format!("{number}|x")).collect();
        expect.sort();
        expect
    };
    let snapshot = tables.read("t", newest).await.unwrap();
    assert!(snapshot.files.len() < 10, "{} files", snapshot.files.len());
    assert_eq!(read(tables, newest).await, expect(70));
    assert_eq!(read(tables, compacted.version).await, expect(compacted.version));
    assert_eq!(read(tables, 40).await, expect(41));
    for number in [0, 33, 69] {
        let found = tables.find("t", &format!("run-1/land/{number}"), None).await.unwrap();
        assert_eq!(found.unwrap().rows, 1);
    }
    let (id, last) = tables.find_last("t", "run-1/land/", None).await.unwrap().unwrap();
    assert_eq!((id.as_str(), last.version), ("run-1/land/69", Some(newest)));
    assert_eq!(tables.find_last("t", "run-1/land/", Some(newest)).await.unwrap(), None);
    assert_eq!(tables.position("t", "topic/0").await.unwrap(), Some(70));

    // Again only when it is worth it; and never a table's rows of another partition.
    assert_eq!(tables.compact("t", "run-2").await.unwrap(), None);
    assert_eq!(tables.compact("none", "run-2").await.unwrap(), None);
}

pub(crate) async fn compaction_keeps_partitions(tables: &Tables) {
    for number in 0..20 {
        let mut append = publication(&format!("run-1/land/{number}"), Write::Append);
        append.partition_by = vec!["night".into()];
        let night = if number % 2 == 0 { "even" } else { "odd" };
        publish(tables, &append, &rows(&[(number, night)])).await.unwrap();
    }
    let before = read(tables, 19).await;
    assert_eq!(tables.compact("t", "run-2").await.unwrap(), Some(20));
    assert_eq!(read(tables, 20).await, before);
    assert_eq!(tables.read("t", 20).await.unwrap().files.len(), 2);
    // Replacing one partition takes that one alone.
    let mut night = publication("run-2/task/a", Write::ReplaceWhere);
    night.partition_by = vec!["night".into()];
    night.replace_where = Some("night = 'odd'".into());
    publish(tables, &night, &rows(&[])).await.unwrap();
    assert_eq!(read(tables, 21).await.len(), 10);
}

/// What dead runs left goes; what any version refers to, and what runs that go on have staged,
/// stays.
pub(crate) async fn sweeping(tables: &Tables) {
    assert_eq!(tables.sweep("t", &[]).await.unwrap(), Swept::default());
    let publication = |id: &str| publication(id, Write::Overwrite);
    let batch = rows(&[(1, "a")]);
    publish(tables, &publication("run-1/task/a"), &batch).await.unwrap();
    publish(tables, &publication("run-2/task/a"), &rows(&[(2, "b")])).await.unwrap();
    let staged = async |id: &str| {
        let publication = publication(id);
        stage(tables, &publication, &batch.schema(), std::slice::from_ref(&batch)).await.unwrap()
    };
    // A dead run's, a dead attempt's beside the one that was published, and a living run's.
    let dead = staged("run-3/task/a").await.bytes + staged("run-2/task/a").await.bytes;
    let living = staged("run-4/task/a").await;

    let swept = tables.sweep("t", &["run-4".into()]).await.unwrap();
    assert_eq!(swept, Swept { files: 2, bytes: dead });
    assert_eq!(tables.sweep("t", &["run-4".into()]).await.unwrap(), Swept::default());
    assert_eq!(read(tables, 0).await, ["1|a"]);
    assert_eq!(read(tables, 1).await, ["2|b"]);
    tables.publish("t", &publication("run-4/task/a"), vec![living]).await.unwrap();
    assert_eq!(read(tables, 2).await, ["1|a"]);
}

/// A version needs files whose own commit is no longer in the log.
pub(crate) async fn sweeping_behind_a_checkpoint(tables: &Tables) {
    for number in 0..21 {
        let append = publication(&format!("run-1/land/{number}"), Write::Append);
        let append = Publication { base: (number > 0).then(|| number - 1), ..append };
        publish(tables, &append, &rows(&[(number, "x")])).await.unwrap();
    }
    for version in 0..15 {
        let log = tables.table_path("t").join("_delta_log");
        tables.store().delete(&log.join(format!("{version:020}.json"))).await.unwrap();
    }
    let over = publication("run-2/task/a", Write::Overwrite);
    let over = Publication { base: Some(20), ..over };
    publish(tables, &over, &rows(&[])).await.unwrap();
    assert_eq!(tables.sweep("t", &[]).await.unwrap(), Swept::default());
    assert_eq!(read(tables, 20).await.len(), 21);
    // What is gone from the log cannot be searched; that is told, not guessed.
    let error = tables.find("t", "run-1/land/3", None).await.unwrap_err();
    assert!(error.to_string().contains("is gone from its log"), "{error}");
}
