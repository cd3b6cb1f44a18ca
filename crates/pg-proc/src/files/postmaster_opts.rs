//! `postmaster.opts`: the command line of the last start.

use std::io;
use std::str::FromStr;

use camino::{Utf8Path, Utf8PathBuf};
use thiserror::Error;

use crate::fs::regular_file::{self, Unreadable};

/// Longest file that is read: more than any system lets a command line be.
const LIMIT: usize = 8 << 20;

/// `postmaster.opts`: the command line of the last start.
///
/// The server writes its program, then each argument between double quotes, and a newline
/// (`CreateOptsFile` in `src/backend/postmaster/postmaster.c`). Nothing is escaped: an argument
/// that contains `" "` cannot be told from two. Servers before 8.1 wrote single quotes; both are
/// read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize))]
#[non_exhaustive]
pub struct PostmasterOpts {
    /// The server's executable.
    pub program: Utf8PathBuf,
    /// Its arguments.
    pub arguments: Vec<String>,
}

impl PostmasterOpts {
    /// Name of the file within a data directory.
    pub const NAME: &'static str = "postmaster.opts";

    /// Reads `postmaster.opts` of a data directory; none when there is no such file: the cluster
    /// was never started.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or no server wrote it.
    pub fn read(data_directory: impl AsRef<Utf8Path>) -> Result<Option<Self>, PostmasterOptsError> {
        let data_directory = data_directory.as_ref();
        let path = data_directory.join(Self::NAME);
        let failed = |kind| PostmasterOptsError {
            path: Some(path.clone()),
            kind,
        };
        let bytes = regular_file::read(&path, LIMIT).map_err(|e| failed(e.into()))?;
        let text = bytes.map(String::from_utf8).transpose().map_err(|e| {
            let not_utf8 = io::Error::new(io::ErrorKind::InvalidData, e);
            failed(PostmasterOptsErrorKind::Read(not_utf8))
        })?;
        text.map(|text| parse(&text).map_err(failed)).transpose()
    }
}

impl FromStr for PostmasterOpts {
    type Err = PostmasterOptsError;

    /// ```
    /// let opts: pg_proc::PostmasterOpts = "/usr/bin/postgres \"-D\" \"/srv/my data\"\n".parse()?;
    /// assert_eq!(opts.arguments, ["-D", "/srv/my data"]);
    /// # Ok::<(), pg_proc::PostmasterOptsError>(())
    /// ```
    fn from_str(text: &str) -> Result<Self, PostmasterOptsError> {
        parse(text).map_err(|kind| PostmasterOptsError { path: None, kind })
    }
}

/// `postmaster.opts` cannot be read, or no server wrote it.
#[derive(Debug)]
#[non_exhaustive]
pub struct PostmasterOptsError {
    /// The file, where one was read.
    pub path: Option<Utf8PathBuf>,
    /// What is wrong.
    pub kind: PostmasterOptsErrorKind,
}

error_with_kind!(PostmasterOptsError, |e, f| match &e.path {
    Some(path) => write!(f, "{path} {}", e.kind),
    None => write!(f, "command line {}", e.kind),
});

/// What is wrong with `postmaster.opts`.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum PostmasterOptsErrorKind {
    /// The file could not be read, or is not UTF-8.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// A directory, pipe or device stands in its place.
    #[error("is not a regular file")]
    NotRegular,
    /// Longer than a command line can be.
    #[error("is longer than {LIMIT} bytes")]
    TooLong,
    /// No program stands at the beginning.
    #[error("names no program")]
    NoProgram,
    /// The quotes do not pair.
    #[error("has an argument that is not closed by {0}")]
    Unclosed(char),
}

impl From<Unreadable> for PostmasterOptsErrorKind {
    fn from(problem: Unreadable) -> Self {
        match problem {
            Unreadable::Io(e) => Self::Read(e),
            Unreadable::NotRegular => Self::NotRegular,
            Unreadable::TooLong => Self::TooLong,
        }
    }
}

fn parse(text: &str) -> Result<PostmasterOpts, PostmasterOptsErrorKind> {
    let line = text.strip_suffix('\n').unwrap_or(text);
    let double = line.find(" \"").map(|at| (at, '"'));
    let single = line.find(" '").map(|at| (at, '\''));
    // The earlier one opened the first argument; the other kind can only stand within an argument.
    let opening = [double, single].into_iter().flatten().min();
    let (program, arguments) = match opening {
        None => (line, Vec::new()),
        Some((at, quote)) => {
            let inner = line[at + 2..]
                .strip_suffix(quote)
                .ok_or(PostmasterOptsErrorKind::Unclosed(quote))?;
            let between = format!("{quote} {quote}");
            (
                &line[..at],
                inner.split(&between).map(str::to_owned).collect(),
            )
        }
    };
    if program.is_empty() {
        return Err(PostmasterOptsErrorKind::NoProgram);
    }
    Ok(PostmasterOpts {
        program: program.into(),
        arguments,
    })
}
