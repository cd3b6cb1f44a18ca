//! The end of a log file that a server of an earlier program, or of another one, has written, or
//! its own log collector.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{open_regular_file, read_tail};

/// How much of a log is kept in memory, or read, where the caller does not say.
pub(crate) const TAIL: usize = 64 << 10;

/// At most [`TAIL`] bytes from the end of the file; none if it cannot be read.
pub(crate) fn tail_of(path: &Utf8Path) -> Option<String> {
    let bytes = read_tail(open(path, path.parent()?)?, 0, TAIL).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// Opens a file of the directory's owner only: the server's account can put a link to any other
/// there, which root would read to it.
fn open(path: &Utf8Path, directory: &Utf8Path) -> Option<File> {
    let file = open_regular_file(path).ok()?;
    let owner = fs::metadata(directory).ok()?.uid();
    (file.metadata().ok()?.uid() == owner).then_some(file)
}

/// A file of the server's log collector (`logging_collector`), and how long it was at one moment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct CollectedLog {
    data_directory: Utf8PathBuf,
    path: Utf8PathBuf,
    length: u64,
}

impl CollectedLog {
    /// The one that is, or was at last, written to, by the collector's own record
    /// (src/backend/postmaster/syslogger.c): the plain text if it writes several forms.
    pub(crate) fn find(data_directory: &Utf8Path) -> Option<Self> {
        let mut record = String::new();
        open_regular_file(data_directory.join("current_logfiles"))
            .and_then(|file| file.take(TAIL as u64).read_to_string(&mut record))
            .ok()?;
        let mut files = record.lines().filter_map(|line| line.split_once(' '));
        let first = files.next()?;
        let plain = files.find(|(form, _)| *form == "stderr");
        let (_, path) = plain.filter(|_| first.0 != "stderr").unwrap_or(first);
        let path = data_directory.join(path);
        let length = fs::metadata(&path).map_or(0, |found| found.len());
        Some(Self {
            data_directory: data_directory.to_owned(),
            path,
            length,
        })
    }

    /// The end of what was written since `before`.
    pub(crate) fn since(&self, before: Option<&Self>) -> Vec<u8> {
        let before = before.filter(|before| before.path == self.path);
        open(&self.path, &self.data_directory)
            .and_then(|file| read_tail(file, before.map_or(0, |it| it.length), TAIL).ok())
            .unwrap_or_default()
    }
}
