//! Values to write.

use std::borrow::Cow;
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::bytes::Bytes;

/// The value of a setting as the server reads it, without quotes and escapes.
///
/// Booleans, numbers, strings, paths, durations and amounts of memory convert to a value, so that
/// `Document::set` accepts them:
///
/// ```
/// use std::time::Duration;
/// use pgconf_parse::{Memory, Value};
///
/// assert_eq!(Value::from(true).to_str_lossy(), "on");
/// assert_eq!(Value::from(Duration::from_secs(90)).to_str_lossy(), "90s");
/// assert_eq!(Value::from(Memory::from_bytes(128 << 20)).to_str_lossy(), "128MB");
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Value {
    text: Bytes,
    /// The value was converted from a floating-point NaN, which `Document::set` rejects.
    is_nan: bool,
}

impl Value {
    /// The text of the value.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.text
    }

    /// The text of the value, with replacement characters where it is not UTF-8.
    #[must_use]
    pub fn to_str_lossy(&self) -> Cow<'_, str> {
        String::from_utf8_lossy(&self.text)
    }

    pub(crate) fn is_nan(&self) -> bool {
        self.is_nan
    }

    /// Converts a number of at most 64 bits. `ToString` would allocate.
    fn from_integer(number: i128) -> Self {
        let mut text = [0; 20];
        let mut start = text.len();
        let mut rest = number.unsigned_abs() as u64;
        loop {
            start -= 1;
            text[start] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        if number < 0 {
            start -= 1;
            text[start] = b'-';
        }
        Self::new(&text[start..])
    }

    fn new(text: impl Into<Bytes>) -> Self {
        Self {
            text: text.into(),
            is_nan: false,
        }
    }
}

/// An amount of memory, for settings such as `shared_buffers`.
///
/// ```
/// use pgconf_parse::{Document, Memory};
///
/// let memory: Memory = "1.5 GB".parse()?;
/// assert_eq!(memory.bytes(), 1536 << 20);
/// assert_eq!(memory.to_string(), "1536MB");
/// assert!("64".parse::<Memory>().is_err()); // the unit of a bare number is not known
///
/// let mut doc = Document::default();
/// doc.set("shared_buffers", Memory::from_bytes(memory.bytes() / 2))?;
/// assert_eq!(doc.to_string(), "shared_buffers = 768MB\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Memory(u64);

impl Memory {
    /// Creates an amount from a number of bytes.
    #[must_use]
    pub const fn from_bytes(bytes: u64) -> Self {
        Self(bytes)
    }

    /// The number of bytes.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }
}

impl From<&Value> for Value {
    fn from(value: &Value) -> Self {
        value.clone()
    }
}

impl From<Vec<u8>> for Value {
    fn from(text: Vec<u8>) -> Self {
        Self::new(text)
    }
}

impl From<&[u8]> for Value {
    fn from(text: &[u8]) -> Self {
        Self::new(text)
    }
}

impl<const N: usize> From<&[u8; N]> for Value {
    fn from(text: &[u8; N]) -> Self {
        Self::new(text.as_slice())
    }
}

impl From<&Path> for Value {
    fn from(path: &Path) -> Self {
        Self::from(path.as_os_str().as_bytes())
    }
}

impl From<PathBuf> for Value {
    fn from(path: PathBuf) -> Self {
        Self::from(path.as_path())
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::new(text.as_bytes())
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::new(text.as_bytes())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::new(text.into_bytes())
    }
}

impl From<Cow<'_, str>> for Value {
    fn from(text: Cow<'_, str>) -> Self {
        Self::from(text.into_owned())
    }
}

/// Converts to `on` or `off`.
impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::from(if value { "on" } else { "off" })
    }
}

macro_rules! from_number {
    ($($number:ty),*) => {
        $(impl From<$number> for Value {
            fn from(value: $number) -> Self {
                Self::from_integer(value as i128)
            }
        })*
    };
}

from_number!(i8, i16, i32, i64, u8, u16, u32, u64, usize, isize);

macro_rules! from_float {
    ($($number:ty),*) => {
        /// A NaN converts to a value that `Document::set` rejects, as the server would.
        $(impl From<$number> for Value {
            fn from(value: $number) -> Self {
                Self {
                    is_nan: value.is_nan(),
                    ..Self::from(value.to_string())
                }
            }
        })*
    };
}

from_float!(f32, f64);

/// Converts to the largest unit that expresses the duration exactly. Fractions of a microsecond are
/// truncated. PostgreSQL before 12 rejects the unit `us`.
impl From<Duration> for Value {
    fn from(value: Duration) -> Self {
        const UNITS: [(u128, &str); 5] = [
            (86_400_000_000, "d"),
            (3_600_000_000, "h"),
            (60_000_000, "min"),
            (1_000_000, "s"),
            (1_000, "ms"),
        ];
        Self::from(in_largest_unit(value.as_micros(), &UNITS, "us"))
    }
}

/// Writes the form in a configuration file: `128MB`.
impl fmt::Display for Memory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&Value::from(*self).to_str_lossy())
    }
}

/// Converts to the largest unit that expresses the amount exactly. PostgreSQL 10 rejects the unit
/// `B`.
impl From<Memory> for Value {
    fn from(value: Memory) -> Self {
        const UNITS: [(u128, &str); 4] = [
            (1 << 40, "TB"),
            (1 << 30, "GB"),
            (1 << 20, "MB"),
            (1 << 10, "kB"),
        ];
        Self::from(in_largest_unit(value.0.into(), &UNITS, "B"))
    }
}

fn in_largest_unit(amount: u128, units: &[(u128, &str)], smallest: &str) -> String {
    if amount == 0 {
        return "0".into();
    }
    match units.iter().find(|(size, _)| amount % size == 0) {
        Some((size, unit)) => format!("{}{unit}", amount / size),
        None => format!("{amount}{smallest}"),
    }
}
