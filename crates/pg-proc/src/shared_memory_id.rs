//! The name of a System V shared memory segment, as lock files record it.

/// Names a System V shared memory segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct SharedMemoryId {
    /// Key, chosen from the inode of the data directory.
    pub key: i32,
    /// Number that the kernel gave the segment.
    pub id: i32,
}

impl SharedMemoryId {
    /// Two numbers. Allocates nothing: it is also read after a fork.
    pub(crate) fn from_line(text: &str) -> Option<Self> {
        let mut numbers = text
            .split_ascii_whitespace()
            .map(int_printed_as_unsigned_long);
        match (numbers.next(), numbers.next(), numbers.next()) {
            (Some(Some(key)), Some(Some(id)), None) => Some(Self { key, id }),
            _ => None,
        }
    }
}

/// The server prints both as `%lu` after a cast, so a negative key shows up as a number near 2^64
/// (or 2^32).
fn int_printed_as_unsigned_long(text: &str) -> Option<i32> {
    let wide: u64 = text.parse().ok()?;
    match u32::try_from(wide) {
        Ok(narrow) => Some(narrow as i32),
        Err(_) => i32::try_from(wide as i64).ok(),
    }
}
