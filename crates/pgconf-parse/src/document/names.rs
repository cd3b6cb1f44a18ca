//! A hash table that finds lines by setting name without copies of the names.

use std::hash::{BuildHasher as _, RandomState};

/// Maps setting names to numbers. The table does not store the names, so each lookup takes a
/// function that compares the name of a number with the name in question.
#[derive(Debug)]
pub(crate) struct Names {
    /// The number and the upper half of the hash. Linear probing, at most half full.
    slots: Vec<(u32, u32)>,
    used: usize,
    /// A random seed, so that a file whose names all collide cannot be crafted.
    seed: u64,
}

/// The value of an empty slot.
pub(crate) const NONE: u32 = u32::MAX;

impl Names {
    pub(crate) fn with_capacity(names: usize) -> Self {
        Self {
            slots: vec![(NONE, 0); (names * 2).next_power_of_two().max(8)],
            used: 0,
            seed: RandomState::new().hash_one(0),
        }
    }

    pub(crate) fn get(&self, name: &[u8], is_it: impl Fn(u32) -> bool) -> Option<u32> {
        let number = self.slots[self.slot(self.hash(name), is_it)].0;
        (number != NONE).then_some(number)
    }

    /// Sets the number of the name and returns the previous one.
    pub(crate) fn insert(
        &mut self,
        name: &[u8],
        number: u32,
        is_it: impl Fn(u32) -> bool,
    ) -> Option<u32> {
        self.update(name, is_it, |_| number)
    }

    /// Sets the number of the name to the result of `new`, which receives the previous number, and
    /// returns the previous number.
    pub(crate) fn update(
        &mut self,
        name: &[u8],
        is_it: impl Fn(u32) -> bool,
        new: impl FnOnce(Option<u32>) -> u32,
    ) -> Option<u32> {
        let hash = self.hash(name);
        let slot = self.slot(hash, is_it);
        let number = self.slots[slot].0;
        let before = (number != NONE).then_some(number);
        self.slots[slot] = (new(before), (hash >> 32) as u32);
        if before.is_none() {
            self.used += 1;
            if self.used * 2 > self.slots.len() {
                self.grow();
            }
        }
        before
    }

    fn grow(&mut self) {
        let larger = vec![(NONE, 0); self.slots.len() * 2];
        for (number, part) in std::mem::replace(&mut self.slots, larger) {
            if number != NONE {
                let slot = self.slot(u64::from(part) << 32, |_| false);
                self.slots[slot] = (number, part);
            }
        }
    }

    /// Returns the slot of the name, or the empty slot where it belongs.
    fn slot(&self, hash: u64, is_it: impl Fn(u32) -> bool) -> usize {
        let part = (hash >> 32) as u32;
        let mask = self.slots.len() - 1;
        let mut at = part as usize & mask;
        while self.slots[at].0 != NONE && !(self.slots[at].1 == part && is_it(self.slots[at].0)) {
            at = (at + 1) & mask;
        }
        at
    }

    /// Hashes a name without regard to ASCII case.
    ///
    /// Eight bytes at a time are multiplied into the state. The bit in which upper and lower case
    /// differ is set in all of them. SipHash would take longer than parsing the line.
    fn hash(&self, name: &[u8]) -> u64 {
        const LOWER: u64 = 0x2020_2020_2020_2020;
        const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
        let mix = |state: u64, word: u64| {
            let product = u128::from(state ^ word) * u128::from(ODD);
            (product as u64) ^ (product >> 64) as u64
        };
        let mut state = self.seed ^ name.len() as u64;
        let rest = match name.last_chunk() {
            Some(last) => {
                for word in name[..name.len() - 1].chunks_exact(8) {
                    // Infallible: `chunks_exact` yields eight bytes.
                    let word = word.try_into().map_or(0, u64::from_le_bytes);
                    state = mix(state, word | LOWER);
                }
                // The last eight bytes may overlap the word before.
                u64::from_le_bytes(*last)
            }
            None => name.iter().fold(0, |word, &b| word << 8 | u64::from(b)),
        };
        mix(mix(state, rest | LOWER), self.seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookup_ignores_case_and_survives_growth() {
        let all: Vec<String> = (0..5_000).map(|n| format!("Setting_{n}.x")).collect();
        let mut names = Names::with_capacity(0);
        let is = |name: &str| {
            let name = name.to_owned();
            let all = &all;
            move |n: u32| all[n as usize].eq_ignore_ascii_case(&name)
        };
        for (n, name) in all.iter().enumerate() {
            assert_eq!(names.insert(name.as_bytes(), n as u32, is(name)), None);
        }
        for (n, name) in all.iter().enumerate() {
            let upper = name.to_uppercase();
            assert_eq!(names.get(upper.as_bytes(), is(&upper)), Some(n as u32));
        }
        assert_eq!(names.get(b"other", is("other")), None);
        assert_eq!(names.insert(b"SETTING_7.X", 3, is("setting_7.x")), Some(7));
    }
}
