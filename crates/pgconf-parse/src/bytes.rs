//! Byte strings with inline storage for short values.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::ops::Deref;

/// A byte string whose `Debug` form is text, with replacement characters where the bytes are not
/// UTF-8.
#[derive(Clone)]
pub(crate) struct Bytes(Place);

/// The number of bytes that fit, with their length, into the size of a `Vec`.
const SHORT: usize = 22;

/// Most values are short, and an allocation for each would cost more than the copy.
#[derive(Clone)]
enum Place {
    Here { length: u8, bytes: [u8; SHORT] },
    Elsewhere(Vec<u8>),
}

impl Deref for Bytes {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.0 {
            Place::Here { length, bytes } => &bytes[..usize::from(*length)],
            Place::Elsewhere(bytes) => bytes,
        }
    }
}

impl From<&[u8]> for Bytes {
    #[inline]
    fn from(text: &[u8]) -> Self {
        let mut bytes = [0; SHORT];
        Self(match bytes.get_mut(..text.len()) {
            Some(room) => {
                room.copy_from_slice(text);
                let length = text.len() as u8;
                Place::Here { length, bytes }
            }
            None => Place::Elsewhere(text.to_vec()),
        })
    }
}

impl From<Vec<u8>> for Bytes {
    fn from(bytes: Vec<u8>) -> Self {
        Self(Place::Elsewhere(bytes))
    }
}

impl PartialEq for Bytes {
    fn eq(&self, other: &Self) -> bool {
        **self == **other
    }
}

impl Eq for Bytes {}

impl Hash for Bytes {
    fn hash<H: Hasher>(&self, state: &mut H) {
        (**self).hash(state);
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(self), f)
    }
}
