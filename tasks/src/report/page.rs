//! The page: everything in one HTML file that opens anywhere and asks nobody for anything.

use super::canvas;
use super::dashboard::{Chart, Dashboard, KeyFigure, Table, Width};
use super::data::{Column, Frame};
use super::draw::Picture;
use super::figure::{Figure, Shape};
use super::format::{self, DAY, Grain};
use super::plotly::plot;
use super::query::Query;
use super::theme::{Colour, Theme};
use askama::Template;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use orchestrator::attempt::TaskError;
use orchestrator::plan::Interval;
use serde_json::{Map, Value, json};
use std::fmt::Write;
use std::sync::LazyLock;

/// A page shows no more rows of a table than this; the CSV file has them all.
const MOST_ROWS: usize = 500;

/// Where the numbers come from, for the foot of the page.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub(super) pipeline: String,
    pub(super) task: String,
    pub(super) run: String,
    pub(super) interval: String,
    pub(super) at: String,
    pub(super) version: &'static str,
    pub(super) inputs: Vec<MadeFrom>,
}

#[derive(Clone, Debug)]
pub(super) struct MadeFrom {
    pub(super) port: String,
    pub(super) dataset: String,
    pub(super) version: Option<i64>,
}

/// A key figure as it is shown.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct FigureView {
    label: String,
    value: String,
    exact: String,
    note: Option<String>,
}

pub(super) struct ChartView<'d> {
    name: &'d str,
    title: &'d str,
    note: Option<&'d str>,
    y_title: Option<&'d str>,
    is_half: bool,
    is_empty: bool,
    /// Names, and the names of their colours.
    legend: Vec<(String, String)>,
    /// The lowest and highest value of a heat map.
    shades: Option<(String, String)>,
    svg: String,
    plot: Value,
    source: Source,
}

pub(super) struct TableView<'d> {
    name: &'d str,
    title: &'d str,
    note: Option<&'d str>,
    is_half: bool,
    columns: Vec<ColumnView>,
    rows: Vec<Vec<String>>,
    left_out: usize,
    source: Source,
}

struct ColumnView {
    title: String,
    is_number: bool,
}

/// The statement behind a part of the page, and the files with its result.
struct Source {
    file: String,
    key: String,
    sql: String,
    links: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'d> {
    dashboard: &'d Dashboard,
    figures: &'d [FigureView],
    charts: &'d [ChartView<'d>],
    tables: &'d [TableView<'d>],
    made: &'d Made,
    colours: String,
    themes: String,
    plots: String,
    plotly: &'static str,
    has_plots: bool,
}

/// Plotly's script, as its crate carries it.
static PLOTLY: LazyLock<Option<String>> = LazyLock::new(|| {
    // The crate hands out its scripts as elements for a page; the first is Plotly itself.
    let elements = plotly::Plot::offline_js_sources();
    let (_, after) = elements.split_once('>')?;
    let (script, _) = after.split_once("</script>")?;
    Some(script.to_owned())
});

impl FigureView {
    /// From the first row of the result: the value, and in a second column what to compare it with.
    pub(super) fn new(figure: &KeyFigure, frame: &Frame, currency: &str) -> Result<Self, String> {
        let number = |column: usize| match frame.columns.get(column) {
            Some((_, Column::Number { values, .. })) => Ok(values.first().copied().flatten()),
            Some((name, column)) => Err(format!(
                "the column `{name}` holds {}, but a number is needed",
                column.describe()
            )),
            None => Ok(None),
        };
        if frame.rows > 1 {
            return Err(format!("the query gives {} rows, but one is needed", frame.rows));
        }
        let (value, before) = (number(0)?, number(1)?);
        let numbers = match frame.columns.first() {
            Some((_, column)) => column.numbers(figure.format, currency),
            None => return Err("the query gives no column".into()),
        };
        let change = value.zip(before);
        let change = change.and_then(|(to, from)| format::change(from, to, numbers.format));
        let compared = change.map(|change| match &figure.compared_with {
            Some(with) => format!("{change} against {with}"),
            None => change,
        });
        let note = match (compared, &figure.note) {
            (Some(compared), Some(note)) => Some(format!("{note}; {compared}")),
            (compared, note) => compared.or_else(|| note.clone()),
        };
        Ok(FigureView {
            label: figure.label.clone(),
            value: value.map_or_else(|| "no rows".into(), |value| numbers.short(value)),
            exact: value.map(|value| numbers.exact(value)).unwrap_or_default(),
            note,
        })
    }
}

impl<'d> ChartView<'d> {
    pub(super) fn new(path: &str, chart: &'d Chart, figure: &Figure) -> Result<Self, TaskError> {
        let picture = Picture { figure, width: chart.width, heading: None };
        let shades = matches!(figure.shape, Shape::Grid { .. }).then(|| {
            let (low, high) = figure.value_range();
            (figure.numbers.short(low), figure.numbers.short(high))
        });
        let name = &chart.name;
        let legend = figure.legend().into_iter();
        Ok(ChartView {
            name,
            title: &chart.title,
            note: chart.note.as_deref(),
            y_title: chart.y_title.as_deref(),
            is_half: chart.width == Width::Half,
            is_empty: figure.shape == Shape::Empty,
            legend: legend.map(|(name, colour)| (name.to_owned(), colour.name())).collect(),
            shades,
            svg: themed(&canvas::svg(&picture, picture.size(), &chart.title)?),
            plot: plot(&picture),
            source: Source::new(
                path,
                &chart.query,
                vec![
                    ("Numbers as CSV", format!("data/{name}.csv")),
                    ("Picture as PNG", format!("charts/{name}.png")),
                    ("as SVG", format!("charts/{name}.svg")),
                ],
            ),
        })
    }
}

impl<'d> TableView<'d> {
    pub(super) fn new(
        path: &str,
        table: &'d Table,
        frame: &Frame,
        currency: &str,
    ) -> Result<Self, String> {
        let all = frame.columns.iter().map(|(name, column)| (name.as_str(), None, column));
        let chosen: Vec<_> = match table.columns.is_empty() {
            true => all.collect(),
            false => {
                let choose = |measure: &'d super::dashboard::Measure| {
                    let column = super::figure::column(frame, &measure.column)?;
                    Ok((measure.label.as_str(), measure.format, column))
                };
                table.columns.iter().map(choose).collect::<Result<_, String>>()?
            }
        };
        let columns = chosen.iter().map(|(title, _, column)| ColumnView {
            title: (*title).to_owned(),
            is_number: matches!(column, Column::Number { .. }),
        });
        let row = |row: usize| -> Vec<String> {
            let cells = chosen.iter();
            let text = move |(_, format, column): &(&str, Option<_>, &Column)| {
                column.text(row, &column.numbers(*format, currency))
            };
            cells.map(text).collect()
        };
        Ok(TableView {
            name: &table.name,
            title: &table.title,
            note: table.note.as_deref(),
            is_half: table.width == Width::Half,
            columns: columns.collect(),
            rows: (0..frame.rows.min(MOST_ROWS)).map(row).collect(),
            left_out: frame.rows.saturating_sub(MOST_ROWS),
            source: Source::new(
                path,
                &table.query,
                vec![("Numbers as CSV", format!("data/{}.csv", table.name))],
            ),
        })
    }
}

impl Source {
    fn new(path: &str, query: &Query, links: Vec<(&'static str, String)>) -> Self {
        let (file, key) = match &query.file {
            Some(file) => (file.clone(), "the query".to_owned()),
            None => (path.to_owned(), query.at.clone()),
        };
        Source { file, key, sql: query.sql.trim_end().to_owned(), links }
    }
}

/// The whole page.
pub(super) fn render(
    dashboard: &Dashboard,
    figures: &[FigureView],
    charts: &[ChartView<'_>],
    tables: &[TableView<'_>],
    made: &Made,
) -> Result<String, TaskError> {
    let drawn = charts.iter().filter(|chart| !chart.is_empty);
    let plots: Vec<Value> = drawn
        .map(|chart| {
            let mut plot = chart.plot.clone();
            plot["name"] = chart.name.into();
            plot
        })
        .collect();
    let plotly = PLOTLY.as_deref();
    let page = Page {
        dashboard,
        figures,
        charts,
        tables,
        made,
        colours: colours(),
        themes: script_safe(&themes()),
        has_plots: !plots.is_empty(),
        plots: script_safe(&Value::Array(plots)),
        plotly: plotly.ok_or_else(|| TaskError::permanent("plotly's script can't be read"))?,
    };
    page.render().map_err(|error| TaskError::permanent(format!("the page can't be made: {error}")))
}

/// JSON that can stand in a script element, whatever its texts say.
fn script_safe(value: &Value) -> String {
    value.to_string().replace('<', "\\u003c").replace('\u{2028}', "\\u2028")
}

/// `{"light": {"ink": "#14191c", …}, "dark": {…}}`
fn themes() -> Value {
    let theme = |theme: Theme| {
        let colours = Colour::ALL.iter().map(|colour| (colour.name(), theme.hex(*colour).into()));
        Value::Object(colours.collect::<Map<_, _>>())
    };
    json!({"light": theme(Theme::Light), "dark": theme(Theme::Dark)})
}

/// The colours as properties, and the classes of legends and of drawings.
fn colours() -> String {
    let mut css = ":root {".to_owned();
    let mut rules = String::new();
    for colour in Colour::ALL {
        let (name, light, dark) =
            (colour.name(), Theme::Light.hex(colour), Theme::Dark.hex(colour));
        let _ = write!(css, " --{name}: light-dark({light}, {dark});");
        let _ = writeln!(rules, ".b-{name} {{ background: var(--{name}); }}");
        let _ = writeln!(rules, ".still .f-{name} {{ fill: var(--{name}); }}");
        let _ = writeln!(rules, ".still .s-{name} {{ stroke: var(--{name}); }}");
    }
    css.push_str(" }\n");
    css.push_str(&rules);
    for shade in 0..5 {
        let share = super::draw::shade(f64::from(shade) / 4.0) * 100.0;
        let _ = writeln!(
            css,
            ".h{shade} {{ background: \
             color-mix(in srgb, var(--series0) {share:.1}%, var(--paper)); }}"
        );
    }
    css
}

/// A drawing whose colours follow the page's theme.
fn themed(svg: &str) -> String {
    let mut svg = svg.to_owned();
    for colour in Colour::ALL {
        let hex = Theme::Light.hex(colour).to_uppercase();
        let name = colour.name();
        for (attribute, class) in [("fill", "f"), ("stroke", "s")] {
            let plain = format!(" {attribute}=\"{hex}\"");
            svg = svg.replace(&plain, &format!(" class=\"{class}-{name}\""));
        }
    }
    svg
}

/// The run's span of time: `23 Nov 2026` where it is one day.
pub(super) fn interval(interval: Interval) -> String {
    let (start, end) = (interval.start.as_microsecond(), interval.end.as_microsecond());
    let grain = match [start, end].iter().all(|at| at.rem_euclid(DAY) == 0) {
        true => Grain::Day,
        false => Grain::Instant,
    };
    if grain == Grain::Day && end - start == DAY {
        return format::time(start, grain);
    }
    let (from, to) = (format::time(start, grain), format::time(end, grain));
    format!("{from} to {to}{}", if grain == Grain::Day { "" } else { " UTC" })
}

/// `Tue 24 Nov 2026, 11:43 UTC`
pub(super) fn moment(at: Timestamp) -> String {
    at.to_zoned(TimeZone::UTC).strftime("%a %-d %b %Y, %H:%M UTC").to_string()
}
