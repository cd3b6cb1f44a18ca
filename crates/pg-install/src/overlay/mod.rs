//! A private copy of an installation, for extensions under test.

pub(crate) mod error;
mod tree;

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};

use self::error::{Attempt, OverlayError, OverlayErrorKind};
use self::tree::Tree;
use crate::installation::{Installation, InstallationDirectory, is_same};
use crate::program::Program;
use crate::regular_file;

/// A copy of an installation to which files of extensions can be [added](Self::add).
///
/// An overlay consists of copies of the server's programs and of links to all other files of the
/// original. Adding files does not require permission to write to the original.
///
/// ```no_run
/// use pg_install::{Installation, Request};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let overlay = Installation::find(&Request::any())?
///     .overlay(concat!(env!("CARGO_MANIFEST_DIR"), "/target/postgresql"))?
///     .add(["target/release/libmy.so", "my.control", "my--1.0.sql"])?;
/// let installation = overlay.installation();
/// // Give it to `Cluster::new` or `TempClusterBuilder::installation`, and `CREATE EXTENSION my`.
/// # Ok(())
/// # }
/// ```
///
/// PostgreSQL searches for its files relative to the running program (`make_relative_path` in
/// src/port/path.c), after it has followed links (`find_my_exec` in src/common/exec.c). The
/// programs are therefore copied, about 9 MB, and not linked.
///
/// # Cleanup
///
/// The overlay is in a directory that the caller names and owns. It is not removed when this value
/// is dropped. The next call for the same installation uses the same overlay with the files that
/// were added to it, also from several processes at the same time. The path therefore stays the
/// same.
///
/// After an update of the installation, a new overlay is created beside the old one. A process that
/// is killed while it creates an overlay leaves a directory whose name begins with `.new-`.
#[derive(Clone, Debug)]
pub struct Overlay {
    installation: Installation,
    directory: Utf8PathBuf,
    extensions: Utf8PathBuf,
    modules: Utf8PathBuf,
}

impl Installation {
    /// Creates an [`Overlay`] of this installation in a new directory below `room`, or finds the
    /// one that was created there before.
    ///
    /// `room` is created if it does not exist. The account that runs the server must be able to
    /// enter it.
    ///
    /// # Errors
    ///
    /// Fails if:
    ///
    /// * the installation has no server, or the directories of its files are not known,
    /// * another user owns `room`, or all users can write to it,
    /// * files cannot be read or written, or
    /// * the copied programs would search for files outside the overlay, according to `pg_config`.
    pub fn overlay(&self, room: impl AsRef<Utf8Path>) -> Result<Overlay, OverlayError> {
        let room = room.as_ref();
        self.make_overlay(room)
            .map_err(|kind| OverlayError::new(Attempt::Make(room.to_owned()), kind))
    }

    fn make_overlay(&self, room: &Utf8Path) -> Result<Overlay, OverlayErrorKind> {
        let postgres = self
            .require(Program::Postgres)
            .map_err(OverlayErrorKind::MissingProgram)?;
        let start = regular_file::read_start(postgres, 2).map_err(at(postgres))?;
        if start == b"#!" {
            return Err(OverlayErrorKind::Script(postgres.to_owned()));
        }
        // If `postgres` is a link, the server searches for its files relative to the target.
        let real = postgres.canonicalize_utf8().map_err(at(postgres))?;
        if let (Some(bin), Some(real)) = (self.bindir(), real.parent())
            && !is_same(bin, real)
        {
            let real = self.inner.finder.bin_directory(real);
            return real
                .map_err(OverlayErrorKind::Installation)?
                .make_overlay(room);
        }
        let tree = Tree::of(self)?;
        let room = private(room)?;
        let directory = room.join(self.overlay_name(&tree).map_err(at(postgres))?);
        tree.make(&directory)?;
        let [bin, share, modules] =
            [&tree.bin, &tree.share, &tree.modules].map(|path| tree.place(&directory, path));
        let copy = self.inner.finder.bin_directory(&bin);
        let overlay = Overlay {
            installation: copy.map_err(OverlayErrorKind::Installation)?,
            directory,
            extensions: share.join(EXTENSIONS),
            modules,
        };
        for (directory, wanted) in [
            (InstallationDirectory::Share, &share),
            (InstallationDirectory::PkgLib, &overlay.modules),
        ] {
            let found = overlay.installation.directory(directory);
            if found != Some(wanted) {
                return Err(OverlayErrorKind::NotRelocatable {
                    directory,
                    wanted: wanted.clone(),
                    found: found.unwrap_or(Utf8Path::new("not known")).to_owned(),
                });
            }
        }
        Ok(overlay)
    }

    /// Returns the name of the overlay, which depends on the state of the installation.
    fn overlay_name(&self, tree: &Tree) -> io::Result<String> {
        let found = fs::metadata(tree.bin.join(Program::Postgres.name()))?;
        let mut hasher = DefaultHasher::new();
        (&tree.bin, &tree.share, &tree.modules).hash(&mut hasher);
        (found.size(), found.mtime(), found.mtime_nsec()).hash(&mut hasher);
        let version = self.version().without_vendor();
        Ok(format!("postgresql-{version}-{:016x}", hasher.finish()))
    }
}

/// The directory of extensions in the directory of shared data (`get_extension_control_directories`
/// in src/backend/commands/extension.c).
const EXTENSIONS: &str = "extension";

impl Overlay {
    /// Adds files of extensions: `.control` and `.sql` files, and modules with the suffix `.so` or
    /// `.dylib`. A file of the same name in the overlay is replaced. The original installation is
    /// not changed.
    ///
    /// A module that Cargo names `libmy.so` is added as `my.so`, so that `$libdir/my` finds it, and
    /// as `libmy.so`. A running server keeps the modules that it has loaded.
    ///
    /// ```no_run
    /// use pg_install::{Installation, Request};
    ///
    /// let overlay = Installation::find(&Request::any())?.overlay("/var/tmp/overlays")?;
    /// let overlay = overlay.add(["my.control", "my--1.0.sql"])?;
    /// assert!(overlay.installation().bindir().unwrap().starts_with(overlay.directory()));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if a file cannot be read, if its name has another suffix, or if the copy cannot be
    /// written.
    #[expect(
        clippy::should_implement_trait,
        reason = "the function adds files and is not an operator"
    )]
    pub fn add<P: AsRef<Utf8Path>>(
        self,
        files: impl IntoIterator<Item = P>,
    ) -> Result<Self, OverlayError> {
        for file in files {
            let file = file.as_ref();
            self.add_file(file).map_err(|kind| {
                let attempt = Attempt::Add(self.directory.clone(), file.to_owned());
                OverlayError::new(attempt, kind)
            })?;
        }
        Ok(self)
    }

    fn add_file(&self, file: &Utf8Path) -> Result<(), OverlayErrorKind> {
        let (Some(name), Some(stem)) = (file.file_name(), file.file_stem()) else {
            return Err(OverlayErrorKind::UnknownKind);
        };
        let suffix = match file.extension() {
            Some("control" | "sql") => {
                return tree::copy(file, &self.extensions.join(name), 0o644);
            }
            // On macOS, servers before PostgreSQL 16 load modules with the suffix .so (`DLSUFFIX`).
            Some("dylib") if self.installation.version().major() < 16 => "so",
            Some(suffix @ ("so" | "dylib")) => suffix,
            _ => return Err(OverlayErrorKind::UnknownKind),
        };
        let short = stem.strip_prefix("lib").filter(|short| !short.is_empty());
        let module = format!("{}.{suffix}", short.unwrap_or(stem));
        tree::copy(file, &self.modules.join(&module), 0o755)?;
        if module != name {
            tree::replace_by_link(Utf8Path::new(&module), &self.modules.join(name))?;
        }
        Ok(())
    }

    /// The installation with the added files.
    pub fn installation(&self) -> &Installation {
        &self.installation
    }

    /// Converts the overlay into the installation with the added files.
    pub fn into_installation(self) -> Installation {
        self.installation
    }

    /// The directory of the overlay. It contains no other files.
    pub fn directory(&self) -> &Utf8Path {
        &self.directory
    }
}

/// Creates the directory if it does not exist, and rejects one to which other users can write.
fn private(room: &Utf8Path) -> Result<Utf8PathBuf, OverlayErrorKind> {
    fs::create_dir_all(room).map_err(at(room))?;
    let room = room.canonicalize_utf8().map_err(at(room))?;
    let found = fs::metadata(&room).map_err(at(&room))?;
    let (owner, mode) = (found.uid(), found.mode() & 0o7777);
    if owner != rustix::process::geteuid().as_raw() || mode & 0o002 != 0 {
        return Err(OverlayErrorKind::NotPrivate {
            path: room,
            owner,
            mode,
        });
    }
    Ok(room)
}

/// Adds the path to an I/O error.
fn at(path: impl AsRef<Utf8Path>) -> impl FnOnce(io::Error) -> OverlayErrorKind {
    move |error| OverlayErrorKind::File(path.as_ref().to_owned(), error)
}
