//! A surface to draw on, in pixels of the page, with text that stands on its baseline: over
//! plotters' SVG and bitmap backends.

use super::theme::{Colour, Rgb, Theme};
use orchestrator::attempt::TaskError;
use plotters::prelude::{BitMapBackend, DrawingBackend, IntoFont, RGBColor, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, ShapeStyle, TextStyle, register_font};
use std::fmt::Display;
use std::path::Path;
use std::sync::LazyLock;

/// The fonts that a viewer of SVG should try. Bitmaps are drawn with the font of this program,
/// registered under the same name, so that nothing depends on the machine.
const FAMILY: &str = "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, sans-serif";

/// Backends count in whole pixels: drawing enlarged and scaling down keeps curves smooth.
const ENLARGED: f64 = 4.0;

/// A bitmap has this many pixels for one of the page.
const DENSITY: usize = 2;

/// The carried font's height from ascender to descender, in ems; plotters' bitmaps size by it.
const BITMAP_EM: f64 = 1.121;
/// What plotters divides by to size text in SVG.
const SVG_EM: f64 = 1.24;

static FONT: LazyLock<bool> = LazyLock::new(|| {
    register_font(FAMILY, FontStyle::Normal, epaint_default_fonts::UBUNTU_LIGHT).is_ok()
});

#[derive(Clone, Copy, PartialEq)]
pub(super) enum Align {
    Left,
    Middle,
    Right,
}

/// How a text looks: its size in pixels, and whether it is a heading.
#[derive(Clone, Copy)]
pub(super) struct Type {
    pub(super) size: f64,
    pub(super) colour: Colour,
    pub(super) strong: bool,
}

pub(super) const TITLE: Type = Type { size: 17.0, colour: Colour::Ink, strong: true };
pub(super) const BODY: Type = Type { size: 13.0, colour: Colour::Soft, strong: false };
pub(super) const LABEL: Type = Type { size: 12.0, colour: Colour::Soft, strong: false };

pub(super) struct Canvas<'b, B: DrawingBackend> {
    backend: &'b mut B,
    is_vector: bool,
    theme: Theme,
}

/// The width of a text as a bitmap shows it.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    if !*FONT {
        return 0.6 * size * text.chars().count() as f64;
    }
    let font = (FAMILY, size * BITMAP_EM * ENLARGED).into_font();
    font.box_size(text).map_or(0.0, |(width, _)| f64::from(width) / ENLARGED)
}

/// The longest beginning that fits, with an ellipsis if it is not the whole.
pub(super) fn fitted(text: &str, size: f64, width: f64) -> String {
    if text_width(text, size) <= width {
        return text.to_owned();
    }
    let mut kept: Vec<char> = text.chars().collect();
    while kept.pop().is_some() {
        let shorter: String = kept.iter().collect::<String>().trim_end().to_owned() + "…";
        if text_width(&shorter, size) <= width {
            return shorter;
        }
    }
    String::new()
}

/// The text in lines that fit, broken between words.
pub(super) fn wrapped(text: &str, size: f64, width: f64) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if text_width(&format!("{line} {word}"), size) <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

type Drawn = Result<(), TaskError>;

impl<B: DrawingBackend> Canvas<'_, B> {
    pub(super) fn rect(
        &mut self,
        (x, y): (f64, f64),
        size: (f64, f64),
        fill: (Colour, f64),
    ) -> Drawn {
        let style = self.style(fill, 1.0).filled();
        let corner = (pixel(x + size.0), pixel(y + size.1));
        self.backend.draw_rect((pixel(x), pixel(y)), corner, &style, true).map_err(failed)
    }

    pub(super) fn rule(&mut self, from: (f64, f64), to: (f64, f64), colour: Colour) -> Drawn {
        let style = self.style((colour, 1.0), 1.0);
        let (from, to) = ((pixel(from.0), pixel(from.1)), (pixel(to.0), pixel(to.1)));
        self.backend.draw_line(from, to, &style).map_err(failed)
    }

    pub(super) fn curve(&mut self, points: &[(f64, f64)], colour: Colour, width: f64) -> Drawn {
        let style = self.style((colour, 1.0), width);
        let points: Vec<(i32, i32)> = points.iter().map(|(x, y)| (pixel(*x), pixel(*y))).collect();
        if self.is_vector {
            return self.backend.draw_path(points, &style).map_err(failed);
        }
        // The bitmap backend leaves notches in bends: draw each piece, and round its end.
        let radius = (width * ENLARGED / 2.0) as u32;
        let dot = style.filled();
        for piece in points.windows(2) {
            self.backend.draw_line(piece[0], piece[1], &style).map_err(failed)?;
        }
        for point in points {
            self.backend.draw_circle(point, radius, &dot, true).map_err(failed)?;
        }
        Ok(())
    }

    pub(super) fn polygon(&mut self, points: &[(f64, f64)], fill: (Colour, f64)) -> Drawn {
        let style = self.style(fill, 1.0).filled();
        let points: Vec<(i32, i32)> = points.iter().map(|(x, y)| (pixel(*x), pixel(*y))).collect();
        self.backend.fill_polygon(points, &style).map_err(failed)
    }

    pub(super) fn dot(&mut self, (x, y): (f64, f64), radius: f64, fill: (Colour, f64)) -> Drawn {
        let style = self.style(fill, 1.0).filled();
        let radius = (radius * ENLARGED) as u32;
        self.backend.draw_circle((pixel(x), pixel(y)), radius, &style, true).map_err(failed)
    }

    /// Writes one line. `y` is its baseline.
    pub(super) fn text(
        &mut self,
        (x, y): (f64, f64),
        text: &str,
        look: Type,
        align: Align,
    ) -> Drawn {
        let em = look.size * ENLARGED;
        let (size, above) = match self.is_vector {
            true => (em * SVG_EM, em * 0.76),
            false => (em * BITMAP_EM, em * BITMAP_EM / 2.0),
        };
        let anchor = match align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        let (red, green, blue) = self.theme.rgb(look.colour);
        let mut font = (FAMILY, size).into_font();
        if look.strong && self.is_vector {
            font = font.style(FontStyle::Bold);
        }
        let colour = RGBColor(red, green, blue);
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(anchor, VPos::Top));
        let at = (pixel(x), (y * ENLARGED - above).round() as i32);
        self.backend.draw_text(text, &style, at).map_err(failed)?;
        // The carried font is a light one. Drawn again beside itself it is as heavy as a page's.
        let again = match (self.is_vector, look.strong) {
            (true, _) => 0,
            (false, false) => 1,
            (false, true) => 3,
        };
        for beside in 1..=again {
            self.backend.draw_text(text, &style, (at.0 + beside, at.1)).map_err(failed)?;
        }
        Ok(())
    }

    fn style(&self, (colour, opacity): (Colour, f64), width: f64) -> ShapeStyle {
        let (red, green, blue) = self.theme.rgb(colour);
        RGBColor(red, green, blue).mix(opacity).stroke_width((width * ENLARGED) as u32)
    }
}

fn pixel(position: f64) -> i32 {
    (position * ENLARGED).round() as i32
}

fn failed(error: impl Display) -> TaskError {
    TaskError::permanent(format!("the chart can't be drawn: {error}"))
}

/// A picture's size in pixels of the page.
pub(super) type Size = (f64, f64);

fn enlarged((width, height): Size) -> (u32, u32) {
    ((width * ENLARGED) as u32, (height * ENLARGED) as u32)
}

/// Something that can be drawn on either backend.
pub(super) trait Draw {
    fn draw<B: DrawingBackend>(&self, canvas: &mut Canvas<'_, B>) -> Drawn;
}

/// The picture as an SVG document. `described` is what it shows, for those who can't see it.
pub(super) fn svg(what: &impl Draw, size: Size, described: &str) -> Result<String, TaskError> {
    let mut drawn = String::new();
    {
        let mut backend = SVGBackend::with_string(&mut drawn, enlarged(size));
        what.draw(&mut Canvas { backend: &mut backend, is_vector: true, theme: Theme::Light })?;
        backend.present().map_err(failed)?;
    }
    let content = drawn.split_once('>').map_or("", |(_, content)| content);
    let (width, height) = enlarged(size);
    let described = described.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&quot;");
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{described}\" \
         stroke-linejoin=\"round\" stroke-linecap=\"round\">{content}",
        size.0, size.1
    ))
}

/// Writes the picture as a PNG file, at twice the page's density.
pub(super) fn png(what: &impl Draw, size: Size, path: &Path) -> Drawn {
    if !*FONT {
        return Err(TaskError::permanent("the font of this program can't be read"));
    }
    let (width, height) = enlarged(size);
    let (width, height) = (width as usize, height as usize);
    let mut pixels = vec![0; width * height * 3];
    {
        let (red, green, blue): Rgb = Theme::Light.rgb(Colour::Paper);
        for pixel in pixels.chunks_exact_mut(3) {
            pixel.copy_from_slice(&[red, green, blue]);
        }
        let mut backend = BitMapBackend::with_buffer(&mut pixels, (width as u32, height as u32));
        what.draw(&mut Canvas { backend: &mut backend, is_vector: false, theme: Theme::Light })?;
        backend.present().map_err(failed)?;
    }
    let by = ENLARGED as usize / DENSITY;
    let small = scaled_down(&pixels, width, height, by);
    let (width, height) = ((width / by) as u32, (height / by) as u32);
    let mut file = BitMapBackend::new(path, (width, height));
    file.blit_bitmap((0, 0), (width, height), &small).map_err(failed)?;
    file.present().map_err(failed)
}

/// Averages squares of `by` pixels.
fn scaled_down(pixels: &[u8], width: usize, height: usize, by: usize) -> Vec<u8> {
    let mut small = Vec::with_capacity(width / by * (height / by) * 3);
    for y in 0..height / by {
        for x in 0..width / by {
            for channel in 0..3 {
                let square = (0..by * by).map(|i| {
                    let (row, column) = (y * by + i / by, x * by + i % by);
                    u32::from(pixels[(row * width + column) * 3 + channel])
                });
                small.push((square.sum::<u32>() / (by * by) as u32) as u8);
            }
        }
    }
    small
}
