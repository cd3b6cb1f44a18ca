//! Sources of included files.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Provides files to a [`Resolver`](crate::Resolver).
///
/// [`FileSystem`] reads the files of this machine; a map from paths to contents serves tests.
/// An implementation of your own reads configurations from archives or from other machines:
///
/// ```
/// use std::ffi::OsString;
/// use std::io;
/// use std::path::Path;
/// use pgconf_parse::{LoadError, Loader, Resolver};
///
/// struct OneFile;
///
/// impl Loader for OneFile {
///     fn load(&self, file: &Path) -> Result<Vec<u8>, LoadError> {
///         match file.ends_with("postgresql.conf") {
///             true => Ok(b"port = 5433\ninclude_if_exists 'more.conf'\n".to_vec()),
///             false => Err(LoadError::Open(io::ErrorKind::NotFound.into())),
///         }
///     }
///     fn list(&self, _: &Path) -> io::Result<Vec<OsString>> {
///         Err(io::ErrorKind::NotFound.into())
///     }
///     fn is_directory(&self, _: &Path) -> io::Result<bool> {
///         Ok(false)
///     }
/// }
///
/// let read = Resolver::new().load(&OneFile, Path::new("/etc/postgresql.conf"))?;
/// assert_eq!(read.get("port").unwrap().value_lossy(), "5433");
/// assert_eq!(read.skipped()[0], Path::new("/etc/more.conf"));
/// # Ok::<(), pgconf_parse::ResolveError>(())
/// ```
pub trait Loader {
    /// Returns the content of a file.
    ///
    /// # Errors
    ///
    /// Fails with [`LoadError::Open`] if the file cannot be opened, for example because it does not
    /// exist; `include_if_exists` skips such a file. Fails with [`LoadError::Read`] if the file can
    /// be opened but not read, for example because it is a directory.
    fn load(&self, file: &Path) -> Result<Vec<u8>, LoadError>;

    /// Returns the names of the entries of a directory, in any order.
    ///
    /// # Errors
    ///
    /// Fails if the directory cannot be opened.
    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>>;

    /// Returns whether the path is a directory, following symbolic links.
    ///
    /// # Errors
    ///
    /// Fails if the path cannot be examined, for example because it is a dangling symbolic link.
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

/// The largest size of one configuration, in bytes.
pub(crate) const MAX_TEXT: usize = 16 << 20;

/// The files of this machine.
///
/// It reads regular files of at most 16 MiB, and `/dev/null`, to which a symbolic link may point in
/// order to disable a file.
///
/// DIFFERENCE: the server blocks on a pipe until a process writes to it, and reads `/dev/zero`
/// until its memory is exhausted.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct FileSystem;

impl FileSystem {
    /// Creates a loader for the files of this machine.
    #[must_use]
    pub fn new() -> Self {
        Self
    }
}

impl Loader for FileSystem {
    fn load(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        // The file is examined before it is opened, because opening a pipe blocks. A file swapped
        // in between the two calls is not guarded against.
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

/// The file type is compared as well as the device number: a regular file has a device number too,
/// which matters on systems where a regular file has replaced `/dev/null`.
fn is_null_device(found: &Metadata) -> bool {
    found.file_type().is_char_device()
        && fs::metadata("/dev/null").is_ok_and(|null| null.rdev() == found.rdev())
}

/// A loader that replaces the content of one file, for checking an edit before it is written.
///
/// ```
/// use std::collections::BTreeMap;
/// use std::path::{Path, PathBuf};
/// use pgconf_parse::{Document, Edited, Resolver};
///
/// let path = Path::new("/data/postgresql.conf");
/// let files = BTreeMap::from([(path.to_owned(), b"port = 5432\n".to_vec())]);
/// let mut doc = Document::parse("port = 5432\n");
/// doc.set("port", 5433)?;
/// let read = Resolver::new().load(&Edited::new(files, path, doc.as_bytes()), path)?;
/// assert!(read.is_accepted());
/// assert_eq!(read.get("port").unwrap().value_lossy(), "5433");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Edited<'a, L> {
    files: L,
    path: &'a Path,
    content: &'a [u8],
}

impl<'a, L: Loader> Edited<'a, L> {
    /// Creates a loader that returns `content` for `path`, and loads other files with `files`.
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

/// Files in memory, by path. A directory exists if it contains a file. For tests, and for trying
/// an edit before it is written.
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
