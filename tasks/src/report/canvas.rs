//! A surface to draw on, in pixels of the page, with text that stands on its baseline: over
//! plotters' SVG and bitmap backends.

use super::theme::{Colour, Theme};
use ab_glyph::{Font, FontRef, Glyph, ScaleFont, point};
use orchestrator::attempt::TaskError;
use plotters::prelude::{BitMapBackend, DrawingBackend, IntoFont, RGBColor, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontStyle, ShapeStyle, TextStyle};
use std::fmt::Display;
use std::path::Path;
use std::sync::LazyLock;

/// The fonts that a viewer of SVG should try. Bitmaps are drawn with the font that this program
/// carries, so that nothing depends on the machine.
const FAMILY: &str = "system-ui, -apple-system, Segoe UI, Roboto, Noto Sans, sans-serif";

/// Backends count in whole pixels: drawing enlarged and scaling down keeps curves smooth.
const ENLARGED: f64 = 4.0;

/// A bitmap has this many pixels for one of the page.
const DENSITY: usize = 2;

/// What plotters divides by to size text in SVG.
const SVG_EM: f64 = 1.24;

static FONT: LazyLock<Option<FontRef<'static>>> =
    LazyLock::new(|| FontRef::try_from_slice(epaint_default_fonts::UBUNTU_LIGHT).ok());

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

/// A glyph of a line of text, placed from the line's beginning, and where the next one begins.
fn glyphs(font: &FontRef<'static>, text: &str, em: f64) -> (Vec<Glyph>, f32) {
    // This crate measures fonts by their height from ascender to descender.
    let per_em = font.height_unscaled() / font.units_per_em().unwrap_or(1000.0);
    let font = font.as_scaled(em as f32 * per_em);
    let mut glyphs: Vec<Glyph> = Vec::with_capacity(text.len());
    let mut x = 0.0;
    for c in text.chars() {
        let id = font.glyph_id(c);
        x += glyphs.last().map_or(0.0, |last| font.kern(last.id, id));
        glyphs.push(id.with_scale_and_position(font.scale(), point(x, 0.0)));
        x += font.h_advance(id);
    }
    (glyphs, x)
}

/// The width of a text as a bitmap shows it.
pub(super) fn text_width(text: &str, size: f64) -> f64 {
    match &*FONT {
        Some(font) => f64::from(glyphs(font, text, size).1),
        None => 0.6 * size * text.chars().count() as f64,
    }
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
        let style = if self.is_vector { self.style(fill, 1.0) } else { self.mixed(fill) }.filled();
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
        let radius = ((width * ENLARGED - 1.0) / 2.0) as u32;
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
    pub(super) fn text(&mut self, at: (f64, f64), text: &str, look: Type, align: Align) -> Drawn {
        if self.is_vector {
            self.words(at, text, look, align)
        } else {
            self.ink(at, text, look, align)
        }
    }

    /// Text that the viewer's fonts draw.
    fn words(&mut self, (x, y): (f64, f64), text: &str, look: Type, align: Align) -> Drawn {
        let em = look.size * ENLARGED;
        let anchor = match align {
            Align::Left => HPos::Left,
            Align::Middle => HPos::Center,
            Align::Right => HPos::Right,
        };
        let (red, green, blue) = self.theme.rgb(look.colour);
        let colour = RGBColor(red, green, blue);
        let weight = if look.strong { FontStyle::Bold } else { FontStyle::Normal };
        let font = (FAMILY, em * SVG_EM).into_font().style(weight);
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(anchor, VPos::Top));
        // plotters puts the baseline this far below the place that it is given.
        let at = (pixel(x), (y * ENLARGED - 0.76 * em).round() as i32);
        self.backend.draw_text(text, &style, at).map_err(failed)
    }

    /// Text in the carried font. (plotters would leave out the room before each letter.)
    fn ink(&mut self, (x, y): (f64, f64), text: &str, look: Type, align: Align) -> Drawn {
        let Some(font) = &*FONT else {
            return Err(TaskError::permanent("the font of this program can't be read"));
        };
        let (glyphs, width) = glyphs(font, text, look.size * ENLARGED);
        let before = match align {
            Align::Left => 0.0,
            Align::Middle => width / 2.0,
            Align::Right => width,
        };
        let start = ((x * ENLARGED) as f32 - before, (y * ENLARGED).round() as f32);
        let (red, green, blue) = self.theme.rgb(look.colour);
        let colour = RGBColor(red, green, blue);
        // It is a light font. Drawn again beside itself it is as heavy as a page's.
        let copies = if look.strong { 4 } else { 2 };
        for mut glyph in glyphs {
            glyph.position.x += start.0;
            glyph.position.y += start.1;
            let Some(outline) = font.outline_glyph(glyph) else { continue };
            let corner = outline.px_bounds().min;
            let mut drawn = Ok(());
            outline.draw(|column, row, coverage| {
                let colour = colour.mix(f64::from(coverage.min(1.0))).to_backend_color();
                for beside in 0..copies {
                    let at =
                        (corner.x as i32 + column as i32 + beside, corner.y as i32 + row as i32);
                    if coverage > 0.0 && drawn.is_ok() {
                        drawn = self.backend.draw_pixel(at, colour);
                    }
                }
            });
            drawn.map_err(failed)?;
        }
        Ok(())
    }

    /// The colour over paper, computed more exactly than the bitmap backend does.
    fn mixed(&self, (colour, opacity): (Colour, f64)) -> ShapeStyle {
        let ((r, g, b), paper) = (self.theme.rgb(colour), self.theme.rgb(Colour::Paper));
        let mixed = RGBColor(
            between(paper.0, r, opacity),
            between(paper.1, g, opacity),
            between(paper.2, b, opacity),
        );
        mixed.to_rgba().stroke_width(1)
    }

    fn style(&self, (colour, opacity): (Colour, f64), width: f64) -> ShapeStyle {
        let (red, green, blue) = self.theme.rgb(colour);
        RGBColor(red, green, blue).mix(opacity).stroke_width((width * ENLARGED) as u32)
    }
}

/// A colour channel between two others.
fn between(from: u8, to: u8, share: f64) -> u8 {
    (f64::from(from) + (f64::from(to) - f64::from(from)) * share).round() as u8
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
    let described = described.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let described = described.replace('"', "&quot;");
    Ok(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{}\" height=\"{}\" \
         viewBox=\"0 0 {width} {height}\" role=\"img\" aria-label=\"{described}\" \
         stroke-linejoin=\"round\" stroke-linecap=\"round\">{content}",
        size.0, size.1
    ))
}

/// Writes the picture as a PNG file, at twice the page's density.
pub(super) fn png(what: &impl Draw, size: Size, path: &Path) -> Drawn {
    let (width, height) = enlarged(size);
    let (width, height) = (width as usize, height as usize);
    let mut pixels = vec![0; width * height * 3];
    {
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
    let mut sums = vec![0_u32; width / by * 3];
    for rows in pixels.chunks_exact(width * 3 * by).take(height / by) {
        sums.fill(0);
        for row in rows.chunks_exact(width * 3) {
            for (square, sum) in row.chunks_exact(3 * by).zip(sums.chunks_exact_mut(3)) {
                for pixel in square.chunks_exact(3) {
                    sum[0] += u32::from(pixel[0]);
                    sum[1] += u32::from(pixel[1]);
                    sum[2] += u32::from(pixel[2]);
                }
            }
        }
        small.extend(sums.iter().map(|sum| (sum / (by * by) as u32) as u8));
    }
    small
}
