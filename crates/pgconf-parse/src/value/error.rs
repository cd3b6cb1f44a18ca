//! Errors of typed readings.

use std::borrow::Cow;
use std::fmt;

use crate::bytes::Bytes;
use crate::value::unit::BaseUnit;

/// The error of typed readings: the value does not have the requested type.
///
/// ```
/// use pgconf_parse::{BaseUnit, Document};
///
/// let doc = Document::parse("work_mem = 64Mb\n");
/// let error = doc.get("work_mem").unwrap().to_int(BaseUnit::Kilobyte).unwrap_err();
/// assert_eq!(error.to_string(), "`64Mb` is not a number with a valid unit");
/// assert_eq!(error.hint().unwrap(), "valid units are B, kB, MB, GB, TB");
/// ```
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

    /// The value that could not be read.
    #[must_use]
    pub fn value(&self) -> &[u8] {
        &self.value
    }

    /// Advice on what to write instead, if there is any.
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
                Wanted::Word(_) => "one of the values that the setting accepts",
            }
        )
    }
}

impl std::error::Error for ValueError {}
