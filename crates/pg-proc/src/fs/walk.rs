//! Walking a path component by component, each held open, past no link of a stranger.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Component, Path, PathBuf};

use camino::Utf8PathBuf;
use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

/// The kernel follows no more links in one path (`MAXSYMLINKS`).
const MOST_LINKS: u32 = 40;

/// A link that is not followed: the user who made it is neither root, nor the caller, nor the owner
/// of what it leads to.
///
/// This is the kernel's rule for directories such as `/tmp` (`fs.protected_symlinks` in
/// proc_sys_fs(5)), applied to every component of a path: an account that can change a directory
/// must not be able to choose which files of others root changes, reads or removes.
///
/// It is the inner error of an [`io::Error`] whose kind is
/// [`PermissionDenied`](io::ErrorKind::PermissionDenied).
#[derive(Debug, thiserror::Error)]
#[error("the link {link} was made by user {maker}, who does not own {leads_to}")]
pub struct ForeignLink {
    pub(crate) link: Utf8PathBuf,
    pub(crate) leads_to: Utf8PathBuf,
    pub(crate) maker: u32,
}

impl ForeignLink {
    /// Returns the link that an operation refused to follow, if that is why it failed.
    pub fn of(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }

    /// The link.
    pub fn link(&self) -> &camino::Utf8Path {
        &self.link
    }

    /// The file or directory that it leads to.
    pub fn leads_to(&self) -> &camino::Utf8Path {
        &self.leads_to
    }

    /// The ID of the user who made it.
    pub const fn maker(&self) -> u32 {
        self.maker
    }

    /// The way to have the link followed.
    pub const fn hint(&self) -> &'static str {
        "if it is meant to lead there, have the link belong to root or to the owner of its target"
    }
}

/// A link that was followed, and who made it.
#[derive(Clone, Debug)]
pub(super) struct Link {
    path: PathBuf,
    maker: u32,
}

impl Link {
    /// Returns whether the link may lead to a file that belongs to `owner`.
    fn require_leave(&self, leads_to: &Path, owner: u32) -> io::Result<()> {
        let own = rustix::process::geteuid().as_raw();
        if self.maker == 0 || self.maker == own || self.maker == owner {
            return Ok(());
        }
        let refused = ForeignLink {
            link: lossy(&self.path),
            leads_to: lossy(leads_to),
            maker: self.maker,
        };
        Err(io::Error::new(io::ErrorKind::PermissionDenied, refused))
    }
}

/// Fails unless each of the links may lead to what belongs to `owner`.
pub(super) fn require_leave(links: &[Link], leads_to: &Path, owner: u32) -> io::Result<()> {
    links
        .iter()
        .try_for_each(|link| link.require_leave(leads_to, owner))
}

fn lossy(path: &Path) -> Utf8PathBuf {
    path.to_string_lossy().into_owned().into()
}

/// A directory on the way, and its path without links.
#[derive(Debug)]
pub(super) struct Reached {
    /// None for the directory where the walk began.
    fd: Option<OwnedFd>,
    pub(super) path: PathBuf,
}

/// The object that a path names, together with an open descriptor of its parent directory.
#[derive(Debug)]
pub(super) struct Last {
    pub(super) parent: OwnedFd,
    pub(super) name: OsString,
    pub(super) path: PathBuf,
    /// None if no entry has this name.
    pub(super) file_type: Option<FileType>,
    /// The links whose permission depends on the owner of their target, which is not known yet.
    pub(super) links: Vec<Link>,
}

/// One walk, from where it begins.
pub(super) struct Walk<'fd> {
    start: BorrowedFd<'fd>,
    followed: u32,
}

impl Walk<'static> {
    pub(super) const fn from_current_directory() -> Self {
        Self::from(CWD)
    }
}

impl<'fd> Walk<'fd> {
    pub(super) const fn from(start: BorrowedFd<'fd>) -> Self {
        Self { start, followed: 0 }
    }

    /// Opens the directory that `path` names.
    pub(super) fn directory(&mut self, path: &Path) -> io::Result<OwnedFd> {
        let reached = self.walk(&Reached::start(), path)?;
        self.hold(reached)
    }

    /// Finds the object that `path` names without opening it. A link as the last component is
    /// followed on request.
    pub(super) fn last(&mut self, path: &Path, follow: bool) -> io::Result<Last> {
        let mut at = Reached::start();
        let mut path = path.to_owned();
        let mut links = Vec::new();
        loop {
            let (Some(name), Some(parent)) = (path.file_name(), path.parent()) else {
                let reason = "the path does not end with a name";
                return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
            };
            let reached = self.walk(&at, parent)?;
            let found = match rustix::fs::statat(self.fd(&reached), name, AtFlags::SYMLINK_NOFOLLOW)
            {
                Ok(found) => Some(FileType::from_raw_mode(found.st_mode)),
                Err(Errno::NOENT) => None,
                Err(errno) => return Err(errno.into()),
            };
            if follow && found == Some(FileType::Symlink) {
                if let Look::Link { maker, text } = look(self.fd(&reached), name)? {
                    self.count()?;
                    links.push(Link {
                        path: reached.path.join(name),
                        maker,
                    });
                    (at, path) = (reached, text);
                }
                continue;
            }
            return Ok(Last {
                path: reached.path.join(name),
                name: name.to_owned(),
                parent: self.hold(reached)?,
                file_type: found,
                links,
            });
        }
    }

    fn walk(&mut self, from: &Reached, path: &Path) -> io::Result<Reached> {
        if let Some(fd) = open_past_no_link(self.fd(from), path)? {
            let path = path.components().fold(from.path.clone(), joined);
            return Ok(Reached { fd: Some(fd), path });
        }
        let mut at = Reached {
            fd: from.fd.as_ref().map(OwnedFd::try_clone).transpose()?,
            path: from.path.clone(),
        };
        for component in path.components() {
            at = self.step(at, component)?;
        }
        Ok(at)
    }

    fn step(&mut self, at: Reached, component: Component<'_>) -> io::Result<Reached> {
        let name = match component {
            Component::CurDir => return Ok(at),
            other => other.as_os_str(),
        };
        match look(self.fd(&at), name)? {
            Look::Directory(fd) => Ok(Reached {
                fd: Some(fd),
                path: joined(at.path, component),
            }),
            Look::Link { maker, text } => {
                self.count()?;
                let target = self.walk(&at, &text)?;
                let owner = owner(&stat(self.fd(&target))?);
                let path = at.path.join(name);
                Link { path, maker }.require_leave(&target.path, owner)?;
                Ok(target)
            }
        }
    }

    fn count(&mut self) -> io::Result<()> {
        self.followed += 1;
        if self.followed > MOST_LINKS {
            return Err(Errno::LOOP.into());
        }
        Ok(())
    }

    fn fd<'a>(&'a self, reached: &'a Reached) -> BorrowedFd<'a> {
        reached.fd.as_ref().map_or(self.start, AsFd::as_fd)
    }

    fn hold(&self, reached: Reached) -> io::Result<OwnedFd> {
        match reached.fd {
            Some(fd) => Ok(fd),
            None => Ok(open_directory(self.start, OsStr::new("."))?),
        }
    }
}

impl Reached {
    fn start() -> Self {
        Self {
            fd: None,
            path: PathBuf::new(),
        }
    }
}

/// The path of a component of a directory whose path has no links.
fn joined(mut path: PathBuf, component: Component<'_>) -> PathBuf {
    match component {
        Component::ParentDir if path.file_name().is_some() => {
            path.pop();
        }
        Component::ParentDir if path.is_absolute() => {}
        other => path.push(other),
    }
    path
}

enum Look {
    Directory(OwnedFd),
    Link { maker: u32, text: PathBuf },
}

/// The access mode that is enough to pass through a directory. Where the system has such a mode, no
/// permission to list the directory is needed.
#[cfg(all(target_os = "linux", not(pg_portable)))]
const THROUGH: OFlags = OFlags::PATH;
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
const THROUGH: OFlags = OFlags::RDONLY;

fn open_directory(at: BorrowedFd<'_>, name: &OsStr) -> Result<OwnedFd, Errno> {
    let flags = THROUGH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    rustix::fs::openat(at, name, flags, Mode::empty())
}

/// Opens a directory or reads a link. In both cases the owner that is checked is that of the same
/// object.
#[cfg(all(target_os = "linux", not(pg_portable)))]
fn look(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<Look> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let fd = rustix::fs::openat(at, name, flags, Mode::empty())?;
    let found = stat(fd.as_fd())?;
    match FileType::from_raw_mode(found.st_mode) {
        FileType::Directory => Ok(Look::Directory(fd)),
        FileType::Symlink => Ok(Look::Link {
            maker: owner(&found),
            text: link_text(rustix::fs::readlinkat(&fd, c"", Vec::new())?),
        }),
        _ => Err(Errno::NOTDIR.into()),
    }
}

/// A link cannot be held open here, so it is examined before and after.
#[cfg(not(all(target_os = "linux", not(pg_portable))))]
fn look(at: BorrowedFd<'_>, name: &OsStr) -> io::Result<Look> {
    let look = || rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW);
    let found = look()?;
    if FileType::from_raw_mode(found.st_mode) != FileType::Symlink {
        return Ok(Look::Directory(open_directory(at, name)?));
    }
    let text = link_text(rustix::fs::readlinkat(at, name, Vec::new())?);
    let after = look()?;
    let identity = |stat: &Stat| (stat.st_dev, stat.st_ino, stat.st_ctime, stat.st_ctime_nsec);
    if identity(&found) != identity(&after) {
        return Err(Errno::AGAIN.into());
    }
    let maker = owner(&found);
    Ok(Look::Link { maker, text })
}

fn link_text(text: std::ffi::CString) -> PathBuf {
    OsString::from_vec(text.into_bytes()).into()
}

fn stat(fd: BorrowedFd<'_>) -> io::Result<Stat> {
    Ok(rustix::fs::fstat(fd)?)
}

#[allow(
    clippy::unnecessary_cast,
    reason = "the type differs between platforms"
)]
fn owner(stat: &Stat) -> u32 {
    stat.st_uid as u32
}

/// Uses a single system call if there is no link on the path; none if that cannot decide.
#[cfg(all(target_os = "linux", not(pg_portable)))]
fn open_past_no_link(at: BorrowedFd<'_>, path: &Path) -> io::Result<Option<OwnedFd>> {
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let flags = THROUGH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let resolve = rustix::fs::ResolveFlags::NO_SYMLINKS;
    match rustix::fs::openat2(at, path, flags, Mode::empty(), resolve) {
        Ok(fd) => Ok(Some(fd)),
        // There is a link; or the kernel (before 5.6) or a sandbox has no such call.
        Err(Errno::LOOP | Errno::NOSYS | Errno::PERM | Errno::INVAL | Errno::AGAIN) => Ok(None),
        // The system reports the same error for a link as the last component, with O_DIRECTORY.
        Err(Errno::NOTDIR) => Ok(None),
        Err(errno) => Err(errno.into()),
    }
}

#[cfg(not(all(target_os = "linux", not(pg_portable))))]
fn open_past_no_link(_at: BorrowedFd<'_>, _path: &Path) -> io::Result<Option<OwnedFd>> {
    Ok(None)
}
