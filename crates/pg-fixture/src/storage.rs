//! Where the files of temporary clusters go.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::{InitErrorKind, StartErrorKind};
use pg_proc::{Account, MAX_SOCKET_PATH, available_space};

use crate::error::TempErrorKind;

/// Where the files of a temporary cluster are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Storage {
    /// In memory where that is possible and leaves enough room for others, else on disk.
    ///
    /// Memory is `/dev/shm`, on Linux, if twice the template and 256 MiB more are free there:
    /// containers often have 64 MiB. Where it cannot be used or turns out to be full, the next
    /// place is taken, as with [`Disk`](Self::Disk).
    #[default]
    Automatic,
    /// In the directory for temporary files: `TMPDIR`; where that is not set, cannot be used or
    /// turns out to be full, `/tmp`.
    Disk,
    /// In a new directory below this one, which must exist and which the server's account must be
    /// able to enter.
    Directory(Utf8PathBuf),
}

const MEMORY: &str = "/dev/shm";
const DISK: &str = "/tmp";
/// The memory that is left free for other programs, in bytes.
const RESERVE: u64 = 256 << 20;
/// The length that the names of this crate add to a directory: `/pgt-xxxxxxxx/s/.s.PGSQL.65535`.
const LONGEST_SUFFIX: usize = 31;

impl Storage {
    /// Does something in the first of the [candidates](Self::candidates) that is not to blame for
    /// its failure: memory may have been filled up by another process meanwhile.
    pub(crate) fn first_that_will_do<T>(
        &self,
        size: u64,
        account: Option<&Account>,
        mut run: impl FnMut(&Utf8Path) -> Result<T, TempErrorKind>,
    ) -> Result<T, TempErrorKind> {
        let mut refused = None;
        for storage in self.candidates(size, account) {
            match run(&storage) {
                Err(error) if is_to_blame(&storage, &error) => refused = Some(error),
                outcome => return outcome,
            }
        }
        Err(refused.unwrap_or_else(|| TempErrorKind::Option("there is no storage".to_owned())))
    }

    /// The directories to try, in order, for a template of this size in bytes.
    pub(crate) fn candidates(&self, size: u64, account: Option<&Account>) -> Vec<Utf8PathBuf> {
        match self {
            Self::Directory(directory) => vec![directory.clone()],
            Self::Disk => disks(account),
            Self::Automatic => {
                let needed = size.saturating_mul(2).saturating_add(RESERVE);
                let memory = Utf8Path::new(MEMORY);
                let has_room = cfg!(target_os = "linux")
                    && is_usable(memory, account)
                    && available_space(memory).is_ok_and(|free| free >= needed);
                let memory = has_room.then(|| memory.to_owned());
                memory.into_iter().chain(disks(account)).collect()
            }
        }
    }
}

/// All directories in which there may be something of ours by default.
pub(crate) fn usual() -> Vec<Utf8PathBuf> {
    std::iter::once(Utf8PathBuf::from(MEMORY))
        .chain(disks(None))
        .collect()
}

/// Directories whose paths are short enough for sockets on every system, in the order in which they
/// are to be tried.
pub(crate) fn short() -> [Utf8PathBuf; 2] {
    [DISK.into(), MEMORY.into()]
}

/// Returns whether the path of a socket below this directory is short enough for clients.
pub(crate) fn is_fit_for_sockets(directory: &Utf8Path) -> bool {
    !directory.as_str().contains([',', '"'])
        && directory.as_str().len() + LONGEST_SUFFIX <= MAX_SOCKET_PATH
}

/// `TMPDIR` if the server can get there, and `/tmp`.
pub(crate) fn disks(account: Option<&Account>) -> Vec<Utf8PathBuf> {
    let named = Utf8PathBuf::from_path_buf(env::temp_dir())
        .ok()
        .filter(|directory| directory.is_absolute() && is_usable(directory, account));
    let mut all: Vec<Utf8PathBuf> = named.into_iter().collect();
    if all.iter().all(|directory| directory != DISK) {
        all.push(DISK.into());
    }
    all
}

/// Whether an error is about the place where something was to be stored, so that another place may
/// do: it is full, read-only, or closed to this user.
pub(crate) fn is_to_blame(storage: &Utf8Path, error: &TempErrorKind) -> bool {
    use io::ErrorKind::{
        NotADirectory, NotFound, PermissionDenied, QuotaExceeded, ReadOnlyFilesystem, StorageFull,
    };
    let is_full = |error: &io::Error| matches!(error.kind(), StorageFull | QuotaExceeded);
    match error {
        TempErrorKind::File(path, error) => {
            let is_closed = matches!(
                error.kind(),
                NotADirectory | NotFound | PermissionDenied | ReadOnlyFilesystem
            );
            path.starts_with(storage) && (is_full(error) || is_closed)
        }
        TempErrorKind::Start(error) => matches!(error.kind(), StartErrorKind::DiskFull(_)),
        TempErrorKind::Init(error) => match error.kind() {
            InitErrorKind::Program(error) => {
                String::from_utf8_lossy(error.stderr()).contains("No space left")
            }
            InitErrorKind::Directory(error) => is_full(error),
            _ => false,
        },
        _ => false,
    }
}

/// Whether the account can get there. Under root a temporary directory is often closed to everybody
/// else.
fn is_usable(directory: &Utf8Path, account: Option<&Account>) -> bool {
    let can_enter = |path: &Utf8Path| {
        fs::metadata(path).is_ok_and(|found| {
            found.is_dir()
                && account.is_none_or(|account| {
                    let shift = if found.uid() == account.uid() {
                        6
                    } else if account.groups().contains(&found.gid()) {
                        3
                    } else {
                        0
                    };
                    found.mode() >> shift & 1 == 1
                })
        })
    };
    directory.ancestors().all(can_enter)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_without_room_is_passed_over() {
        let all = Storage::Automatic.candidates(u64::MAX / 4, None);
        assert_eq!(all, disks(None));
    }

    #[test]
    fn sockets_need_short_paths_without_commas() {
        assert!(is_fit_for_sockets(Utf8Path::new("/dev/shm")));
        assert!(!is_fit_for_sockets(Utf8Path::new("/tmp/a,b")));
        assert!(!is_fit_for_sockets(Utf8Path::new(&"/long".repeat(20))));
    }
}
