//! Typed readings of values, by the server's own rules.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use crate::assignment::Assignment;
use crate::bytes::Bytes;
use crate::number::{parse_bool, parse_int, parse_real, parse_whole};
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
    pub(crate) fn size(self) -> f64 {
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
    pub(crate) fn table(self) -> &'static [(&'static str, f64)] {
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

/// A value that is not what its setting wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueError {
    value: Bytes,
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
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        match &self.wanted {
            Wanted::Unit(unit) => {
                let units: Vec<&str> = unit.table().iter().rev().map(|(name, _)| *name).collect();
                Some(format!("valid units are {}", units.join(", ")).into())
            }
            Wanted::Word(words) => Some(format!("available values: {}", words.join(", ")).into()),
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
