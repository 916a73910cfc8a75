//! What is promised about the generated data, checked on the files by a reader that shares nothing
//! with the writer.

use super::*;
use jiff::Timestamp;
use jiff::civil::Weekday;
use jiff::tz::TimeZone;
use orchestrator::attempt::testing::{MemoryJournal, attempt};
use orchestrator::event::{Event, Published};
use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::LazyLock;

const PARTS: [(&str, &str); 3] =
    [("part1", "file:a.csv"), ("part2", "file:sub/b.csv"), ("truth", "file:truth.csv")];

/// Makes the options' data below `root`.
async fn generate(
    root: &Path,
    threads: usize,
    options: Value,
    outputs: &[(&str, &str)],
) -> (Outcome, Arc<MemoryJournal>) {
    let (attempt, journal) = attempt(root, options, &[], outputs);
    let outcome = Generate::with_threads(threads).run(&attempt).await.unwrap();
    (outcome, journal)
}

fn read(root: &Path, name: &str) -> String {
    std::fs::read_to_string(root.join("data/files").join(name)).unwrap()
}

/// A row as a reader sees it.
#[derive(Clone, Debug)]
struct Row {
    order_id: u64,
    product: String,
    customer: String,
    price: Option<f64>,
    quantity: u32,
    timestamp: String,
    rating: Option<u32>,
    prime: bool,
    delivery_days: Option<u32>,
    country: String,
}

impl Row {
    fn time(&self) -> Option<Timestamp> {
        self.timestamp.parse().ok()
    }

    fn late(&self) -> Option<bool> {
        Some(self.delivery_days? > if self.prime { 2 } else { 5 })
    }

    /// What is wrong with the row by itself.
    fn defects(&self) -> Vec<&'static str> {
        [
            ("missing_customer", self.customer.is_empty()),
            ("missing_price", self.price.is_none()),
            ("negative_price", self.price.is_some_and(|price| price < 0.0)),
            ("broken_timestamp", self.time().is_none()),
        ]
        .into_iter()
        .filter_map(|(name, present)| present.then_some(name))
        .collect()
    }
}

fn rows(text: &str) -> Vec<Row> {
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        let fields: HashMap<&str, &str> = header.iter().copied().zip(line.split(',')).collect();
        assert_eq!(line.split(',').count(), header.len(), "{line}");
        Row {
            order_id: fields["order_id"].parse().unwrap(),
            product: fields["product_id"].into(),
            customer: fields["customer_id"].into(),
            price: fields["price"].parse().ok(),
            quantity: fields["quantity"].parse().unwrap(),
            timestamp: fields["order_timestamp"].into(),
            rating: fields["user_rating"].parse().ok(),
            prime: fields["is_prime"].parse().unwrap(),
            delivery_days: fields["delivery_days"].parse().ok(),
            country: fields["country"].into(),
        }
    };
    lines.map(row).collect()
}

/// A year of 100,000 orders in two parts, read once for all tests of its contents.
struct Year {
    parts: [Vec<Row>; 2],
    truth: Vec<(u64, String, u64)>,
    outcome: Outcome,
    journal: Arc<MemoryJournal>,
}

static YEAR: LazyLock<Year> = LazyLock::new(|| {
    let root = tempfile::tempdir().unwrap();
    let options = json!({"rows": 100_000, "dirty": 0.02, "fraud": 0.005, "customers": 20_000,
        "split": {"part1": 7, "part2": 3}});
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (outcome, journal) = runtime.block_on(generate(root.path(), 2, options, &PARTS));
    let truth = read(root.path(), "truth.csv");
    let mut truth = truth.lines();
    assert_eq!(truth.next(), Some("order_id,pattern,case_id"));
    let fraud = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        (fields[0].parse().unwrap(), fields[1].to_owned(), fields[2].parse().unwrap())
    };
    Year {
        parts: [rows(&read(root.path(), "a.csv")), rows(&read(root.path(), "sub/b.csv"))],
        truth: truth.map(fraud).collect(),
        outcome,
        journal,
    }
});

impl Year {
    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.parts.iter().flatten()
    }

    /// Orders by something of their time.
    fn count<K: std::hash::Hash + Eq>(&self, key: impl Fn(jiff::Zoned) -> K) -> HashMap<K, u32> {
        let mut counts = HashMap::new();
        for time in self.rows().filter_map(Row::time) {
            *counts.entry(key(time.to_zoned(TimeZone::UTC))).or_default() += 1;
        }
        counts
    }
}

#[tokio::test]
async fn the_same_bytes_whatever_the_threads() {
    let options = json!({"rows": 150_000, "seed": 3, "split": {"part1": 1, "part2": 8}});
    let mut all = Vec::new();
    for threads in [1, 4, 4] {
        let root = tempfile::tempdir().unwrap();
        generate(root.path(), threads, options.clone(), &PARTS).await;
        all.push(["a.csv", "sub/b.csv", "truth.csv"].map(|name| read(root.path(), name)));
    }
    assert!(all[0] == all[1] && all[1] == all[2]);
    let root = tempfile::tempdir().unwrap();
    let other = json!({"rows": 1_000, "seed": 4});
    generate(root.path(), 4, other, &PARTS).await;
    assert!(!all[0][0].starts_with(&read(root.path(), "a.csv")[..2_000]));
}

/// A change of the generator changes everybody's data: it should be meant.
#[tokio::test]
async fn the_bytes_are_those_of_the_first_release() {
    let root = tempfile::tempdir().unwrap();
    let options = json!({"rows": 5_000, "until": "2026-11-24", "dirty": 0.1, "fraud": 0.1});
    generate(root.path(), 2, options, &PARTS).await;
    let fnv = |text: &str| {
        text.bytes().fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
        })
    };
    let hashes = ["a.csv", "sub/b.csv", "truth.csv"].map(|name| fnv(&read(root.path(), name)));
    let expect = [0xf012_1dde_610b_b727, 0xbb47_5853_745a_d69f, 0xae28_162b_7304_5731];
    assert_eq!(hashes, expect, "{}", &read(root.path(), "a.csv")[..500]);
}

#[test]
fn dirty_rows_are_counted_to_the_row() {
    let mut sum: HashMap<&str, u64> = HashMap::new();
    for (part, rows) in ["part1", "part2"].into_iter().zip(&YEAR.parts) {
        let mut counts: HashMap<&str, u64> = HashMap::new();
        let mut seen: HashMap<u64, &Row> = HashMap::new();
        for row in rows {
            let mut defects = row.defects();
            if let Some(original) = seen.insert(row.order_id, row) {
                assert!(original.defects().is_empty(), "{original:?}");
                defects.push("repeated");
            }
            assert!(defects.len() <= 1, "{row:?}: {defects:?}");
            for defect in defects {
                *counts.entry(defect).or_default() += 1;
                *sum.entry(defect).or_default() += 1;
            }
        }
        let report = &YEAR.outcome.report;
        for defect in DEFECTS {
            assert!(counts[defect] > 20, "{part} {defect}");
            assert_eq!(report["dirty_by_output"][part][defect], counts[defect], "{part} {defect}");
        }
        assert_eq!(report["rows"][part], rows.len());
    }
    let report = &YEAR.outcome.report;
    for defect in DEFECTS {
        assert_eq!(report["dirty"][defect], sum[defect], "{defect}");
    }
    let dirty: u64 = sum.values().sum();
    assert_eq!(dirty, 2_000);
    assert_eq!(report["clean_rows"], 100_000 - dirty);
    assert_eq!(YEAR.outcome.values["clean_rows"], 100_000 - dirty);
}

#[test]
fn repeated_orders_are_copies_or_differ() {
    let (mut same, mut different) = (0, 0);
    for rows in &YEAR.parts {
        let mut seen: HashMap<u64, String> = HashMap::new();
        for row in rows {
            match seen.insert(row.order_id, format!("{row:?}")) {
                Some(original) if original == format!("{row:?}") => same += 1,
                Some(_) => different += 1,
                None => {}
            }
        }
    }
    assert!(same > 150 && different > 100, "{same} {different}");
}

#[test]
fn times_ascend_within_the_year() {
    let start: Timestamp = "2025-11-24T00:00:00Z".parse().unwrap();
    let end: Timestamp = "2026-11-24T00:00:00Z".parse().unwrap();
    let mut last = (0, start);
    let mut seen = HashSet::new();
    for row in YEAR.rows().filter(|row| seen.insert(row.order_id)) {
        let Some(time) = row.time() else { continue };
        assert!(start <= time && time < end, "{row:?}");
        assert!(last.0 < row.order_id && last.1 <= time, "{row:?} after {last:?}");
        last = (row.order_id, time);
    }
    let lengths = YEAR.parts.each_ref().map(Vec::len);
    assert_eq!(lengths, [70_000, 30_000]);
}

#[test]
fn half_of_the_orders_are_prime_and_delivered_faster() {
    let prime = YEAR.rows().filter(|row| row.prime).count();
    assert!((49_000..=51_000).contains(&prime), "{prime}");
    let mean = |prime: bool| {
        let days: Vec<u32> = YEAR
            .rows()
            .filter(|row| row.prime == prime)
            .filter_map(|row| row.delivery_days)
            .collect();
        f64::from(days.iter().sum::<u32>()) / days.len() as f64
    };
    assert!(mean(true) + 2.0 < mean(false));
}

#[test]
fn membership_and_country_belong_to_the_customer() {
    let mut members: HashMap<&str, HashSet<bool>> = HashMap::new();
    let mut countries: HashMap<&str, HashMap<&str, u32>> = HashMap::new();
    for row in YEAR.rows().filter(|row| !row.customer.is_empty()) {
        members.entry(&row.customer).or_default().insert(row.prime);
        *countries.entry(&row.customer).or_default().entry(&row.country).or_default() += 1;
    }
    assert!(members.values().all(|prime| prime.len() == 1));
    let usual: u32 = countries.values().filter_map(|counts| counts.values().max()).sum();
    assert!(usual > 97_000, "{usual}");
    let returning = countries.values().filter(|counts| counts.values().sum::<u32>() >= 10).count();
    assert!(returning > 1_000, "{returning}");
}

#[test]
fn orders_have_their_seasons() {
    let by_month = YEAR.count(|time| time.month());
    assert!(f64::from(by_month[&12]) > 1.4 * f64::from(by_month[&2]), "{by_month:?}");
    let by_weekday = YEAR.count(|time| time.weekday());
    let (saturday, tuesday) = (by_weekday[&Weekday::Saturday], by_weekday[&Weekday::Tuesday]);
    assert!(f64::from(saturday) > 1.08 * f64::from(tuesday), "{by_weekday:?}");
    let by_hour = YEAR.count(|time| time.hour());
    assert!(by_hour[&20] > 4 * by_hour[&4], "{by_hour:?}");
    let by_day = YEAR.count(|time| time.date().to_string());
    let busiest = by_day.iter().max_by_key(|(_, count)| **count).unwrap();
    assert_eq!(busiest.0, "2025-11-28", "Black Friday");
    assert!(2 * by_day["2025-12-25"] < by_day["2025-12-20"]);
}

#[test]
fn few_products_make_up_much() {
    let mut counts: HashMap<&str, u32> = HashMap::new();
    YEAR.rows().for_each(|row| *counts.entry(&row.product).or_default() += 1);
    let mut counts: Vec<u32> = counts.into_values().collect();
    counts.sort_unstable_by(|a, b| b.cmp(a));
    assert!((400..1_500).contains(&counts[0]), "{}", counts[0]);
    let top: u32 = counts[..500].iter().sum();
    assert!(top > 50_000, "{top}");
    assert!(counts.len() > 4_000, "{}", counts.len());
}

#[test]
fn late_parcels_are_rated_lower() {
    let mean = |late: bool| {
        let ratings: Vec<u32> = YEAR
            .rows()
            .filter(|row| row.late() == Some(late))
            .filter_map(|row| row.rating)
            .collect();
        assert!(ratings.len() > 1_000);
        f64::from(ratings.iter().sum::<u32>()) / ratings.len() as f64
    };
    assert!(mean(true) + 0.5 < mean(false));
    let rated = YEAR.rows().filter(|row| row.rating.is_some()).count();
    assert!((40_000..65_000).contains(&rated), "{rated}");
}

#[test]
fn the_truth_is_in_the_data() {
    let by_id: HashMap<u64, &Row> = YEAR.rows().map(|row| (row.order_id, row)).collect();
    let mut counts: HashMap<&str, u64> = HashMap::new();
    let mut cases: HashMap<(u64, &str), Vec<&Row>> = HashMap::new();
    for (order_id, pattern, case) in &YEAR.truth {
        *counts.entry(pattern).or_default() += 1;
        assert!(by_id[order_id].defects().is_empty());
        cases.entry((*case, pattern)).or_default().push(by_id[order_id]);
    }
    assert_eq!(YEAR.truth.len(), 500);
    for (pattern, count) in counts {
        assert_eq!(YEAR.outcome.report["fraud"][pattern], count, "{pattern}");
    }
    for ((case, pattern), orders) in cases {
        assert_eq!(orders[0].order_id, case);
        let customers: HashSet<&str> = orders.iter().map(|row| row.customer.as_str()).collect();
        assert_eq!(customers.len(), 1, "{pattern} {case}");
        let times: Vec<Timestamp> = orders.iter().filter_map(|row| row.time()).collect();
        let minutes = times[times.len() - 1].duration_since(times[0]).as_mins();
        let (prices, limit) = match pattern {
            "card_testing" => (0.0..6.0, 20),
            "spending_spree" => (300.0..10_000.0, 60),
            _ => (300.0..10_000.0, 0),
        };
        assert!(minutes <= limit, "{pattern} {case}: {minutes}");
        assert!(orders.iter().all(|row| prices.contains(&row.price.unwrap())), "{orders:?}");
        assert!(orders.iter().all(|row| row.quantity <= 3));
    }
}

#[test]
fn every_output_is_published() {
    let events = YEAR.journal.0.lock().unwrap();
    let published: Vec<(&str, u64)> = events
        .iter()
        .filter_map(|event| match event {
            Event::Published { output, published, .. } => Some((output.as_str(), published.rows)),
            _ => None,
        })
        .collect();
    assert_eq!(published, [("part1", 70_000), ("part2", 30_000), ("truth", 500)]);
}

#[tokio::test]
async fn order_ids_are_unique_to_period_and_seed() {
    let mut all = HashSet::new();
    for (seed, period, until) in [
        (1, "day", "2026-11-24"),
        (1, "day", "2026-11-23"),
        (1, "day", "2026-11-23T23:00:00Z"),
        (2, "day", "2026-11-24"),
        (1, "year", "2026-11-24"),
        (2, "year", "2026-11-24"),
    ] {
        let root = tempfile::tempdir().unwrap();
        let options =
            json!({"rows": 1_000, "seed": seed, "for": period, "until": until, "dirty": 0});
        generate(root.path(), 1, options, &[("orders", "file:a.csv")]).await;
        let rows = rows(&read(root.path(), "a.csv"));
        assert_eq!(rows.len(), 1_000);
        for row in rows {
            assert!(i64::try_from(row.order_id).is_ok());
            assert!(all.insert(row.order_id), "{seed} {period} {until}: {}", row.order_id);
        }
    }
}

#[tokio::test]
async fn a_day_lies_in_the_interval() {
    let root = tempfile::tempdir().unwrap();
    let options = json!({"rows": 2_000, "for": "day"});
    generate(root.path(), 2, options, &[("orders", "file:a.csv")]).await;
    let rows = rows(&read(root.path(), "a.csv"));
    let times: Vec<Timestamp> = rows.iter().filter_map(Row::time).collect();
    // The interval of `testing::attempt`.
    assert!(times.iter().all(|time| time.to_string().starts_with("2026-11-23T")));
    assert!(rows.iter().filter(|row| row.rating.is_some()).count() > 800);
}

#[tokio::test]
async fn few_rows() {
    for (count, options) in [
        (0, json!({"rows": 0})),
        (1, json!({"rows": 1})),
        (1, json!({"rows": 1, "dirty": 0.5, "fraud": 0.2, "products": 1, "customers": 1})),
        (7, json!({"rows": 7, "dirty": 0.5, "fraud": 0.2, "for": "day"})),
    ] {
        let root = tempfile::tempdir().unwrap();
        let (outcome, _) = generate(root.path(), 2, options, &PARTS).await;
        let made =
            rows(&read(root.path(), "a.csv")).len() + rows(&read(root.path(), "sub/b.csv")).len();
        assert_eq!((made, &outcome.values["rows"]), (count, &json!(count)));
    }
}

#[tokio::test]
async fn a_retry_makes_only_what_is_missing() {
    let root = tempfile::tempdir().unwrap();
    let options = json!({"rows": 1_000});
    let (first, _) = generate(root.path(), 2, options.clone(), &PARTS).await;
    let files = root.path().join("data/files");
    let expect = read(root.path(), "truth.csv");
    std::fs::remove_dir_all(&files).unwrap();
    let (mut attempt, journal) = attempt(root.path(), options, &[], &PARTS);
    for part in ["part1", "part2"] {
        attempt.outputs[part].published = Some(Published::default());
    }
    let again = Generate::default().run(&attempt).await.unwrap();
    assert_eq!(again, first);
    assert_eq!(read(root.path(), "truth.csv"), expect);
    assert!(!files.join("a.csv").exists());
    assert_eq!(journal.0.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_cancelled_attempt_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (attempt, journal) = attempt(root.path(), json!({"rows": 5_000_000}), &[], &PARTS);
    let cancel = attempt.cancel.clone();
    let progress = attempt.progress.clone();
    let run = Generate::with_threads(2);
    let wait = async {
        while progress.counts().rows_out == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        cancel.cancel();
    };
    let (result, ()) = tokio::join!(run.run(&attempt), wait);
    assert!(matches!(result, Err(TaskError::Cancelled)));
    assert!(journal.0.lock().unwrap().is_empty());
    let left = std::fs::read_dir(root.path().join("data/files")).unwrap().count();
    assert_eq!(left, 0);
}
