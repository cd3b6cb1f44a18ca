//! The directories of an overlay, which are copied, linked entry by entry, or linked as a whole.

use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::io::{self, Seek as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, symlink};

use camino::{Utf8Path, Utf8PathBuf};
use memchr::memmem;
use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use super::error::OverlayErrorKind;
use super::{EXTENSIONS, at};
use crate::installation::{Installation, InstallationDirectory, layout};
use crate::program::Program;
use crate::regular_file;

/// The programs that search for files of the installation, or start such a program. Other programs
/// are linked.
const COPIED: [Program; 7] = [
    Program::Postgres,
    Program::Initdb,
    Program::PgCtl,
    Program::PgConfig,
    Program::PgRewind,
    Program::PgUpgrade,
    Program::PgCreatesubscriber,
];

/// Larger than any of the programs, even with debug symbols.
const LARGEST_PROGRAM: u64 = 256 << 20;
/// The number of attempts to write a file that a concurrently forked process has open.
const ATTEMPTS: usize = 20;

/// The directories of an installation. An overlay keeps their places relative to each other.
#[derive(Debug)]
pub(super) struct Tree {
    pub(super) bin: Utf8PathBuf,
    pub(super) share: Utf8PathBuf,
    pub(super) modules: Utf8PathBuf,
    /// The common parent of all directories.
    root: Utf8PathBuf,
    /// The directories that are created, with links to the entries of the original.
    opened: Vec<Utf8PathBuf>,
    /// The directories that are links to the original.
    linked: Vec<Utf8PathBuf>,
    /// The files in `bin` to copy, and those to link.
    programs: [Vec<&'static str>; 2],
}

impl Tree {
    pub(super) fn of(installation: &Installation) -> Result<Self, OverlayErrorKind> {
        let known = |directory| {
            let path = installation.directory(directory).map(Utf8Path::to_owned);
            path.ok_or(OverlayErrorKind::NoDirectory(directory))
        };
        let bin = known(InstallationDirectory::Bin)?;
        let share = known(InstallationDirectory::Share)?;
        let modules = known(InstallationDirectory::PkgLib)?;
        let (copied, others) = Program::all()
            // `postmaster` is a link to the server of the original.
            .filter(|&program| program != Program::Postmaster)
            .filter(|&program| installation.program(program).is_some())
            .partition::<Vec<_>, _>(|program| COPIED.contains(program));
        let libraries = libraries(&bin, &copied)?;
        let all = [&share, &modules].into_iter().chain(&libraries);
        let root = all.fold(bin.clone(), |root, path| common(&root, path));
        let mut opened = vec![share.clone(), share.join(EXTENSIONS), modules.clone()];
        let locale = installation.localedir().map(Utf8Path::to_owned);
        let mut linked: Vec<_> = locale.into_iter().collect();
        for path in libraries {
            match opened.iter().any(|opened| opened.starts_with(&path)) {
                true => opened.push(path),
                false => linked.push(path),
            }
        }
        opened.sort();
        opened.dedup();
        let is_new = |path: &Utf8PathBuf| {
            path.starts_with(&root)
                && path.is_dir()
                && !opened.iter().any(|opened| path.starts_with(opened))
        };
        linked.retain(is_new);
        Ok(Self {
            programs: [copied, others].map(|all| all.into_iter().map(Program::name).collect()),
            bin,
            share,
            modules,
            root,
            opened,
            linked,
        })
    }

    /// Returns the path in the overlay for a path of the installation.
    pub(super) fn place(&self, directory: &Utf8Path, path: &Utf8Path) -> Utf8PathBuf {
        directory.join(path.strip_prefix(&self.root).unwrap_or(path))
    }

    /// Creates the overlay, or updates it: extensions may have been installed or removed.
    pub(super) fn make(&self, directory: &Utf8Path) -> Result<(), OverlayErrorKind> {
        if directory.exists() {
            return self.link(directory);
        }
        let unfinished = beside(directory);
        let made = self.copy_programs(&unfinished);
        let made = made.and_then(|()| self.link(&unfinished));
        let made = made.and_then(|()| match fs::rename(&unfinished, directory) {
            // Another process created it first.
            Err(_) if directory.exists() => self.link(directory),
            renamed => renamed.map_err(at(directory)),
        });
        if unfinished.exists() {
            let _ = fs::remove_dir_all(&unfinished);
        }
        made
    }

    fn copy_programs(&self, directory: &Utf8Path) -> Result<(), OverlayErrorKind> {
        let bin = self.place(directory, &self.bin);
        make_directories(&bin)?;
        let [copied, linked] = &self.programs;
        for name in copied {
            copy(&self.bin.join(name), &bin.join(name), 0o755)?;
        }
        for name in linked {
            link(&self.bin.join(name), &bin.join(name))?;
        }
        Ok(())
    }

    fn link(&self, directory: &Utf8Path) -> Result<(), OverlayErrorKind> {
        for opened in &self.opened {
            let place = self.place(directory, opened);
            make_directories(&place)?;
            for entry in entries(&place)? {
                let is_dangling = entry.is_symlink() && !entry.exists();
                if is_dangling {
                    remove(&entry)?;
                }
            }
            if !opened.is_dir() {
                continue;
            }
            for entry in entries(opened)? {
                let is_made = self.opened.iter().any(|path| path.starts_with(&entry));
                if let Some(name) = entry.file_name().filter(|_| !is_made) {
                    link(&entry, &place.join(name))?;
                }
            }
        }
        for linked in &self.linked {
            let place = self.place(directory, linked);
            place.parent().map_or(Ok(()), make_directories)?;
            link(linked, &place)?;
        }
        Ok(())
    }
}

/// Returns the directories that these programs search for libraries relative to their own
/// directory, usually `$ORIGIN/../lib`. Like the system's loader, this function reads them from the
/// program (ld.so(8), "Rpath token expansion"; dyld(1)).
fn libraries(bin: &Utf8Path, programs: &[Program]) -> Result<Vec<Utf8PathBuf>, OverlayErrorKind> {
    let mut found = Vec::new();
    for program in programs {
        let path = bin.join(program.name());
        let content = regular_file::read_start(&path, LARGEST_PROGRAM).map_err(at(&path))?;
        for mark in [
            "$ORIGIN/",
            "${ORIGIN}/",
            "@executable_path/",
            "@loader_path/",
        ] {
            for start in memmem::find_iter(&content, mark) {
                let rest = &content[start + mark.len()..];
                let end = rest.iter().position(|&byte| matches!(byte, 0 | b':'));
                let Ok(relative) = std::str::from_utf8(&rest[..end.unwrap_or(0)]) else {
                    continue;
                };
                let directory = layout::resolve(bin, relative.trim_end_matches('/'));
                if directory.is_dir() && !bin.starts_with(&directory) {
                    found.push(directory);
                }
            }
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Returns the longest common prefix of both paths.
fn common(one: &Utf8Path, other: &Utf8Path) -> Utf8PathBuf {
    let both = one.components().zip(other.components());
    both.take_while(|(a, b)| a == b).map(|(a, _)| a).collect()
}

/// Returns the paths of the entries of a directory. Names that are not UTF-8 are skipped.
fn entries(directory: &Utf8Path) -> Result<Vec<Utf8PathBuf>, OverlayErrorKind> {
    let read = fs::read_dir(directory).map_err(at(directory))?;
    let paths = read.filter_map(|entry| Some(Utf8PathBuf::try_from(entry.ok()?.path())));
    Ok(paths.flatten().collect())
}

/// Creates directories that the server's account can enter, regardless of the umask.
fn make_directories(path: &Utf8Path) -> Result<(), OverlayErrorKind> {
    if path.is_dir() {
        return Ok(());
    }
    path.parent().map_or(Ok(()), make_directories)?;
    match DirBuilder::new().create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        created => created.map_err(at(path))?,
    }
    fs::set_permissions(path, Permissions::from_mode(0o755)).map_err(at(path))
}

/// Creates a link unless the path exists.
fn link(target: &Utf8Path, path: &Utf8Path) -> Result<(), OverlayErrorKind> {
    match symlink(target, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        made => made.map_err(at(path)),
    }
}

/// Creates a link, and replaces an existing file.
pub(super) fn replace_by_link(target: &Utf8Path, path: &Utf8Path) -> Result<(), OverlayErrorKind> {
    let new = beside(path);
    symlink(target, &new)
        .and_then(|()| fs::rename(&new, path))
        .map_err(at(path))
}

fn remove(path: &Utf8Path) -> Result<(), OverlayErrorKind> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(at(path)),
    }
}

/// Copies a file, and replaces an existing file, which may be a link to a file of the installation.
/// The copy has the modification time of the original. An existing copy with the same time and size
/// is kept.
pub(super) fn copy(from: &Utf8Path, to: &Utf8Path, mode: u32) -> Result<(), OverlayErrorKind> {
    let mut source = regular_file::open(from).map_err(at(from))?;
    let found = source.metadata().map_err(at(from))?;
    let is_same = |there: &fs::Metadata| {
        there.is_file()
            && there.size() == found.size()
            && (there.mtime(), there.mtime_nsec()) == (found.mtime(), found.mtime_nsec())
    };
    if fs::symlink_metadata(to).is_ok_and(|there| is_same(&there)) {
        return Ok(());
    }
    for _ in 0..ATTEMPTS {
        let new = beside(to);
        let put = write(&mut source, &found, &new, mode).and_then(|is_free| {
            if is_free {
                fs::rename(&new, to)?;
            }
            Ok(is_free)
        });
        match put {
            Ok(true) => return Ok(()),
            Ok(false) => drop(fs::remove_file(&new)),
            Err(error) => {
                let _ = fs::remove_file(&new);
                return Err(at(to)(error));
            }
        }
    }
    Err(at(to)(io::ErrorKind::ExecutableFileBusy.into()))
}

/// Writes the file, and returns whether no other process has it open for writing.
///
/// A process that another thread forks meanwhile has the descriptor until it executes its program,
/// and a file that is open for writing cannot be executed (ETXTBSY). Its copy of the descriptor
/// shares the lock, so the lock shows whether such a process exists.
fn write(from: &mut File, found: &fs::Metadata, new: &Utf8Path, mode: u32) -> io::Result<bool> {
    from.rewind()?;
    let mut options = OpenOptions::new();
    let mut target = options.write(true).create_new(true).mode(0o600).open(new)?;
    flock(&target, FlockOperation::LockExclusive)?;
    io::copy(from, &mut target)?;
    target.set_permissions(Permissions::from_mode(mode))?;
    target.set_modified(found.modified()?)?;
    drop(target);
    match flock(File::open(new)?, FlockOperation::NonBlockingLockShared) {
        Ok(()) => Ok(true),
        Err(Errno::WOULDBLOCK) => Ok(false),
        Err(errno) => Err(errno.into()),
    }
}

/// Returns a new name in the same directory.
fn beside(path: &Utf8Path) -> Utf8PathBuf {
    let random = RandomState::new().build_hasher().finish();
    path.with_file_name(format!(".new-{random:016x}"))
}
