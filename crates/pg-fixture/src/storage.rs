//! Where the files of temporary clusters go.

use std::env;
use std::fs;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{Account, MAX_SOCKET_PATH, available_space};

/// Where the files of a temporary cluster are kept.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Storage {
    /// In memory where that is possible and leaves enough room for others, else on disk.
    ///
    /// Memory is `/dev/shm`, on Linux, if twice the template and 256 MiB more are free there:
    /// containers often have 64 MiB.
    #[default]
    Automatic,
    /// In the directory for temporary files: `TMPDIR`, else `/tmp`.
    Disk,
    /// In a new directory below this one, which must exist and which the server's account must be
    /// able to enter.
    Directory(Utf8PathBuf),
}

const MEMORY: &str = "/dev/shm";
/// What is to be left free in memory for others, in bytes.
const RESERVE: u64 = 256 << 20;
/// What our own names add to a directory: `/pgt-xxxxxxxx/s/.s.PGSQL.65535`.
const LONGEST_SUFFIX: usize = 31;

impl Storage {
    /// The directories to try, in order, for a template of so many bytes.
    pub(crate) fn candidates(&self, size: u64, account: Option<&Account>) -> Vec<Utf8PathBuf> {
        match self {
            Self::Directory(directory) => vec![directory.clone()],
            Self::Disk => vec![disk(account)],
            Self::Automatic => {
                let needed = size.saturating_mul(2).saturating_add(RESERVE);
                let memory = Utf8Path::new(MEMORY);
                let has_room = cfg!(target_os = "linux")
                    && is_usable(memory, account)
                    && available_space(memory).is_ok_and(|free| free >= needed);
                let memory = has_room.then(|| memory.to_owned());
                memory.into_iter().chain([disk(account)]).collect()
            }
        }
    }
}

/// All directories in which there may be something of ours by default.
pub(crate) fn usual() -> Vec<Utf8PathBuf> {
    let mut all = vec![Utf8PathBuf::from(MEMORY), disk(None), "/tmp".into()];
    all.dedup();
    all
}

/// Whether a socket in a directory of ours below this one can be named by clients.
pub(crate) fn is_fit_for_sockets(directory: &Utf8Path) -> bool {
    !directory.as_str().contains([',', '"'])
        && directory.as_str().len() + LONGEST_SUFFIX <= MAX_SOCKET_PATH
}

/// `TMPDIR` if the server can use it, else `/tmp`.
pub(crate) fn disk(account: Option<&Account>) -> Utf8PathBuf {
    Utf8PathBuf::from_path_buf(env::temp_dir())
        .ok()
        .filter(|directory| directory.is_absolute() && is_usable(directory, account))
        .unwrap_or_else(|| "/tmp".into())
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
        assert_eq!(all, [disk(None)]);
    }

    #[test]
    fn sockets_need_short_paths_without_commas() {
        assert!(is_fit_for_sockets(Utf8Path::new("/dev/shm")));
        assert!(!is_fit_for_sockets(Utf8Path::new("/tmp/a,b")));
        assert!(!is_fit_for_sockets(Utf8Path::new(&"/long".repeat(20))));
    }
}
