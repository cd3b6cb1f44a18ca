//! Typed readings of values, by the server's own rules.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::assignment::Assignment;
use crate::value::Memory;

/// The unit that a setting counts in, and that a bare number is taken to be in: the column `unit`
/// of the view `pg_settings`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BaseUnit {
    /// A plain number, which may have no unit behind it.
    None,
    /// Bytes, `B`.
    Byte,
    /// Kilobytes, `kB`: `work_mem`.
    Kilobyte,
    /// Megabytes, `MB`: `max_wal_size`.
    Megabyte,
    /// Blocks of so many bytes, as in `8kB`: `shared_buffers`, `wal_buffers`.
    Block(u32),
    /// Milliseconds, `ms`: `statement_timeout`.
    Millisecond,
    /// Seconds, `s`: `checkpoint_timeout`.
    Second,
    /// Minutes, `min`: `log_rotation_age`.
    Minute,
}

impl BaseUnit {
    /// How many bytes or microseconds one of it is.
    fn size(self) -> f64 {
        match self {
            Self::None | Self::Byte => 1.0,
            Self::Kilobyte => 1024.0,
            Self::Megabyte => 1024.0 * 1024.0,
            Self::Block(bytes) => bytes.max(1).into(),
            Self::Millisecond => 1e3,
            Self::Second => 1e6,
            Self::Minute => 60e6,
        }
    }

    /// The units that may be written, with their size in bytes or microseconds.
    ///
    /// Source: `memory_unit_conversion_table` and `time_unit_conversion_table` in guc.c.
    fn table(self) -> &'static [(&'static str, f64)] {
        const MEMORY: &[(&str, f64)] = &[
            ("TB", 1024.0 * 1024.0 * 1024.0 * 1024.0),
            ("GB", 1024.0 * 1024.0 * 1024.0),
            ("MB", 1024.0 * 1024.0),
            ("kB", 1024.0),
            ("B", 1.0),
        ];
        const TIME: &[(&str, f64)] = &[
            ("d", 86_400e6),
            ("h", 3_600e6),
            ("min", 60e6),
            ("s", 1e6),
            ("ms", 1e3),
            ("us", 1.0),
        ];
        match self {
            Self::None => &[],
            Self::Byte | Self::Kilobyte | Self::Megabyte | Self::Block(_) => MEMORY,
            Self::Millisecond | Self::Second | Self::Minute => TIME,
        }
    }

    fn is_time(self) -> bool {
        matches!(self, Self::Millisecond | Self::Second | Self::Minute)
    }
}

/// Typed readings. They follow PostgreSQL 12 and later; before, integers with a fraction
/// (`1.5GB`) were rejected, and so were `us`, and before 11 `B`.
impl Assignment<'_> {
    /// A boolean: `on`, `off`, `true`, `false`, `yes`, `no`, any beginning of these that is not
    /// the beginning of another, in upper or lower case; `1` or `0`.
    ///
    /// Source: `parse_bool` in src/backend/utils/adt/bool.c.
    ///
    /// # Errors
    ///
    /// [`ValueError`] if the value is none of these.
    pub fn to_bool(&self) -> Result<bool, ValueError> {
        let value = self.value();
        parse_bool(&value).ok_or_else(|| ValueError::new(&value, Wanted::Boolean))
    }

    /// An integer, in the unit that the setting counts in: decimal, octal after `0` or
    /// hexadecimal after `0x`, or with a fraction or an exponent, then rounded; followed by a
    /// unit if the setting has one.
    ///
    /// Source: `parse_int` and `convert_to_base_unit` in guc.c.
    ///
    /// # Errors
    ///
    /// [`ValueError`] if it is no number, has another unit, or does not fit 32 bits. The range of
    /// the particular setting is not looked at.
    ///
    /// ```
    /// use pgconf_parse::{BaseUnit, Document};
    ///
    /// let doc = Document::parse("shared_buffers = '0.5 GB'\nunix_socket_permissions = 0770\n");
    /// let buffers = doc.get("shared_buffers").unwrap();
    /// assert_eq!(buffers.to_int(BaseUnit::Block(8192))?, 65536);
    /// assert_eq!(buffers.to_memory(BaseUnit::Block(8192))?.bytes(), 512 << 20);
    /// assert_eq!(doc.get("unix_socket_permissions").unwrap().to_int(BaseUnit::None)?, 0o770);
    /// # Ok::<(), pgconf_parse::ValueError>(())
    /// ```
    pub fn to_int(&self, unit: BaseUnit) -> Result<i32, ValueError> {
        let value = self.value();
        parse_int(&value, unit).map_err(|wanted| ValueError::new(&value, wanted))
    }

    /// A number with a fraction, in the unit that the setting counts in, if it has one.
    ///
    /// Source: `parse_real` in guc.c.
    ///
    /// # Errors
    ///
    /// [`ValueError`] if it is no number or has another unit.
    pub fn to_real(&self, unit: BaseUnit) -> Result<f64, ValueError> {
        let value = self.value();
        parse_real(&value, unit).map_err(|wanted| ValueError::new(&value, wanted))
    }

    /// The amount of memory that an integer setting of that unit stands for.
    ///
    /// # Errors
    ///
    /// As [`to_int`](Self::to_int); also if it is negative, which with most settings has a
    /// meaning of its own, or if `unit` is none of memory.
    pub fn to_memory(&self, unit: BaseUnit) -> Result<Memory, ValueError> {
        match u64::try_from(self.to_int(unit)?) {
            Ok(amount) if !unit.is_time() => Ok(Memory::from_bytes(amount * unit.size() as u64)),
            _ => Err(ValueError::new(&self.value(), Wanted::Memory)),
        }
    }

    /// The time that an integer setting of that unit stands for.
    ///
    /// # Errors
    ///
    /// As [`to_int`](Self::to_int); also if it is negative, which with most settings has a
    /// meaning of its own, or if `unit` is none of time.
    pub fn to_duration(&self, unit: BaseUnit) -> Result<Duration, ValueError> {
        match u64::try_from(self.to_int(unit)?) {
            Ok(amount) if unit.is_time() => Ok(Duration::from_micros(amount * unit.size() as u64)),
            _ => Err(ValueError::new(&self.value(), Wanted::Duration)),
        }
    }

    /// One of several words, compared without regard to ASCII case.
    ///
    /// Source: `config_enum_lookup_by_name` in guc.c.
    ///
    /// # Errors
    ///
    /// [`ValueError`] if it is none of them.
    ///
    /// ```
    /// use pgconf_parse::Document;
    ///
    /// let doc = Document::parse("wal_level = Logical");
    /// let levels = [("minimal", 0), ("replica", 1), ("logical", 2)];
    /// assert_eq!(doc.get("wal_level").unwrap().to_enum(&levels)?, 2);
    /// # Ok::<(), pgconf_parse::ValueError>(())
    /// ```
    pub fn to_enum<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, ValueError> {
        let value = self.value();
        words
            .iter()
            .find_map(|(word, meaning)| {
                word.as_bytes()
                    .eq_ignore_ascii_case(&value)
                    .then_some(*meaning)
            })
            .ok_or_else(|| {
                let words = words.iter().map(|(word, _)| (*word).into()).collect();
                ValueError::new(&value, Wanted::Word(words))
            })
    }
}

/// From text with a unit: `128MB`, `1.5 GB`; a bare number would be in a unit that only the server
/// knows.
impl FromStr for Memory {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let has_unit = text
            .trim_end()
            .ends_with(|last: char| last.is_ascii_alphabetic());
        match parse_whole(text.as_bytes(), BaseUnit::Byte) {
            // 2^64, which is the first that does not fit.
            Ok(bytes) if has_unit && (0.0..18_446_744_073_709_551_616.0).contains(&bytes) => {
                Ok(Self::from_bytes(bytes as u64))
            }
            _ => Err(ValueError::new(text.as_bytes(), Wanted::Memory)),
        }
    }
}

pub(crate) fn parse_bool(value: &[u8]) -> Option<bool> {
    // `o` alone could become either.
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

pub(crate) fn parse_int(value: &[u8], unit: BaseUnit) -> Result<i32, Wanted> {
    let number = parse_whole(value, unit)?;
    if (f64::from(i32::MIN)..=f64::from(i32::MAX)).contains(&number) {
        Ok(number as i32)
    } else {
        Err(Wanted::Integer)
    }
}

/// An integer that need not fit 32 bits.
pub(crate) fn parse_whole(value: &[u8], unit: BaseUnit) -> Result<f64, Wanted> {
    let is_float = |rest: &[u8]| matches!(rest.first(), Some(b'.' | b'e' | b'E'));
    let (number, rest) = match strtol(value) {
        Some((Some(number), rest)) if !is_float(rest) => (number as f64, rest),
        // Where there is no integer at all C's pointer stays at the beginning, before blanks and
        // sign: `.5` is read as a float, `+.5` is not.
        None if !is_float(value) => return Err(Wanted::Integer),
        _ => strtod(value).ok_or(Wanted::Integer)?,
    };
    Ok(in_base_unit(number, rest, unit, Wanted::Integer)?.round_ties_even())
}

pub(crate) fn parse_real(value: &[u8], unit: BaseUnit) -> Result<f64, Wanted> {
    let (number, rest) = strtod(value).ok_or(Wanted::Real)?;
    in_base_unit(number, rest, unit, Wanted::Real)
}

/// The number in the base unit, `rest` being what follows it. A fraction is rounded to a whole
/// number of the next smaller unit, so that `30.1GB` is a whole number of megabytes.
fn in_base_unit(number: f64, rest: &[u8], unit: BaseUnit, wanted: Wanted) -> Result<f64, Wanted> {
    if number.is_nan() {
        return Err(wanted);
    }
    let start = rest.iter().take_while(|byte| is_space(byte)).count();
    let end = rest
        .iter()
        .rposition(|byte| !is_space(byte))
        .map_or(start, |last| last + 1);
    let written = &rest[start..end];
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

/// C's `strtol` with base 0: the number (`None` if it does not fit) and what follows it.
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

/// C's `strtod`: the number and what follows it; `None` if there is none, or if it is out of range.
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

/// Hexadecimal digits with a fraction and a binary exponent, behind their `0x`. More digits than a
/// double holds are cut off, not rounded.
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
                (true, true) => exponent - 4,
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
    let number = mantissa as f64 * 2f64.powi(exponent);
    (number.is_normal() || mantissa == 0).then_some((number, &text[at..]))
}

fn signed(value: &[u8]) -> (bool, &[u8]) {
    signed_only(&value[value.iter().take_while(|byte| is_space(byte)).count()..])
}

/// C's `isspace`, of which Rust's ASCII whitespace lacks the vertical tab.
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

/// A value that is not what its setting wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    value: Box<[u8]>,
    wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Boolean,
    Integer,
    #[cfg(feature = "serde")]
    WholeNumber,
    Real,
    Memory,
    Duration,
    Unit(BaseUnit),
    Word(Vec<Box<str>>),
}

impl ValueError {
    pub(crate) fn new(value: &[u8], wanted: Wanted) -> Self {
        Self {
            value: value.into(),
            wanted,
        }
    }

    /// The value in question.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// What could be written instead, where that can be told in general.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match &self.wanted {
            Wanted::Unit(unit) => {
                let units: Vec<&str> = unit.table().iter().rev().map(|(name, _)| *name).collect();
                Some(format!("valid units are {}", units.join(", ")))
            }
            Wanted::Word(words) => Some(format!("available values: {}", words.join(", "))),
            _ => None,
        }
    }
}

impl fmt::Display for ValueError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is not {}",
            self.value.escape_ascii(),
            match &self.wanted {
                Wanted::Boolean => "a boolean",
                Wanted::Integer => "an integer within 32 bits",
                #[cfg(feature = "serde")]
                Wanted::WholeNumber => "an integer",
                Wanted::Real => "a number",
                Wanted::Memory => "an amount of memory",
                Wanted::Duration => "a length of time",
                Wanted::Unit(_) => "a number with a valid unit",
                Wanted::Word(_) => "one of the words that the setting takes",
            }
        )
    }
}

impl std::error::Error for ValueError {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each of these is what `postgres -c NAME=VALUE -C NAME` of version 15 makes of it.
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
            assert_eq!(parse_int(value.as_bytes(), unit).ok(), meaning, "{value}");
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
            assert_eq!(parse_real(value.as_bytes(), unit).ok(), meaning, "{value}");
        }
    }

    #[test]
    fn booleans_are_unique_beginnings() {
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
