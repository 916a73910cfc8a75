//! Reading values from text, strictly: what is not wholly a value of the type is none.
//!
//! Each type has a function that reads the whole text of a field. The frequent types also have
//! one that reads from the middle of a line up to the field's end; it gives up on anything out
//! of the ordinary, and the other one then decides.

/// Whether a field without quotes ends at `i`. The text must end with a newline.
#[inline(always)]
pub(super) fn ends(text: &[u8], i: usize) -> bool {
    match text[i] {
        b',' | b'\n' => true,
        // A carriage return that no newline follows is part of the value.
        b'\r' => text.get(i + 1) == Some(&b'\n'),
        _ => false,
    }
}

/// Where the field without quotes that goes through `i` ends.
#[inline(always)]
pub(super) fn field_end(text: &[u8], mut i: usize) -> usize {
    loop {
        // The comma is the greatest of the bytes that can end a field.
        while text[i] > b',' {
            i += 1;
        }
        if ends(text, i) {
            return i;
        }
        i += 1;
    }
}

/// An integer of at most 18 digits that ends at the field's end, and that end.
#[inline(always)]
pub(super) fn integer_at(text: &[u8], start: usize) -> Option<(i64, usize)> {
    let negative = text[start] == b'-';
    let first = start + usize::from(negative);
    let (mut i, mut value) = (first, 0i64);
    loop {
        let digit = text[i].wrapping_sub(b'0');
        if digit > 9 {
            break;
        }
        // Wraps only after more than 18 digits, which are refused below.
        value = value.wrapping_mul(10).wrapping_add(i64::from(digit));
        i += 1;
    }
    if i == first || i - first > 18 || !ends(text, i) {
        return None;
    }
    Some((if negative { -value } else { value }, i))
}

/// Powers of ten that a double holds exactly.
const POWERS: [f64; 16] =
    [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// A decimal number of at most 15 digits without exponent, and the field's end.
///
/// Both the digits and the power of ten are then exact doubles, so that one division rounds
/// correctly (W. D. Clinger, "How to read floating point numbers accurately", 1990).
#[inline(always)]
pub(super) fn number_at(text: &[u8], start: usize) -> Option<(f64, usize)> {
    let negative = text[start] == b'-';
    let mut i = start + usize::from(negative);
    let (mut value, mut digits, mut fraction, mut point) = (0u64, 0usize, 0usize, false);
    loop {
        let byte = text[i];
        let digit = byte.wrapping_sub(b'0');
        if digit <= 9 {
            value = value.wrapping_mul(10).wrapping_add(u64::from(digit));
            digits += 1;
            fraction += usize::from(point);
        } else if byte == b'.' && !point {
            point = true;
        } else {
            break;
        }
        i += 1;
    }
    if digits == 0 || digits > 15 || !ends(text, i) {
        return None;
    }
    let value = value as f64 / POWERS[fraction];
    Some((if negative { -value } else { value }, i))
}

/// A timestamp as `2026-11-24 12:30:00`, with a `T` or a space and perhaps a `Z`, and the
/// field's end.
#[inline(always)]
pub(super) fn timestamp_at(text: &[u8], start: usize) -> Option<(i64, usize)> {
    let plain: &[u8; 19] = text.get(start..start + 19)?.try_into().ok()?;
    let seconds = seconds_of(plain)?;
    let end = start + 19;
    let end = end + usize::from(*text.get(end)? == b'Z');
    if end >= text.len() || !ends(text, end) {
        return None;
    }
    Some((seconds * MICROS, end))
}

const MICROS: i64 = 1_000_000;

pub(super) fn integer(text: &[u8]) -> Option<i64> {
    // Rust accepts exactly an optional sign and decimal digits, and refuses what overflows.
    std::str::from_utf8(text).ok()?.parse().ok()
}

pub(super) fn number(text: &[u8]) -> Option<f64> {
    // Rust would also accept `inf`, `infinity` and `nan`.
    let allowed = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    if !text.iter().all(allowed) {
        return None;
    }
    let value: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    value.is_finite().then_some(value)
}

pub(super) fn boolean(text: &[u8]) -> Option<bool> {
    match text {
        b"1" => Some(true),
        b"0" => Some(false),
        _ if text.eq_ignore_ascii_case(b"true") => Some(true),
        _ if text.eq_ignore_ascii_case(b"false") => Some(false),
        _ => None,
    }
}

/// Days since 1970-01-01.
pub(super) fn date(text: &[u8]) -> Option<i32> {
    let text: &[u8; 10] = text.try_into().ok()?;
    i32::try_from(days_of(text)?).ok()
}

/// Microseconds since 1970-01-01T00:00:00Z of a date, or of a date and a time with or without
/// seconds, a fraction of them (cut to microseconds) and an offset.
pub(super) fn timestamp(text: &[u8]) -> Option<i64> {
    let (day, rest) = text.split_first_chunk::<10>()?;
    let day = days_of(day)? * 86_400;
    if rest.is_empty() {
        return Some(day * MICROS);
    }
    let (b'T' | b't' | b' ', rest) = rest.split_first()? else { return None };
    let (clock, rest) = rest.split_first_chunk::<5>()?;
    if clock[2] != b':' {
        return None;
    }
    let minutes = two(clock, 0, 23)? * 60 + two(clock, 3, 59)?;
    let (seconds, rest) = match rest.split_first_chunk::<3>() {
        Some((text, rest)) if text[0] == b':' => (two(text, 1, 59)?, rest),
        _ => (0, rest),
    };
    let (micros, rest) = fraction(rest)?;
    let offset = offset(rest)?;
    Some((day + minutes * 60 + seconds - offset) * MICROS + micros)
}

/// `.` and one to nine digits, as microseconds, and what follows; nothing is no fraction.
fn fraction(text: &[u8]) -> Option<(i64, &[u8])> {
    let Some((b'.', rest)) = text.split_first() else { return Some((0, text)) };
    let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    if !(1..=9).contains(&count) {
        return None;
    }
    let digit = |i: usize| rest[..count].get(i).map_or(0, |byte| i64::from(byte - b'0'));
    Some(((0..6).fold(0, |value, i| value * 10 + digit(i)), &rest[count..]))
}

/// `Z`, `+01:00`, `+0100` or `+01` as seconds east of UTC; nothing is UTC.
fn offset(text: &[u8]) -> Option<i64> {
    let (sign, digits) = match text.split_first() {
        None | Some((b'Z' | b'z', [])) => return Some(0),
        Some((b'+', digits)) => (1, digits),
        Some((b'-', digits)) => (-1, digits),
        Some(_) => return None,
    };
    let (hours, minutes) = match digits {
        [_, _] => (two(digits, 0, 23)?, 0),
        [_, _, _, _] => (two(digits, 0, 23)?, two(digits, 2, 59)?),
        [_, _, b':', _, _] => (two(digits, 0, 23)?, two(digits, 3, 59)?),
        _ => return None,
    };
    Some(sign * (hours * 3600 + minutes * 60))
}

/// Seconds since 1970 of `2026-11-24 12:30:00`.
#[inline(always)]
fn seconds_of(text: &[u8; 19]) -> Option<i64> {
    let (day, _) = text.split_first_chunk::<10>()?;
    let separators = matches!(text[10], b'T' | b' ') && text[13] == b':' && text[16] == b':';
    if !separators {
        return None;
    }
    let seconds = two(text, 11, 23)? * 3600 + two(text, 14, 59)? * 60 + two(text, 17, 59)?;
    Some(days_of(day)? * 86_400 + seconds)
}

/// Days since 1970 of `2026-11-24`, for the years 1 to 9999.
#[inline(always)]
fn days_of(text: &[u8; 10]) -> Option<i64> {
    if text[4] != b'-' || text[7] != b'-' {
        return None;
    }
    let year = two(text, 0, 99)? * 100 + two(text, 2, 99)?;
    let (month, day) = (two(text, 5, 12)?, two(text, 8, 31)?);
    let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
    let length = match month {
        2 => 28 + i64::from(leap),
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    };
    if year == 0 || month == 0 || day == 0 || day > length {
        return None;
    }
    // Years that begin in March end with the leap day: the days before a month are then linear
    // (Howard Hinnant, "chrono-compatible low-level date algorithms", days_from_civil).
    let (year, month) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    Some(era * 146_097 + year * 365 + year / 4 - year / 100 + day_of_year - 719_468)
}

/// Two digits at `i`, if they are at most `max`.
#[inline(always)]
fn two(text: &[u8], i: usize, max: i64) -> Option<i64> {
    let (tens, ones) = (text[i].wrapping_sub(b'0'), text[i + 1].wrapping_sub(b'0'));
    let value = i64::from(tens) * 10 + i64::from(ones);
    (tens <= 9 && ones <= 9 && value <= max).then_some(value)
}

/// A decimal number as an integer in units of `10^-scale`. Digits that the type can't hold make
/// it no value, unless they are zeros behind the point.
pub(super) fn decimal(text: &[u8], precision: u8, scale: u8) -> Option<i128> {
    let (negative, digits) = match text.split_first()? {
        (b'-', rest) => (true, rest),
        (b'+', rest) => (false, rest),
        _ => (false, text),
    };
    let point = digits.iter().position(|byte| *byte == b'.');
    let (whole, fraction) = match point {
        Some(at) => (&digits[..at], &digits[at + 1..]),
        None => (digits, &[][..]),
    };
    let scale = usize::from(scale);
    let all_digits = whole.iter().chain(fraction).all(u8::is_ascii_digit);
    let extra = fraction.get(scale..).unwrap_or_default();
    if whole.len() + fraction.len() == 0 || !all_digits || extra.iter().any(|byte| *byte != b'0') {
        return None;
    }
    let kept = fraction.iter().copied().chain(std::iter::repeat(b'0')).take(scale);
    let limit = 10i128.checked_pow(u32::from(precision))?;
    let mut value = 0i128;
    for byte in whole.iter().copied().chain(kept) {
        // The limit is at most 10^38, so that ten times a smaller value may still overflow.
        value = value.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
        if value >= limit {
            return None;
        }
    }
    Some(if negative { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn micros(text: &str) -> Option<i64> {
        timestamp(text.as_bytes())
    }

    #[test]
    fn numbers_are_whole_and_finite() {
        assert_eq!(integer(b"-9223372036854775808"), Some(i64::MIN));
        for text in ["9223372036854775808", "", "-", "1.0", " 1", "1 ", "0x1", "1_000", "\u{661}"] {
            assert_eq!(integer(text.as_bytes()), None, "{text}");
        }
        assert_eq!(number(b"-.5e1"), Some(-5.0));
        for text in ["", "nan", "inf", "1e999", "1,5", "1e", ".", "--1", "1.2.3"] {
            assert_eq!(number(text.as_bytes()), None, "{text}");
        }
    }

    #[test]
    fn decimals_are_exact() {
        assert_eq!(decimal(b"12.5", 4, 2), Some(1250));
        assert_eq!(decimal(b"-0.010", 4, 2), Some(-1));
        assert_eq!(decimal(b".5", 1, 1), Some(5));
        for text in ["100", "0.001", "", ".", "-", "1e2", "1.2.3", "99.999"] {
            assert_eq!(decimal(text.as_bytes(), 4, 2), None, "{text}");
        }
        let most = "9".repeat(38);
        assert_eq!(decimal(most.as_bytes(), 38, 0), Some(10i128.pow(38) - 1));
        assert_eq!(decimal("9".repeat(39).as_bytes(), 38, 0), None);
    }

    #[test]
    fn timestamps() {
        let noon = Some(1_795_521_600_000_000);
        for text in [
            "2026-11-24 12:00:00",
            "2026-11-24T12:00:00Z",
            "2026-11-24 12:00",
            "2026-11-24 13:00:00+01:00",
            "2026-11-24 13:00:00.000+0100",
            "2026-11-24t11:00:00.000000000-01",
        ] {
            assert_eq!(micros(text), noon, "{text}");
        }
        assert_eq!(micros("1969-12-31 23:59:59.9999999"), Some(-1));
        assert_eq!(micros("2024-02-29"), Some(1_709_164_800_000_000));
        for text in [
            "",
            "2026-02-29",
            "2026-13-01",
            "2026-00-10",
            "2026-04-31",
            "0000-01-01",
            "2026-11-24 24:00:00",
            "2026-11-24 12:60:00",
            "2026-11-24 12:00:60",
            "99999-01-01",
            "2026-11-24 12:00:00.",
            "2026-11-24 12:00:00 Z",
            "2026-11-24 12:00:00+1",
            "2026-1-2",
            "2026-11-24 12",
            "not a date",
            "2026-11-24T",
            "2026-11-24 12:00:00.1234567890",
        ] {
            assert_eq!(micros(text), None, "{text}");
        }
        assert_eq!(date(b"1970-01-02"), Some(1));
        assert_eq!(date(b"1970-01-02 "), None);
    }

    proptest! {
        /// Where the quick functions give a value, the whole-field ones give the same.
        #[test]
        fn quick_reading_agrees(text in "-?[0-9]{0,20}(\\.[0-9]{0,8})?") {
            let line = format!("{text},");
            let bytes = line.as_bytes();
            if let Some((value, end)) = integer_at(bytes, 0) {
                prop_assert_eq!((Some(value), end), (integer(text.as_bytes()), text.len()));
            }
            if let Some((value, end)) = number_at(bytes, 0) {
                prop_assert_eq!(Some(value.to_bits()), number(text.as_bytes()).map(f64::to_bits));
                prop_assert_eq!(end, text.len());
            }
        }

        /// Days and seconds agree with another implementation of the calendar.
        #[test]
        fn timestamps_agree_with_jiff(seconds in -62_135_596_800i64..253_402_214_400) {
            let moment = jiff::Timestamp::from_second(seconds).unwrap();
            let text = moment.to_string();
            prop_assert_eq!(timestamp(text.as_bytes()), Some(seconds * MICROS));
            let line = format!("{text}\n");
            prop_assert_eq!(
                timestamp_at(line.as_bytes(), 0),
                Some((seconds * MICROS, text.len()))
            );
        }
    }
}
