//! Release series, to which data directories and packages belong.

use std::fmt;
use std::io;
use std::str::FromStr;

use camino::{Utf8Path, Utf8PathBuf};

use crate::regular_file;
use crate::version::{MAX_NUMBER, MAX_OLD_NUMBER, VersionFault};
use crate::version::{ParseVersionError, Version};

/// A release series: 16, or 9.6.
///
/// PostgreSQL calls this the major version. Up to 9.6 it consists of two numbers, since 10 of one.
/// A server can only run data directories of its own series.
///
/// ```
/// use pg_install::MajorVersion;
///
/// let old: MajorVersion = "9.6".parse()?;
/// let new: MajorVersion = "16".parse()?;
/// assert!(old < new);
/// assert_eq!((old.to_string(), new.to_string()), ("9.6".into(), "16".into()));
/// # Ok::<(), pg_install::ParseVersionError>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MajorVersion {
    first: u16,
    /// Always 0 since 10.
    second: u16,
}

impl MajorVersion {
    /// Creates the series of PostgreSQL `number`, for 10 and later: `MajorVersion::new(16)`.
    ///
    /// For a number below 10 this is the first series: `MajorVersion::new(9)` is 9.0.
    pub const fn new(number: u16) -> Self {
        Self {
            first: number,
            second: 0,
        }
    }

    /// Creates the series of a version with these first two numbers: `of(15, 18)` is 15, and
    /// `of(9, 6)` is 9.6.
    ///
    /// ```
    /// use pg_install::MajorVersion;
    ///
    /// assert_eq!(MajorVersion::of(15, 18), MajorVersion::new(15));
    /// let series = MajorVersion::of(9, 6);
    /// assert_eq!((series.first(), series.second()), (9, 6));
    /// ```
    pub const fn of(first: u16, second: u16) -> Self {
        Self {
            first,
            second: if first < 10 { second } else { 0 },
        }
    }

    /// The first number: 16 in 16, 9 in 9.6.
    pub const fn first(self) -> u16 {
        self.first
    }

    /// The second number of a series before 10: 6 in 9.6. Zero since 10.
    pub const fn second(self) -> u16 {
        self.second
    }

    /// Reads the file `PG_VERSION` of a data directory.
    ///
    /// Only the first line is read, as by the server (`ValidatePgVersion` in miscinit.c).
    ///
    /// ```
    /// use pg_install::{MajorVersion, Utf8PathBuf};
    ///
    /// let directory = tempfile::tempdir()?;
    /// let file = Utf8PathBuf::try_from(directory.path().join("PG_VERSION"))?;
    /// std::fs::write(&file, "16\n")?;
    /// assert_eq!(MajorVersion::from_pg_version_file(&file)?, MajorVersion::new(16));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read or does not begin with a major version.
    pub fn from_pg_version_file(path: impl AsRef<Utf8Path>) -> Result<Self, PgVersionFileError> {
        let path = path.as_ref();
        let error = |kind| PgVersionFileError {
            path: path.to_owned(),
            kind,
        };
        // Longer than the content of any such file, and small enough if it is another file.
        let start = regular_file::read_start(path, 64)
            .map_err(|e| error(PgVersionFileErrorKind::Read(e)))?;
        let text = String::from_utf8_lossy(&start);
        let line = text.lines().next().unwrap_or_default();
        line.parse()
            .map_err(|e| error(PgVersionFileErrorKind::Parse(e)))
    }
}

impl fmt::Display for MajorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first < 10 {
            write!(f, "{}.{}", self.first, self.second)
        } else {
            write!(f, "{}", self.first)
        }
    }
}

impl fmt::Debug for MajorVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "MajorVersion({self})")
    }
}

impl From<&Version> for MajorVersion {
    fn from(version: &Version) -> Self {
        version.major_version()
    }
}

/// Parses `16` or `9.6`. Surrounding blanks are allowed.
impl FromStr for MajorVersion {
    type Err = ParseVersionError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let error = |fault| ParseVersionError::new(text, fault);
        let number = |digits: &str, max: u16| {
            if digits.is_empty() {
                return Err(error(VersionFault::NoNumber));
            }
            if !digits.bytes().all(|b| b.is_ascii_digit()) {
                return Err(error(VersionFault::NotMajor));
            }
            let number = digits.parse().ok().filter(|n| *n <= max);
            number.ok_or_else(|| error(VersionFault::OutOfRange))
        };
        let text = text.trim();
        let (first, second) = text
            .split_once('.')
            .map_or((text, None), |(a, b)| (a, Some(b)));
        let first = number(first, MAX_NUMBER)?;
        match second {
            None if first >= 10 => Ok(Self::new(first)),
            Some(second) if (1..10).contains(&first) => {
                Ok(Self::of(first, number(second, MAX_OLD_NUMBER)?))
            }
            // "9" is not a complete series, and "15.2" is a version.
            _ => Err(error(VersionFault::NotMajor)),
        }
    }
}

/// The error of [`MajorVersion::from_pg_version_file`].
#[derive(Debug, thiserror::Error)]
#[error("failed to read the major version from {path}")]
pub struct PgVersionFileError {
    path: Utf8PathBuf,
    #[source]
    kind: PgVersionFileErrorKind,
}

/// The reason why a `PG_VERSION` file could not be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PgVersionFileErrorKind {
    /// The file could not be read.
    #[error("the file cannot be read")]
    Read(#[source] io::Error),
    /// The file does not begin with a major version.
    #[error("the file does not begin with a major version")]
    Parse(#[source] ParseVersionError),
}

impl PgVersionFileError {
    /// The file.
    pub fn path(&self) -> &Utf8Path {
        &self.path
    }

    /// The reason.
    pub fn kind(&self) -> &PgVersionFileErrorKind {
        &self.kind
    }
}
