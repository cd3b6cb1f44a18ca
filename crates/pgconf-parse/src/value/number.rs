//! Booleans and numbers as the server reads them.

use crate::value::error::Wanted;
use crate::value::unit::BaseUnit;

pub(crate) fn parse_bool(value: &[u8]) -> Option<bool> {
    // `o` alone is ambiguous.
    const WORDS: [(&[u8], usize, bool); 8] = [
        (b"true", 1, true),
        (b"false", 1, false),
        (b"yes", 1, true),
        (b"no", 1, false),
        (b"on", 2, true),
        (b"off", 2, false),
        (b"1", 1, true),
        (b"0", 1, false),
    ];
    WORDS.iter().find_map(|(word, shortest, meaning)| {
        let begins = word.get(..value.len())?.eq_ignore_ascii_case(value);
        (begins && value.len() >= *shortest).then_some(*meaning)
    })
}

pub(crate) fn parse_int(value: &[u8], unit: BaseUnit, major: u16) -> Result<i32, Wanted> {
    if major < 12 {
        return parse_int_before_12(value, unit, major);
    }
    let number = parse_whole(value, unit)?;
    if (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) {
        Ok(number as i32)
    } else {
        Err(Wanted::Integer)
    }
}

/// Source: `parse_int` and `convert_to_base_unit` in guc.c of PostgreSQL 10 and 11.
fn parse_int_before_12(value: &[u8], unit: BaseUnit, major: u16) -> Result<i32, Wanted> {
    let Some((Some(number), rest)) = strtol(value) else {
        return Err(Wanted::Integer);
    };
    let number = i32::try_from(number).map_err(|_| Wanted::Integer)?;
    let written = trimmed(rest);
    if written.is_empty() {
        return Ok(number);
    }
    if unit.table().is_empty() {
        return Err(Wanted::Integer);
    }
    let is_known = |name: &str| match name {
        "us" => false,
        "B" => major == 11,
        _ => true,
    };
    let mut units = unit.table().iter();
    let found = units.find(|(name, _)| name.as_bytes() == written && is_known(name));
    let (_, size) = found.ok_or(Wanted::Unit(unit))?;
    // One size is a multiple of the other, and both are whole numbers.
    let (size, base, number) = (*size as i64, unit.size() as i64, i64::from(number));
    let number = match size >= base {
        true => number.checked_mul(size / base),
        false => Some(number / (base / size)),
    };
    number
        .and_then(|number| i32::try_from(number).ok())
        .ok_or(Wanted::Integer)
}

/// Parses an integer that need not fit 32 bits.
pub(crate) fn parse_whole(value: &[u8], unit: BaseUnit) -> Result<f64, Wanted> {
    let is_float = |rest: &[u8]| matches!(rest.first(), Some(b'.' | b'e' | b'E'));
    let (number, rest) = match strtol(value) {
        Some((Some(number), rest)) if !is_float(rest) => (number as f64, rest),
        // If there is no integer, C's `endptr` is the beginning of the text, before blanks and
        // sign: `.5` is read as a float, `+.5` is not.
        None if !is_float(value) => return Err(Wanted::Integer),
        _ => strtod(value).ok_or(Wanted::Integer)?,
    };
    Ok(in_base_unit(number, rest, unit, Wanted::Integer)?.round_ties_even())
}

pub(crate) fn parse_real(value: &[u8], unit: BaseUnit, major: u16) -> Result<f64, Wanted> {
    let (number, rest) = strtod(value).ok_or(Wanted::Real)?;
    // Before PostgreSQL 12 no floating-point setting had a unit.
    let unit = if major < 12 { BaseUnit::None } else { unit };
    in_base_unit(number, rest, unit, Wanted::Real)
}

/// Converts a number to the base unit. `rest` is the text after the number. A fraction is rounded
/// to a whole number of the next smaller unit, so that `30.1GB` is a whole number of megabytes.
fn in_base_unit(number: f64, rest: &[u8], unit: BaseUnit, wanted: Wanted) -> Result<f64, Wanted> {
    if number.is_nan() {
        return Err(wanted);
    }
    let written = trimmed(rest);
    if written.is_empty() {
        return Ok(number);
    }
    let table = unit.table();
    if table.is_empty() {
        return Err(wanted);
    }
    let scale = |n: usize| table[n].1 / unit.size();
    match table
        .iter()
        .position(|(name, _)| name.as_bytes() == written)
    {
        None => Err(Wanted::Unit(unit)),
        Some(n) if n + 1 < table.len() => {
            Ok((number * scale(n) / scale(n + 1)).round_ties_even() * scale(n + 1))
        }
        Some(n) => Ok(number * scale(n)),
    }
}

fn trimmed(rest: &[u8]) -> &[u8] {
    let start = rest.iter().take_while(|byte| is_space(byte)).count();
    let last = rest.iter().rposition(|byte| !is_space(byte));
    &rest[start..last.map_or(start, |last| last + 1)]
}

/// C's `strtol` with base 0. Returns the number, which is `None` if it is out of range, and the
/// text after it.
fn strtol(value: &[u8]) -> Option<(Option<i64>, &[u8])> {
    let (negative, digits) = signed(value);
    let (radix, digits) = match digits {
        [b'0', b'x' | b'X', hex @ ..] if hex.first().is_some_and(u8::is_ascii_hexdigit) => {
            (16, hex)
        }
        [b'0', ..] => (8, digits),
        _ => (10, digits),
    };
    let length = digits
        .iter()
        .take_while(|&&byte| char::from(byte).is_digit(radix))
        .count();
    if length == 0 {
        return None;
    }
    let (digits, rest) = digits.split_at(length);
    let number = digits.iter().try_fold(0i64, |number, &byte| {
        let digit = i64::from(char::from(byte).to_digit(radix)?);
        let number = number.checked_mul(radix.into())?;
        if negative {
            number.checked_sub(digit)
        } else {
            number.checked_add(digit)
        }
    });
    Some((number, rest))
}

/// C's `strtod`. Returns the number and the text after it; `None` if there is no number, or if it
/// is out of range.
fn strtod(value: &[u8]) -> Option<(f64, &[u8])> {
    let (negative, digits) = signed(value);
    let (number, rest) = match digits {
        [b'0', b'x' | b'X', hex @ ..] if starts_hex_float(hex) => hex_float(hex)?,
        [b'i' | b'I' | b'n' | b'N', ..] => {
            let word = ["infinity", "inf", "nan"].into_iter().find(|word| {
                digits
                    .get(..word.len())
                    .is_some_and(|d| d.eq_ignore_ascii_case(word.as_bytes()))
            })?;
            (word.parse().ok()?, &digits[word.len()..])
        }
        _ => decimal_float(digits)?,
    };
    Some((if negative { -number } else { number }, rest))
}

fn decimal_float(text: &[u8]) -> Option<(f64, &[u8])> {
    let digits = |text: &[u8]| text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(text);
    let mut end = whole;
    if text.get(end) == Some(&b'.') {
        end += 1 + digits(&text[end + 1..]);
    }
    if whole == 0 && end < 2 {
        return None;
    }
    let mantissa = &text[..end];
    if let Some(b'e' | b'E') = text.get(end) {
        let sign = usize::from(matches!(text.get(end + 1), Some(b'+' | b'-')));
        let exponent = digits(text.get(end + 1 + sign..).unwrap_or_default());
        if exponent > 0 {
            end += 1 + sign + exponent;
        }
    }
    let number: f64 = std::str::from_utf8(&text[..end]).ok()?.parse().ok()?;
    let is_zero = !mantissa.iter().any(|byte| matches!(byte, b'1'..=b'9'));
    (number.is_normal() || is_zero).then_some((number, &text[end..]))
}

fn starts_hex_float(text: &[u8]) -> bool {
    match text {
        [b'.', digit, ..] | [digit, ..] => digit.is_ascii_hexdigit(),
        [] => false,
    }
}

/// Parses hexadecimal digits with a fraction and a binary exponent, without their prefix `0x`.
/// Digits that exceed the precision of a double are truncated, not rounded.
fn hex_float(text: &[u8]) -> Option<(f64, &[u8])> {
    let (mut mantissa, mut exponent, mut point) = (0u64, 0i32, false);
    let mut at = 0;
    while let Some(&byte) = text.get(at) {
        if let Some(digit) = char::from(byte).to_digit(16) {
            let kept = mantissa < 1 << 52;
            if kept {
                mantissa = mantissa * 16 + u64::from(digit);
            }
            exponent = match (kept, point) {
                (true, true) => exponent.saturating_sub(4),
                (false, false) => exponent.saturating_add(4),
                _ => exponent,
            };
        } else if byte == b'.' && !point {
            point = true;
        } else {
            break;
        }
        at += 1;
    }
    if let Some(b'p' | b'P') = text.get(at) {
        let tail = &text[at + 1..];
        let (negative, digits) = signed_only(tail);
        let length = digits
            .iter()
            .take_while(|byte| byte.is_ascii_digit())
            .count();
        if length > 0 {
            let power = std::str::from_utf8(&digits[..length])
                .ok()?
                .parse()
                .unwrap_or(i32::MAX / 2);
            exponent = exponent.saturating_add(if negative { -power } else { power });
            at += 1 + (tail.len() - digits.len()) + length;
        }
    }
    if mantissa == 0 {
        return Some((0.0, &text[at..]));
    }
    let number = mantissa as f64 * 2f64.powi(exponent);
    number.is_normal().then_some((number, &text[at..]))
}

fn signed(value: &[u8]) -> (bool, &[u8]) {
    signed_only(&value[value.iter().take_while(|byte| is_space(byte)).count()..])
}

/// C's `isspace`. Unlike Rust's ASCII whitespace it includes the vertical tab.
fn is_space(byte: &u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn signed_only(value: &[u8]) -> (bool, &[u8]) {
    match value {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The expected values were printed by `postgres -c NAME=VALUE -C NAME` of version 15.
    #[test]
    fn integers_are_read_as_by_the_server() {
        use BaseUnit::{Kilobyte, Millisecond, Minute, None as Plain, Second};
        let block = BaseUnit::Block(8192);
        for (value, unit, meaning) in [
            ("0x10", Plain, Some(16)),
            ("010", Plain, Some(8)),
            ("08", Plain, None),
            ("0x", Plain, None),
            (" 7 ", Plain, Some(7)),
            ("+5", Plain, Some(5)),
            ("1e3", Plain, Some(1000)),
            ("1.e2", Plain, Some(100)),
            ("1e", Plain, None),
            ("1.5", Plain, Some(2)),
            ("2.5", Plain, Some(2)),
            (".5e1", Plain, Some(5)),
            (".5", Plain, Some(0)),
            (" .5", Plain, None),
            ("-.5e1", Plain, None),
            ("0x1.8p3", Plain, Some(12)),
            ("7 x", Plain, None),
            ("", Plain, None),
            ("inf", Plain, None),
            ("1e-400", Plain, None),
            ("2147483647.4", Plain, Some(i32::MAX)),
            ("2147483647.5", Plain, None),
            ("99999999999999999999", Plain, None),
            ("1GB", block, Some(131_072)),
            ("1.5 GB ", block, Some(196_608)),
            ("30.1GB", block, Some(3_945_216)),
            ("30.1GB", Kilobyte, Some(31_561_728)),
            ("4095B", block, Some(0)),
            ("4095B", Kilobyte, Some(4)),
            ("0.1kB", Kilobyte, Some(0)),
            ("1 kB x", Kilobyte, None),
            ("64Mb", Kilobyte, None),
            ("64K", Kilobyte, None),
            ("1.5min", Second, Some(90)),
            ("1500ms", Second, Some(2)),
            ("90s", Minute, Some(2)),
            ("30.5s", Minute, Some(1)),
            ("1 d", Minute, Some(1440)),
            ("2500us", Millisecond, Some(2)),
        ] {
            assert_eq!(
                parse_int(value.as_bytes(), unit, 15).ok(),
                meaning,
                "{value}"
            );
        }
    }

    #[test]
    fn reals_are_read_as_by_the_server() {
        use BaseUnit::{Millisecond, None as Plain};
        for (value, unit, meaning) in [
            ("1e2", Plain, Some(100.0)),
            ("0x10", Plain, Some(16.0)),
            ("+.5", Plain, Some(0.5)),
            ("1.5 ", Plain, Some(1.5)),
            ("1.5ms", Plain, None),
            ("1.5ms", Millisecond, Some(1.5)),
            ("250us", Millisecond, Some(0.25)),
            ("inf", Plain, Some(f64::INFINITY)),
            ("nan", Plain, None),
            ("1e-400", Plain, None),
            ("1e400", Plain, None),
        ] {
            assert_eq!(
                parse_real(value.as_bytes(), unit, 15).ok(),
                meaning,
                "{value}"
            );
        }
    }

    /// The expected values were printed by `postgres -c NAME=VALUE -C NAME` of versions 10 and 11.
    #[test]
    fn integers_are_read_as_by_servers_before_12() {
        use BaseUnit::{Kilobyte, Millisecond, Minute, None as Plain, Second};
        let block = BaseUnit::Block(8192);
        for (value, unit, in_10, in_11) in [
            ("90500ms", Second, Some(90), Some(90)),
            ("-1500ms", Second, Some(-1), Some(-1)),
            ("119s", Minute, Some(1), Some(1)),
            ("90500ms", Minute, Some(1), Some(1)),
            ("1.5GB", block, None, None),
            ("1000000B", Kilobyte, None, Some(976)),
            ("4095B", Kilobyte, None, Some(3)),
            ("20007kB", block, Some(2500), Some(2500)),
            ("1e3", Kilobyte, None, None),
            ("1500us", Millisecond, None, None),
            ("7 s ", Millisecond, Some(7000), Some(7000)),
            ("010", Plain, Some(8), Some(8)),
            ("1.0", Plain, None, None),
            ("99999999TB", block, None, None),
            ("30 min x", Second, None, None),
            ("64MBs", Kilobyte, None, None),
        ] {
            for (major, meaning) in [(10, in_10), (11, in_11)] {
                let read = parse_int(value.as_bytes(), unit, major).ok();
                assert_eq!(read, meaning, "{value} {major}");
            }
        }
        assert_eq!(parse_real(b"1ms", Millisecond, 11).ok(), None);
        assert_eq!(parse_real(b" 1.5 ", Millisecond, 11).ok(), Some(1.5));
    }

    #[test]
    fn booleans_may_be_abbreviated_to_unique_prefixes() {
        for (value, meaning) in [
            ("T", Some(true)),
            ("fals", Some(false)),
            ("o", None),
            ("oN", Some(true)),
            ("of", Some(false)),
            ("onn", None),
            ("", None),
            ("01", None),
            (" on", None),
        ] {
            assert_eq!(parse_bool(value.as_bytes()), meaning, "{value}");
        }
    }
}
