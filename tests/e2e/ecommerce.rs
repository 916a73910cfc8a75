//! The main job at 20,000 rows: exact counts, and every chart's numbers recomputed here.

use crate::project::{Project, assert_same};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};

const ROWS: u64 = 20_000;

/// An order as the generator wrote it.
#[derive(Clone, Debug)]
struct Order {
    order_id: i64,
    product_id: i64,
    customer_id: Option<i64>,
    category: String,
    price: Option<f64>,
    quantity: i64,
    at: Option<jiff::Timestamp>,
    rating: Option<i64>,
    is_prime: bool,
    discount: f64,
}

/// What the pipeline should make of the files, worked out row by row.
#[derive(Default)]
struct Expected {
    valid: Vec<Order>,
    rejected: BTreeMap<String, u64>,
    dead_letters: u64,
}

fn orders(project: &Project, file: &str) -> Vec<Order> {
    let text = project.read(&format!("data/files/raw/{file}"));
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let parse = |line: &str| {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), header.len(), "{line}");
        let field = |name: &str| fields[header.iter().position(|column| *column == name).unwrap()];
        Order {
            order_id: field("order_id").parse().unwrap(),
            product_id: field("product_id").parse().unwrap(),
            customer_id: field("customer_id").parse().ok(),
            category: field("product_category").to_owned(),
            price: field("price").parse().ok(),
            quantity: field("quantity").parse().unwrap(),
            at: field("order_timestamp").parse().ok(),
            rating: field("user_rating").parse().ok(),
            is_prime: field("is_prime") == "true",
            discount: field("discount").parse().unwrap(),
        }
    };
    lines.map(parse).collect()
}

fn expected(project: &Project) -> Expected {
    let mut expected = Expected::default();
    let mut seen: HashMap<i64, usize> = HashMap::new();
    for (file, streamed) in
        [("ecommerce_data_part1.csv", true), ("ecommerce_data_part2.csv", false)]
    {
        for order in orders(project, file) {
            let reason = if order.at.is_none() {
                if streamed {
                    expected.dead_letters += 1;
                    continue;
                }
                "malformed_order_timestamp"
            } else if order.customer_id.is_none() {
                "has_a_customer"
            } else if order.price.is_none() {
                "has_a_price"
            } else if order.price <= Some(0.0) {
                "price_is_positive"
            } else if let Some(kept) = seen.get(&order.order_id) {
                // Of a repeated order the smallest row is kept, column by column; a null is
                // smaller than any value. Only these columns ever differ here.
                let kept = &mut expected.valid[*kept];
                if (order.quantity, order.rating) < (kept.quantity, kept.rating) {
                    *kept = order;
                }
                "duplicate"
            } else {
                seen.insert(order.order_id, expected.valid.len());
                expected.valid.push(order);
                continue;
            };
            *expected.rejected.entry(reason.to_owned()).or_default() += 1;
        }
    }
    expected
}

fn task<'a>(shown: &'a Value, name: &str) -> &'a Value {
    shown["tasks"].as_array().unwrap().iter().find(|task| task["task"] == name).unwrap()
}

fn rows(shown: &Value, name: &str, output: &str) -> u64 {
    task(shown, name)["outputs"][output]["rows"].as_u64().unwrap()
}

/// The numbers behind a chart.
fn chart(project: &Project, name: &str) -> Vec<BTreeMap<String, String>> {
    let text = project.read(&format!("data/artifacts/sales/latest/data/{name}.csv"));
    let mut lines = text.lines();
    let header: Vec<&str> = lines.next().unwrap().split(',').collect();
    let row = |line: &str| {
        let cells = line.split(',').map(str::to_owned);
        header.iter().map(|name| (*name).to_owned()).zip(cells).collect()
    };
    lines.map(row).collect()
}

#[test]
fn every_row_is_accounted_for_and_every_chart_is_right() {
    let project = Project::shipped();
    let size = format!("rows={ROWS}");
    project.ok(&["run", "pipelines/ecommerce.yaml", "--set", &size, "--set", "dirty=0.02"]);
    let shown = project.show("latest");
    let expected = expected(&project);
    let valid = expected.valid.len() as u64;

    let rejected: u64 = expected.rejected.values().sum();
    assert_eq!(valid + rejected + expected.dead_letters, ROWS);
    assert_eq!(task(&shown, "generate")["report"]["clean_rows"], valid);
    assert_eq!(rows(&shown, "clean", "valid"), valid);
    assert_eq!(rows(&shown, "clean", "rejected"), rejected);
    assert_eq!(rows(&shown, "land", "dead_letters"), expected.dead_letters);
    assert_eq!(rows(&shown, "load", "table"), valid);
    for (reason, count) in &expected.rejected {
        let told = &task(&shown, "clean")["report"]["rejected"][reason];
        assert_eq!(told, count, "{reason}");
    }
    assert!(expected.dead_letters > 0 && expected.rejected.len() == 5, "{:?}", expected.rejected);

    check_charts(&project, &expected.valid);
    check_lookups(&project, &expected.valid);
    check_page(&project.read("data/artifacts/sales/latest/index.html"));
}

/// The page opens offline: nothing outside its scripts names an address to load from.
fn check_page(page: &str) {
    let behind = |part: &str| part.split_once("</script>").map(|(_, rest)| rest.to_owned());
    let mut parts = page.split("<script");
    let mut markup = parts.next().unwrap().to_owned();
    markup.extend(parts.map(|part| behind(part).expect("each script ends")));
    assert!(page.contains("Plotly") && !page.contains("<script src"));
    let loads = ["src=\"http", "href=\"http", "<link", "@import", "url(http"];
    assert!(loads.iter().all(|load| !markup.contains(load)), "it opens offline");
}

fn check_charts(project: &Project, valid: &[Order]) {
    let mut days: BTreeMap<String, i64> = BTreeMap::new();
    let mut categories: BTreeMap<String, u64> = BTreeMap::new();
    let mut products: BTreeMap<i64, i64> = BTreeMap::new();
    let mut ratings: BTreeMap<String, (f64, f64)> = BTreeMap::new();
    for order in valid {
        let paid = order.price.unwrap() * order.quantity as f64 * (1.0 - order.discount);
        // Whole cents less whole percents are whole hundredths of a cent.
        let paid = (10_000.0 * paid).round() as i64;
        let day = order.at.unwrap().to_string()[..10].to_owned();
        *days.entry(day).or_default() += paid;
        *categories.entry(order.category.clone()).or_default() += 1;
        *products.entry(order.product_id).or_default() += paid;
        if let Some(rating) = order.rating {
            let (sum, count) = ratings.entry(order.category.clone()).or_default();
            (*sum, *count) = (*sum + rating as f64, *count + 1.0);
        }
    }
    let drawn = chart(project, "sales_over_time");
    assert_eq!(drawn.len(), days.len());
    for row in &drawn {
        let revenue: f64 = row["revenue"].parse().unwrap();
        assert!((revenue - days[&row["day"]] as f64 / 1e4).abs() < 1e-6, "{row:?}");
    }
    for row in chart(project, "category_popularity") {
        assert_eq!(row["orders"], categories[&row["category"]].to_string());
    }
    for row in chart(project, "rating_by_category") {
        let (sum, count) = ratings[&row["category"]];
        let mean: f64 = row["mean_rating"].parse().unwrap();
        assert!((mean - sum / count).abs() < 1e-9, "{row:?}");
    }
    let mut best: Vec<i64> = products.into_values().collect();
    best.sort_unstable_by(|a, b| b.cmp(a));
    // The products' names hold commas; the revenue is the last cell.
    let drawn = project.read("data/artifacts/sales/latest/data/top_products.csv");
    let revenue = |line: &str| line.rsplit(',').next().unwrap().parse::<f64>().unwrap();
    let drawn: Vec<f64> = drawn.lines().skip(1).map(revenue).collect();
    assert_eq!(drawn.len(), 10);
    for (drawn, best) in drawn.iter().zip(best) {
        assert!((drawn - best as f64 / 1e4).abs() < 1e-6, "{drawn} {best}");
    }
    let prime: f64 = valid.iter().filter(|order| order.is_prime).map(|o| o.price.unwrap()).sum();
    let said = project.ok(&[
        "query",
        "select sum(price) as prime from clean_orders where is_prime",
        "-o",
        "json",
    ]);
    let said: Value = serde_json::from_str(&said.out).unwrap();
    assert!((said[0]["prime"].as_f64().unwrap() - prime).abs() < 0.01);
}

/// The tables read back by key, from the command line.
fn check_lookups(project: &Project, valid: &[Order]) {
    let order = &valid[valid.len() / 2];
    let key = order.order_id.to_string();
    let got = project.ok(&["kv", "get", "ecommerce_table", &key, "-o", "json"]).out;
    let got: Value = serde_json::from_str(&got).unwrap();
    let quantity = got["cells"]["product:quantity"]["value"].as_str();
    assert_eq!(quantity, Some(order.quantity.to_string().as_str()), "{got}");
    let prefix = &key[..key.len() - 2];
    let alike = valid.iter().filter(|order| order.order_id.to_string().starts_with(prefix)).count();
    let scan =
        ["kv", "scan", "ecommerce_table", "--prefix", prefix, "--limit", "1000", "-o", "json"];
    let scanned: Value = serde_json::from_str(&project.ok(&scan).out).unwrap();
    assert_eq!(scanned.as_array().unwrap().len(), alike);
    let lineage = project.ok(&["lineage", "artifact:sales"]).out;
    for dataset in ["table:clean_orders", "topic:bda_proj", "file:raw/ecommerce_data_part1.csv"] {
        assert!(lineage.contains(dataset), "{lineage}");
    }
    let datasets = project.ok(&["datasets"]).out;
    assert!(datasets.contains("kv:ecommerce_table"), "{datasets}");
}

#[test]
fn twice_gives_equal_rows() {
    let project = Project::shipped();
    let run = ["run", "pipelines/ecommerce.yaml", "--set", "rows=5000", "--set", "dirty=0.02"];
    project.ok(&[&run[..], &["--date", "2026-11-20"]].concat());
    let before = project.everything();
    project.ok(&[&run[..], &["--date", "2026-11-20", "--jobs", "1"]].concat());
    assert_same("twice", &before, &project.everything());
}
