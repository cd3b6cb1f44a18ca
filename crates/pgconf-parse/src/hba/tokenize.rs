//! Splits files into tokens and follows the lists and files that they include.

use std::borrow::Cow;
use std::ffi::OsStr;
use std::io;
use std::ops::Range;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::hba::read_error::ReadError;
use crate::hba::scan::{self, Line, Lines};
use crate::loader::{LoadError, Loader, MAX_TEXT};
use crate::location;

/// The greatest depth of included files: `CONF_FILE_MAX_DEPTH`, since PostgreSQL 16.
const MAX_DEPTH: usize = 10;

/// The greatest depth of lists before PostgreSQL 16.
///
/// DIFFERENCE: the server continues until it can open no more files, and then reads nothing.
const MAX_LIST_DEPTH: usize = 100;

/// The greatest number of files of one set of rules. A file that is read twice counts twice.
///
/// DIFFERENCE: the server has neither this limit nor a limit on the number of bytes.
const MAX_FILES: usize = 10_000;

/// The texts that tokens are in.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    pub(crate) files: Vec<File>,
    /// The texts of all tokens that differ from the text in the file.
    copies: Vec<u8>,
}

#[derive(Clone, Debug)]
pub(crate) struct File {
    pub(crate) path: PathBuf,
    pub(crate) content: Arc<Vec<u8>>,
}

/// A token without its quotes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Token {
    start: u32,
    length: u32,
    /// Its place in the file of its line. A token of a list has the place where the list is named.
    pub(crate) at: u32,
    /// The file with its text, unless it is copied.
    file: u16,
    is_copied: bool,
    pub(crate) quoted: bool,
}

/// A line with tokens or an error: `TokenizedAuthLine`.
#[derive(Debug)]
pub(crate) struct TokenLine<'a> {
    pub(crate) place: LinePlace,
    tokens: &'a [Token],
    /// Where each field ends among the tokens.
    ends: &'a [usize],
    pub(crate) error: Option<Box<TokenError>>,
}

impl<'a> TokenLine<'a> {
    pub(crate) fn fields(&self) -> impl Iterator<Item = &'a [Token]> + use<'a> {
        let tokens = self.tokens;
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let field = &tokens[start..end];
            start = end;
            field
        })
    }
}

/// The place of a line.
#[derive(Clone, Debug)]
pub(crate) struct LinePlace {
    pub(crate) file: u32,
    pub(crate) number: u32,
    /// From its first token to the end of its text.
    pub(crate) span: Range<u32>,
}

/// An error in splitting a line into tokens.
#[derive(Clone, Debug)]
pub(crate) struct TokenError {
    pub(crate) message: Vec<u8>,
    pub(crate) at: u32,
}

/// Takes each line as soon as it is read, so that tokens need not be kept.
type Sink<'s> = dyn FnMut(&Sources, TokenLine<'_>) + 's;

impl Sources {
    #[inline]
    pub(crate) fn token_text(&self, token: Token) -> &[u8] {
        let text = if token.is_copied {
            &self.copies
        } else {
            self.files[usize::from(token.file)].content.as_slice()
        };
        &text[token.start as usize..(token.start + token.length) as usize]
    }

    /// The text of a line, from its first token.
    pub(crate) fn line_text(&self, line: &LinePlace) -> &[u8] {
        let content = &self.files[line.file as usize].content;
        &content[line.span.start as usize..line.span.end as usize]
    }

    /// Line and column, both counted from 1, of an offset into a file.
    pub(crate) fn position(&self, file: u32, at: u32) -> (usize, usize) {
        let before = &self.files[file as usize].content[..at as usize];
        let start = memchr::memrchr(b'\n', before).map_or(0, |n| n + 1);
        let line = memchr::memchr_iter(b'\n', before).count() + 1;
        (line, before.len() - start + 1)
    }

    /// Reads a file and what it includes.
    pub(crate) fn load(
        loader: &dyn Loader,
        path: &Path,
        major: u16,
        sink: &mut Sink<'_>,
    ) -> Result<Self, ReadError> {
        let content = loader
            .load(path)
            .map_err(|error| ReadError::new(path, error))?;
        Ok(Self::read(Some(loader), path, content, major, sink))
    }

    /// Reads one file, and the files that it includes if there is a loader.
    pub(crate) fn read(
        loader: Option<&dyn Loader>,
        path: &Path,
        mut content: Vec<u8>,
        major: u16,
        sink: &mut Sink<'_>,
    ) -> Self {
        // Places are kept in 32 bits.
        content.truncate(u32::MAX as usize);
        let mut reading = Reading {
            loader,
            major,
            longest_token: scan::longest_token(major).unwrap_or(usize::MAX),
            read: 1,
            bytes: content.len(),
            all: Self::default(),
        };
        let file = reading.add(path.as_os_str().as_bytes(), content);
        reading.tokenize_auth_file(file, 0, sink);
        reading.all
    }
}

/// The state of one reading. The methods are named after the server's functions.
struct Reading<'l> {
    loader: Option<&'l dyn Loader>,
    major: u16,
    longest_token: usize,
    read: usize,
    bytes: usize,
    all: Sources,
}

/// The fields of the line that is being read.
#[derive(Default)]
struct Current {
    tokens: Vec<Token>,
    ends: Vec<usize>,
    error: Option<Box<TokenError>>,
}

/// The reason that a file is not read.
struct Unopened {
    /// The server's message. Before PostgreSQL 16 its beginning may be missing.
    message: Vec<u8>,
    is_complete: bool,
    is_missing: bool,
}

impl Reading<'_> {
    fn add(&mut self, path: &[u8], content: Vec<u8>) -> u32 {
        self.all.files.push(File {
            path: PathBuf::from(OsStr::from_bytes(path)),
            content: Arc::new(content),
        });
        (self.all.files.len() - 1) as u32
    }

    fn path(&self, file: u32) -> Vec<u8> {
        self.all.files[file as usize]
            .path
            .as_os_str()
            .as_bytes()
            .to_vec()
    }

    fn tokenize_auth_file(&mut self, file: u32, depth: usize, sink: &mut Sink<'_>) {
        let content = Arc::clone(&self.all.files[file as usize].content);
        let mut current = Current::default();
        for line in Lines::new(&content, self.major) {
            current.tokens.clear();
            current.ends.clear();
            self.tokenize_line(file, &line, depth, &mut current);
            if current.ends.is_empty() && current.error.is_none() {
                continue;
            }
            if self.major >= 16
                && self.loader.is_some()
                && current.ends.len() == 2
                && current.error.is_none()
                && self.include(file, &line, depth, &mut current, sink)
            {
                continue;
            }
            let begin = current.tokens.first().map(|token| token.at);
            let begin = begin.unwrap_or(line.span.start as u32);
            let end = line.end() as u32;
            let line = TokenLine {
                place: LinePlace {
                    file,
                    number: line.number as u32,
                    span: begin..end.max(begin),
                },
                tokens: &current.tokens,
                ends: &current.ends,
                error: current.error.take(),
            };
            sink(&self.all, line);
        }
    }

    /// Source: also `next_field_expand`.
    fn tokenize_line(&mut self, file: u32, line: &Line<'_>, depth: usize, current: &mut Current) {
        if line.is_too_long {
            current.error = Some(error("authentication file line too long", line.span.start));
            return;
        }
        let text: &[u8] = &line.text;
        let is_joined = matches!(line.text, Cow::Owned(_));
        let mut at = 0;
        let mut end = 0;
        while let Some(token) = scan::next_token(text, &mut at) {
            let place = line.offset(token.span.start);
            if token.span.len() >= self.longest_token
                && scan::is_too_long(&token, text, self.longest_token)
            {
                current.error = Some(error("authentication file token too long", place));
                break;
            }
            if is_joined || token.has_quotes || text[token.span.start] == b'@' {
                let has_comma = token.comma;
                self.unusual_token(file, token.quoted, &token.text(text), place, depth, current);
                if current.error.is_some() {
                    break;
                }
                if has_comma {
                    continue;
                }
            } else {
                current.tokens.push(Token {
                    start: place as u32,
                    length: token.span.len() as u32,
                    at: place as u32,
                    file: file as u16,
                    is_copied: false,
                    quoted: false,
                });
                if token.comma {
                    continue;
                }
            }
            if current.tokens.len() > end {
                end = current.tokens.len();
                current.ends.push(end);
            }
        }
        // A comma may be the last token but for a comment.
        if current.tokens.len() > end {
            current.ends.push(current.tokens.len());
        }
    }

    /// Adds a token that names a list, or whose text is not in the file as it is.
    #[cold]
    fn unusual_token(
        &mut self,
        file: u32,
        quoted: bool,
        text: &[u8],
        place: usize,
        depth: usize,
        current: &mut Current,
    ) {
        if self.loader.is_some() && !quoted && text.len() > 1 && text[0] == b'@' {
            self.tokenize_expand_file(file, &text[1..], place, depth + 1, current);
            return;
        }
        current.tokens.push(Token {
            start: self.all.copies.len() as u32,
            length: text.len() as u32,
            at: place as u32,
            file: file as u16,
            is_copied: true,
            quoted,
        });
        self.all.copies.extend_from_slice(text);
    }

    /// Source: `tokenize_expand_file`, `tokenize_inc_file` before PostgreSQL 16.
    fn tokenize_expand_file(
        &mut self,
        outer: u32,
        name: &[u8],
        place: usize,
        depth: usize,
        current: &mut Current,
    ) {
        let path = location::included(name, &self.path(outer), self.major);
        let file = match self.open_auth_file(&path, depth) {
            Ok(file) => file,
            Err(unopened) => {
                let message = if self.major < 16 && !unopened.is_complete {
                    let quoted = [b"could not open secondary authentication file \"@", name];
                    [&quoted.concat(), b"\" as ".as_slice(), &unopened.message].concat()
                } else {
                    unopened.message
                };
                current.error = Some(Box::new(TokenError {
                    message,
                    at: place as u32,
                }));
                return;
            }
        };
        let Current { tokens, error, .. } = current;
        self.tokenize_auth_file(file, depth, &mut |_, line| match (&error, line.error) {
            (Some(_), _) => {}
            (None, Some(inner)) => {
                *error = Some(Box::new(TokenError {
                    at: place as u32,
                    ..*inner
                }));
            }
            (None, None) => tokens.extend(line.tokens.iter().map(|token| Token {
                at: place as u32,
                ..*token
            })),
        });
    }

    /// Follows `include`, `include_dir` or `include_if_exists`. Returns whether the line was such a
    /// directive and had no error.
    ///
    /// Source: `tokenize_auth_file` since PostgreSQL 16.
    fn include(
        &mut self,
        file: u32,
        line: &Line<'_>,
        depth: usize,
        current: &mut Current,
        sink: &mut Sink<'_>,
    ) -> bool {
        let (first, second) = (current.tokens[0], current.tokens[current.ends[0]]);
        let name = self.all.token_text(second).to_vec();
        let error = match self.all.token_text(first) {
            b"include" => self.tokenize_include_file(file, &name, depth + 1, false, sink),
            b"include_if_exists" => self.tokenize_include_file(file, &name, depth + 1, true, sink),
            b"include_dir" => self.include_dir(file, &name, depth + 1, sink),
            _ => return false,
        };
        match error {
            Ok(()) => true,
            Err(message) => {
                current.error = Some(Box::new(TokenError {
                    message,
                    at: line.offset(0).max(second.at as usize) as u32,
                }));
                false
            }
        }
    }

    fn include_dir(
        &mut self,
        file: u32,
        name: &[u8],
        depth: usize,
        sink: &mut Sink<'_>,
    ) -> Result<(), Vec<u8>> {
        let files = self.conf_files_in_dir(file, name)?;
        let mut messages: Vec<Vec<u8>> = Vec::new();
        for path in files {
            match self.tokenize_located_file(&path, depth, false, sink) {
                Err(message) => messages.push(message),
                // The server keeps the message while it reads the next file.
                Ok(()) => messages.extend(messages.last().cloned()),
            }
        }
        if messages.is_empty() {
            Ok(())
        } else {
            Err(messages.join(&b'\n'))
        }
    }

    fn tokenize_include_file(
        &mut self,
        outer: u32,
        name: &[u8],
        depth: usize,
        missing_ok: bool,
        sink: &mut Sink<'_>,
    ) -> Result<(), Vec<u8>> {
        let path = location::included(name, &self.path(outer), self.major);
        self.tokenize_located_file(&path, depth, missing_ok, sink)
    }

    /// Reads the included file of this path.
    fn tokenize_located_file(
        &mut self,
        path: &[u8],
        depth: usize,
        missing_ok: bool,
        sink: &mut Sink<'_>,
    ) -> Result<(), Vec<u8>> {
        match self.open_auth_file(path, depth) {
            Ok(file) => {
                self.tokenize_auth_file(file, depth, sink);
                Ok(())
            }
            Err(unopened) if missing_ok && unopened.is_missing => Ok(()),
            Err(unopened) => Err(unopened.message),
        }
    }

    /// Source: `GetConfFilesInDir` in conffiles.c.
    fn conf_files_in_dir(&mut self, file: u32, name: &[u8]) -> Result<Vec<Vec<u8>>, Vec<u8>> {
        if name.iter().all(|byte| b" \t\r\n".contains(byte)) {
            return Err(b"empty configuration directory name".to_vec());
        }
        let directory = location::included(name, &self.path(file), self.major);
        let about = |what: &str, path: &[u8]| [what.as_bytes(), b" \"", path, b"\""].concat();
        let loader = self
            .loader
            .expect("an include is followed through a loader");
        let names = loader
            .list(Path::new(OsStr::from_bytes(&directory)))
            .map_err(|_| about("could not open directory", &directory))?;
        let mut files: Vec<Vec<u8>> = names
            .iter()
            .map(|name| name.as_bytes())
            .filter(|name| name.len() >= 6 && name[0] != b'.' && name.ends_with(b".conf"))
            .map(|name| location::joined(&directory, name, self.major))
            .collect();
        files.sort();
        let mut kept = Vec::with_capacity(files.len());
        for file in files {
            match loader.is_directory(Path::new(OsStr::from_bytes(&file))) {
                Ok(true) => {}
                Ok(false) => kept.push(file),
                Err(_) => return Err(about("could not stat file", &file)),
            }
        }
        Ok(kept)
    }

    /// Opens a file. An error has the server's message, before PostgreSQL 16 without its beginning.
    fn open_auth_file(&mut self, path: &[u8], depth: usize) -> Result<u32, Unopened> {
        let unopened = |reason: &str, is_missing| {
            let words: &[u8] = if self.major < 16 {
                b""
            } else {
                b"could not open file "
            };
            Err(Unopened {
                message: [words, b"\"", path, b"\": ", reason.as_bytes()].concat(),
                is_complete: !words.is_empty(),
                is_missing,
            })
        };
        if self.major >= 16 && depth > MAX_DEPTH {
            return unopened("maximum nesting depth exceeded", false);
        }
        if depth > MAX_LIST_DEPTH || self.read >= MAX_FILES || self.bytes >= MAX_TEXT {
            return unopened("too many files", false);
        }
        let loader = self
            .loader
            .expect("an include is followed through a loader");
        match loader.load(Path::new(OsStr::from_bytes(path))) {
            Ok(content) => {
                self.read += 1;
                self.bytes += content.len();
                Ok(self.add(path, content))
            }
            Err(LoadError::Open(error)) => {
                unopened(&reason(&error), error.kind() == io::ErrorKind::NotFound)
            }
            Err(LoadError::Read(error)) => {
                self.read += 1;
                // Since PostgreSQL 14 the server ignores an error in reading an open file.
                let content = Vec::new();
                let file = self.add(path, content);
                if self.major < 14 {
                    return Err(unread(path, &error));
                }
                Ok(file)
            }
        }
    }
}

/// The error of servers before PostgreSQL 14 if the path is a directory.
fn unread(path: &[u8], error: &io::Error) -> Unopened {
    let reason = reason(error);
    Unopened {
        message: [b"could not read file \"", path, b"\": ", reason.as_bytes()].concat(),
        is_complete: true,
        is_missing: false,
    }
}

fn error(message: &str, at: usize) -> Box<TokenError> {
    Box::new(TokenError {
        message: message.as_bytes().to_vec(),
        at: at as u32,
    })
}

/// The reason in the words of `%m`.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "No such file or directory".to_owned(),
        io::ErrorKind::PermissionDenied => "Permission denied".to_owned(),
        io::ErrorKind::IsADirectory => "Is a directory".to_owned(),
        io::ErrorKind::NotADirectory => "Not a directory".to_owned(),
        _ => {
            let text = error.to_string();
            text.split(" (os error")
                .next()
                .unwrap_or_default()
                .to_owned()
        }
    }
}
