//! Where included files come from.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Gives a [`Resolver`](crate::Resolver) the files that it asks for.
pub trait Loader {
    /// The content of a file.
    ///
    /// # Errors
    ///
    /// Fails with [`LoadError::Open`] if the file cannot be opened, as for one that does not exist,
    /// which `include_if_exists` skips; with [`LoadError::Read`] if it can be opened but not read,
    /// as for a directory.
    fn load(&self, file: &Path) -> Result<Vec<u8>, LoadError>;

    /// The names of what is in a directory, in any order.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be opened.
    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// Returns whether the path is a directory, following symbolic links.
    ///
    /// # Errors
    ///
    /// Fails if that cannot be determined, as for a dangling symbolic link.
    fn is_directory(&self, path: &Path) -> io::Result<bool>;
}

/// The reason why a file could not be loaded.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError {
    /// The file could not be opened.
    Open(io::Error),
    /// The file was opened, but could not be read.
    Read(io::Error),
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Open(_) => "the file cannot be opened",
            Self::Read(_) => "the file cannot be read",
        })
    }
}

impl std::error::Error for LoadError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        let (Self::Open(error) | Self::Read(error)) = self;
        Some(error)
    }
}

impl From<LoadError> for io::Error {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::Open(error) | LoadError::Read(error) => error,
        }
    }
}

/// How much text one configuration may have.
pub(crate) const MAX_TEXT: usize = 16 << 20;

/// The files of this machine: regular ones of at most 16 MiB, and `/dev/null`, to which a link may
/// lead in order to switch a file off.
///
/// DIFFERENCE: the server waits for a writer where the path is a pipe, and reads `/dev/zero` until
/// its memory is full.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct FileSystem;

impl FileSystem {
    /// The files of this machine.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Loader for FileSystem {
    fn load(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        // Before it is opened, because opening a pipe waits. A file swapped in between the two
        // calls is not guarded against.
        let metadata = fs::metadata(path).map_err(LoadError::Open)?;
        if !(metadata.is_file() || metadata.is_dir() || is_null_device(&metadata)) {
            let error = io::Error::new(io::ErrorKind::InvalidInput, "not a regular file");
            return Err(LoadError::Read(error));
        }
        let file = File::open(path).map_err(LoadError::Open)?;
        let mut content = Vec::new();
        file.take(MAX_TEXT as u64 + 1)
            .read_to_end(&mut content)
            .map_err(LoadError::Read)?;
        if content.len() > MAX_TEXT {
            return Err(LoadError::Read(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(content)
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        fs::read_dir(directory)?
            .map(|entry| Ok(entry?.file_name()))
            .collect()
    }

    fn is_directory(&self, path: &Path) -> io::Result<bool> {
        Ok(fs::metadata(path)?.is_dir())
    }
}

/// A regular file has a device number as well, which matters where one replaced `/dev/null`.
fn is_null_device(found: &Metadata) -> bool {
    found.file_type().is_char_device()
        && fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == found.rdev())
}

/// The files of another loader, with one of them changed: for judging an edit before it is written.
#[derive(Clone, Copy, Debug)]
pub struct Edited<'a, L> {
    files: L,
    path: &'a Path,
    content: &'a [u8],
}

impl<'a, L: Loader> Edited<'a, L> {
    /// These files, in which the one at `path` has this content.
    #[must_use]
    pub fn new(files: L, path: &'a Path, content: &'a [u8]) -> Self {
        Self {
            files,
            path,
            content,
        }
    }
}

impl<L: Loader> Loader for Edited<'_, L> {
    fn load(&self, file: &Path) -> Result<Vec<u8>, LoadError> {
        match file == self.path {
            true => Ok(self.content.to_vec()),
            false => self.files.load(file),
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        self.files.list(directory)
    }

    fn is_directory(&self, path: &Path) -> io::Result<bool> {
        self.files.is_directory(path)
    }
}

/// Files held in memory, by their path; a directory is there if a file is in it. For tests, and
/// for trying out an edit before it is written.
impl Loader for BTreeMap<PathBuf, Vec<u8>> {
    fn load(&self, file: &Path) -> Result<Vec<u8>, LoadError> {
        match self.get(file) {
            Some(content) => Ok(content.clone()),
            None if self.is_directory(file).is_ok() => {
                Err(LoadError::Read(io::ErrorKind::IsADirectory.into()))
            }
            None => Err(LoadError::Open(io::ErrorKind::NotFound.into())),
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        let mut names: Vec<OsString> = self
            .keys()
            .filter_map(|file| Some(file.strip_prefix(directory).ok()?.iter().next()?.to_owned()))
            .collect();
        names.dedup();
        if names.is_empty() {
            Err(io::ErrorKind::NotFound.into())
        } else {
            Ok(names)
        }
    }

    fn is_directory(&self, path: &Path) -> io::Result<bool> {
        if self.contains_key(path) {
            return Ok(false);
        }
        self.list(path).map(|_| true)
    }
}
