//! From the answers to a dashboard's queries to the files of a report.

use super::canvas;
use super::dashboard::Dashboard;
use super::data::Frame;
use super::draw::{Heading, Picture};
use super::figure::Figure;
use super::page::{self, ChartView, FigureView, Made, TableView};
use super::query::Query;
use arrow::datatypes::SchemaRef;
use arrow::record_batch::RecordBatch;
use orchestrator::attempt::TaskError;
use std::fmt::Display;
use std::fs;
use std::path::Path;

/// The result of a query.
#[derive(Clone, Debug)]
pub(super) struct Answer {
    pub(super) schema: SchemaRef,
    pub(super) batches: Vec<RecordBatch>,
}

/// The results of all queries, in the order of the dashboard.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    pub(super) figures: Vec<Answer>,
    pub(super) charts: Vec<Answer>,
    pub(super) tables: Vec<Answer>,
}

impl Answers {
    pub(super) fn rows(&self) -> usize {
        let all = self.figures.iter().chain(&self.charts).chain(&self.tables);
        all.flat_map(|answer| &answer.batches).map(RecordBatch::num_rows).sum()
    }
}

/// Writes `index.html`, `charts/` and `data/` into the directory. Returns the bytes written.
///
/// `proceed` is asked before each part.
pub(super) fn write(
    directory: &Path,
    dashboard: &Dashboard,
    answers: &Answers,
    made: &Made,
    proceed: &dyn Fn() -> Result<(), TaskError>,
) -> Result<u64, TaskError> {
    let path = dashboard.path.as_str();
    let writer = Writer { directory, path };
    for part in ["charts", "data"] {
        let part = directory.join(part);
        fs::create_dir_all(&part)
            .map_err(|error| TaskError::io(format!("create `{}`", part.display()), &error))?;
    }
    let mut figures = Vec::new();
    for (figure, answer) in dashboard.figures.iter().zip(&answers.figures) {
        let frame = writer.frame(&figure.query, answer)?;
        let view = FigureView::new(figure, &frame, &dashboard.currency);
        figures.push(view.map_err(|error| writer.error(&figure.query, error))?);
    }
    let mut charts = Vec::new();
    for (chart, answer) in dashboard.charts.iter().zip(&answers.charts) {
        proceed()?;
        let frame = writer.frame(&chart.query, answer)?;
        writer.csv(&chart.name, answer)?;
        let figure = Figure::new(chart, &frame, &dashboard.currency)
            .map_err(|error| writer.error(&chart.query, error))?;
        let heading = Heading { title: &chart.title, note: chart.note.as_deref() };
        let picture = Picture { figure: &figure, width: chart.width, heading: Some(heading) };
        let file = |ending: &str| directory.join(format!("charts/{}.{ending}", chart.name));
        canvas::png(&picture, picture.size(), &file("png"))?;
        let svg = canvas::svg(&picture, picture.size(), &chart.title)?;
        writer.file(&file("svg"), svg.as_bytes())?;
        charts.push(ChartView::new(path, chart, &figure)?);
    }
    let mut tables = Vec::new();
    for (table, answer) in dashboard.tables.iter().zip(&answers.tables) {
        proceed()?;
        let frame = writer.frame(&table.query, answer)?;
        writer.csv(&table.name, answer)?;
        let view = TableView::new(path, table, &frame, &dashboard.currency);
        tables.push(view.map_err(|error| writer.error(&table.query, error))?);
    }
    writer.figures(dashboard, answers)?;
    proceed()?;
    let page = page::render(dashboard, &figures, &charts, &tables, made)?;
    writer.file(&directory.join("index.html"), page.as_bytes())?;
    size_bytes(directory)
}

struct Writer<'a> {
    directory: &'a Path,
    path: &'a str,
}

impl Writer<'_> {
    /// An error of one part of the dashboard, with its place.
    fn error(&self, query: &Query, error: impl Display) -> TaskError {
        TaskError::permanent(format!("{}: `{}`: {error}", self.path, query.part()))
    }

    fn frame(&self, query: &Query, answer: &Answer) -> Result<Frame, TaskError> {
        Frame::new(&answer.schema, &answer.batches).map_err(|error| self.error(query, error))
    }

    fn file(&self, path: &Path, bytes: &[u8]) -> Result<(), TaskError> {
        fs::write(path, bytes)
            .map_err(|error| TaskError::io(format!("write `{}`", path.display()), &error))
    }

    /// The numbers behind a part of the page, all of them and exactly as the query gave them.
    fn csv(&self, name: &str, answer: &Answer) -> Result<(), TaskError> {
        let text = csv(answer).map_err(|error| {
            TaskError::permanent(format!("{}: `{name}` as CSV: {error}", self.path))
        })?;
        self.file(&self.directory.join(format!("data/{name}.csv")), &text)
    }

    /// One line for each key figure: its label, its value, and what it is compared with.
    fn figures(&self, dashboard: &Dashboard, answers: &Answers) -> Result<(), TaskError> {
        if dashboard.figures.is_empty() {
            return Ok(());
        }
        let mut text = "label,value,compared_with\n".to_owned();
        for (figure, answer) in dashboard.figures.iter().zip(&answers.figures) {
            let frame = self.frame(&figure.query, answer)?;
            let value = |column: usize| match frame.columns.get(column) {
                Some((_, super::data::Column::Number { values, .. })) => {
                    let value = values.first().copied().flatten();
                    value.map(|value| value.to_string()).unwrap_or_default()
                }
                _ => String::new(),
            };
            let label = figure.label.replace('"', "\"\"");
            text.push_str(&format!("\"{label}\",{},{}\n", value(0), value(1)));
        }
        self.file(&self.directory.join("data/figures.csv"), text.as_bytes())
    }
}

fn csv(answer: &Answer) -> Result<Vec<u8>, arrow::error::ArrowError> {
    let mut text = Vec::new();
    {
        let mut writer = arrow::csv::WriterBuilder::new().with_header(true).build(&mut text);
        for batch in &answer.batches {
            writer.write(batch)?;
        }
        if answer.batches.is_empty() {
            writer.write(&RecordBatch::new_empty(answer.schema.clone()))?;
        }
    }
    Ok(text)
}

/// Bytes of all files below a directory.
fn size_bytes(directory: &Path) -> Result<u64, TaskError> {
    let doing = || format!("read `{}`", directory.display());
    let entries = fs::read_dir(directory).map_err(|error| TaskError::io(doing(), &error))?;
    let mut size = 0;
    for entry in entries {
        let entry = entry.map_err(|error| TaskError::io(doing(), &error))?;
        let metadata = entry.metadata().map_err(|error| TaskError::io(doing(), &error))?;
        size += if metadata.is_dir() { size_bytes(&entry.path())? } else { metadata.len() };
    }
    Ok(size)
}
