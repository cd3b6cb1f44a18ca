//! The directories of an installation.

use std::fmt;
use std::str::FromStr;

use crate::name::{self, ParseNameError};

/// A directory that `pg_config` reports, or the makefile of PGXS.
///
/// ```
/// use pg_install::{Installation, InstallationDirectory, Utf8Path};
///
/// let installation = Installation::from_pairs([
///     ("version", "PostgreSQL 16.3"),
///     ("includedir_server", "/usr/include/postgresql/16/server"),
/// ])?;
/// let headers = Utf8Path::new("/usr/include/postgresql/16/server");
/// assert_eq!(installation.directory(InstallationDirectory::IncludeServer), Some(headers));
/// assert_eq!(installation.includedir_server(), Some(headers));
/// assert_eq!(installation.bindir(), None);
/// # Ok::<(), pg_install::InstallationError>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum InstallationDirectory {
    /// `bindir`: the programs, such as `/usr/lib/postgresql/15/bin`.
    Bin,
    /// `docdir`: the documentation.
    Doc,
    /// `htmldir`: the documentation as HTML.
    Html,
    /// `includedir`: headers of the client interfaces.
    Include,
    /// `pkgincludedir`: other headers.
    PkgInclude,
    /// `includedir_server`: headers for building extensions.
    IncludeServer,
    /// `libdir`: libraries to link with, such as libpq.
    Lib,
    /// `pkglibdir`: modules that the server loads.
    PkgLib,
    /// `localedir`: message catalogs.
    Locale,
    /// `mandir`: manual pages.
    Man,
    /// `sharedir`: architecture-independent files, such as `postgres.bki` and sample files.
    Share,
    /// `sysconfdir`: system-wide configuration of clients.
    SysConf,
    /// `pgxs`: the makefile for building extensions. This is a file and not a directory.
    Pgxs,
}

const ALL: [InstallationDirectory; 13] = [
    InstallationDirectory::Bin,
    InstallationDirectory::Doc,
    InstallationDirectory::Html,
    InstallationDirectory::Include,
    InstallationDirectory::PkgInclude,
    InstallationDirectory::IncludeServer,
    InstallationDirectory::Lib,
    InstallationDirectory::PkgLib,
    InstallationDirectory::Locale,
    InstallationDirectory::Man,
    InstallationDirectory::Share,
    InstallationDirectory::SysConf,
    InstallationDirectory::Pgxs,
];

impl InstallationDirectory {
    /// All directories, in the order in which `pg_config` prints them.
    pub fn all() -> impl ExactSizeIterator<Item = Self> {
        ALL.into_iter()
    }

    /// The key in the output of `pg_config`, in the spelling of py-postgresql: `includedir_server`.
    ///
    /// ```
    /// use pg_install::InstallationDirectory;
    ///
    /// let keys: Vec<_> = InstallationDirectory::all().map(InstallationDirectory::key).collect();
    /// assert_eq!(keys[..2], ["bindir", "docdir"]);
    /// assert_eq!("sharedir".parse(), Ok(InstallationDirectory::Share));
    /// ```
    pub fn key(self) -> &'static str {
        match self {
            Self::Bin => "bindir",
            Self::Doc => "docdir",
            Self::Html => "htmldir",
            Self::Include => "includedir",
            Self::PkgInclude => "pkgincludedir",
            Self::IncludeServer => "includedir_server",
            Self::Lib => "libdir",
            Self::PkgLib => "pkglibdir",
            Self::Locale => "localedir",
            Self::Man => "mandir",
            Self::Share => "sharedir",
            Self::SysConf => "sysconfdir",
            Self::Pgxs => "pgxs",
        }
    }
}

/// Writes the key: `bindir`.
impl fmt::Display for InstallationDirectory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.key())
    }
}

/// Parses the key: `bindir`.
impl FromStr for InstallationDirectory {
    type Err = ParseNameError;

    fn from_str(text: &str) -> Result<Self, ParseNameError> {
        name::parse(text, "a directory", Self::all())
    }
}
