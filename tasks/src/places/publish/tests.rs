use super::*;
use crate::places::tables::StageOptions;
use arrow::array::{Int64Array, RecordBatch};
use orchestrator::attempt::testing::{MemoryJournal, attempt};
use orchestrator::event::Event;
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;

fn task(root: &Path) -> (Attempt, Arc<MemoryJournal>, Places) {
    let (attempt, journal) = attempt(root, Value::Null, &[], &[("out", "table:t")]);
    let places = Places::open(&attempt.run).unwrap();
    (attempt, journal, places)
}

async fn staged(places: &Places, attempt: &Attempt) -> Result<Vec<Staged>, TaskError> {
    let ids = Arc::new(Int64Array::from(vec![1, 2, 3]));
    let batch = RecordBatch::try_from_iter([("id", ids as _)]).unwrap();
    let options = StageOptions::default();
    let id = attempt.publication("out");
    let mut writer = places.tables().stage_writer("t", &id, &batch.schema(), &options)?;
    writer.write(&batch).await?;
    Ok(vec![writer.finish().await?])
}

fn told(journal: &MemoryJournal) -> Vec<Event> {
    std::mem::take(&mut *journal.0.lock().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn intended_then_published() {
    let root = tempfile::tempdir().unwrap();
    let (mut attempt, journal, places) = task(root.path());
    let rows = staged(&places, &attempt);
    let published = publish_table(&attempt, &places, "out", rows).await.unwrap();
    assert_eq!((published.version, published.rows), (Some(0), 3));
    let events = told(&journal);
    assert!(matches!(&events[0], Event::PublishIntended { base: None, .. }), "{events:?}");
    let Event::Published { published: event, .. } = &events[1] else { panic!("{events:?}") };
    assert_eq!(event, &published);

    // It died after the commit, before the journal: the next attempt adopts it, and makes nothing.
    attempt.outputs["out"].intended = Some(None);
    let never = async { panic!("there is nothing to write") };
    let adopted = publish_table(&attempt, &places, "out", never).await.unwrap();
    assert_eq!(adopted, published);
    assert!(matches!(told(&journal)[..], [Event::Published { .. }]));
    // It is journalled: nothing to do at all.
    attempt.outputs["out"].published = Some(published.clone());
    let never = async { panic!("there is nothing to write") };
    assert_eq!(publish_table(&attempt, &places, "out", never).await.unwrap(), published);
    assert!(told(&journal).is_empty());
    assert_eq!(places.tables().latest("t").await.unwrap(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_published_of_what_fails_or_is_cancelled() {
    let root = tempfile::tempdir().unwrap();
    let (attempt, journal, places) = task(root.path());
    let broken = async { Err(TaskError::permanent("no rows today")) };
    let error = publish_table(&attempt, &places, "out", broken).await.unwrap_err();
    assert_eq!(error.to_string(), "no rows today");
    let cancel = attempt.cancel.clone();
    let slow = async {
        cancel.cancel();
        std::future::pending().await
    };
    let error = publish_table(&attempt, &places, "out", slow).await.unwrap_err();
    assert!(matches!(error, TaskError::Cancelled));
    assert_eq!(places.tables().latest("t").await.unwrap(), None);
    assert!(!told(&journal).iter().any(|event| matches!(event, Event::Published { .. })));
}
