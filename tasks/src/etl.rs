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
#[cfg(feature = "spark")]
mod spark;
mod turnstile;

use crate::engine::Engine;
use crate::places::Places;
use async_trait::async_trait;
pub use options::EtlOptions;
use orchestrator::attempt::{Attempt, Outcome, TaskError};
use orchestrator::dataset::Scheme;
use orchestrator::kind::{Files, Kind, Known, Port, Ports, Problem};
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
        "computes tables by SQL, and sorts out rows that break rules"
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

    fn check(&self, task: &PlannedTask, files: &Files, known: &Known) -> Vec<Problem> {
        options::check(&self.engine, task, files, known)
    }

    fn columns(&self, task: &PlannedTask, files: &Files, known: &Known) -> Known {
        options::columns(&self.engine, task, files, known)
    }

    async fn run(&self, attempt: &Attempt) -> Result<Outcome, TaskError> {
        let options: EtlOptions = attempt.options()?;
        let places = Places::open(&attempt.run)?;
        session::run(&self.engine, attempt, &places, &options).await
    }
}

const DESCRIPTION: &str = "\
Reads files and tables, and computes tables by SQL (DataFusion's dialect, or Spark's with
`engine: spark`). It has two forms.

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
key for each row that is kept.

**`engine: spark`** has a Spark cluster compute queries, rules and `dedupe`, through the Spark
Connect server that the profile names (`spark: {remote: \"sc://localhost:15002\"}`); tidemill must
have been built with `cargo build --features spark`. Outputs, their reasons, their counts and how
they are published are the same. Spark and tidemill must reach the tables by the same URLs and may
write where the other has written: hdfs:// with an `hdfs` profile, file:// where both are on one
machine. Spark reads the files of a table's version as they are; `file:` inputs are parsed by
tidemill, as strictly as ever, and handed over as Parquet, all their columns, not only those that
a query names. `dedupe` keeps the smallest row of a key also where DataFusion would keep the first
in file order; `keep: first` is refused.

SQL that both engines read alike needs care in a few places, of which Spark decides with
`engine: spark`: `7 / 2` is 3 in DataFusion and 3.5 in Spark; `1.5` is a float there and a decimal
in Spark, while `1.5e0` is a float in both; whole numbers such as `1` are bigint there and int in
Spark; nulls come last there and first in Spark under `order by x`; `limit` takes a number and no
parameter in Spark; 0.0 and -0.0 are two values there and one in Spark. Queries have to parse in
both. In texts a backslash is a backslash, in double quotes stands a name, times are in UTC.";

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
