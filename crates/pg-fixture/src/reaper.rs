//! Removing what a crash of the machine has left.

use std::fs;
use std::sync::Once;
use std::time::Duration;

use camino::Utf8Path;
use pg_proc::{Account, Directory, Orphans, SharedMemoryErrorKind, release_shared_memory};

use pg_cluster::Cluster;

use crate::root::{MARKER, PREFIX, Remains, remains, remove};
use crate::storage;

/// The interval at which the directories are searched, over all processes.
const PAUSE: Duration = Duration::from_secs(60);
const NOTE: &str = "reaped";

/// As [`reap`], in a directory that the caller has named for such use: each time, since it holds
/// little else.
pub(crate) fn reap_named(directory: &Utf8Path) {
    reap_in(directory, Account::current_uid());
}

/// Looks for directories whose owner and guard are both gone, or whose owner was killed before it
/// had a guard; once in a process, once a minute on a machine. The age of a file in the cache tells
/// when that was done last.
///
/// Its outcome is not used, and a directory that cannot be removed must not keep a test from
/// running.
pub(crate) fn reap(cache: &Directory) {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let is_fresh = cache
            .open_file(NOTE)
            .and_then(|note| note.metadata()?.modified())
            .is_ok_and(|time| time.elapsed().is_ok_and(|age| age < PAUSE));
        let note = || cache.remove(NOTE).and_then(|()| cache.create_file(NOTE));
        if is_fresh || note().is_err() {
            return;
        }
        for directory in storage::usual() {
            reap_in(&directory, Account::current_uid());
        }
    });
}

fn reap_in(directory: &Utf8Path, user: u32) {
    let Ok(entries) = directory.read_dir_utf8() else {
        return;
    };
    for entry in entries.flatten() {
        if !entry.file_name().starts_with(PREFIX) {
            continue;
        }
        match remains(entry.path(), user) {
            Ok(Remains::Marked(_lock)) if !is_served(entry.path()) => {
                let _ = remove(entry.path());
            }
            Ok(Remains::Unmarked) => {
                // The marker may be there without its text. Beside it, only an empty directory can
                // be removed like this.
                let _ = fs::remove_file(entry.path().join(MARKER));
                let _ = fs::remove_dir(entry.path());
            }
            _ => {}
        }
    }
}

/// Whether a server, an `initdb`, or something that they left still runs there: its guard waits for
/// that too, and then removes the directory. Their shared memory is given back, which takes the
/// lock file that is about to go.
fn is_served(root: &Utf8Path) -> bool {
    let data = root.join("data");
    let is_in_use = |directory: &Utf8Path| {
        Orphans::find(directory).is_ok_and(|orphans| !orphans.is_empty())
            || release_shared_memory(directory).is_err_and(|error| {
                use SharedMemoryErrorKind::{Find, InUse, Running};
                matches!(error.kind(), Running(_) | InUse { .. } | Find(_))
            })
    };
    [data.join(Cluster::INIT_DIRECTORY), data]
        .iter()
        .any(|directory| directory.exists() && is_in_use(directory))
}
