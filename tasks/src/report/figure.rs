//! What a chart shows, worked out once for the page and for the pictures.

use super::dashboard::{Chart, ChartKind, MAX_SERIES, Measure};
use super::data::{Column, Frame};
use super::format::{self, Grain, Numbers};
use super::theme::Colour;
use std::collections::HashMap;

/// A chart's data in the form in which it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Figure {
    pub(super) kind: ChartKind,
    pub(super) shape: Shape,
    /// How the values are written: those of bars and lines, of cells, of a scatter's y.
    pub(super) numbers: Numbers,
    /// How numbers along x are written.
    pub(super) x_numbers: Numbers,
    /// Whether x holds numbers or times.
    pub(super) x_is_ordered: bool,
    pub(super) x_title: Option<String>,
    pub(super) y_title: Option<String>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Shape {
    /// Lines, areas and bars: all series have a value, or a gap, at each position.
    Aligned { at: Positions, series: Vec<Series> },
    /// A scatter: each series has points of its own.
    Points { time: Option<Grain>, series: Vec<Points> },
    /// A heat map: `cells[row][column]`.
    Grid { columns: Vec<String>, rows: Vec<String>, cells: Vec<Row> },
    /// A histogram: bin `i` lies between the edges `i` and `i + 1`.
    Bins { edges: Vec<f64>, counts: Vec<f64> },
    /// The query gave no rows, or nothing in them that could be drawn.
    Empty,
}

/// A row of a heat map's cells.
pub(super) type Row = Vec<Option<f64>>;

/// Where along x the values stand.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Positions {
    Times { at: Vec<i64>, grain: Grain },
    Numbers(Vec<f64>),
    Names(Vec<String>),
}

impl Positions {
    pub(super) fn len(&self) -> usize {
        match self {
            Positions::Times { at, .. } => at.len(),
            Positions::Numbers(at) => at.len(),
            Positions::Names(names) => names.len(),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Series {
    pub(super) name: String,
    pub(super) colour: Colour,
    pub(super) values: Vec<Option<f64>>,
}

#[derive(Clone, Debug, PartialEq)]
pub(super) struct Points {
    pub(super) name: String,
    pub(super) colour: Colour,
    pub(super) x: Vec<f64>,
    pub(super) y: Vec<f64>,
}

impl Figure {
    /// Fails with what the query would have to give instead.
    pub(super) fn new(chart: &Chart, frame: &Frame, currency: &str) -> Result<Self, String> {
        let x = column(frame, &chart.x)?;
        let value_column = match chart.kind {
            ChartKind::Heatmap => chart.value.as_ref(),
            _ => chart.y.first().map(|measure| &measure.column),
        };
        let numbers = match value_column {
            Some(name) => column(frame, name)?.numbers(chart.format, currency),
            None => Numbers::new(chart.format.unwrap_or(format::Format::Integer), currency),
        };
        let shape = match chart.kind {
            _ if frame.rows == 0 => Shape::Empty,
            ChartKind::Scatter => scatter(chart, frame, x)?,
            ChartKind::Heatmap => grid(chart, frame, x)?,
            ChartKind::Histogram => bins(chart, frame, x)?,
            _ => aligned(chart, frame, x)?,
        };
        Ok(Figure {
            kind: chart.kind,
            shape,
            numbers,
            x_numbers: x.numbers(chart.x_format, currency),
            x_is_ordered: !matches!(x, Column::Text(_)),
            x_title: chart.x_title.clone(),
            y_title: chart.y_title.clone(),
        })
    }

    /// The names and colours of the series, where there is more than one thing to tell apart.
    pub(super) fn legend(&self) -> Vec<(&str, Colour)> {
        let names: Vec<(&str, Colour)> = match &self.shape {
            Shape::Aligned { series, .. } => {
                series.iter().map(|one| (one.name.as_str(), one.colour)).collect()
            }
            Shape::Points { series, .. } => {
                series.iter().map(|one| (one.name.as_str(), one.colour)).collect()
            }
            _ => Vec::new(),
        };
        if names.len() > 1 { names } else { Vec::new() }
    }

    /// Whether the values of the series lie on top of one another.
    pub(super) fn is_stacked(&self) -> bool {
        matches!(self.kind, ChartKind::StackedBar | ChartKind::Area)
    }

    /// The first and last place of the points along x.
    pub(super) fn x_range(&self) -> (f64, f64) {
        let Shape::Points { series, .. } = &self.shape else { return (0.0, 1.0) };
        let all = || series.iter().flat_map(|points| points.x.iter().copied());
        (all().fold(f64::INFINITY, f64::min), all().fold(f64::NEG_INFINITY, f64::max))
    }

    /// The lowest and highest value that the axis of the values has to hold.
    pub(super) fn value_range(&self) -> (f64, f64) {
        let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
        let mut take = |value: f64| {
            low = low.min(value);
            high = high.max(value);
        };
        match &self.shape {
            Shape::Aligned { at, series } if self.is_stacked() => {
                for position in 0..at.len() {
                    let values = series.iter().filter_map(|one| one.values[position]);
                    let (up, down): (Vec<f64>, Vec<f64>) = values.partition(|value| *value >= 0.0);
                    take(up.iter().sum());
                    take(down.iter().sum());
                }
            }
            Shape::Aligned { series, .. } => {
                series.iter().flat_map(|one| &one.values).flatten().for_each(|value| take(*value));
            }
            Shape::Points { series, .. } => {
                series.iter().flat_map(|one| &one.y).for_each(|value| take(*value));
            }
            Shape::Grid { cells, .. } => {
                cells.iter().flatten().flatten().for_each(|value| take(*value));
            }
            Shape::Bins { counts, .. } => counts.iter().for_each(|value| take(*value)),
            Shape::Empty => {}
        }
        let drawn_from_zero =
            !matches!(self.kind, ChartKind::Line | ChartKind::Scatter | ChartKind::Heatmap);
        // A line whose values are far from zero is drawn close up; else zero belongs to it.
        let near_zero = low >= 0.0 && low <= high / 2.0 && self.kind != ChartKind::Heatmap;
        if drawn_from_zero || near_zero {
            (low, high) = (low.min(0.0), high.max(0.0));
        }
        if low > high { (0.0, 1.0) } else { (low, high) }
    }
}

pub(super) fn column<'f>(frame: &'f Frame, name: &str) -> Result<&'f Column, String> {
    let missing = || {
        let names = frame.names().into_iter();
        format!("the query's result has {}", crate::engine::sql::no_column(name, names))
    };
    frame.get(name).ok_or_else(missing)
}

fn numbers<'f>(frame: &'f Frame, name: &str) -> Result<&'f [Option<f64>], String> {
    match column(frame, name)? {
        Column::Number { values, .. } => Ok(values),
        other => {
            let what = other.describe();
            Err(format!("the column `{name}` holds {what}, but numbers are needed to draw it"))
        }
    }
}

/// The text of each row, `none` for a null.
fn names(frame: &Frame, name: &str) -> Result<Vec<String>, String> {
    let column = column(frame, name)?;
    let numbers = column.numbers(None, "");
    let text = |row: usize| {
        let text = match column {
            // A year or an hour as a name has no separators.
            Column::Number { values, integral: true } => {
                values[row].map(|value| format!("{value:.0}")).unwrap_or_default()
            }
            _ => column.text(row, &numbers),
        };
        if text.is_empty() { "none".to_owned() } else { text }
    };
    Ok((0..frame.rows).map(text).collect())
}

/// Distinct values in the order of their first row, and the index of each row's.
fn distinct(values: &[String]) -> (Vec<String>, Vec<usize>) {
    let mut index: HashMap<&str, usize> = HashMap::new();
    let mut all = Vec::new();
    let of_row = values.iter().map(|value| {
        *index.entry(value).or_insert_with(|| {
            all.push(value.clone());
            all.len() - 1
        })
    });
    let of_row = of_row.collect();
    (all, of_row)
}

/// As [`distinct`], but numbers and times in their own order.
fn ordered(frame: &Frame, name: &str) -> Result<(Vec<String>, Vec<usize>), String> {
    let values: Vec<Option<f64>> = match column(frame, name)? {
        Column::Number { values, .. } => values.clone(),
        Column::Time { values, .. } => values.iter().map(|at| at.map(|at| at as f64)).collect(),
        Column::Text(_) => return Ok(distinct(&names(frame, name)?)),
    };
    let names = names(frame, name)?;
    let mut rows: Vec<usize> = (0..frame.rows).collect();
    let key = |row: usize| values[row].unwrap_or(f64::INFINITY);
    rows.sort_by(|one, other| key(*one).total_cmp(&key(*other)));
    let in_order: Vec<String> = rows.iter().map(|row| names[*row].clone()).collect();
    let (all, index) = distinct(&in_order);
    let mut of_row = vec![0; frame.rows];
    for (row, index) in rows.into_iter().zip(index) {
        of_row[row] = index;
    }
    Ok((all, of_row))
}

fn positions(
    chart: &Chart,
    frame: &Frame,
    x: &Column,
) -> Result<(Positions, Vec<Option<usize>>), String> {
    let is_bar = !matches!(chart.kind, ChartKind::Line | ChartKind::Area);
    match x {
        Column::Time { values, grain } => {
            let mut at: Vec<i64> = values.iter().flatten().copied().collect();
            at.sort_unstable();
            at.dedup();
            let index =
                values.iter().map(|value| value.and_then(|at_| at.binary_search(&at_).ok()));
            let index = index.collect();
            Ok((Positions::Times { at, grain: *grain }, index))
        }
        Column::Number { values, .. } if !is_bar => {
            // Adding zero makes one zero of the two.
            let mut at: Vec<f64> = values.iter().flatten().map(|value| value + 0.0).collect();
            at.sort_unstable_by(f64::total_cmp);
            at.dedup();
            let find = |value: f64| at.binary_search_by(|at| at.total_cmp(&(value + 0.0))).ok();
            let index = values.iter().map(|value| value.and_then(find)).collect();
            Ok((Positions::Numbers(at), index))
        }
        _ => {
            let (all, index) = ordered(frame, &chart.x)?;
            Ok((Positions::Names(all), index.into_iter().map(Some).collect()))
        }
    }
}

fn aligned(chart: &Chart, frame: &Frame, x: &Column) -> Result<Shape, String> {
    let (at, position_of) = positions(chart, frame, x)?;
    let (labels, series_of) = series(chart, frame)?;
    let colours = colours(chart, &labels);
    let empty = |(name, colour)| Series { name, colour, values: vec![None; at.len()] };
    let mut all: Vec<Series> = labels.into_iter().zip(colours).map(empty).collect();
    let mut seen = vec![false; at.len() * all.len()];
    for (nth, Measure { column, .. }) in chart.y.iter().enumerate() {
        let values = numbers(frame, column)?;
        for row in 0..frame.rows {
            let Some(position) = position_of[row] else { continue };
            let series = series_of.as_ref().map_or(nth, |of_row| of_row[row]);
            if std::mem::replace(&mut seen[series * at.len() + position], true) {
                let x_text = x.text(row, &x.numbers(None, ""));
                return Err(format!(
                    "two rows have `{}` = {x_text}{}; group the rows in the query, or name the \
                     column that tells them apart in `series`",
                    chart.x,
                    if series_of.is_some() { " in one series" } else { "" },
                ));
            }
            all[series].values[position] = values[row];
        }
    }
    if at.len() == 0 || all.iter().all(|one| one.values.iter().all(Option::is_none)) {
        return Ok(Shape::Empty);
    }
    Ok(Shape::Aligned { at, series: all })
}

/// The names of the series, and if a column tells them apart, the series of each row.
fn series(chart: &Chart, frame: &Frame) -> Result<(Vec<String>, Option<Vec<usize>>), String> {
    let Some(name) = &chart.series else {
        return Ok((chart.y.iter().map(|measure| measure.label.clone()).collect(), None));
    };
    let (all, of_row) = distinct(&names(frame, name)?);
    if all.len() > MAX_SERIES {
        return Err(format!(
            "the column `{name}` has {} values, and at most {MAX_SERIES} series can be told \
             apart; group the rest in the query",
            all.len()
        ));
    }
    Ok((all, Some(of_row)))
}

/// A colour for each series; the muted one has none of its own.
fn colours(chart: &Chart, labels: &[String]) -> Vec<Colour> {
    let mut next = 0;
    let colour = |label: &String| {
        if chart.muted.as_ref() == Some(label) {
            return Colour::Edge;
        }
        next += 1;
        Colour::Series(next - 1)
    };
    labels.iter().map(colour).collect()
}

fn scatter(chart: &Chart, frame: &Frame, x: &Column) -> Result<Shape, String> {
    let (labels, series_of) = series(chart, frame)?;
    let (time, at): (Option<Grain>, Vec<Option<f64>>) = match x {
        Column::Time { values, grain } => {
            (Some(*grain), values.iter().map(|at| at.map(|at| at as f64)).collect())
        }
        _ => (None, numbers(frame, &chart.x)?.to_vec()),
    };
    let colours = colours(chart, &labels);
    let empty = |(name, colour)| Points { name, colour, x: Vec::new(), y: Vec::new() };
    let mut all: Vec<Points> = labels.into_iter().zip(colours).map(empty).collect();
    for (nth, Measure { column, .. }) in chart.y.iter().enumerate() {
        let values = numbers(frame, column)?;
        for row in 0..frame.rows {
            let series = series_of.as_ref().map_or(nth, |of_row| of_row[row]);
            if let (Some(x), Some(y)) = (at[row], values[row]) {
                all[series].x.push(x);
                all[series].y.push(y);
            }
        }
    }
    if all.iter().all(|points| points.x.is_empty()) {
        return Ok(Shape::Empty);
    }
    Ok(Shape::Points { time, series: all })
}

fn grid(chart: &Chart, frame: &Frame, _x: &Column) -> Result<Shape, String> {
    let y = &chart.y.first().ok_or("a heatmap needs `y`")?.column;
    let value = chart.value.as_ref().ok_or("a heatmap needs `value`")?;
    let (columns, column_of) = ordered(frame, &chart.x)?;
    let (rows, row_of) = ordered(frame, y)?;
    let values = numbers(frame, value)?;
    let mut cells = vec![vec![None; columns.len()]; rows.len()];
    let mut seen = vec![vec![false; columns.len()]; rows.len()];
    for row in 0..frame.rows {
        let (i, j) = (row_of[row], column_of[row]);
        if std::mem::replace(&mut seen[i][j], true) {
            let (x, y_value) = (&columns[j], &rows[i]);
            return Err(format!(
                "two rows have `{}` = {x} and `{y}` = {y_value}; group the rows in the query",
                chart.x
            ));
        }
        cells[i][j] = values[row];
    }
    if cells.iter().flatten().all(Option::is_none) {
        return Ok(Shape::Empty);
    }
    Ok(Shape::Grid { columns, rows, cells })
}

/// Counts the rows, or adds up the weights in `y`, by bins of equal and round width.
fn bins(chart: &Chart, frame: &Frame, _x: &Column) -> Result<Shape, String> {
    let values = numbers(frame, &chart.x)?;
    let weights = match chart.y.first() {
        Some(measure) => Some(numbers(frame, &measure.column)?),
        None => None,
    };
    let known: Vec<f64> = values.iter().flatten().copied().collect();
    if known.is_empty() {
        return Ok(Shape::Empty);
    }
    let low = known.iter().copied().fold(f64::INFINITY, f64::min);
    let high = known.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let edges = super::ticks::Scale::around(low, high, chart.bins.unwrap_or(30)).ticks;
    let mut counts = vec![0.0; edges.len() - 1];
    for (row, value) in values.iter().enumerate() {
        let Some(value) = value else { continue };
        let after = edges.partition_point(|edge| edge <= value);
        // The last bin holds its upper edge too.
        let bin = after.saturating_sub(1).min(counts.len() - 1);
        counts[bin] += weights.map_or(Some(1.0), |weights| weights[row]).unwrap_or(0.0);
    }
    Ok(Shape::Bins { edges, counts })
}
