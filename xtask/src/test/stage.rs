//! The directory for the temporary files of a run. Files that tests leave behind are reported, and
//! the directory is removed. For another account it also contains copies of the files that the
//! account needs, because it may not be able to read the checkout.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use camino::{Utf8Path, Utf8PathBuf};
use rustix::fs::{FlockOperation, flock};
use tempfile::TempDir;

use super::account::Account;
use super::build::{Executables, TestExecutable};
use super::phase::Outcome;
use crate::{memory, workspace};

const PREFIX: &str = "pgt-";

/// The lock file in the directory of a stage. It is locked until the run ends.
const LOCK: &str = "lock";

pub(crate) struct Stage {
    _directory: TempDir,
    _lock: File,
    root: Utf8PathBuf,
}

impl Stage {
    /// Creates a stage for a run as the current account.
    pub(crate) fn new() -> Result<Stage> {
        let parent = parent();
        prune(&parent);
        // The name is short, because the path of a Unix socket is limited to about 100 bytes.
        let directory = tempfile::Builder::new()
            .prefix(PREFIX)
            .tempdir_in(&parent)?;
        let root = Utf8PathBuf::try_from(directory.path().canonicalize()?)?;
        let lock = File::create(root.join(LOCK))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        let stage = Stage {
            _directory: directory,
            _lock: lock,
            root,
        };
        set_mode(&stage.root, 0o755)?;
        // If run by root, the tests run servers as other accounts, which create files here too.
        create(&stage.temporary(), 0o1777)?;
        create(&stage.shared(), 0o1777)?;
        Ok(stage)
    }

    /// Creates a stage for a run as another account.
    pub(crate) fn for_account(account: &Account, executables: &Executables) -> Result<Stage> {
        let stage = Stage::new()?;
        create(&stage.home(), 0o700)?;
        set_mode(&stage.temporary(), 0o700)?;
        for path in [stage.home(), stage.temporary()] {
            chown(
                &path,
                Some(account.uid.as_raw()),
                Some(account.gid.as_raw()),
            )
            .with_context(|| format!("failed to give {path} to {}", account.name))?;
        }
        create(&stage.root.join("programs"), 0o755)?;
        let tests = executables.tests.iter().map(|test| &test.path);
        for path in tests.chain(executables.programs.values()) {
            copy_file(path, &stage.copy_of(path))?;
        }
        for test in &executables.tests {
            let package = stage.package(test);
            if !package.exists() {
                copy_sources(&workspace::root().join(test.package), &package)?;
            }
        }
        Ok(stage)
    }

    pub(crate) fn temporary(&self) -> Utf8PathBuf {
        self.root.join("tmp")
    }

    /// The directory for files that the tests of one run share, such as a data directory to copy.
    /// It is not searched for leftovers.
    pub(crate) fn shared(&self) -> Utf8PathBuf {
        self.root.join("shared")
    }

    pub(crate) fn home(&self) -> Utf8PathBuf {
        self.root.join("home")
    }

    /// The path of the copy of an executable.
    pub(crate) fn copy_of(&self, executable: &Utf8Path) -> Utf8PathBuf {
        self.root
            .join("programs")
            .join(executable.file_name().unwrap_or_default())
    }

    pub(crate) fn checkout(&self) -> Utf8PathBuf {
        self.root.join("checkout")
    }

    /// The path of the copy of a test's package.
    pub(crate) fn package(&self, test: &TestExecutable) -> Utf8PathBuf {
        self.checkout().join(test.package)
    }

    /// Checks that the tests left no file and no process in the directory. A server whose owner was
    /// killed needs a moment to exit, so the check is repeated.
    pub(crate) fn leftovers(&self, account: &str) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(10);
        let mut found = self.processes_and_files();
        while !found.is_empty() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(50));
            found = self.processes_and_files();
        }
        for one in &found {
            println!("left behind by the tests run by {account}: {one}");
        }
        Outcome {
            what: format!("nothing left behind by {account}"),
            passed: found.is_empty(),
        }
    }

    fn processes_and_files(&self) -> Vec<String> {
        let mut found = processes_in(&self.root);
        if let Ok(entries) = self.temporary().read_dir_utf8() {
            found.extend(entries.flatten().map(|entry| entry.path().to_string()));
        }
        found
    }
}

/// Removes the stages of killed runs, whose lock file is not locked. New stages are spared, because
/// a stage is locked a moment after its creation.
fn prune(parent: &Utf8Path) {
    let Ok(entries) = parent.read_dir_utf8() else {
        return;
    };
    for entry in entries.flatten() {
        let path = entry.path();
        let is_ours = entry.file_name().starts_with(PREFIX)
            && fs::symlink_metadata(path).is_ok_and(|data| {
                let is_old = data.modified().is_ok_and(|time| {
                    time.elapsed()
                        .is_ok_and(|age| age > Duration::from_secs(60))
                });
                data.is_dir() && data.uid() == nix::unistd::Uid::effective().as_raw() && is_old
            });
        let is_dead = || {
            let lock = File::open(path.join(LOCK))?;
            flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(io::Error::from)
        };
        if is_ours && is_dead().is_ok() {
            // The next run tries again to remove remaining files.
            let _ = fs::remove_dir_all(path);
        }
    }
}

/// Returns the parent of stages: `TMPDIR` if set, else a directory in memory if it has enough
/// space, else the usual directory if other accounts can enter it. Memory is preferred because the
/// tests create and remove hundreds of data directories.
fn parent() -> Utf8PathBuf {
    if std::env::var_os("TMPDIR").is_none() {
        if let Some(memory) = memory::with_room(ROOM) {
            return memory.to_owned();
        }
    }
    let directory = Utf8PathBuf::try_from(std::env::temp_dir()).unwrap_or_else(|_| "/tmp".into());
    let is_open = directory
        .ancestors()
        .all(|path| fs::metadata(path).is_ok_and(|data| data.mode() & 0o001 != 0));
    if is_open || !nix::unistd::Uid::effective().is_root() {
        directory
    } else {
        "/tmp".into()
    }
}

/// The space that a complete run needs at most.
const ROOM: u64 = 6 << 30;

/// Returns the processes whose working directory is within `root`. The working directory of a
/// server is its data directory.
fn processes_in(root: &Utf8Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let works_here = |process: &fs::DirEntry| {
        fs::read_link(process.path().join("cwd")).is_ok_and(|path| path.starts_with(root))
    };
    let describe = |process: fs::DirEntry| {
        let command = fs::read(process.path().join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).replace('\0', " ");
        format!(
            "process {}: {}",
            process.file_name().to_string_lossy(),
            command.trim_end()
        )
    };
    entries.flatten().filter(works_here).map(describe).collect()
}

/// Copies the directory of a package without build results.
fn copy_sources(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    fs::create_dir_all(to)?;
    set_mode(to, 0o755)?;
    let entries = from
        .read_dir_utf8()
        .with_context(|| format!("failed to read {from}"))?;
    for entry in entries {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                copy_sources(entry.path(), &target)?;
            }
        } else {
            copy_file(entry.path(), &target)?;
        }
    }
    Ok(())
}

fn copy_file(from: &Utf8Path, to: &Utf8Path) -> Result<()> {
    fs::copy(from, to).with_context(|| format!("failed to copy {from} to {to}"))?;
    // Readable regardless of the umask, and executable if the original is.
    let mode = fs::metadata(to)?.mode() & 0o111;
    set_mode(to, if mode == 0 { 0o644 } else { 0o755 })
}

fn create(path: &Utf8Path, mode: u32) -> Result<()> {
    fs::create_dir(path).with_context(|| format!("failed to create {path}"))?;
    set_mode(path, mode)
}

fn set_mode(path: &Utf8Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .with_context(|| format!("failed to change the mode of {path}"))
}
