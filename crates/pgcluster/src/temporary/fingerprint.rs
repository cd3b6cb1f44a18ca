//! A fingerprint of files, by which a change is noticed.

use std::fs;
use std::io;

use camino::{Utf8Path, Utf8PathBuf};

/// The names and the content of all files in these paths, in 32 hexadecimal digits: the 128-bit
/// FNV-1a hash. It notices changes, and is not made to resist an attacker, who could as well change
/// the command.
pub(super) fn of(paths: &[Utf8PathBuf]) -> Result<String, FingerprintError> {
    let mut hash = Fnv::new();
    for path in paths {
        add(path, path, &mut hash)?;
    }
    Ok(format!("{:032x}", hash.0))
}

fn add(path: &Utf8Path, root: &Utf8Path, hash: &mut Fnv) -> Result<(), FingerprintError> {
    let failed = |error| FingerprintError {
        path: path.to_owned(),
        error,
    };
    let name = path.strip_prefix(root).unwrap_or(path);
    hash.add(name.as_str().as_bytes());
    if fs::metadata(path).map_err(failed)?.is_dir() {
        let entries = path.read_dir_utf8().map_err(failed)?;
        let entries: Result<Vec<_>, _> = entries.collect();
        let mut entries = entries.map_err(failed)?;
        entries.sort_by(|a, b| a.file_name().cmp(b.file_name()));
        for entry in entries {
            add(entry.path(), root, hash)?;
        }
    } else {
        hash.add(&fs::read(path).map_err(failed)?);
    }
    Ok(())
}

/// A file that a setup step depends on cannot be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read {path}, which the setup depends on")]
pub(super) struct FingerprintError {
    path: Utf8PathBuf,
    #[source]
    error: io::Error,
}

struct Fnv(u128);

impl Fnv {
    const fn new() -> Self {
        Self(0x6c62_272e_07bb_0142_62b8_2175_6295_c58d)
    }

    /// Adds a text after its length, so that two texts are not taken for one.
    fn add(&mut self, bytes: &[u8]) {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        for byte in length.to_le_bytes().iter().chain(bytes) {
            self.0 = (self.0 ^ u128::from(*byte)).wrapping_mul(0x0100_0000_0000_0000_0000_013b);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_change_of_a_name_or_a_content_changes_the_fingerprint() {
        let directory = std::env::temp_dir().join(format!("fingerprint-{}", std::process::id()));
        let directory = Utf8PathBuf::from_path_buf(directory).unwrap();
        fs::create_dir_all(directory.join("sub")).unwrap();
        let print = || of(std::slice::from_ref(&directory)).unwrap();
        fs::write(directory.join("sub/a"), "12").unwrap();
        let first = print();
        assert_eq!(first, print());
        fs::write(directory.join("sub/b"), "").unwrap();
        let second = print();
        fs::rename(directory.join("sub/b"), directory.join("sub/c")).unwrap();
        let third = print();
        fs::write(directory.join("sub/a"), "1").unwrap();
        let fourth = print();
        fs::remove_dir_all(&directory).unwrap();
        let mut all = [first, second, third, fourth];
        all.sort();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]), "{all:?}");
        assert!(of(&[directory]).is_err());
    }
}
