use super::*;
use crate::places::topics::conformance::{self, drain, numbers, origin, position, values};
use crate::places::topics::segment::Draft;
use tempfile::TempDir;

fn topics() -> (TempDir, EmbeddedTopics) {
    let dir = TempDir::new().unwrap();
    let topics = EmbeddedTopics::new(dir.path().join("topics"));
    (dir, topics)
}

async fn commit(topics: &EmbeddedTopics, run: &str, range: std::ops::Range<u64>) {
    let mut producer = topics.producer("t", origin(run), Some(2)).await.unwrap();
    let end = range.end;
    producer.commit(numbers(2, range), position(end)).await.unwrap();
}

async fn all(topics: &EmbeddedTopics) -> Result<Vec<u64>, TaskError> {
    let mut consumer = topics.consumer("t", &Offsets::new()).await?;
    let mut all = Vec::new();
    loop {
        let batches = consumer.poll(std::time::Duration::ZERO).await?;
        if batches.is_empty() {
            all.sort_unstable();
            return Ok(all);
        }
        all.extend(values(&batches));
    }
}

fn files(topics: &EmbeddedTopics, part: &str) -> Vec<PathBuf> {
    let dir = std::fs::read_dir(topics.dir("t").join(part)).unwrap();
    let mut files: Vec<PathBuf> = dir.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

#[tokio::test]
async fn conforms() {
    let (_dir, topics) = topics();
    conformance::all(&topics, "c").await;
}

#[tokio::test]
async fn offsets_are_dense() {
    let (_dir, topics) = topics();
    commit(&topics, "a", 0..100).await;
    commit(&topics, "b", 100..150).await;
    commit(&topics, "a", 150..157).await;
    let end = topics.bounds("t").await.unwrap().unwrap().end;
    assert_eq!(end.values().sum::<u64>(), 157);
    let mut consumer = topics.consumer("t", &Offsets::new()).await.unwrap();
    let mut next = Offsets::from([(0, 0), (1, 0)]);
    for batch in drain(&mut *consumer, &end).await {
        assert_eq!(next.insert(batch.partition, batch.end_offset()), Some(batch.first_offset));
    }
    assert_eq!(next, end);
}

/// A process dies after it wrote its draft, whole or in part, and before the rename.
#[tokio::test]
async fn a_draft_left_behind_is_ignored_and_removed() {
    let (_dir, topics) = topics();
    commit(&topics, "a", 0..10).await;
    let producers = topics.dir("t").join("producers");
    let path = producers.join("a.stream.1-1.draft");
    std::mem::forget(Draft::write(path.clone(), &numbers(2, 10..20).into_batches()).unwrap());
    let torn = producers.join("b.stream.1-1.draft");
    std::fs::write(&torn, &std::fs::read(&path).unwrap()[..100]).unwrap();
    assert_eq!(all(&topics).await.unwrap(), (0..10).collect::<Vec<_>>());

    let next = topics.producer("t", origin("a"), None).await.unwrap();
    assert_eq!(next.position().unwrap().next, 10);
    assert!(!path.exists(), "the next attempt cleans up");
    assert!(torn.exists(), "what is another's may be in use");
    commit(&topics, "a", 10..20).await;
    assert_eq!(all(&topics).await.unwrap(), (0..20).collect::<Vec<_>>());
}

/// The other half of that moment: the rename has happened, and nobody was told.
#[tokio::test]
async fn a_segment_that_was_renamed_counts() {
    let (_dir, topics) = topics();
    commit(&topics, "a", 0..10).await;
    let mut producer = topics.producer("t", origin("a"), None).await.unwrap();
    {
        let commit = producer.commit(numbers(2, 10..20), position(20));
        tokio::pin!(commit);
        // One poll hands the work to a thread; then the caller goes away.
        let _ = futures::poll!(&mut commit);
    }
    drop(producer);
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(10);
    while all(&topics).await.unwrap().len() < 20 && std::time::Instant::now() < deadline {
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    let next = topics.producer("t", origin("a"), None).await.unwrap();
    assert_eq!(next.position().unwrap().next, 20);
}

#[tokio::test]
async fn damage_is_seen() {
    let (_dir, topics) = topics();
    commit(&topics, "a", 0..1000).await;
    let path = files(&topics, "segments").pop().unwrap();
    let whole = std::fs::read(&path).unwrap();
    let mut flipped = whole.clone();
    flipped[whole.len() / 2] ^= 1;
    for bad in [&flipped[..], &whole[..whole.len() / 2], &whole[..20], &whole[..5], &[]] {
        std::fs::write(&path, bad).unwrap();
        let error = all(&topics).await.unwrap_err().to_string();
        assert!(error.contains("is damaged"), "{} bytes: {error}", bad.len());
    }
    std::fs::write(&path, &whole).unwrap();
    assert_eq!(all(&topics).await.unwrap().len(), 1000);
}

#[tokio::test]
async fn a_position_is_found_far_behind() {
    let (_dir, topics) = topics();
    commit(&topics, "a", 0..10).await;
    for step in 0..30 {
        commit(&topics, "b", 100 + step..101 + step).await;
    }
    // Twice: the second time it is known from the first, before which nothing is searched.
    for _ in 0..2 {
        let producer = topics.producer("t", origin("a"), None).await.unwrap();
        assert_eq!(producer.position(), Some(&position(10)));
        assert_eq!(producer.end().values().sum::<u64>(), 10);
    }
    for segment in files(&topics, "segments").iter().take(10) {
        std::fs::write(segment, b"").unwrap();
    }
    let producer = topics.producer("t", origin("a"), None).await.unwrap();
    assert_eq!(producer.position(), Some(&position(10)), "old segments are not read again");
}
