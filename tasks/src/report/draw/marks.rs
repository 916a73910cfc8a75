//! Lines, areas, bars, points, cells and bins.

use super::super::canvas::{Align, Canvas, LABEL, fitted, text_width};
use super::super::dashboard::ChartKind;
use super::super::figure::{Points, Positions, Row, Series};
use super::super::format::{self, DAY, Format, Grain};
use super::super::theme::Colour;
use super::super::ticks::Scale;
use super::{Along, Area, LABEL_INK, Picture, Up};
use orchestrator::attempt::TaskError;
use plotters::prelude::DrawingBackend;

/// The share of its place that a bar, or a group of bars, fills.
const FILLED: f64 = 0.7;
/// With more bars than this, values written at them would be noise.
const LABELLED_BARS: usize = 16;

/// The opacity of a heat map's cell, for the share of the way from the lowest to the highest value.
pub(in super::super) fn shade(share: f64) -> f64 {
    0.06 + 0.94 * share.clamp(0.0, 1.0)
}

impl Picture<'_> {
    /// The axis of the values, where they stand upright.
    pub(in super::super) fn scale(&self) -> Scale {
        let (low, high) = self.figure.value_range();
        let count = (self.plot_height() / 48.0) as usize;
        match self.figure.numbers.format {
            Format::Integer => Scale::whole(low, high, count),
            _ => Scale::around(low, high, count),
        }
    }

    pub(super) fn draw_aligned<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        at: &Positions,
        series: &[Series],
    ) -> Result<(), TaskError> {
        let scale = self.scale();
        let area = self.area(&self.figure.numbers.ticks(&scale.ticks), 16.0);
        let up = self.draw_values(canvas, &scale, area)?;
        let is_bar = !matches!(self.figure.kind, ChartKind::Line | ChartKind::Area);
        let (along, x): (Along, Vec<f64>) = match at {
            Positions::Names(names) => {
                self.draw_names(canvas, names, area)?;
                let along = self.along(0.0, names.len() as f64, area);
                (along, (0..names.len()).map(|i| along.at(i as f64 + 0.5)).collect())
            }
            Positions::Numbers(at) => {
                let along = self.along(at[0], at[at.len() - 1], area);
                self.draw_numbers(canvas, along, area)?;
                (along, at.iter().map(|at| along.at(*at)).collect())
            }
            Positions::Times { at, grain } => {
                let half = if is_bar { time_step(at) as f64 / 2.0 } else { 0.0 };
                let (low, high) = (at[0] as f64 - half, at[at.len() - 1] as f64 + half);
                let along = self.along(low, high, area);
                self.draw_times(canvas, (along, *grain), area)?;
                (along, at.iter().map(|at| along.at(*at as f64)).collect())
            }
        };
        let place = match at {
            Positions::Times { at, .. } => {
                along.at(along.low + time_step(at) as f64) - along.at(along.low)
            }
            _ => area.width() / at.len() as f64,
        };
        match self.figure.kind {
            ChartKind::Line => series.iter().try_for_each(|one| {
                self.draw_line(canvas, one.colour, &points(&x, &one.values, up))
            }),
            ChartKind::Area => self.draw_areas(canvas, &x, series, up),
            ChartKind::StackedBar => self.draw_stacks(canvas, (&x, place), series, up),
            _ => self.draw_bars(canvas, (&x, place), series, up),
        }?;
        let zero = up.at(0.0_f64.clamp(up.low, up.high));
        canvas.rule((area.left, zero), (area.right, zero), Colour::Edge)?;
        self.draw_x_title(canvas, area)
    }

    fn along(&self, low: f64, high: f64, area: Area) -> Along {
        // One position alone stands in the middle.
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, high + 0.5) };
        Along { low, high, left: area.left, right: area.right }
    }

    /// A curve with gaps where there are no values; a value alone between gaps is a dot.
    fn draw_line<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        colour: Colour,
        points: &[Option<(f64, f64)>],
    ) -> Result<(), TaskError> {
        for piece in points.split(Option::is_none) {
            let piece: Vec<(f64, f64)> = piece.iter().flatten().copied().collect();
            match piece[..] {
                [] => {}
                [point] => canvas.dot(point, 2.0, (colour, 1.0))?,
                _ => canvas.curve(&piece, colour, stroke(points.len(), colour))?,
            }
        }
        Ok(())
    }

    /// One area stands on zero; several lie on one another, a gap counting as zero.
    fn draw_areas<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        x: &[f64],
        series: &[Series],
        up: Up,
    ) -> Result<(), TaskError> {
        let opacity = if series.len() > 1 { 0.55 } else { 0.16 };
        let mut below = vec![0.0; x.len()];
        for one in series {
            let above: Vec<Option<f64>> = match series.len() {
                1 => one.values.clone(),
                _ => {
                    below.iter().zip(&one.values).map(|(b, v)| Some(b + v.unwrap_or(0.0))).collect()
                }
            };
            let tops = points(x, &above, up);
            let mut start = 0;
            for piece in tops.split(Option::is_none) {
                let range = start..start + piece.len();
                start = range.end + 1;
                let mut outline: Vec<(f64, f64)> = piece.iter().flatten().copied().collect();
                let floor = range.rev().map(|i| (x[i], up.at(below[i])));
                outline.extend(floor);
                if piece.len() > 1 {
                    canvas.polygon(&outline, (one.colour, opacity))?;
                }
            }
            self.draw_line(canvas, one.colour, &tops)?;
            if series.len() > 1 {
                below = above.into_iter().flatten().collect();
            }
        }
        Ok(())
    }

    fn draw_bars<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        (x, place): (&[f64], f64),
        series: &[Series],
        up: Up,
    ) -> Result<(), TaskError> {
        let group = (place * FILLED).min(96.0 * series.len() as f64);
        let width = group / series.len() as f64;
        for (index, one) in series.iter().enumerate() {
            let labels = self.figure.numbers.labels(&one.values);
            for ((x, value), label) in x.iter().zip(&one.values).zip(labels) {
                let Some(value) = *value else { continue };
                let left = x - group / 2.0 + width * index as f64;
                let (from, to) = (up.at(value.max(0.0)), up.at(value.min(0.0)));
                let gap = if series.len() > 1 && width > 4.0 { 1.0 } else { 0.0 };
                let size = ((width - gap).max(0.5), to - from);
                canvas.rect((left, from), size, (one.colour, 1.0))?;
                if self.has_labels(series) && width > 28.0 {
                    let y = if value < 0.0 { to + 14.0 } else { from - 5.0 };
                    canvas.text((*x, y), &label, LABEL_INK, Align::Middle)?;
                }
            }
        }
        Ok(())
    }

    /// Whether each bar's value is written at it.
    pub(in super::super) fn has_labels(&self, series: &[Series]) -> bool {
        let is_bar = matches!(self.figure.kind, ChartKind::Bar | ChartKind::HorizontalBar);
        is_bar && series.len() == 1 && series[0].values.len() <= LABELLED_BARS
    }

    fn draw_stacks<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        (x, place): (&[f64], f64),
        series: &[Series],
        up: Up,
    ) -> Result<(), TaskError> {
        let width = (place * FILLED).clamp(0.5, 96.0);
        let mut reached = vec![(0.0, 0.0); x.len()];
        for one in series {
            for ((x, value), reached) in x.iter().zip(&one.values).zip(&mut reached) {
                let Some(value) = *value else { continue };
                let from = if value < 0.0 { &mut reached.0 } else { &mut reached.1 };
                let to = *from + value;
                let (top, bottom) = (up.at(from.max(to)), up.at(from.min(to)));
                *from = to;
                let size = (width, (bottom - top - 0.75).max(0.25));
                canvas.rect((x - width / 2.0, top), size, (one.colour, 1.0))?;
            }
        }
        Ok(())
    }

    /// Bars that lie, one below the other, with their names before and their values behind them.
    pub(super) fn draw_horizontal<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        at: &Positions,
        series: &[Series],
    ) -> Result<(), TaskError> {
        let names: Vec<String> = match at {
            Positions::Names(names) => names.clone(),
            Positions::Numbers(at) => at.iter().map(f64::to_string).collect(),
            Positions::Times { at, grain } => {
                at.iter().map(|at| format::time(*at, *grain)).collect()
            }
        };
        let room = self.size().0 * 0.4;
        let names: Vec<String> = names.iter().map(|name| fitted(name, LABEL.size, room)).collect();
        let values = &series[0].values;
        let labels = self.figure.numbers.labels(values);
        let labelled = self.has_labels(series);
        let widest = labels.iter().map(|label| text_width(label, LABEL.size)).fold(0.0, f64::max);
        let area = self.area(&names, if labelled { widest + 12.0 } else { 16.0 });
        let (low, high) = self.figure.value_range();
        let scale = Scale::within(low, high, (area.width() / 110.0) as usize);
        let along = self.along(scale.low, scale.high, area);
        for (tick, text) in scale.ticks.iter().zip(self.figure.numbers.ticks(&scale.ticks)) {
            let x = along.at(*tick);
            canvas.rule((x, area.top), (x, area.bottom), Colour::Line)?;
            canvas.text((x, area.bottom + 18.0), &text, LABEL, Align::Middle)?;
        }
        let row = area.height() / names.len() as f64;
        for (i, value) in values.iter().enumerate() {
            let y = area.top + row * i as f64;
            let baseline = y + row / 2.0 + 4.0;
            let (name_at, name) = ((area.left - 8.0, baseline), &names[i]);
            canvas.text(name_at, name, LABEL_INK, Align::Right)?;
            let Some(value) = *value else { continue };
            let (from, to) = (along.at(value.min(0.0)), along.at(value.max(0.0)));
            let size = (to - from, row * FILLED);
            let top = y + row * (1.0 - FILLED) / 2.0;
            canvas.rect((from, top), size, (series[0].colour, 1.0))?;
            if labelled {
                canvas.text((to + 6.0, baseline), &labels[i], LABEL_INK, Align::Left)?;
            }
        }
        let zero = along.at(0.0);
        canvas.rule((zero, area.top), (zero, area.bottom), Colour::Edge)?;
        self.draw_x_title(canvas, area)
    }

    pub(super) fn draw_points<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        time: Option<Grain>,
        series: &[Points],
    ) -> Result<(), TaskError> {
        let scale = self.scale();
        let area = self.area(&self.figure.numbers.ticks(&scale.ticks), 16.0);
        let up = self.draw_values(canvas, &scale, area)?;
        let (low, high) = self.figure.x_range();
        // Room at both ends, so that no dot hangs over.
        let room = (high - low) * 0.02;
        let along = self.along(low - room, high + room, area);
        match time {
            Some(grain) => self.draw_times(canvas, (along, grain), area)?,
            None => self.draw_numbers(canvas, along, area)?,
        }
        canvas.rule((area.left, area.bottom), (area.right, area.bottom), Colour::Edge)?;
        for points in series {
            for (x, y) in points.x.iter().zip(&points.y) {
                let fill = (points.colour, 0.6);
                canvas.dot((along.at(*x), up.at(*y)), 3.25, fill)?;
            }
        }
        self.draw_x_title(canvas, area)
    }

    pub(super) fn draw_grid<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        columns: &[String],
        rows: &[String],
        cells: &[Row],
    ) -> Result<(), TaskError> {
        let names: Vec<String> =
            rows.iter().map(|row| fitted(row, LABEL.size, self.size().0 * 0.3)).collect();
        let area = self.area(&names, 0.0);
        let (low, high) = self.figure.value_range();
        let (width, height) =
            (area.width() / columns.len() as f64, area.height() / rows.len() as f64);
        for (i, row) in cells.iter().enumerate() {
            let y = area.top + height * i as f64;
            let at = (area.left - 8.0, y + height / 2.0 + 4.0);
            canvas.text(at, &names[i], LABEL, Align::Right)?;
            for (j, cell) in row.iter().enumerate() {
                let Some(value) = cell else { continue };
                let share = if high > low { (value - low) / (high - low) } else { 1.0 };
                let corner = (area.left + width * j as f64, y);
                let size = (width - 1.0, height - 1.0);
                canvas.rect(corner, size, (Colour::Series(0), shade(share)))?;
            }
        }
        self.draw_names(canvas, columns, area)?;
        self.draw_x_title(canvas, area)
    }

    pub(super) fn draw_bins<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        edges: &[f64],
        counts: &[f64],
    ) -> Result<(), TaskError> {
        let scale = self.scale();
        let area = self.area(&self.figure.numbers.ticks(&scale.ticks), 16.0);
        let up = self.draw_values(canvas, &scale, area)?;
        let along = self.along(edges[0], edges[edges.len() - 1], area);
        self.draw_numbers(canvas, along, area)?;
        for (edge, count) in edges.windows(2).zip(counts) {
            let (from, to) = (along.at(edge[0]), along.at(edge[1]));
            let (top, bottom) = (up.at(count.max(0.0)), up.at(count.min(0.0)));
            let size = ((to - from - 1.0).max(0.5), bottom - top);
            canvas.rect((from + 0.5, top), size, (Colour::Series(0), 1.0))?;
        }
        let zero = up.at(0.0);
        canvas.rule((area.left, zero), (area.right, zero), Colour::Edge)?;
        self.draw_x_title(canvas, area)
    }
}

fn points(x: &[f64], values: &[Option<f64>], up: Up) -> Vec<Option<(f64, f64)>> {
    x.iter().zip(values).map(|(x, value)| value.map(|value| (*x, up.at(value)))).collect()
}

/// The width of a line: a long, restless or muted one is thinner.
pub(in super::super) fn stroke(points: usize, colour: Colour) -> f64 {
    match colour {
        Colour::Edge => 1.0,
        _ if points > 120 => 1.75,
        _ => 2.0,
    }
}

/// Which values have a gap on both sides, so that no line shows them.
pub(in super::super) fn points_alone(values: &[Option<f64>]) -> Vec<bool> {
    let is_value = |i: Option<usize>| i.and_then(|i| values.get(i)).is_some_and(Option::is_some);
    let alone =
        |i: usize| is_value(Some(i)) && !is_value(i.checked_sub(1)) && !is_value(Some(i + 1));
    (0..values.len()).map(alone).collect()
}

/// The shortest time between two bars; a day if there is but one.
fn time_step(at: &[i64]) -> i64 {
    at.windows(2).map(|pair| pair[1] - pair[0]).min().unwrap_or(DAY)
}
