//! A figure as a picture: its heading and legend, its axes, and (in [`marks`]) its data.

mod marks;

pub(super) use marks::{points_alone, shade, stroke};

use super::canvas::{
    Align, BODY, Canvas, Draw, LABEL, Size, TITLE, Type, fitted, text_width, wrapped,
};
use super::dashboard::{ChartKind, Width};
use super::figure::{Figure, Positions, Shape};
use super::format::Grain;
use super::theme::Colour;
use super::ticks::{self, Scale};
use orchestrator::attempt::TaskError;
use plotters::prelude::DrawingBackend;

const PADDING: f64 = 24.0;
const LEADING: f64 = 20.0;
const LEGEND: f64 = 25.0;

/// A picture of a figure.
pub(super) struct Picture<'f> {
    pub(super) figure: &'f Figure,
    pub(super) width: Width,
    /// `None` where the page around it says all this.
    pub(super) heading: Option<Heading<'f>>,
}

pub(super) struct Heading<'f> {
    pub(super) title: &'f str,
    pub(super) note: Option<&'f str>,
}

/// The part of the picture between the axes.
#[derive(Clone, Copy, Debug)]
struct Area {
    left: f64,
    top: f64,
    right: f64,
    bottom: f64,
}

impl Area {
    fn width(self) -> f64 {
        self.right - self.left
    }

    fn height(self) -> f64 {
        self.bottom - self.top
    }
}

/// From a position along x to pixels.
#[derive(Clone, Copy, Debug)]
struct Along {
    low: f64,
    high: f64,
    left: f64,
    right: f64,
}

impl Along {
    fn at(self, position: f64) -> f64 {
        let share = (position - self.low) / (self.high - self.low);
        self.left + share * (self.right - self.left)
    }
}

/// From a value to pixels.
#[derive(Clone, Copy, Debug)]
struct Up {
    low: f64,
    high: f64,
    top: f64,
    bottom: f64,
}

impl Up {
    fn at(self, value: f64) -> f64 {
        self.bottom - (value - self.low) / (self.high - self.low) * (self.bottom - self.top)
    }
}

impl Picture<'_> {
    /// How wide the widest label is of the axis that stands upright.
    pub(super) fn labels_width(&self) -> f64 {
        let names: Vec<String> = match &self.figure.shape {
            Shape::Grid { rows, .. } => rows.clone(),
            Shape::Aligned { at: Positions::Names(names), .. }
                if self.figure.kind == ChartKind::HorizontalBar =>
            {
                names.clone()
            }
            _ => self.figure.numbers.ticks(&self.scale().ticks),
        };
        names.iter().map(|name| text_width(name, LABEL.size)).fold(0.0, f64::max)
    }

    /// The size that suits the figure, in pixels of the page.
    pub(super) fn size(&self) -> Size {
        let width = match self.width {
            Width::Full => 1120.0,
            Width::Half => 640.0,
        };
        (width, self.plot_top(width) + self.plot_height() + self.below())
    }

    /// How high the part between the axes is; the page's charts are as high.
    pub(super) fn plot_height(&self) -> f64 {
        match &self.figure.shape {
            Shape::Aligned { at, .. } if self.figure.kind == ChartKind::HorizontalBar => {
                28.0 * at.len() as f64
            }
            Shape::Grid { rows, .. } => (32.0 * rows.len() as f64).clamp(64.0, 640.0),
            Shape::Empty => 96.0,
            _ => 280.0,
        }
    }

    fn below(&self) -> f64 {
        let title = if self.figure.x_title.is_some() { 20.0 } else { 0.0 };
        // Labels of times have a second line.
        let labels = if self.lower_labels() { 42.0 } else { 28.0 };
        title + labels + if self.heading.is_some() { PADDING - 8.0 } else { 4.0 }
    }

    /// Whether labels along x may have a second line.
    fn lower_labels(&self) -> bool {
        let in_lines = |names: &[String]| names.iter().any(|name| name.contains(' '));
        match &self.figure.shape {
            Shape::Aligned { .. } if self.figure.kind == ChartKind::HorizontalBar => false,
            Shape::Aligned { at: Positions::Times { .. }, .. } => true,
            Shape::Aligned { at: Positions::Names(names), .. } => in_lines(names),
            Shape::Grid { columns, .. } => in_lines(columns),
            Shape::Points { time, .. } => time.is_some(),
            _ => false,
        }
    }

    fn inset(&self) -> f64 {
        if self.heading.is_some() { PADDING } else { 2.0 }
    }

    fn plot_top(&self, width: f64) -> f64 {
        let Some(heading) = &self.heading else { return 20.0 };
        let mut top = PADDING + LEADING;
        let room = width - 2.0 * PADDING;
        if let Some(note) = heading.note {
            top += LEADING * wrapped(note, BODY.size, room).len() as f64;
        }
        top += LEGEND * self.legend_lines(room).len() as f64;
        if self.figure.y_title.is_some() {
            top += LEGEND;
        }
        top + 22.0
    }

    /// The legend's entries, as many in a line as fit.
    fn legend_lines(&self, room: f64) -> Vec<Vec<(Colour, String)>> {
        let mut lines: Vec<Vec<(Colour, String)>> = Vec::new();
        let mut used = room;
        for (name, colour) in self.figure.legend() {
            let name = fitted(name, LABEL.size, room - 40.0);
            let width = entry_width(&name);
            if used + width > room || lines.is_empty() {
                lines.push(Vec::new());
                used = 0.0;
            }
            used += width;
            lines.last_mut().expect("a line was pushed").push((colour, name));
        }
        if let Shape::Grid { .. } = self.figure.shape {
            lines.push(Vec::new());
        }
        lines
    }

    fn draw_heading<B: DrawingBackend>(&self, canvas: &mut Canvas<'_, B>) -> Result<(), TaskError> {
        let Some(heading) = &self.heading else { return Ok(()) };
        let room = self.size().0 - 2.0 * PADDING;
        let mut baseline = PADDING + 14.0;
        let title = fitted(heading.title, TITLE.size, room);
        canvas.text((PADDING, baseline), &title, TITLE, Align::Left)?;
        for line in wrapped(heading.note.unwrap_or_default(), BODY.size, room) {
            baseline += LEADING;
            canvas.text((PADDING, baseline), &line, BODY, Align::Left)?;
        }
        let is_grid = matches!(self.figure.shape, Shape::Grid { .. });
        for line in self.legend_lines(room) {
            baseline += LEGEND;
            let mut x = PADDING;
            for (colour, name) in line {
                canvas.rect((x, baseline - 9.5), (10.0, 10.0), (colour, 1.0))?;
                canvas.text((x + 16.0, baseline), &name, LABEL_INK, Align::Left)?;
                x += entry_width(&name);
            }
            if is_grid {
                self.draw_shades(canvas, baseline)?;
            }
        }
        if let Some(title) = &self.figure.y_title {
            baseline += LEGEND;
            canvas.text((PADDING, baseline), title, LABEL, Align::Left)?;
        }
        Ok(())
    }

    /// The legend of a heat map: its lowest value, five shades, its highest.
    fn draw_shades<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        baseline: f64,
    ) -> Result<(), TaskError> {
        let (low, high) = self.figure.value_range();
        let low = self.figure.numbers.short(low);
        canvas.text((PADDING, baseline), &low, LABEL_INK, Align::Left)?;
        let mut x = PADDING + text_width(&low, LABEL.size) + 8.0;
        for shade in 0..5 {
            let fill = (Colour::Series(0), marks::shade(f64::from(shade) / 4.0));
            canvas.rect((x, baseline - 9.5), (18.0, 10.0), fill)?;
            x += 19.0;
        }
        let high = self.figure.numbers.short(high);
        canvas.text((x + 7.0, baseline), &high, LABEL_INK, Align::Left)
    }

    fn draw_x_title<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        area: Area,
    ) -> Result<(), TaskError> {
        let Some(title) = &self.figure.x_title else { return Ok(()) };
        let labels = if self.lower_labels() { 42.0 } else { 28.0 };
        let at = ((area.left + area.right) / 2.0, area.bottom + labels + 12.0);
        canvas.text(at, title, LABEL, Align::Middle)
    }

    /// The grid and the labels of the values, from bottom to top.
    fn draw_values<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        scale: &Scale,
        area: Area,
    ) -> Result<Up, TaskError> {
        let up = Up { low: scale.low, high: scale.high, top: area.top, bottom: area.bottom };
        for (tick, label) in scale.ticks.iter().zip(self.figure.numbers.ticks(&scale.ticks)) {
            let y = up.at(*tick);
            let colour = if *tick == 0.0 { Colour::Edge } else { Colour::Line };
            canvas.rule((area.left, y), (area.right, y), colour)?;
            canvas.text((area.left - 8.0, y + 4.0), &label, LABEL, Align::Right)?;
        }
        Ok(up)
    }

    /// The area that is left of labels of values as wide as these.
    fn area(&self, labels: &[String], right: f64) -> Area {
        let size = self.size();
        let widest = labels.iter().map(|label| text_width(label, LABEL.size)).fold(0.0, f64::max);
        let top = self.plot_top(size.0);
        Area {
            // The fonts that show an SVG may be wider than the one measured.
            left: self.inset() + widest * 1.12 + 8.0,
            top,
            right: size.0 - self.inset() - right,
            bottom: top + self.plot_height(),
        }
    }

    /// Labels of names below the axis: whole, in two lines, shortened, or only some of them.
    fn draw_names<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        names: &[String],
        area: Area,
    ) -> Result<(), TaskError> {
        let slot = area.width() / names.len() as f64;
        // Where not even a short word fits in each, only every so many are labelled.
        let every = (36.0 / slot).ceil().max(1.0) as usize;
        let room = slot * every as f64 - 6.0;
        for (i, name) in names.iter().enumerate().step_by(every) {
            let x = area.left + (i as f64 + 0.5) * slot;
            let mut lines = wrapped(name, LABEL.size, room);
            lines.truncate(2);
            for (line, text) in lines.iter().enumerate() {
                let y = area.bottom + 17.0 + 14.0 * line as f64;
                let text = fitted(text, LABEL.size, room);
                canvas.text((x, y), &text, LABEL, Align::Middle)?;
            }
        }
        Ok(())
    }

    fn draw_times<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        (along, grain): (Along, Grain),
        area: Area,
    ) -> Result<(), TaskError> {
        let count = (area.width() / 70.0) as usize;
        let ticks = ticks::times(along.low as i64, along.high as i64, grain, count);
        for tick in ticks {
            let x = along.at(tick.micros as f64);
            canvas.rule((x, area.bottom), (x, area.bottom + 4.0), Colour::Edge)?;
            canvas.text((x, area.bottom + 17.0), &tick.label, LABEL, Align::Middle)?;
            if let Some(below) = tick.below {
                canvas.text((x, area.bottom + 32.0), &below, LABEL, Align::Middle)?;
            }
        }
        Ok(())
    }

    fn draw_numbers<B: DrawingBackend>(
        &self,
        canvas: &mut Canvas<'_, B>,
        along: Along,
        area: Area,
    ) -> Result<(), TaskError> {
        let count = (area.width() / 90.0) as usize;
        let scale = Scale::within(along.low, along.high, count);
        for (tick, label) in scale.ticks.iter().zip(self.figure.x_numbers.ticks(&scale.ticks)) {
            let x = along.at(*tick);
            canvas.rule((x, area.bottom), (x, area.bottom + 4.0), Colour::Edge)?;
            canvas.text((x, area.bottom + 18.0), &label, LABEL, Align::Middle)?;
        }
        Ok(())
    }
}

impl Draw for Picture<'_> {
    fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<'_, B>) -> Result<(), TaskError> {
        if self.heading.is_some() {
            canvas.rect((0.0, 0.0), self.size(), (Colour::Paper, 1.0))?;
        }
        self.draw_heading(canvas)?;
        match &self.figure.shape {
            Shape::Aligned { at, series } if self.figure.kind == ChartKind::HorizontalBar => {
                self.draw_horizontal(canvas, at, series)
            }
            Shape::Aligned { at, series } => self.draw_aligned(canvas, at, series),
            Shape::Points { time, series } => self.draw_points(canvas, *time, series),
            Shape::Grid { columns, rows, cells } => self.draw_grid(canvas, columns, rows, cells),
            Shape::Bins { edges, counts } => self.draw_bins(canvas, edges, counts),
            Shape::Empty => {
                let at = (self.inset(), self.plot_top(self.size().0) + 24.0);
                canvas.text(at, "No rows: the query gave nothing to draw.", BODY, Align::Left)
            }
        }
    }
}

const LABEL_INK: Type = Type { colour: Colour::Ink, ..LABEL };

fn entry_width(name: &str) -> f64 {
    text_width(name, LABEL.size) * 1.08 + 36.0
}
