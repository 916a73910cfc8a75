//! The colours of pages and pictures, for light and for dark.

/// How many series are told apart by colour.
pub(super) const SERIES: usize = 7;

/// A colour by its role; each theme has its own value for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Colour {
    Paper,
    Panel,
    Line,
    Edge,
    Ink,
    Soft,
    /// The colour of the series with this index.
    Series(usize),
}

impl Colour {
    pub(super) const ALL: [Colour; 6 + SERIES] = [
        Colour::Paper,
        Colour::Panel,
        Colour::Line,
        Colour::Edge,
        Colour::Ink,
        Colour::Soft,
        Colour::Series(0),
        Colour::Series(1),
        Colour::Series(2),
        Colour::Series(3),
        Colour::Series(4),
        Colour::Series(5),
        Colour::Series(6),
    ];

    /// What the page's script and style sheet call it.
    pub(super) fn name(self) -> String {
        match self {
            Colour::Paper => "paper".into(),
            Colour::Panel => "panel".into(),
            Colour::Line => "line".into(),
            Colour::Edge => "edge".into(),
            Colour::Ink => "ink".into(),
            Colour::Soft => "soft".into(),
            Colour::Series(index) => format!("series{index}"),
        }
    }
}

/// Red, green and blue.
pub(super) type Rgb = (u8, u8, u8);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Theme {
    Light,
    Dark,
}

/// Told apart by people who see red and green, or blue and yellow, alike; see the tests. A series
/// keeps its hue between the themes.
const LIGHT: [u32; SERIES] = [0x0a6183, 0xbb8217, 0x956ddd, 0x349d8e, 0x561918, 0x6b5a04, 0x0f2463];
const DARK: [u32; SERIES] = [0x72c4e6, 0xf0a53d, 0xa972e8, 0x049d84, 0xb64109, 0xf4f39c, 0x65618a];

impl Theme {
    pub(super) fn rgb(self, colour: Colour) -> Rgb {
        let value = match (self, colour) {
            (Theme::Light, Colour::Paper) => 0xfdfdfc,
            (Theme::Light, Colour::Panel) => 0xf4f6f6,
            (Theme::Light, Colour::Line) => 0xe1e5e6,
            (Theme::Light, Colour::Edge) => 0x838d92,
            (Theme::Light, Colour::Ink) => 0x14191c,
            (Theme::Light, Colour::Soft) => 0x566067,
            (Theme::Light, Colour::Series(index)) => LIGHT[index % SERIES],
            (Theme::Dark, Colour::Paper) => 0x0f1315,
            (Theme::Dark, Colour::Panel) => 0x171c1f,
            (Theme::Dark, Colour::Line) => 0x283034,
            (Theme::Dark, Colour::Edge) => 0x6b767c,
            (Theme::Dark, Colour::Ink) => 0xe8ecee,
            (Theme::Dark, Colour::Soft) => 0xa0abb1,
            (Theme::Dark, Colour::Series(index)) => DARK[index % SERIES],
        };
        ((value >> 16) as u8, (value >> 8) as u8, value as u8)
    }

    /// `#rrggbb`
    pub(super) fn hex(self, colour: Colour) -> String {
        let (red, green, blue) = self.rgb(colour);
        format!("#{red:02x}{green:02x}{blue:02x}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Linear = [f64; 3];

    fn linear((red, green, blue): Rgb) -> Linear {
        [red, green, blue].map(|channel| {
            let value = f64::from(channel) / 255.0;
            if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        })
    }

    fn contrast(one: Rgb, other: Rgb) -> f64 {
        let luminance = |rgb| {
            let [red, green, blue] = linear(rgb);
            0.2126 * red + 0.7152 * green + 0.0722 * blue
        };
        let (one, other) = (luminance(one), luminance(other));
        (one.max(other) + 0.05) / (one.min(other) + 0.05)
    }

    fn times(matrix: [[f64; 3]; 3], by: Linear) -> Linear {
        matrix.map(|row| row.iter().zip(by).map(|(factor, value)| factor * value).sum())
    }

    /// Distances in this space (Björn Ottosson's Oklab) are about those that people see.
    fn oklab(colour: Linear) -> Linear {
        let cones = times(
            [
                [0.4122214708, 0.5363325363, 0.0514459929],
                [0.2119034982, 0.6806995451, 0.1073969566],
                [0.0883024619, 0.2817188376, 0.6299787005],
            ],
            colour,
        );
        times(
            [
                [0.2104542553, 0.7936177850, -0.0040720468],
                [1.9779984951, -2.4285922050, 0.4505937099],
                [0.0259040371, 0.7827717662, -0.8086757660],
            ],
            cones.map(f64::cbrt),
        )
    }

    /// Full protanopia, deuteranopia and tritanopia after Machado, Oliveira and Fernandes (2009),
    /// and the sight of most people.
    const SIGHTS: [[[f64; 3]; 3]; 4] = [
        [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
        [
            [0.152286, 1.052583, -0.204868],
            [0.114503, 0.786281, 0.099216],
            [-0.003882, -0.048116, 1.051998],
        ],
        [
            [0.367322, 0.860646, -0.227968],
            [0.280085, 0.672501, 0.047413],
            [-0.011820, 0.042940, 0.968881],
        ],
        [
            [1.255528, -0.076749, -0.178779],
            [-0.078411, 0.930809, 0.147602],
            [0.004733, 0.691367, 0.303900],
        ],
    ];

    #[test]
    fn everyone_can_tell_the_series_apart() {
        for theme in [Theme::Light, Theme::Dark] {
            for (one, other) in (0..SERIES).flat_map(|i| (0..i).map(move |j| (i, j))) {
                for sight in SIGHTS {
                    let seen = |index| {
                        let colour = linear(theme.rgb(Colour::Series(index)));
                        oklab(times(sight, colour).map(|channel| channel.clamp(0.0, 1.0)))
                    };
                    let pairs = seen(one).into_iter().zip(seen(other));
                    let distance = pairs.map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt();
                    assert!(distance > 0.12, "{theme:?}: {one} and {other}: {distance:.3}");
                }
            }
        }
    }

    #[test]
    fn all_can_be_read_on_paper() {
        for theme in [Theme::Light, Theme::Dark] {
            let on_paper = |colour| contrast(theme.rgb(colour), theme.rgb(Colour::Paper));
            assert!(on_paper(Colour::Ink) > 12.0);
            assert!(on_paper(Colour::Soft) > 4.5);
            for index in 0..SERIES {
                assert!(on_paper(Colour::Series(index)) > 3.0, "{theme:?}, series {index}");
            }
        }
    }
}
