//! The list of the files of a template, with their places in its pack.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};

const HEADING: &str = "pg-cluster template 2";

/// The list of a template's files.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    pub(super) stamp: Stamp,
    /// Directories before what is in them; what the server reads at its start before the files of
    /// databases.
    pub(super) entries: Vec<Entry>,
}

/// The data by which the pack that was written with this manifest is recognized.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) size: u64,
    /// Time of the last change: seconds and nanoseconds.
    pub(super) changed: (i64, i64),
    /// Of the content; looked at if the time differs, as after the cache was restored from an
    /// archive.
    pub(super) hash: Hash,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// Relative to the data directory.
    pub(super) path: Utf8PathBuf,
    pub(super) mode: u32,
    pub(super) content: Content,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Content {
    Directory,
    /// A file of this size, zero outside of the extents.
    Packed {
        size: u64,
        extents: Vec<Extent>,
    },
    /// A file that is kept by itself, under this number, and that the file system may be able to
    /// clone.
    Large {
        size: u64,
        number: u32,
    },
}

/// A part of a file, and where it begins in the pack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) offset: u64,
    pub(super) length: u64,
    pub(super) position: u64,
}

impl Stamp {
    pub(super) fn changed(found: &Metadata) -> (i64, i64) {
        (found.mtime(), found.mtime_nsec())
    }
}

impl Entry {
    /// Returns whether this is a file of a database, which nothing reads before the first client is
    /// connected to that database.
    pub(super) fn is_of_database(&self) -> bool {
        is_of_database(&self.path) && self.content != Content::Directory
    }
}

/// `base/OID/...`
pub(super) fn is_of_database(path: &Utf8Path) -> bool {
    path.starts_with("base") && path.components().count() > 2
}

impl Manifest {
    /// Returns the smallest size of a clone, in bytes.
    pub(crate) fn size(&self) -> u64 {
        let of = |entry: &Entry| match &entry.content {
            Content::Directory => 4096,
            Content::Packed { extents, .. } => extents.iter().map(|extent| extent.length).sum(),
            Content::Large { size, .. } => *size,
        };
        self.entries.iter().map(of).sum()
    }

    /// Where the files of databases begin.
    pub(super) fn first_of_databases(&self) -> usize {
        self.entries
            .partition_point(|entry| !entry.is_of_database())
    }

    pub(super) fn to_text(&self) -> String {
        let Stamp {
            size,
            changed,
            hash,
        } = self.stamp;
        let mut text = format!(
            "{HEADING}\nstamp {size} {} {} {:x}\n",
            changed.0, changed.1, hash.0
        );
        for Entry {
            path,
            mode,
            content,
        } in &self.entries
        {
            let line = match content {
                Content::Directory => format!("d {mode:o} 0 - {path}\n"),
                Content::Large { size, number } => format!("l {mode:o} {size} {number} {path}\n"),
                Content::Packed { size, extents } => {
                    let extents: Vec<String> = extents
                        .iter()
                        .map(|extent| {
                            format!("{}:{}:{}", extent.offset, extent.length, extent.position)
                        })
                        .collect();
                    let extents = if extents.is_empty() {
                        "-".to_owned()
                    } else {
                        extents.join(",")
                    };
                    format!("f {mode:o} {size} {extents} {path}\n")
                }
            };
            text.push_str(&line);
        }
        // Distinguishes a complete file from a truncated or changed one.
        let hash = Hash::of(text.as_bytes());
        text.push_str(&format!("end {:x}\n", hash.0));
        text
    }

    /// Returns none if the text was not written by [`to_text`](Self::to_text).
    pub(super) fn parse(text: &str) -> Option<Self> {
        let end = text.strip_suffix('\n')?.rfind('\n')? + 1;
        let (text, end) = text.split_at(end);
        if end != format!("end {:x}\n", Hash::of(text.as_bytes()).0) {
            return None;
        }
        let mut lines = text.lines();
        if lines.next()? != HEADING {
            return None;
        }
        let mut stamp = lines.next()?.strip_prefix("stamp ")?.split(' ');
        let mut entries = Vec::new();
        let stamp = Stamp {
            size: stamp.next()?.parse().ok()?,
            changed: (stamp.next()?.parse().ok()?, stamp.next()?.parse().ok()?),
            hash: Hash(u64::from_str_radix(stamp.next()?, 16).ok()?),
        };
        for line in lines {
            entries.push(entry(line)?);
        }
        Some(Self { stamp, entries })
    }
}

fn entry(line: &str) -> Option<Entry> {
    let mut fields = line.splitn(5, ' ');
    let kind = fields.next()?;
    let mode = u32::from_str_radix(fields.next()?, 8).ok()?;
    let size = fields.next()?.parse().ok()?;
    let place = fields.next()?;
    let path = Utf8PathBuf::from(fields.next()?);
    let content = match kind {
        "d" => Content::Directory,
        "l" => Content::Large {
            size,
            number: place.parse().ok()?,
        },
        "f" if place == "-" => Content::Packed {
            size,
            extents: Vec::new(),
        },
        "f" => {
            let extents = place.split(',').map(extent).collect::<Option<_>>()?;
            Content::Packed { size, extents }
        }
        _ => return None,
    };
    Some(Entry {
        path,
        mode,
        content,
    })
}

fn extent(text: &str) -> Option<Extent> {
    let mut numbers = text.split(':').map(|number| number.parse().ok());
    Some(Extent {
        offset: numbers.next()??,
        length: numbers.next()??,
        position: numbers.next()??,
    })
}

/// FNV-1a over words of eight bytes: against accidents, not against attackers, who have no access
/// to the cache.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hash(u64);

impl Hash {
    pub(super) const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    pub(super) fn of(bytes: &[u8]) -> Self {
        let mut hash = Self::new();
        hash.add(bytes);
        hash
    }

    /// Adds bytes; all but the last call with a multiple of eight of them.
    pub(super) fn add(&mut self, bytes: &[u8]) {
        let chunks = bytes.chunks_exact(8);
        let rest = chunks.remainder();
        for chunk in chunks {
            let word: [u8; 8] = chunk.try_into().unwrap_or_default();
            self.mix(u64::from_le_bytes(word));
        }
        for &byte in rest {
            self.mix(u64::from(byte));
        }
    }

    fn mix(&mut self, word: u64) {
        self.0 = (self.0 ^ word)
            .wrapping_mul(0x0100_0000_01b3)
            .rotate_left(23);
    }

    pub(super) const fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        let manifest = Manifest {
            stamp: Stamp {
                size: 7,
                changed: (-3, 5),
                hash: Hash::of(b"x"),
            },
            entries: vec![
                Entry {
                    path: "base".into(),
                    mode: 0o700,
                    content: Content::Directory,
                },
                Entry {
                    path: "base/1/a b".into(),
                    mode: 0o600,
                    content: Content::Packed {
                        size: 9,
                        extents: vec![
                            Extent {
                                offset: 1,
                                length: 2,
                                position: 3,
                            },
                            Extent {
                                offset: 4,
                                length: 5,
                                position: 6,
                            },
                        ],
                    },
                },
                Entry {
                    path: "x".into(),
                    mode: 0o640,
                    content: Content::Packed {
                        size: 1,
                        extents: vec![],
                    },
                },
                Entry {
                    path: "y".into(),
                    mode: 0o600,
                    content: Content::Large { size: 1, number: 3 },
                },
            ],
        };
        let text = manifest.to_text();
        assert_eq!(Manifest::parse(&text), Some(manifest));
        for end in 0..text.len() {
            assert_eq!(Manifest::parse(&text[..end]), None, "cut at {end}");
            let mut changed = text.clone().into_bytes();
            changed[end] ^= 1;
            let changed = String::from_utf8(changed).unwrap();
            assert_eq!(Manifest::parse(&changed), None, "changed at {end}");
        }
    }
}
