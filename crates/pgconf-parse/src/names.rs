//! Names of settings as keys of hash tables, without copies and without regard to ASCII case.

use std::borrow::Cow;
use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};

use crate::name::same_name;

/// A table by names of settings.
pub(crate) type Names<'a, T> = HashMap<Key<'a>, T, Seed>;

/// A name, compared as the server compares names.
#[derive(Clone, Debug)]
pub(crate) struct Key<'a>(pub(crate) Cow<'a, [u8]>);

impl<'a> Key<'a> {
    pub(crate) fn of(name: &'a [u8]) -> Self {
        Self(Cow::Borrowed(name))
    }

    pub(crate) fn owned(name: &[u8]) -> Self {
        Self(Cow::Owned(name.to_vec()))
    }
}

impl PartialEq for Key<'_> {
    fn eq(&self, other: &Self) -> bool {
        same_name(&self.0, &other.0)
    }
}

impl Eq for Key<'_> {}

impl Hash for Key<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(&self.0);
    }
}

/// A secret of the process, so that no file can be made whose names all collide.
#[derive(Clone, Debug)]
pub(crate) struct Seed(u64);

impl Default for Seed {
    fn default() -> Self {
        Self(RandomState::new().hash_one(0))
    }
}

impl BuildHasher for Seed {
    type Hasher = Folding;

    fn build_hasher(&self) -> Folding {
        Folding(self.0)
    }
}

/// Multiplies eight bytes at a time into the state, the bit in which upper and lower case differ
/// set in all of them. Names are short, and SipHash would take longer than parsing their lines.
#[derive(Debug)]
pub(crate) struct Folding(u64);

impl Folding {
    #[inline]
    fn mix(&mut self, word: u64) {
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let product = u128::from(self.0 ^ word) * u128::from(ODD);
        self.0 = (product as u64) ^ (product >> 64) as u64;
    }
}

impl Hasher for Folding {
    #[inline]
    fn write(&mut self, bytes: &[u8]) {
        const LOWER: u64 = 0x2020_2020_2020_2020;
        let mut words = bytes.chunks_exact(8);
        for word in &mut words {
            // The chunks have that length.
            let word = word.try_into().map_or(0, u64::from_le_bytes);
            self.mix(word | LOWER);
        }
        let rest = words.remainder();
        let word = rest
            .iter()
            .fold(0, |word, &byte| word << 8 | u64::from(byte));
        self.mix(word | LOWER);
        self.mix(bytes.len() as u64);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
