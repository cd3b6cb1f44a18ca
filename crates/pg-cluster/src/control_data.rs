//! What `global/pg_control` says of a cluster.

use std::io::{self, Read as _};
use std::str::FromStr;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::Directory;

/// The heart of a data directory's control file.
///
/// With `pg_controldata` in the installation everything is filled in. Without it the fields are
/// read from the file itself, whose first 20 bytes have kept their meaning since PostgreSQL 8.1
/// (src/include/catalog/pg_control.h): then [`data_checksums`](Self::data_checksums) and the rest
/// are absent.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ControlData {
    /// The number that all servers of one replication family share and no other cluster has.
    pub system_identifier: u64,
    /// The format of the control file: 1300 for PostgreSQL 13 to 16.
    pub control_version: u32,
    /// The format of the system catalogs: 202209061 for PostgreSQL 15.
    pub catalog_version: u32,
    /// How the server was doing when it last wrote the file. Of a running server it says so, of a
    /// killed one as well.
    pub state: ControlState,
    /// Whether data pages carry checksums.
    pub data_checksums: Option<bool>,
    /// Everything `pg_controldata` printed, label and value, in its order and its English wording.
    pub entries: Vec<(String, String)>,
}

/// `Database cluster state`: `DBState` in src/include/catalog/pg_control.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ControlState {
    /// `initdb` has begun and never finished.
    Starting,
    /// Shut down in good order.
    ShutDown,
    /// A standby that was shut down in good order.
    ShutDownInRecovery,
    /// Writing its last checkpoint; after a crash: it did not finish.
    ShuttingDown,
    /// Replaying the write-ahead log after a crash.
    CrashRecovery,
    /// Replaying an archive, or a standby.
    ArchiveRecovery,
    /// Running, or killed while it ran.
    InProduction,
}

/// Why the control file gave no answer.
#[derive(Debug, thiserror::Error)]
#[error("failed to read the control data of {data_directory}")]
#[non_exhaustive]
pub struct ControlDataError {
    /// The cluster's data directory.
    pub data_directory: Utf8PathBuf,
    /// The cause.
    #[source]
    pub kind: ControlDataErrorKind,
}

/// The cause of a [`ControlDataError`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ControlDataErrorKind {
    /// `global/pg_control` cannot be read.
    #[error("the file global/pg_control cannot be read")]
    File(#[source] io::Error),
    /// The content makes no sense.
    #[error("{0}")]
    Content(&'static str),
    /// `pg_controldata` failed.
    #[error("pg_controldata failed")]
    Program(#[source] pg_proc::RunError),
}

impl ControlData {
    /// Reads the first 20 bytes of `global/pg_control`, in this machine's byte order.
    pub(crate) fn read(data_directory: &Utf8Path) -> Result<Self, ControlDataErrorKind> {
        Directory::open(data_directory)
            .map_err(ControlDataErrorKind::File)
            .and_then(|directory| Self::read_in(&directory))
    }

    /// The same of a data directory that is held open.
    pub(crate) fn read_in(data_directory: &Directory) -> Result<Self, ControlDataErrorKind> {
        let mut head = [0; 20];
        data_directory
            .entry("global/pg_control")
            .and_then(|entry| entry.open_file())
            .and_then(|mut file| file.read_exact(&mut head))
            .map_err(ControlDataErrorKind::File)?;
        let word =
            |at: usize| u32::from_ne_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let mut identifier = [0; 8];
        identifier.copy_from_slice(&head[..8]);
        Ok(Self {
            system_identifier: u64::from_ne_bytes(identifier),
            control_version: word(8),
            catalog_version: word(12),
            state: ControlState::from_number(word(16)).ok_or(ControlDataErrorKind::Content(
                "the state is none of the known ones",
            ))?,
            data_checksums: None,
            entries: Vec::new(),
        })
    }

    /// Understands what `pg_controldata` prints under the locale `C`.
    pub(crate) fn parse(text: &str) -> Result<Self, ControlDataErrorKind> {
        let entries: Vec<(String, String)> = text
            .lines()
            .filter_map(|line| line.split_once(':'))
            .map(|(label, value)| (label.trim().to_owned(), value.trim().to_owned()))
            .collect();
        let find = |label: &str| {
            entries
                .iter()
                .find(|(l, _)| l == label)
                .map(|(_, value)| value.as_str())
        };
        let missing = ControlDataErrorKind::Content("pg_controldata printed something unknown");
        let parsed = (|| {
            Some((
                number(find("Database system identifier"))?,
                number(find("pg_control version number"))?,
                number(find("Catalog version number"))?,
                ControlState::from_label(find("Database cluster state")?)?,
                number::<u32>(find("Data page checksum version")).map(|version| version != 0),
            ))
        })();
        let (system_identifier, control_version, catalog_version, state, data_checksums) =
            parsed.ok_or(missing)?;
        Ok(Self {
            system_identifier,
            control_version,
            catalog_version,
            state,
            data_checksums,
            entries,
        })
    }
}

fn number<T: FromStr>(value: Option<&str>) -> Option<T> {
    value?.parse().ok()
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

    fn from_label(label: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, text)| *text == label)
            .map(|(state, _)| *state)
    }

    /// The words of `pg_controldata`.
    pub fn as_str(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(state, _)| *state == self)
            .map_or("", |(_, text)| text)
    }
}
