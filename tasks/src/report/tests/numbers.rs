//! The numbers on the page, computed again without SQL.

use super::{SALES, plot, sample, shipped};
use arrow::array::{AsArray, RecordBatch};
use arrow::datatypes::{Float64Type, Int32Type, TimestampMicrosecondType};
use serde_json::Value;
use std::collections::BTreeMap;

/// An order, read from the batch column by column.
struct Order {
    day: String,
    category: String,
    product: i64,
    units: i64,
    /// Ten thousandths of the currency.
    paid: i64,
    rating: Option<i32>,
    prime: bool,
    days: Option<i32>,
}

fn orders(batch: &RecordBatch) -> Vec<Order> {
    let column = |name: &str| batch.column_by_name(name).unwrap();
    let float = |name: &str| column(name).as_primitive::<Float64Type>().clone();
    let int = |name: &str| column(name).as_primitive::<Int32Type>().clone();
    let (price, discount) = (float("price"), float("discount"));
    let (quantity, rating, days) = (int("quantity"), int("user_rating"), int("delivery_days"));
    let at = column("order_timestamp").as_primitive::<TimestampMicrosecondType>().clone();
    let category = column("product_category").as_string::<i32>().clone();
    let product = column("product_id").as_primitive::<arrow::datatypes::Int64Type>().clone();
    let prime = column("is_prime").as_boolean().clone();
    (0..batch.num_rows())
        .map(|row| {
            let at = jiff::Timestamp::from_microsecond(at.value(row)).unwrap().to_string();
            let paid =
                price.value(row) * f64::from(quantity.value(row)) * (1.0 - discount.value(row));
            Order {
                day: at[..10].to_owned(),
                category: category.value(row).to_owned(),
                product: product.value(row),
                units: i64::from(quantity.value(row)),
                paid: (10_000.0 * paid).round() as i64,
                rating: rating.iter().nth(row).unwrap(),
                prime: prime.value(row),
                days: days.iter().nth(row).unwrap(),
            }
        })
        .collect()
}

fn sums<K: Ord>(
    orders: &[Order],
    key: impl Fn(&Order) -> K,
    value: impl Fn(&Order) -> i64,
) -> BTreeMap<K, i64> {
    let mut sums = BTreeMap::new();
    for order in orders {
        *sums.entry(key(order)).or_insert(0) += value(order);
    }
    sums
}

/// `{x: y}` of a trace, whichever way it lies.
fn drawn(trace: &Value) -> BTreeMap<String, f64> {
    let (names, values) = match trace["orientation"] == "h" {
        true => (&trace["y"], &trace["x"]),
        false => (&trace["x"], &trace["y"]),
    };
    let names = names.as_array().unwrap().iter().map(|name| match name {
        Value::String(name) => name.replace("&amp;", "&"),
        other => other.to_string(),
    });
    let values = values.as_array().unwrap().iter().map(|value| value.as_f64().unwrap());
    names.zip(values).collect()
}

fn assert_same(what: &str, drawn: &BTreeMap<String, f64>, expected: &BTreeMap<String, f64>) {
    assert_eq!(drawn.len(), expected.len(), "{what}");
    for (name, expected) in expected {
        let drawn = drawn.get(name).unwrap_or_else(|| panic!("{what}: `{name}` is not drawn"));
        assert!((drawn - expected).abs() <= 1e-9 * expected.abs(), "{what}: {name}: {drawn}");
    }
}

#[tokio::test]
async fn look_at_the_sales_dashboard() {
    let scratch = tempfile::tempdir().unwrap();
    let kept = std::env::var_os("TIDEMILL_REPORT_DIR").map(std::path::PathBuf::from);
    let root = kept.as_deref().unwrap_or(scratch.path()).join("sales");
    let batch = sample::orders(8_000);
    let orders = orders(&batch);
    let page = shipped(&root, SALES, batch).await;
    let named = |sums: BTreeMap<String, i64>, unit: f64| -> BTreeMap<String, f64> {
        sums.into_iter().map(|(name, sum)| (name, sum as f64 / unit)).collect()
    };

    let daily = sums(&orders, |order| order.day.clone(), |order| order.paid);
    let trace = &plot(&page, "sales_over_time")["data"];
    assert_same("revenue by day", &drawn(&trace[0]), &named(daily.clone(), 1e4));
    let paid: Vec<i64> = daily.values().copied().collect();
    let week = |i: usize| &paid[i.saturating_sub(6)..=i];
    let means = daily.keys().enumerate().map(|(i, day)| {
        let week = week(i);
        (day.clone(), week.iter().sum::<i64>() as f64 / 1e4 / week.len() as f64)
    });
    assert_same("mean of 7 days", &drawn(&trace[1]), &means.collect());

    let categories = sums(&orders, |order| order.category.clone(), |_| 1);
    let trace = &plot(&page, "category_popularity")["data"][0];
    assert_same("orders by category", &drawn(trace), &named(categories, 1.0));

    let rated = |order: &&Order| order.rating.is_some() && order.days.is_some();
    for (index, late) in [(0, false), (1, true)] {
        let is_late = |order: &Order| order.days.unwrap() > if order.prime { 2 } else { 5 };
        let some: Vec<&Order> =
            orders.iter().filter(rated).filter(|order| is_late(order) == late).collect();
        let mut shares = BTreeMap::new();
        for order in &some {
            let share = shares.entry(order.rating.unwrap().to_string()).or_insert(0.0);
            *share += 1.0 / some.len() as f64;
        }
        let trace = &plot(&page, "ratings_by_delivery")["data"][index];
        assert_eq!(trace["name"], if late { "Late" } else { "On time" });
        let mut drawn = drawn_or_gap(trace);
        drawn.retain(|_, value| *value > 0.0);
        assert_eq!(drawn.len(), shares.len());
        for (rating, share) in shares {
            assert!((drawn[&rating] - share).abs() < 1e-6, "{rating}: {share}");
        }
    }

    let products = sums(&orders, |order| order.product, |order| order.paid);
    let category_of = |id: i64| &orders.iter().find(|order| order.product == id).unwrap().category;
    let mut ranked: Vec<(i64, i64)> = products.into_iter().collect();
    ranked.sort_by_key(|(id, paid)| (-paid, *id));
    let top = ranked
        .iter()
        .take(10)
        .map(|(id, paid)| (format!("{}, no. {id}", category_of(*id)), *paid as f64 / 1e4));
    let trace = &plot(&page, "top_products")["data"][0];
    assert_same("top products", &drawn(trace), &top.collect());

    for prime in [true, false] {
        let some: Vec<&Order> = orders.iter().filter(|order| order.prime == prime).collect();
        let paid: i64 = some.iter().map(|order| order.paid).sum();
        let numbers =
            super::super::format::Numbers::new(super::super::format::Format::Currency, "$");
        let revenue = numbers.exact(paid as f64 / 1e4);
        assert!(page.contains(&format!(">{revenue}</td>")), "revenue of prime={prime}: {revenue}");
    }
    check_csv(&root, &orders);
}

/// As [`drawn`], with a gap as zero.
fn drawn_or_gap(trace: &Value) -> BTreeMap<String, f64> {
    let mut trace = trace.clone();
    for value in trace["y"].as_array_mut().unwrap() {
        if value.is_null() {
            *value = 0.into();
        }
    }
    drawn(&trace)
}

fn check_csv(root: &std::path::Path, orders: &[Order]) {
    let text = std::fs::read_to_string(root.join("data/best_sellers.csv")).unwrap();
    let mut lines = text.lines();
    assert_eq!(lines.next(), Some("product_id,category,units,revenue"));
    let units = sums(orders, |order| order.product.to_string(), |order| order.units);
    for line in lines {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(units[fields[0]].to_string(), fields[2], "{line}");
    }
    let figures = std::fs::read_to_string(root.join("data/figures.csv")).unwrap();
    assert!(figures.contains(&format!("\"Orders\",{},", orders.len())), "{figures}");
}
