//! `uses: etl`: SQL over files and tables, and rows that are clean.

mod constants;
mod feed;
mod held;
mod keys;
mod options;
mod pass;
mod pick;
mod rejects;
mod route;
mod session;
mod turnstile;

use crate::engine::Engine;
use crate::places::Places;
use async_trait::async_trait;
pub use options::EtlOptions;
use orchestrator::attempt::{Attempt, Outcome, TaskError};
use orchestrator::dataset::Scheme;
use orchestrator::kind::{Files, Kind, Port, Ports, Problem};
use orchestrator::plan::PlannedTask;
use serde_json::Value;
use std::sync::Arc;

/// The kind `etl`.
pub struct Etl {
    engine: Arc<Engine>,
}

impl Etl {
    pub fn new(engine: Arc<Engine>) -> Self {
        Etl { engine }
    }
}

#[async_trait]
impl Kind for Etl {
    fn name(&self) -> &'static str {
        "etl"
    }

    fn summary(&self) -> &'static str {
        "Computes tables by SQL, and sorts out rows that break rules"
    }

    fn description(&self) -> &'static str {
        DESCRIPTION
    }

    fn example(&self) -> &'static str {
        EXAMPLE
    }

    fn options(&self) -> schemars::Schema {
        schemars::schema_for!(EtlOptions)
    }

    fn ports(&self) -> Ports {
        Ports {
            inputs: vec![Port::any(
                &[Scheme::File, Scheme::Table],
                "What queries read, by the input's name",
            )],
            outputs: vec![Port::any(
                &[Scheme::Table],
                "`valid` and `rejected` of `from`, or one for each query of `sql`",
            )],
        }
    }

    fn refer(&self, options: &Value, read: &mut dyn FnMut(&str) -> Option<String>) {
        let from = options.get("from").and_then(Value::as_str);
        let sql = options.get("sql").and_then(Value::as_object);
        let sql = sql.into_iter().flat_map(|queries| queries.values()).filter_map(Value::as_str);
        for file in from.into_iter().chain(sql).filter_map(options::file_of) {
            read(file);
        }
    }

    fn check(&self, task: &PlannedTask, files: &Files) -> Vec<Problem> {
        options::check(task, files)
    }

    async fn run(&self, attempt: &Attempt) -> Result<Outcome, TaskError> {
        let options: EtlOptions = attempt.options()?;
        let places = Places::open(&attempt.run)?;
        session::run(&self.engine, attempt, &places, &options).await
    }
}

const DESCRIPTION: &str = "\
Reads files and tables, and computes tables by SQL (DataFusion's dialect). It has two forms.

**`from`: cleaning.** One query gives rows; each of them goes either to the output `valid` or to
the output `rejected`, so that `rows in = valid + rejected`, to the row. `rejected` has the query's
columns, a column `reason` and a column `raw`. The reason is the name of the first of the `rules`
that the row breaks (a rule that is null is broken), or `duplicate` for a row whose `dedupe` key
another row has too. Counts by reason stand in the attempt's report.

Records of CSV and JSON lines files that do not fit their columns never reach the query: they go
to `rejected` as a whole, with their text in `raw`, and a reason: `malformed_price` for a value
that is none of the column's type, `too_few_fields`, `too_many_fields`, `unclosed_quote`,
`malformed_json`. No value becomes null because it could not be read. An empty field is null.

`dedupe` keeps one row of each key: the first in the order of the files if the query only filters
and computes row by row over CSV and JSON lines files (`union all` included, in its order), else
the smallest by all columns in turn, which takes a second look at the input. Both keep the same
row each time. `keep: first`, `smallest` or `any` asks for one of them.

**`sql`: computing.** One query for each output. A record that does not fit its columns fails the
task, as there is nowhere to put it.

An input is named in SQL by the name of its port. `columns` declares the types of a CSV or JSON
lines file: string, integer, number, boolean, timestamp, date, decimal(p,s); without it they are
inferred from the first records. A CSV file's header and its columns must be the same names, in
any order. Queries stand in the pipeline, or in a file whose name ends in `.sql`. Values come in as
`parameters`, which SQL names as `$night`; they are bound, never pasted.

What does not fit in memory spills to disk, except the keys of `dedupe`: about 20 bytes and the
key for each row that is kept.";

const EXAMPLE: &str = "\
name: clean
tasks:
  clean:
    uses: etl
    inputs: {orders: file:raw/orders.csv}
    outputs: {valid: table:clean_orders, rejected: table:rejected_orders}
    with:
      columns:
        orders: {order_id: integer, customer_id: string, price: number, ordered_at: timestamp}
      from: select * from orders
      rules:
        price_is_positive: price > 0
        has_a_customer: customer_id is not null
      dedupe: {key: [order_id]}
  aggregate:
    uses: etl
    inputs: {orders: table:clean_orders}
    outputs: {daily: table:daily_sales}
    with:
      parameters: {night: \"${{ interval.date }}\"}
      sql:
        daily: |
          select cast(ordered_at as date) as day, count(*) as orders, sum(price) as revenue
          from orders where cast(ordered_at as date) <= $night group by 1
";

#[cfg(test)]
mod tests;
