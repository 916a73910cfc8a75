//! Makes a long history of one run, for measuring what looks at it: `history DATA_DIR RUN COUNT`.
//! The copies are a minute apart and end before the run; `cargo xtask bench --stage daemon` runs it.

use jiff::SignedDuration;
use orchestrator::event::Event;
use orchestrator::plan::Interval;
use orchestrator::store::{NewRun, Store, StoreError, Trigger};
use std::path::PathBuf;
use tidemill_orchestrator as orchestrator;

fn main() -> Result<(), StoreError> {
    let mut words = std::env::args().skip(1);
    let mut word = |what: &str| words.next().unwrap_or_else(|| panic!("{what} is missing"));
    let (data_dir, run, count) = (PathBuf::from(word("DATA_DIR")), word("RUN"), word("COUNT"));
    let count: i32 = count.parse().expect("COUNT is a number");
    let mut store = Store::open(&data_dir)?;
    let like = store.stored_run(&run)?;
    let records = store.events(&run, 0)?;
    let ends = store.task_ends(&run)?;
    for number in (1..=count).rev() {
        let earlier = SignedDuration::from_mins(number.into());
        // Of its own: other runs may have copies, too.
        let id = format!("{number:016x}{}", &run[16..]);
        let new = NewRun {
            id: id.clone(),
            pipeline: like.pipeline.clone(),
            created_at: like.created_at - earlier,
            interval: Interval {
                start: like.interval.start - earlier,
                end: like.interval.end - earlier,
            },
            definition_digest: like.definition_digest.clone(),
            definition: like.definition.clone(),
            request: like.request.clone(),
            trigger: Trigger::Schedule,
        };
        store.create_run(&new, usize::MAX, |_| false)?.expect("there is room");
        let epoch = store.claim(&id, 1)?;
        let events: Vec<Event> = records.iter().map(|record| record.event.clone()).collect();
        let Some(last) = records.last() else { continue };
        // All at once: what is read later is the same.
        store.append(&id, epoch, 1, last.at - earlier, &events, &ends)?;
    }
    Ok(())
}
