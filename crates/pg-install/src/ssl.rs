//! Evidence for SSL support of an installation.

use std::io;

use camino::{Utf8Path, Utf8PathBuf};
use memchr::memmem;

use crate::installation::{Installation, InstallationDirectory};
use crate::program::Program;
use crate::regular_file;

/// Larger than the executable of any server, even with all features and debug symbols.
const LARGEST_SERVER: u64 = 256 << 20;

/// The evidence on which [`Installation::ssl`] is based.
///
/// The sources are examined in the order of the variants. The first that applies decides.
///
/// ```
/// use pg_install::{Installation, SslEvidence};
///
/// let version = ("version", "PostgreSQL 16.3");
/// let built = Installation::from_pairs([version, ("configure", "'--with-ssl=openssl'")])?;
/// assert!(built.ssl());
/// assert!(matches!(built.ssl_evidence(), SslEvidence::ConfigureOption { option, .. }
///     if option == "with_ssl=openssl"));
/// assert_eq!(*Installation::from_pairs([version])?.ssl_evidence(), SslEvidence::Unknown);
/// # Ok::<(), pg_install::InstallationError>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SslEvidence {
    /// An option of `configure`: `--with-openssl` up to 13, `--with-ssl=openssl` since 14, or
    /// their negations.
    #[non_exhaustive]
    ConfigureOption {
        /// The normalized option with its value: `with_ssl=openssl`.
        option: String,
        /// True if SSL is enabled.
        enabled: bool,
    },
    /// `configure` was run with options, but not with one of these. SSL is off by default.
    NotConfigured,
    /// `pg_config` lists the library in `LIBS`: `-lssl`.
    #[non_exhaustive]
    LinkOption {
        /// The option of the linker.
        option: String,
    },
    /// The header `pg_config.h` was examined for `USE_OPENSSL`.
    #[non_exhaustive]
    Header {
        /// The header.
        path: Utf8PathBuf,
        /// True if SSL is enabled.
        enabled: bool,
    },
    /// The server's executable file was searched for the names `libssl` and `be-secure-openssl.c`.
    ///
    /// The executable contains the name of the library if OpenSSL is linked dynamically. Since 9.5
    /// every server that was compiled with OpenSSL contains the name of the source file.
    #[non_exhaustive]
    Server {
        /// The executable file.
        path: Utf8PathBuf,
        /// True if SSL is enabled.
        enabled: bool,
    },
    /// There is no evidence: no `pg_config`, no headers and no readable server.
    Unknown,
}

impl SslEvidence {
    /// Returns whether SSL is enabled. Returns false if there is no evidence.
    pub fn is_enabled(&self) -> bool {
        match self {
            Self::ConfigureOption { enabled, .. }
            | Self::Header { enabled, .. }
            | Self::Server { enabled, .. } => *enabled,
            Self::LinkOption { .. } => true,
            Self::NotConfigured | Self::Unknown => false,
        }
    }
}

pub(crate) fn find_evidence(installation: &Installation) -> SslEvidence {
    from_configure(installation)
        .or_else(|| from_link_options(installation))
        .or_else(|| from_header(installation))
        .or_else(|| from_server(installation))
        .unwrap_or(SslEvidence::Unknown)
}

fn from_configure(installation: &Installation) -> Option<SslEvidence> {
    let options = installation.configure_options();
    let about_ssl = |(name, value): (&str, Option<&str>)| {
        let enabled = match name {
            "with_openssl" | "with_ssl" => value != Some("no"),
            "without_openssl" | "without_ssl" => false,
            _ => return None,
        };
        let option = value.map_or_else(|| name.to_owned(), |value| format!("{name}={value}"));
        Some(SslEvidence::ConfigureOption { option, enabled })
    };
    options
        .iter()
        .filter_map(about_ssl)
        .next_back()
        .or_else(|| (!options.is_empty()).then_some(SslEvidence::NotConfigured))
}

fn from_link_options(installation: &Installation) -> Option<SslEvidence> {
    let libraries = installation.pg_config().get("libs")?;
    let option = libraries
        .split_ascii_whitespace()
        .find(|&word| word == "-lssl")?;
    Some(SslEvidence::LinkOption {
        option: option.to_owned(),
    })
}

fn from_header(installation: &Installation) -> Option<SslEvidence> {
    [
        InstallationDirectory::IncludeServer,
        InstallationDirectory::PkgInclude,
        InstallationDirectory::Include,
    ]
    .into_iter()
    .filter_map(|directory| installation.directory(directory))
    .find_map(|directory| {
        let path = directory.join("pg_config.h");
        let text = regular_file::read_start(&path, 1 << 20).ok()?;
        // On some systems this header only includes the one of the architecture.
        memmem::find(&text, b"PG_VERSION_NUM")?;
        let defined = |name: &[u8]| memmem::find(&text, name).is_some();
        let enabled = defined(b"#define USE_OPENSSL 1") || defined(b"#define USE_SSL 1");
        Some(SslEvidence::Header { path, enabled })
    })
}

fn from_server(installation: &Installation) -> Option<SslEvidence> {
    let path = installation.program(Program::Postgres)?.to_owned();
    let enabled = mentions_openssl(&path).ok()?;
    Some(SslEvidence::Server { path, enabled })
}

/// Searches the whole executable: about 10 MB, which takes 3 ms from the page cache.
fn mentions_openssl(path: &Utf8Path) -> io::Result<bool> {
    let program = regular_file::read_start(path, LARGEST_SERVER)?;
    let mentions = |mark: &[u8]| memmem::find(&program, mark).is_some();
    // A wrapper script gives no evidence about the program that it starts.
    if program.starts_with(b"#!") {
        return Err(io::Error::from(io::ErrorKind::InvalidData));
    }
    Ok(mentions(b"libssl.") || mentions(b"be-secure-openssl.c"))
}
