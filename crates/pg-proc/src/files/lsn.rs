//! Positions in the write-ahead log.

use std::fmt;
use std::str::FromStr;

/// A position in the write-ahead log: a log sequence number, which counts the bytes of the log.
///
/// The text form is that of PostgreSQL, `16/B374D848`: two hexadecimal numbers of 32 bits (the type
/// `pg_lsn`, src/backend/utils/adt/pg_lsn.c). The feature `serde` serializes this form.
///
/// ```
/// use pg_proc::Lsn;
///
/// let earlier: Lsn = "16/B374D848".parse()?;
/// let later = Lsn::new(earlier.as_u64() + 4096);
/// assert!(later > earlier);
/// assert_eq!(later.to_string(), "16/B374E848");
/// assert_eq!(later.bytes_since(earlier), 4096);
/// # Ok::<(), pg_proc::ParseLsnError>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lsn(u64);

impl Lsn {
    /// The position this number of bytes later in the log.
    pub const fn new(position: u64) -> Self {
        Self(position)
    }

    /// The position as a number of bytes.
    pub const fn as_u64(self) -> u64 {
        self.0
    }

    /// The bytes of the log between an earlier position and this one; 0 if the other position is
    /// not earlier.
    pub const fn bytes_since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// A position from a control file, where 0 stands for none (`InvalidXLogRecPtr`).
    pub(crate) fn valid(position: u64) -> Option<Self> {
        (position != 0).then_some(Self(position))
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&format!("{:X}/{:X}", self.0 >> 32, self.0 & 0xffff_ffff))
    }
}

/// Reads `X/Y`, with one to eight hexadecimal digits on each side (`pg_lsn_in_internal`).
impl FromStr for Lsn {
    type Err = ParseLsnError;

    fn from_str(text: &str) -> Result<Self, ParseLsnError> {
        let half = |digits: &str| {
            let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
            ((1..=8).contains(&digits.len()) && is_hex)
                .then(|| u64::from_str_radix(digits, 16).ok())
                .flatten()
        };
        text.split_once('/')
            .and_then(|(high, low)| Some(Self(half(high)? << 32 | half(low)?)))
            .ok_or(ParseLsnError(()))
    }
}

/// The text is not a position in the write-ahead log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a position in the write-ahead log, such as 16/B374D848")]
pub struct ParseLsnError(());

#[cfg(feature = "serde")]
mod with_serde {
    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    use super::Lsn;

    impl Serialize for Lsn {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_str(self)
        }
    }

    impl<'de> Deserialize<'de> for Lsn {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let text = <std::borrow::Cow<'_, str>>::deserialize(deserializer)?;
            text.parse().map_err(Error::custom)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        for position in [0, 1, 0xffff_ffff, 1 << 32, u64::MAX, 0x16_b374_d848] {
            let lsn = Lsn::new(position);
            assert_eq!(lsn.to_string().parse(), Ok(lsn));
        }
        // The format of PostgreSQL 19.
        assert_eq!("0/0300A148".parse(), Ok(Lsn::new(0x300_a148)));
    }

    #[test]
    fn what_the_server_rejects_is_not_a_position() {
        for text in [
            "",
            "/",
            "0/",
            "/0",
            "0/0/0",
            "0/123456789",
            "+1/0",
            "0/ 1",
            "0x1/0",
            "G/0",
        ] {
            assert!(text.parse::<Lsn>().is_err(), "{text}");
        }
    }

    #[test]
    fn order_and_difference_are_those_of_the_log() {
        let position = |text: &str| text.parse::<Lsn>().unwrap();
        assert!(position("1/0") > position("0/FFFFFFFF"));
        assert_eq!(position("1/0").bytes_since(position("0/FFFFFFFF")), 1);
        assert_eq!(position("0/1").bytes_since(position("1/0")), 0);
    }
}
