//! The system identifier of a clone, in its control file and in its write-ahead log.
//!
//! `initdb` chooses it (`BootStrapXLOG` in src/backend/access/transam/xlog.c), and the server
//! writes it in two places: the first field of `ControlFileData`, whose last field is a CRC-32C of
//! all fields before it (src/include/catalog/pg_control.h), and the long header of the first page
//! of each WAL segment (`XLogLongPageHeaderData` in src/include/access/xlog_internal.h), which no
//! checksum covers. At its start the server compares the two (`XLogReaderValidatePageHeader` in
//! src/backend/access/transam/xlogreader.c). This holds for PostgreSQL 10 to 18.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

use camino::Utf8Path;

/// The control file, below the data directory.
pub(super) const CONTROL_FILE: &str = "global/pg_control";
/// `PG_CONTROL_MAX_SAFE_SIZE`: no server's control data are longer, in bytes.
const LONGEST: usize = 512;
/// Where a WAL segment's address and identifier begin: after the short header, whose size is
/// rounded up to the alignment of 64-bit integers.
const PAGE_ADDRESS: usize = 8;
const PAGE_IDENTIFIERS: [usize; 2] = [24, 20];
/// `XLP_LONG_HEADER`, in the 16 bits after the magic number.
const LONG_HEADER: u16 = 2;

/// The identifier of a template, and the one of a clone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    old: u64,
    new: u64,
}

impl Identity {
    /// A new identifier for a clone of a template with this control file; none if that is not one
    /// of a known form.
    pub(super) fn fresh(control: &[u8]) -> Option<Self> {
        checksum_position(control)?;
        Some(Self {
            old: u64_at(control, 0)?,
            new: fresh_identifier(),
        })
    }

    /// Writes the new identifier into the first bytes of a file of the template, at least a page
    /// where the file is that long. A file without the identifier stays as it is.
    pub(super) fn write(self, path: &Utf8Path, bytes: &mut [u8]) {
        if path == CONTROL_FILE {
            let _ = self.write_control(bytes);
        } else if is_segment(path) {
            let _ = self.write_segment(bytes);
        }
    }

    fn write_control(self, control: &mut [u8]) -> Option<()> {
        let end = checksum_position(control)?;
        if u64_at(control, 0)? != self.old {
            return None;
        }
        put(control, 0, &self.new.to_ne_bytes())?;
        let checksum = crc32c(control.get(..end)?);
        put(control, end, &checksum.to_ne_bytes())
    }

    fn write_segment(self, segment: &mut [u8]) -> Option<()> {
        if u16_at(segment, 2)? & LONG_HEADER == 0 {
            return None;
        }
        let place = PAGE_IDENTIFIERS
            .into_iter()
            .find(|&place| u64_at(segment, place) == Some(self.old))?;
        put(segment, place, &self.new.to_ne_bytes())
    }
}

/// Returns whether this is a WAL segment: `IsXLogFileName` in src/include/access/xlog_internal.h.
pub(super) fn is_segment(path: &Utf8Path) -> bool {
    path.parent() == Some(Utf8Path::new("pg_wal"))
        && path
            .file_name()
            .is_some_and(|name| name.len() == 24 && name.bytes().all(|b| b.is_ascii_hexdigit()))
}

/// Makes an identifier as `initdb` does, with the time in seconds in the upper half. The lower half
/// is random.
fn fresh_identifier() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let seconds = now.map_or(0, |time| time.as_secs());
    let random = RandomState::new().build_hasher().finish();
    seconds << 32 | random & 0xffff_ffff
}

/// The place of the checksum, which is the last thing before zeros and fits the bytes before it.
fn checksum_position(control: &[u8]) -> Option<usize> {
    let data = control.get(..LONGEST)?;
    let last = data.iter().rposition(|&byte| byte != 0)?;
    let place = last / 4 * 4;
    let stored = u32::from_ne_bytes(data.get(place..place + 4)?.try_into().ok()?);
    (stored == crc32c(data.get(..place)?)).then_some(place)
}

/// CRC-32C (Castagnoli), a bit at a time: some hundred bytes for each clone.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.iter().fold(!0, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            crc >> 1 ^ (POLYNOMIAL & (crc & 1).wrapping_neg())
        })
    })
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

pub(super) fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}

fn put(bytes: &mut [u8], at: usize, value: &[u8]) -> Option<()> {
    bytes.get_mut(at..at + value.len())?.copy_from_slice(value);
    Some(())
}

/// The address of a WAL segment's first byte, as the segment says.
pub(super) fn address_of_segment(segment: &[u8]) -> Option<u64> {
    u64_at(segment, PAGE_ADDRESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn control(identifier: u64, length: usize) -> Vec<u8> {
        let mut control = vec![0; 4096];
        control[..8].copy_from_slice(&identifier.to_ne_bytes());
        control[8..length].fill(7);
        let checksum = crc32c(&control[..length]);
        control[length..length + 4].copy_from_slice(&checksum.to_ne_bytes());
        control
    }

    /// The check value of the algorithm's catalogs.
    #[test]
    fn the_checksum_is_crc_32c() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
        assert_eq!(crc32c(b""), 0);
    }

    #[test]
    fn the_identifier_changes_and_nothing_but_the_checksum_with_it() {
        for length in (32..LONGEST - 4).step_by(4) {
            let old = control(5, length);
            let identity = Identity::fresh(&old).unwrap();
            let mut new = old.clone();
            identity.write(CONTROL_FILE.into(), &mut new);
            assert_eq!(new, control(identity.new, length));
        }
    }

    #[test]
    fn an_unknown_control_file_stays_as_it_is() {
        let mut wrong = control(5, 288);
        wrong[100] ^= 1;
        assert!(Identity::fresh(&wrong).is_none());
        assert!(Identity::fresh(&[0; 4096]).is_none());
        assert!(Identity::fresh(b"short").is_none());
    }

    #[test]
    fn only_segments_of_the_template_are_changed() {
        let identity = Identity { old: 5, new: 6 };
        let mut segment = [0; 64];
        segment[2..4].copy_from_slice(&LONG_HEADER.to_ne_bytes());
        segment[24..32].copy_from_slice(&5_u64.to_ne_bytes());
        let mut changed = segment;
        identity.write("pg_wal/000000010000000000000001".into(), &mut changed);
        assert_eq!(u64_at(&changed, 24), Some(6));
        for other in ["pg_wal/00000002.history", "base/000000010000000000000001"] {
            let mut same = segment;
            identity.write(other.into(), &mut same);
            assert_eq!(same, segment, "{other}");
        }
    }
}
