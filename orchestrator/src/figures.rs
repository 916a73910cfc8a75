//! How figures look to people, in the terminal and on the pages alike.

use jiff::SignedDuration;

/// `31 ms`, `2.8 s`, `41 s`, `4 min 12 s`, `18 h 48 min`, `18 days`.
pub fn duration(duration: SignedDuration) -> String {
    let millis = duration.as_millis().max(0);
    let seconds = millis / 1000;
    match seconds {
        0 => format!("{millis} ms"),
        1..10 => format!("{}.{} s", seconds, millis % 1000 / 100),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        3600..172_800 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// `388`, `12.3 k`, `1.20 M`: three figures that count.
pub fn count(count: u64) -> String {
    scaled(count, &["", " k", " M", " G", " T"])
}

/// `388 B`, `12.3 kB`, `1.04 GB`.
pub fn bytes(bytes: u64) -> String {
    scaled(bytes, &[" B", " kB", " MB", " GB", " TB"])
}

fn scaled(number: u64, units: &[&str]) -> String {
    let mut value = number as f64;
    let mut unit = 0;
    // 999.5 would be shown as 1000.
    while value >= 999.5 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    let decimals = match (unit, value) {
        (0, _) => 0,
        (_, value) if value < 9.995 => 2,
        (_, value) if value < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}{}", units[unit])
}

/// `1,234,567`.
pub fn exact(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// The smallest of the spans that `share` of them, from 0 to 1, do not exceed: the nearest rank.
pub fn quantile(spans: &mut [SignedDuration], share: f64) -> Option<SignedDuration> {
    spans.sort_unstable();
    let rank = (spans.len() as f64 * share).ceil() as usize;
    spans.get(rank.saturating_sub(1)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        let shown = |millis| duration(SignedDuration::from_millis(millis));
        assert_eq!(shown(31), "31 ms");
        assert_eq!(shown(2_849), "2.8 s");
        assert_eq!(shown(41_999), "41 s");
        assert_eq!(shown(252_000), "4 min 12 s");
        assert_eq!(shown(67_680_000), "18 h 48 min");
        assert_eq!(count(999), "999");
        assert_eq!(count(999_700), "1.00 M");
        assert_eq!(count(12_345), "12.3 k");
        assert_eq!(bytes(1_040_000_000), "1.04 GB");
        assert_eq!(exact(1_234_567), "1,234,567");
        assert_eq!(exact(12), "12");
    }
}
