//! A year of made-up orders for the tests: enough of a season and of habits to see a report with.

use super::render::Answer;
use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int32Array, Int64Array, StringArray};
use arrow::array::{RecordBatch, TimestampMicrosecondArray};
use datafusion::prelude::SessionContext;
use std::sync::Arc;

const CATEGORIES: [(&str, f64); 8] = [
    ("Electronics", 120.0),
    ("Clothing", 35.0),
    ("Home & Kitchen", 42.0),
    ("Beauty", 18.0),
    ("Books", 14.0),
    ("Grocery", 9.0),
    ("Toys & Games", 24.0),
    ("Sports", 55.0),
];

/// Numbers that look random and are always the same ones.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> f64 {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as f64 / (1_u64 << 31) as f64
    }
}

/// Orders of the year before 24 November 2026.
pub(super) fn orders(rows: usize) -> RecordBatch {
    let start = "2025-11-24T00:00:00Z".parse::<jiff::Timestamp>().unwrap().as_microsecond();
    let mut dice = Dice(7);
    let mut row = |i: usize| {
        let season = |day: f64| 1.0 + 0.35 * (day / 365.0 * std::f64::consts::TAU).cos();
        let day = loop {
            let day = (dice.roll() * 365.0).floor();
            let weekend = if (day as i64 % 7) >= 5 { 1.2 } else { 1.0 };
            if dice.roll() * 1.7 < season(day) * weekend {
                break day;
            }
        };
        let hour = (dice.roll() + dice.roll() + dice.roll()) / 3.0 * 24.0;
        let category = (dice.roll() * dice.roll() * CATEGORIES.len() as f64) as usize;
        let product = (dice.roll().powi(3) * 40.0) as i64 * 8 + category as i64;
        let prime = dice.roll() < 0.5;
        let days = 1 + (dice.roll() * dice.roll() * if prime { 4.0 } else { 9.0 }) as i32;
        let late = days > if prime { 2 } else { 5 };
        let stars = 5.4 - dice.roll().powi(2) * if late { 4.4 } else { 2.6 };
        let delivered = dice.roll() < 0.93;
        let price = CATEGORIES[category].1 * (0.5 + 1.5 * dice.roll() * dice.roll());
        (
            1_000 + i as i64,
            product,
            (dice.roll() * 4_000.0) as i64,
            CATEGORIES[category].0,
            (price * 100.0).round() / 100.0,
            1 + (dice.roll() * dice.roll() * 4.0) as i32,
            start + ((day * 24.0 + hour) * 3_600e6) as i64,
            (dice.roll() < 0.7).then(|| (stars.floor() as i32).clamp(1, 5)),
            prime,
            delivered.then_some(days),
            if dice.roll() < 0.2 { 0.1 } else { 0.0 },
            ["Credit card", "PayPal", "Invoice"][(dice.roll() * dice.roll() * 3.0) as usize],
        )
    };
    let rows: Vec<_> = (0..rows).map(&mut row).collect();
    let statuses = rows.iter().map(|r| if r.9.is_some() { "Delivered" } else { "Cancelled" });
    let nights = rows.iter().map(|r| super::format::civil(r.6).date().to_string());
    let columns: [(&str, ArrayRef); 15] = [
        ("order_id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.0)))),
        ("product_id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.1)))),
        ("customer_id", Arc::new(Int64Array::from_iter_values(rows.iter().map(|r| r.2)))),
        ("product_category", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.3)))),
        ("price", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.4)))),
        ("quantity", Arc::new(Int32Array::from_iter_values(rows.iter().map(|r| r.5)))),
        (
            "order_timestamp",
            Arc::new(
                TimestampMicrosecondArray::from_iter_values(rows.iter().map(|r| r.6))
                    .with_timezone("UTC"),
            ),
        ),
        ("user_rating", Arc::new(rows.iter().map(|r| r.7).collect::<Int32Array>())),
        ("payment_method", Arc::new(StringArray::from_iter_values(rows.iter().map(|r| r.11)))),
        ("delivery_status", Arc::new(StringArray::from_iter_values(statuses))),
        ("is_prime", Arc::new(BooleanArray::from_iter(rows.iter().map(|r| Some(r.8))))),
        ("delivery_days", Arc::new(rows.iter().map(|r| r.9).collect::<Int32Array>())),
        ("discount", Arc::new(Float64Array::from_iter_values(rows.iter().map(|r| r.10)))),
        ("country", Arc::new(StringArray::from_iter_values(rows.iter().map(|_| "DE")))),
        ("night", Arc::new(StringArray::from_iter_values(nights))),
    ];
    RecordBatch::try_from_iter_with_nullable(columns.map(|(name, array)| (name, array, true)))
        .unwrap()
}

/// The shipped aggregates, by the input's name in the dashboard.
pub(super) const AGGREGATES: [(&str, &str); 5] = [
    ("daily", include_str!("../../../pipelines/sql/daily_sales.sql")),
    ("categories", include_str!("../../../pipelines/sql/category_sales.sql")),
    ("satisfaction", include_str!("../../../pipelines/sql/satisfaction.sql")),
    ("prime", include_str!("../../../pipelines/sql/prime_sales.sql")),
    ("products", include_str!("../../../pipelines/sql/top_products.sql")),
];

/// A session with the orders and all that the shipped pipeline derives from them.
pub(super) async fn session(orders: RecordBatch) -> SessionContext {
    let session = SessionContext::new();
    session.register_batch("orders", orders).unwrap();
    for (name, sql) in AGGREGATES {
        let answer = answer(&session, sql).await;
        let whole = arrow::compute::concat_batches(&answer.schema, &answer.batches).unwrap();
        session.register_batch(name, whole).unwrap();
    }
    session
}

pub(super) async fn answer(session: &SessionContext, sql: &str) -> Answer {
    let frame = session.sql(sql).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let batches = frame.collect().await.unwrap_or_else(|error| panic!("{sql}: {error}"));
    Answer { schema, batches }
}
