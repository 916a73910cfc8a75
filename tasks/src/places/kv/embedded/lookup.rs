//! Reading rows by their keys.

use super::collapse::parse_older;
use super::ranges::Ranges;
use super::{FIXED, TIMESTAMP};
use crate::places::kv::{Cell, ROW_KEY, Row, Scan as Range};
use crate::places::tables::{Scan, TableFile, TableSnapshot, Tables, failed};
use arrow::array::{Array, AsArray, RecordBatch};
use arrow::datatypes::TimestampMicrosecondType;
use datafusion::common::Column;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{Expr, lit};
use datafusion::prelude::{SessionConfig, SessionContext};
use jiff::Timestamp;
use orchestrator::attempt::TaskError;
use std::sync::Arc;

/// Rows in the order of their keys. Reads file by file, until there are enough.
pub(super) async fn scan(
    tables: &Tables,
    snapshot: &TableSnapshot,
    range: &Range,
) -> Result<Vec<Row>, TaskError> {
    let ranges = Ranges::new(&snapshot.files);
    let files = ranges.files().iter();
    let files = files.filter(|file| file.meets(&range.start, range.stop.as_deref()));
    let files: Vec<TableFile> = files.map(|ranged| ranged.file.clone()).collect();
    let at_once = if ranges.are_apart() { 1 } else { files.len().max(1) };
    // Pages hold a few thousand rows, sorted: skipping by them is worth more than threads.
    let mut config = SessionConfig::new().with_target_partitions(1);
    config.options_mut().execution.parquet.pushdown_filters = true;
    let session = SessionContext::new_with_config(config);
    let mut rows = Vec::new();
    for files in files.chunks(at_once) {
        let limit = range.limit.saturating_sub(rows.len());
        if limit == 0 {
            break;
        }
        let batches = read(tables, snapshot, files, range, limit, &session).await;
        let batches = batches.map_err(|error| failed("can't find rows", &error))?;
        batches
            .iter()
            .for_each(|batch| rows.extend((0..batch.num_rows()).map(|at| row(batch, at))));
    }
    Ok(rows)
}

async fn read(
    tables: &Tables,
    snapshot: &TableSnapshot,
    files: &[TableFile],
    range: &Range,
    limit: usize,
    session: &SessionContext,
) -> Result<Vec<RecordBatch>, DataFusionError> {
    let url = tables.register(session.runtime_env().as_ref());
    let table = Scan::new(&snapshot.schema, &[], files, url, false)?;
    let key = || Expr::Column(Column::from_name(ROW_KEY));
    let mut filter = key().gt_eq(lit(range.start.as_str()));
    if let Some(stop) = &range.stop {
        filter = filter.and(key().lt(lit(stop.as_str())));
    }
    let rows = session.read_table(Arc::new(table))?.filter(filter)?;
    rows.sort(vec![key().sort(true, false)])?.limit(0, Some(limit))?.collect().await
}

fn row(batch: &RecordBatch, at: usize) -> Row {
    let text = |column: usize| {
        let texts = batch.column(column).as_string::<i32>();
        texts.is_valid(at).then(|| texts.value(at).to_owned())
    };
    let schema = batch.schema_ref();
    let older = text(2).map(|text| parse_older(&text)).unwrap_or_default();
    debug_assert_eq!(schema.field(1).name(), TIMESTAMP);
    let newest = batch.column(1).as_primitive::<TimestampMicrosecondType>().value(at);
    let cells = (FIXED..batch.num_columns()).filter_map(|column| {
        let name = schema.field(column).name();
        let micros = older.get(name).copied().unwrap_or(newest);
        let timestamp = Timestamp::from_microsecond(micros).unwrap_or_default();
        Some(Cell { column: name.clone(), value: text(column)?, timestamp })
    });
    let mut cells: Vec<Cell> = cells.collect();
    cells.sort_by(|a, b| a.column.cmp(&b.column));
    Row { key: text(0).unwrap_or_default(), cells }
}
