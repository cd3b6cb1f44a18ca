//! `global/pg_control`: the identity, the formats and the state of a cluster.

use std::fmt;
use std::io::{self, Read as _};
use std::str::FromStr;

use camino::{Utf8Path, Utf8PathBuf};

use crate::files::lsn::Lsn;
use crate::fs::directory::Directory;

/// The identity, the formats and the state of a cluster, from its control file.
///
/// [`read`](Self::read) takes them from the file, whose first 20 bytes have kept their meaning
/// since PostgreSQL 8.1 (src/include/catalog/pg_control.h); what comes after is known of
/// PostgreSQL 10 to 18. The output of `pg_controldata`, which can be parsed, has
/// [`data_checksums`](Self::data_checksums) and all other entries as well.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct ControlData {
    /// The number that a primary and its standbys share. No other cluster has it.
    pub system_identifier: u64,
    /// The format of the control file: 1300 for PostgreSQL 13 to 16.
    pub control_version: u32,
    /// The format of the system catalogs: 202209061 for PostgreSQL 15.
    pub catalog_version: u32,
    /// The state when the server last wrote the file: [`InProduction`](ControlState::InProduction)
    /// for a running server and for one that was killed.
    pub state: ControlState,
    /// True if data pages carry checksums.
    pub data_checksums: Option<bool>,
    /// True if changes of hint bits are logged: the setting `wal_log_hints` when the server last
    /// wrote the file. `pg_rewind` needs this setting or checksums.
    pub wal_log_hints: Option<bool>,
    /// The timeline of the last checkpoint. A promoted standby writes its new one within its first
    /// checkpoint, a moment after it has become a primary.
    pub timeline: Option<u32>,
    /// The position of the last checkpoint. Everything before was replayed or written.
    pub checkpoint: Option<Lsn>,
    /// The position to which a standby has to replay before it is consistent. The standby has
    /// replayed up to this position, or it was not shut down properly. None on a primary.
    pub minimum_recovery: Option<Lsn>,
    /// Everything `pg_controldata` printed, label and value, in its order and its English wording.
    pub entries: Vec<(String, String)>,
}

/// The state of a cluster: `DBState` in src/include/catalog/pg_control.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "snake_case"))]
#[non_exhaustive]
pub enum ControlState {
    /// `initdb` has begun and has not finished.
    Starting,
    /// Shut down properly.
    ShutDown,
    /// A standby that was shut down properly.
    ShutDownInRecovery,
    /// Writing its shutdown checkpoint, or killed while it wrote it.
    ShuttingDown,
    /// Replaying the write-ahead log after a crash.
    CrashRecovery,
    /// Replaying an archive, or a standby.
    ArchiveRecovery,
    /// Running, or killed while it ran.
    InProduction,
}

/// The control data of a cluster could not be read.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the control data{}", in_directory(.data_directory.as_deref()))]
pub struct ControlDataError {
    pub(crate) data_directory: Option<Utf8PathBuf>,
    #[source]
    pub(crate) kind: ControlDataErrorKind,
}

/// The reason why the control data of a cluster could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlDataErrorKind {
    /// `global/pg_control` cannot be read.
    #[error("the file global/pg_control cannot be read")]
    File(#[source] io::Error),
    /// The state in the file is not a known one.
    #[error("the state {0} is not known")]
    State(u32),
    /// The output of `pg_controldata` lacks an entry, or its value is not a known one.
    #[error("the output of pg_controldata has no valid entry `{0}`")]
    Entry(&'static str),
}

impl ControlDataError {
    /// The data directory; none for the output of `pg_controldata`.
    pub fn data_directory(&self) -> Option<&Utf8Path> {
        self.data_directory.as_deref()
    }

    /// The reason.
    pub fn kind(&self) -> &ControlDataErrorKind {
        &self.kind
    }
}

fn in_directory(data_directory: Option<&Utf8Path>) -> String {
    data_directory.map_or_else(String::new, |path| format!(" of {path}"))
}

impl ControlData {
    /// Reads the beginning of `global/pg_control`, in this machine's byte order.
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read, or its state is not known.
    pub fn read(data_directory: impl AsRef<Utf8Path>) -> Result<Self, ControlDataError> {
        let data_directory = data_directory.as_ref();
        Directory::open(data_directory)
            .map_err(ControlDataErrorKind::File)
            .and_then(|directory| read(&directory))
            .map_err(|kind| ControlDataError {
                data_directory: Some(data_directory.to_owned()),
                kind,
            })
    }

    /// Reads the file of a data directory that is held open, as [`read`](Self::read) does.
    ///
    /// # Errors
    ///
    /// Fails as [`read`](Self::read) does.
    pub fn read_in(data_directory: &Directory) -> Result<Self, ControlDataError> {
        read(data_directory).map_err(|kind| ControlDataError {
            data_directory: None,
            kind,
        })
    }
}

fn read(data_directory: &Directory) -> Result<ControlData, ControlDataErrorKind> {
    let mut head = Vec::new();
    data_directory
        .entry("global/pg_control")
        .and_then(|entry| entry.open_file())
        .and_then(|file| file.take(LONGEST).read_to_end(&mut head))
        .map_err(ControlDataErrorKind::File)?;
    let short = || ControlDataErrorKind::File(io::ErrorKind::UnexpectedEof.into());
    let word = |at: usize| {
        let bytes = head.get(at..at + 4)?;
        Some(u32::from_ne_bytes(bytes.try_into().ok()?))
    };
    let long = |at: usize| {
        let bytes = head.get(at..at + 8)?;
        Some(u64::from_ne_bytes(bytes.try_into().ok()?))
    };
    let state = word(16).ok_or_else(short)?;
    let control_version = word(8).ok_or_else(short)?;
    let places = places(control_version);
    let position = |at: usize| long(at).and_then(Lsn::valid);
    Ok(ControlData {
        system_identifier: long(0).ok_or_else(short)?,
        control_version,
        catalog_version: word(12).ok_or_else(short)?,
        state: ControlState::from_number(state).ok_or(ControlDataErrorKind::State(state))?,
        data_checksums: None,
        wal_log_hints: places.and_then(|(_, recovery)| Some(*head.get(recovery + 40)? != 0)),
        timeline: places.and_then(|(copy, _)| word(copy + 8)),
        checkpoint: places.and_then(|_| position(32)),
        minimum_recovery: places.and_then(|(_, recovery)| position(recovery)),
        entries: Vec::new(),
    })
}

/// The number of bytes of the file that are read: enough for every field used here.
const LONGEST: u64 = 256;

/// The offsets of `checkPointCopy` and `minRecoveryPoint` in `ControlFileData`, for each
/// `PG_CONTROL_VERSION`. PostgreSQL 11 removed the field for the previous checkpoint, and 12
/// widened the transaction ID in the copy. The fields from `minRecoveryPoint` to `wal_log_hints`
/// have not changed.
fn places(control_version: u32) -> Option<(usize, usize)> {
    match control_version {
        1002 => Some((48, 136)),
        1100 => Some((40, 128)),
        1201 | 1300 | 1800 => Some((40, 136)),
        _ => None,
    }
}

/// Reads the output of `pg_controldata` under the locale `C`.
///
/// ```
/// use pg_proc::{ControlData, ControlState};
///
/// let output = "pg_control version number:            1300\n\
///               Catalog version number:               202209061\n\
///               Database system identifier:           7000000000000000000\n\
///               Database cluster state:               shut down\n\
///               Data page checksum version:           1\n";
/// let control: ControlData = output.parse()?;
/// assert_eq!(control.state, ControlState::ShutDown);
/// assert_eq!(control.data_checksums, Some(true));
/// # Ok::<(), pg_proc::ControlDataError>(())
/// ```
impl FromStr for ControlData {
    type Err = ControlDataError;

    fn from_str(text: &str) -> Result<Self, ControlDataError> {
        parse(text).map_err(|label| ControlDataError {
            data_directory: None,
            kind: ControlDataErrorKind::Entry(label),
        })
    }
}

/// The data, or the label of an entry that is missing.
fn parse(text: &str) -> Result<ControlData, &'static str> {
    let entries: Vec<(String, String)> = text
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(label, value)| (label.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let find = |label: &'static str| {
        let found = entries.iter().find(|(found, _)| found == label);
        found.map(|(_, value)| value.as_str()).ok_or(label)
    };
    let position = |label| {
        let lsn = number::<Lsn>(label, find).ok()?;
        Lsn::valid(lsn.as_u64())
    };
    Ok(ControlData {
        system_identifier: number("Database system identifier", find)?,
        control_version: number("pg_control version number", find)?,
        catalog_version: number("Catalog version number", find)?,
        state: find("Database cluster state")?
            .parse()
            .map_err(|_| "Database cluster state")?,
        data_checksums: number::<u32>("Data page checksum version", find)
            .ok()
            .map(|version| version != 0),
        wal_log_hints: find("wal_log_hints setting")
            .ok()
            .map(|value| value == "on"),
        timeline: number("Latest checkpoint's TimeLineID", find).ok(),
        checkpoint: position("Latest checkpoint location"),
        minimum_recovery: position("Minimum recovery ending location"),
        entries,
    })
}

fn number<'t, T: FromStr>(
    label: &'static str,
    find: impl Fn(&'static str) -> Result<&'t str, &'static str>,
) -> Result<T, &'static str> {
    find(label)?.parse().map_err(|_| label)
}

impl ControlState {
    /// `DBState`, in the order of its declaration; number 0 is `DB_STARTUP`.
    const ALL: [(Self, &'static str); 7] = [
        (Self::Starting, "starting up"),
        (Self::ShutDown, "shut down"),
        (Self::ShutDownInRecovery, "shut down in recovery"),
        (Self::ShuttingDown, "shutting down"),
        (Self::CrashRecovery, "in crash recovery"),
        (Self::ArchiveRecovery, "in archive recovery"),
        (Self::InProduction, "in production"),
    ];

    fn from_number(number: u32) -> Option<Self> {
        Self::ALL.get(number as usize).map(|(state, _)| *state)
    }

    /// The words of `pg_controldata`, such as `in production`.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(state, _)| *state == self)
            .map_or("", |(_, text)| text)
    }
}

impl fmt::Display for ControlState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Reads the words of `pg_controldata`.
impl FromStr for ControlState {
    type Err = ParseControlStateError;

    fn from_str(text: &str) -> Result<Self, ParseControlStateError> {
        let found = Self::ALL.iter().find(|(_, words)| *words == text);
        found
            .map(|(state, _)| *state)
            .ok_or(ParseControlStateError(()))
    }
}

/// The text is not one of the states that `pg_controldata` prints.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the text is not a cluster state")]
pub struct ParseControlStateError(());
