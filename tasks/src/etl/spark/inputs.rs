//! Inputs as Spark's views: the files of a table's version as they are, all else by way of
//! tidemill's own readers, so that every engine sees the same rows.

use super::connection::Connection;
use super::errors::query_error;
use super::scratch::Scratch;
use super::text::quoted;
use crate::engine::errors::task_error;
use crate::engine::input::{Reading, pinned};
use crate::engine::scan::malformed::{OnMalformed, Sluice};
use crate::etl::options::EtlOptions;
use crate::etl::session::Session;
use crate::places::{TableFile, TableSnapshot, Tables};
use arrow::datatypes::{DataType as Arrow, Schema, SchemaRef, TimeUnit};
use datafusion::common::TableReference;
use orchestrator::attempt::TaskError;
use orchestrator::dataset::Scheme;
use spark_connect::{Column, DataFrame, SparkError, SparkSession, col, lit_string};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

/// What stands behind a view.
struct Source {
    schema: SchemaRef,
    /// Their values stand beside the files, and not in them.
    partition_by: Vec<String>,
    files: Vec<TableFile>,
    rows: u64,
}

/// Makes a view of each input that the queries read, by the input's name, and gives their names.
/// Records that do not fit go through `sluice`, or fail the task.
pub(super) async fn register(
    session: &Session<'_>,
    connection: &Connection,
    scratch: &Scratch,
    options: &EtlOptions,
    used: &HashSet<String>,
    sluice: Option<&Arc<Sluice>>,
) -> Result<Vec<String>, TaskError> {
    let mut views = Vec::new();
    for (number, input) in session.attempt.inputs.keys().enumerate() {
        let on_malformed = sluice.cloned().map_or(OnMalformed::Fail, OnMalformed::Aside);
        let snapshot = provide(session, options, input, on_malformed).await?;
        if !used.contains(&input.to_lowercase()) {
            continue;
        }
        let source = match snapshot {
            Some(snapshot) => Source {
                schema: snapshot.schema.clone(),
                partition_by: snapshot.partition_by.clone(),
                files: snapshot.files.clone(),
                rows: snapshot.rows,
            },
            None => {
                if let Some(sluice) = sluice {
                    sluice.open();
                }
                hand_over(session, scratch, input, &format!("in-{number}")).await?
            }
        };
        // The rows of `from` are counted when they have been sorted.
        if sluice.is_none() {
            session.attempt.progress.add_rows_in(source.rows);
        }
        view(connection, session.places.tables(), input, source).await?;
        views.push(input.clone());
    }
    Ok(views)
}

/// Registers an input at DataFusion, and pins it. Gives the version of a table that Spark can
/// read from its files alone.
async fn provide(
    session: &Session<'_>,
    options: &EtlOptions,
    input: &str,
    on_malformed: OnMalformed,
) -> Result<Option<TableSnapshot>, TaskError> {
    let (ctx, attempt, places) = (&session.ctx, session.attempt, session.places);
    let dataset = &attempt.inputs[input].dataset;
    if dataset.scheme() != Scheme::Table {
        let (reading, columns) =
            (Reading { on_malformed, meter: None }, options.columns.get(input));
        session.engine.register_as(ctx, attempt, places, input, columns, reading).await?;
        return Ok(None);
    }
    let snapshot = pinned(attempt, places, input).await?;
    let provider = snapshot.provider(&ctx.state()).await?;
    ctx.register_table(TableReference::bare(input), provider)
        .map_err(|error| task_error(format!("can't register `{dataset}`"), &error))?;
    let known = snapshot.schema.fields().iter().all(|field| type_of(field.data_type()).is_some());
    Ok((known && snapshot.is_plain()?).then_some(snapshot))
}

/// Writes an input's rows where Spark can read them.
async fn hand_over(
    session: &Session<'_>,
    scratch: &Scratch,
    input: &str,
    part: &str,
) -> Result<Source, TaskError> {
    let doing = format!("input `{input}`");
    let frame = session.ctx.table(TableReference::bare(input)).await;
    let frame = frame.map_err(|error| task_error(&doing, &error))?;
    let staged = scratch.write(session, part, frame, &doing).await?;
    tracing::info!("{doing}: {} rows, {} bytes handed to Spark", staged.rows, staged.bytes);
    let root = scratch.root();
    let files = staged.adds.iter().map(|add| TableFile::added(&root, add)).collect();
    Ok(Source { schema: staged.schema, partition_by: Vec::new(), files, rows: staged.rows })
}

async fn view(
    connection: &Connection,
    tables: &Tables,
    input: &str,
    source: Source,
) -> Result<(), TaskError> {
    let mut groups: BTreeMap<Vec<Option<String>>, Vec<String>> = BTreeMap::new();
    for file in &source.files {
        let value = |name: &String| file.partition.get(name).cloned().flatten();
        let values = source.partition_by.iter().map(value).collect();
        groups.entry(values).or_default().push(tables.location(&file.path));
    }
    let expected = source.files.len();
    let name = quoted(input);
    let seen = connection.call(move |session| {
        let frame = frame(session, &source, &groups)?;
        frame.create_or_replace_temp_view(&name)?;
        // A file that is missing below a pattern is no error to Spark.
        if groups.is_empty() { Ok(0) } else { frame.input_files().map(|files| files.len()) }
    });
    let failed = |error: SparkError| query_error(&format!("input `{input}`"), "", 0, &[], &error);
    let seen = seen.await?.map_err(failed)?;
    if seen != expected {
        return Err(TaskError::permanent(format!(
            "input `{input}`: Spark sees {seen} of {expected} files; does it reach `{}`?",
            tables.url("")
        )));
    }
    Ok(())
}

fn frame(
    session: &SparkSession,
    source: &Source,
    groups: &BTreeMap<Vec<Option<String>>, Vec<String>>,
) -> spark_connect::Result<DataFrame> {
    let is_partition = |name: &String| source.partition_by.contains(name);
    let columns = |keep: &dyn Fn(&String) -> bool| {
        let fields = source.schema.fields().iter().filter(|field| keep(field.name()));
        let column = |field: &Arc<arrow::datatypes::Field>| {
            let kind = type_of(field.data_type()).unwrap_or_default();
            format!("{} {kind}", quoted(field.name()))
        };
        fields.map(column).collect::<Vec<_>>().join(", ")
    };
    let inside = columns(&|name| !is_partition(name));
    let mut all: Option<DataFrame> = None;
    for (values, files) in groups {
        let files = session.read().schema(inside.clone()).parquet(&pattern(files));
        let part = files.select(restored(&source.schema, &source.partition_by, values));
        all = Some(match all {
            Some(all) => all.union(&part),
            None => part,
        });
    }
    match all {
        Some(all) => Ok(all),
        None => {
            let none = |field: &Arc<arrow::datatypes::Field>| {
                let kind = type_of(field.data_type()).unwrap_or_default();
                format!("cast(null as {kind}) as {}", quoted(field.name()))
            };
            let columns: Vec<_> = source.schema.fields().iter().map(none).collect();
            session.sql(&format!("select {} where false", columns.join(", ")))
        }
    }
}

/// The columns in the table's order, with those of its partitions.
fn restored(schema: &Schema, partition_by: &[String], values: &[Option<String>]) -> Vec<Column> {
    let column = |field: &Arc<arrow::datatypes::Field>| {
        let name = field.name();
        let Some(place) = partition_by.iter().position(|partition| partition == name) else {
            return col(&quoted(name));
        };
        let kind = type_of(field.data_type()).unwrap_or_default();
        let null = || Column::new(null());
        let value = values[place].as_deref().map_or_else(null, lit_string);
        value.cast_str(&kind).alias(name)
    };
    schema.fields().iter().map(column).collect()
}

fn null() -> spark_connect::Expression {
    let kind = spark_connect::DataType::Null;
    spark_connect::Expression::Literal(spark_connect::LiteralExpression::Null(kind))
}

/// One path for all files, as the client takes no more: a pattern that names each.
fn pattern(files: &[String]) -> String {
    let escaped = |path: &String| {
        let mut escaped = String::with_capacity(path.len());
        for c in path.chars() {
            if "{}[]*?,\\".contains(c) {
                escaped.push('\\');
            }
            escaped.push(c);
        }
        escaped
    };
    match files {
        [file] => escaped(file),
        files => {
            let start = common_directory(files);
            let names: Vec<_> =
                files.iter().map(|file| escaped(&file[start.len()..].to_owned())).collect();
            format!("{}{{{}}}", escaped(&start.to_owned()), names.join(","))
        }
    }
}

fn common_directory(files: &[String]) -> &str {
    let Some(first) = files.first() else { return "" };
    let common = files.iter().skip(1).fold(first.len(), |common, file| {
        let same = first.bytes().zip(file.bytes()).take_while(|(a, b)| a == b).count();
        common.min(same)
    });
    let bytes = &first.as_bytes()[..common];
    // What ends at a slash is whole.
    bytes.iter().rposition(|byte| *byte == b'/').map_or("", |slash| &first[..=slash])
}

/// A type of a table in Spark's SQL; `None` for one that tables of tidemill do not have.
fn type_of(kind: &Arrow) -> Option<String> {
    Some(match kind {
        Arrow::Boolean => "boolean".into(),
        Arrow::Int8 => "tinyint".into(),
        Arrow::Int16 => "smallint".into(),
        Arrow::Int32 => "int".into(),
        Arrow::Int64 => "bigint".into(),
        Arrow::Float32 => "float".into(),
        Arrow::Float64 => "double".into(),
        Arrow::Utf8 | Arrow::LargeUtf8 | Arrow::Utf8View => "string".into(),
        Arrow::Binary | Arrow::LargeBinary | Arrow::BinaryView => "binary".into(),
        Arrow::Date32 => "date".into(),
        Arrow::Timestamp(TimeUnit::Microsecond, Some(_)) => "timestamp".into(),
        Arrow::Decimal128(precision, scale) => format!("decimal({precision},{scale})"),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_name_files_and_nothing_else() {
        let files =
            |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
        assert_eq!(pattern(&files(&["file:///a b/x{1}.parquet"])), "file:///a b/x\\{1\\}.parquet");
        assert_eq!(
            pattern(&files(&["file:///t*/d/ab.p", "file:///t*/d/ac.p", "file:///t*/e.p"])),
            "file:///t\\*/{d/ab.p,d/ac.p,e.p}"
        );
    }
}
