//! Queries planned before there is anything to read: over the columns that are known of inputs.

use super::Engine;
use super::sql::{Fault, bind, explained, expression, tables_of};
use crate::places::tables::Storage;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use datafusion::catalog::{
    CatalogProvider, CatalogProviderList, MemoryCatalogProvider, MemoryCatalogProviderList,
    MemorySchemaProvider,
};
use datafusion::common::{DFSchema, DataFusionError, TableReference};
use datafusion::datasource::empty::EmptyTable;
use datafusion::execution::SessionStateBuilder;
use datafusion::logical_expr::ExprSchemable;
use datafusion::prelude::SessionContext;
use datafusion::sql::parser::Statement;
use futures::executor::block_on;
use indexmap::IndexMap;
use orchestrator::kind::{Columns, Known};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Plans queries over columns alone. What it found is remembered: pipelines are planned again and
/// again, and have queries in common.
#[derive(Default)]
pub(crate) struct Planner {
    /// Has no tables.
    session: OnceLock<SessionContext>,
    found: Mutex<HashMap<String, Found>>,
}

/// The columns of a query, or what is wrong with it; `None` if neither can be told.
type Found = Option<Result<Columns, Fault>>;

/// As much is remembered before all of it is forgotten.
const MOST_REMEMBERED: usize = 10_000;

impl Planner {
    fn session(&self) -> SessionContext {
        let base = self.session.get_or_init(|| Engine::default().bare_session());
        let state = base.state();
        let names = state.config().options().catalog.clone();
        let catalog = Arc::new(MemoryCatalogProvider::new());
        let schema = Arc::new(MemorySchemaProvider::new());
        // An error would mean that the catalog is of a sort that takes no schemas.
        let _ = catalog.register_schema(&names.default_schema, schema);
        let catalogs = Arc::new(MemoryCatalogProviderList::new());
        catalogs.register_catalog(names.default_catalog, catalog);
        let state = SessionStateBuilder::new_from_existing(state).with_catalog_list(catalogs);
        SessionContext::new_with_state(state.build())
    }

    fn remembered(&self, key: String, find: impl FnOnce() -> Found) -> Found {
        let lock = || self.found.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = lock().get(&key) {
            return found.clone();
        }
        let found = find();
        let mut all = lock();
        if all.len() >= MOST_REMEMBERED {
            all.clear();
        }
        all.insert(key, found.clone());
        found
    }
}

/// The inputs of a task whose columns are known.
pub(crate) struct Offline<'a> {
    planner: &'a Planner,
    tables: BTreeMap<String, SchemaRef>,
    /// Made for the first query that is not remembered.
    session: OnceLock<SessionContext>,
}

impl<'a> Offline<'a> {
    /// `known`: types in Arrow's words. Inputs with a type of another sort are left out.
    pub(crate) fn new(engine: &'a Engine, known: &Known) -> Offline<'a> {
        let tables = known
            .iter()
            .filter_map(|(name, columns)| Some((name.clone(), Arc::new(schema_of(columns)?))));
        Offline { planner: &engine.planner, tables: tables.collect(), session: OnceLock::new() }
    }

    /// The columns that a query gives, or what is wrong with it; `None` if it reads something whose
    /// columns are not known.
    pub(crate) fn query(&self, sql: &str, parameters: &IndexMap<String, Value>) -> Found {
        if self.tables.is_empty() {
            return None;
        }
        let is_known = |table: &str| self.tables.contains_key(table);
        self.planner.remembered(format!("{sql}\n{parameters:?}\n{:?}", self.tables), || {
            if !tables_of(sql).iter().all(|(table, _)| is_known(table)) {
                return None;
            }
            match block_on(self.plan(sql, parameters)) {
                Ok(columns) => columns.map(Ok),
                Err(error) => Some(Err(self.fault(sql, &error))),
            }
        })
    }

    async fn plan(
        &self,
        sql: &str,
        parameters: &IndexMap<String, Value>,
    ) -> Result<Option<Columns>, DataFusionError> {
        let state = self.session().state();
        let mut statement =
            state.sql_to_statement(sql, &state.config().options().sql_parser.dialect)?;
        if let Statement::Statement(statement) = &mut statement {
            bind(statement.as_mut(), parameters);
        }
        let plan = state.statement_to_plan(statement).await?;
        // Types are only brought together here, and a sum of texts refused.
        let plan = state.analyzer().execute_and_check(plan, state.config_options(), |_, _| {})?;
        let columns = columns_of(plan.schema().as_arrow());
        // Of two columns of one name, it can't be said which is meant.
        Ok((columns.len() == plan.schema().fields().len()).then_some(columns))
    }

    /// What is wrong with a condition over the columns of something that may have a name.
    pub(crate) fn condition(
        &self,
        sql: &str,
        name: Option<&str>,
        columns: &Columns,
        parameters: &IndexMap<String, Value>,
    ) -> Option<Fault> {
        let schema = schema_of(columns)?;
        let schema = match name {
            Some(name) => DFSchema::try_from_qualified_schema(TableReference::bare(name), &schema),
            None => DFSchema::try_from(schema),
        };
        let schema = schema.ok()?;
        let check = || {
            let planned = expression(self.session(), sql, &schema, parameters);
            match planned.and_then(|condition| condition.get_type(&schema)) {
                Ok(DataType::Boolean | DataType::Null) => None,
                Ok(_) => Some(Err(Fault {
                    range: 0..sql.trim_end().len(),
                    message: format!("`{sql}` is neither true nor false"),
                    help: None,
                })),
                Err(error) => Some(Err(self.fault(sql, &error))),
            }
        };
        let key = format!("{sql}\n{parameters:?}\n{name:?} {columns:?}");
        self.planner.remembered(key, check)?.err()
    }

    fn session(&self) -> &SessionContext {
        self.session.get_or_init(|| {
            let session = self.planner.session();
            for (name, schema) in &self.tables {
                // Nothing can fail here: each name is there once.
                let table = Arc::new(EmptyTable::new(schema.clone()));
                let _ = session.register_table(TableReference::bare(name.as_str()), table);
            }
            session
        })
    }

    fn fault(&self, sql: &str, error: &DataFusionError) -> Fault {
        let tables: Vec<&str> = self.tables.keys().map(String::as_str).collect();
        let whole: Range<usize> = 0..sql.trim_end().len();
        match explained(sql, error, &tables) {
            Some((range, message, help)) => Fault { range: range.unwrap_or(whole), message, help },
            None => {
                let text = super::errors::message(error);
                // DataFusion calls arguments that a function does not take a defect of its own.
                let text = text.strip_prefix("Internal error: ").unwrap_or(&text);
                let text = text.split(".\nThis issue").next().unwrap_or(text);
                Fault { range: whole, message: text.trim().to_owned(), help: None }
            }
        }
    }
}

/// Columns of an Arrow schema, their types in Arrow's words.
pub(crate) fn columns_of(schema: &Schema) -> Columns {
    let fields = schema.fields().iter();
    fields.map(|field| (field.name().clone(), field.data_type().to_string())).collect()
}

/// The columns that a table has when these were written into it, or why it can't keep them.
pub(crate) fn kept(columns: &Columns) -> Option<Result<Columns, String>> {
    let storage = match Storage::of(&schema_of(columns)?) {
        Ok(storage) => storage,
        Err(error) => return Some(Err(error.to_string())),
    };
    // As they are read again.
    let fields = storage.table.fields().iter().map(|field| match field.data_type() {
        DataType::Utf8 => Field::new(field.name(), DataType::Utf8View, true),
        DataType::Binary => Field::new(field.name(), DataType::BinaryView, true),
        _ => field.as_ref().clone(),
    });
    Some(Ok(columns_of(&Schema::new(fields.collect::<Vec<_>>()))))
}

fn schema_of(columns: &Columns) -> Option<Schema> {
    let field = |(name, kind): (&String, &String)| {
        Some(Field::new(name, kind.parse::<DataType>().ok()?, true))
    };
    Some(Schema::new(columns.iter().map(field).collect::<Option<Vec<_>>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::columns::{ColumnType, arrow_schema};
    use crate::engine::sql::unknown_tables;

    fn orders(engine: &Engine) -> Offline<'_> {
        let columns = [
            ("order_id", ColumnType::Integer),
            ("country", ColumnType::String),
            ("price", ColumnType::Decimal { precision: 12, scale: 2 }),
            ("ordered_at", ColumnType::Timestamp),
            ("is_prime", ColumnType::Boolean),
            ("day", ColumnType::Date),
        ];
        let columns = columns.map(|(name, kind)| (name.to_owned(), kind)).into_iter().collect();
        let columns = columns_of(&arrow_schema(&columns));
        Offline::new(engine, &Known::from([("orders".to_owned(), columns)]))
    }

    #[test]
    fn the_columns_of_a_result_are_known() {
        let engine = Engine::default();
        let check = |sql: &str, expect: &str| {
            let parameters = IndexMap::from([("night".to_owned(), Value::from("2026-11-24"))]);
            let found = orders(&engine).query(sql, &parameters).unwrap().unwrap();
            let found: Vec<String> =
                found.iter().map(|(name, kind)| format!("{name}: {kind}")).collect();
            assert_eq!(found.join(", "), expect, "{sql}");
            // What a query gives, another one can read.
            let known = found.iter().map(|column| column.split_once(": ").unwrap());
            let known = known.map(|(name, kind)| (name.to_owned(), kind.to_owned())).collect();
            assert!(schema_of(&known).is_some(), "{sql}");
        };
        check(
            "select country, count(*) as orders, sum(price) as revenue from orders group by 1",
            "country: Utf8View, orders: Int64, revenue: Decimal128(22, 2)",
        );
        check(
            "select date_trunc('day', ordered_at) as day, $night as night from orders",
            "day: Timestamp(µs, \"UTC\"), night: Utf8",
        );
        check(
            "with a as (select array_agg(day) as days from orders) select days, 1.5 as x from a",
            "days: List(Date32), x: Float64",
        );
        check("select value from generate_series(0, 23)", "value: Int64");
    }

    /// What a run would not refuse.
    #[test]
    fn nothing_is_refused_in_error() {
        let engine = Engine::default();
        let orders = orders(&engine);
        for sql in [
            "select 1 as generate_series from generate_series(1, 2)",
            "select value from generate_series /* both */ (1, 3)",
            "select country from public.orders; -- all",
            "with recursive n as (select 1 as i union all select i + 1 from n where i < 3) \
             select * from n, orders",
            "select o.* exclude (price) from orders as o where price > $least",
            "select table_name from information_schema.tables",
        ] {
            let parameters = IndexMap::from([("least".to_owned(), Value::from(1.5))]);
            let found = orders.query(sql, &parameters);
            assert!(!matches!(found, Some(Err(_))), "{sql}: {found:?}");
            assert_eq!(unknown_tables(sql, &["orders"]), [], "{sql}");
        }
        // What is stored is narrower than what was computed.
        let numbered =
            orders.query("select row_number() over () as n from orders", &IndexMap::new());
        let stored = kept(&numbered.unwrap().unwrap()).unwrap().unwrap();
        assert_eq!(stored["n"], "Int64");
        assert!(
            kept(&Columns::from([("max(x)".to_owned(), "Int64".to_owned())])).unwrap().is_err()
        );
        assert!(unknown_tables("select * from \"\"\"\"\"é\"", &["orders"]).len() == 1);
        let help = unknown_tables("select * from Orders", &["Orders"])[0].help.clone();
        assert!(help.unwrap().starts_with("write it as \"Orders\""));
        assert_eq!(unknown_tables("select * from \"Orders\"", &["Orders"]), []);
        let columns = Columns::from([("price".to_owned(), "Float64".to_owned())]);
        let condition = "rows.price > 10 and coalesce(price, 0) < 5";
        assert_eq!(orders.condition(condition, Some("rows"), &columns, &IndexMap::new()), None);
    }

    #[test]
    fn mistakes_have_their_place() {
        let engine = Engine::default();
        let check = |sql: &str, expect: &str| {
            let fault = orders(&engine).query(sql, &IndexMap::new()).unwrap().unwrap_err();
            let help = fault.help.map(|help| format!(" ({help})")).unwrap_or_default();
            assert_eq!(format!("[{}] {}{help}", &sql[fault.range], fault.message), expect, "{sql}");
        };
        check(
            "select order_id,\n  cuntry from orders",
            "[cuntry] no column `cuntry` (did you mean `country`?)",
        );
        check(
            "select o.prize from orders o",
            "[o.prize] no column `prize` (did you mean `price`?)",
        );
        check(
            "select datetrunk('day', day) from orders",
            "[datetrunk] no function `datetrunk` (did you mean `datetrunc`?)",
        );
        check(
            "select day + is_prime from orders",
            "[day + is_prime] cannot coerce arithmetic expression Date32 + Boolean to valid types",
        );
        assert!(orders(&engine).query("select * from customers", &IndexMap::new()).is_none());
    }

    #[test]
    fn conditions_name_known_columns() {
        let engine = Engine::default();
        let orders = orders(&engine);
        let columns = Columns::from([("price".to_owned(), "Float64".to_owned())]);
        assert_eq!(orders.condition("price > 0", None, &columns, &IndexMap::new()), None);
        let fault = orders.condition("prise > 0", None, &columns, &IndexMap::new()).unwrap();
        assert_eq!(fault.message, "no column `prise`");
        assert_eq!(fault.range, 0..5);
        let fault = orders.condition("price + 1", None, &columns, &IndexMap::new()).unwrap();
        assert_eq!(fault.message, "`price + 1` is neither true nor false");
    }
}
