//! Reading files of a data directory, where anything may stand in the place of a file: who opens a FIFO waits until somebody opens its
//! other end.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Read as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

use pgconf_parse::{FileSystem, LoadError, Loader};

pub(crate) fn open(path: impl AsRef<Path>) -> io::Result<File> {
    let kind = fs::metadata(&path)?.file_type();
    if kind.is_fifo() || kind.is_socket() {
        let message = "it is a FIFO or a socket";
        return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
    }
    File::open(path)
}

pub(crate) fn read(path: impl AsRef<Path>) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    open(path)?.read_to_end(&mut content)?;
    Ok(content)
}

/// Configuration files, included ones too.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PlainFiles;

impl Loader for PlainFiles {
    fn load(&self, path: &Path) -> Result<Vec<u8>, LoadError> {
        match open(path) {
            // What is there and cannot be used is not passed over by `include_if_exists`.
            Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
                Err(LoadError::Read(error))
            }
            _ => FileSystem::new().load(path),
        }
    }

    fn list(&self, directory: &Path) -> io::Result<Vec<OsString>> {
        FileSystem::new().list(directory)
    }

    fn is_directory(&self, path: &Path) -> io::Result<bool> {
        FileSystem::new().is_directory(path)
    }
}
