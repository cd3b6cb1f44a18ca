//! Bytes that are nearly always text.

use std::fmt;
use std::ops::Deref;

/// Bytes that a debugging programmer sees as text, with replacement characters where they are not
/// UTF-8.
#[derive(Clone, PartialEq, Eq, Hash)]
pub(crate) struct Bytes(Box<[u8]>);

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

impl<T: Into<Box<[u8]>>> From<T> for Bytes {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self), f)
    }
}
