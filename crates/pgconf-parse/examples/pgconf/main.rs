//! Reads and edits PostgreSQL configuration files from the command line.
//!
//! ```text
//! pgconf dump [--auto] [--major N] FILE...
//! pgconf get [--auto] FILE NAME...
//! pgconf set [--stdout] FILE NAME=VALUE...
//! pgconf unset [--stdout] FILE NAME...
//! pgconf explain [--auto] FILE NAME
//! pgconf hba|ident COMMAND ...
//! ```
//!
//! The commands for `pg_hba.conf` and `pg_ident.conf` are described in `hba.rs` and `ident.rs`.
//!
//! `dump` follows includes and prints one JSON object per assignment or problem. With `--auto`,
//! `postgresql.auto.conf` in the directory of the file is read last. `set` and `unset` change the
//! file, or with `--stdout` print the result instead.
//!
//! The exit status is 0 for success. It is 1 if `dump` found a problem that the server would
//! reject, or if a NAME is not set. It is 2 for errors of usage and of the system, which are
//! reported on standard error.

#![allow(clippy::print_stderr, reason = "a command-line program")]

mod arguments;
mod hba;
mod ident;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{self, BufWriter, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use pgconf_parse::{
    AutoConf, Configuration, Document, Event, Problem, ProblemKind, Removal, Resolver,
};
use serde_json::{Value as Json, json};

const USAGE: &str = "usage: pgconf dump [--auto] [--major N] FILE...
       pgconf get [--auto] [--major N] FILE NAME...
       pgconf set [--stdout] FILE NAME=VALUE...
       pgconf unset [--stdout] FILE NAME...
       pgconf explain [--auto] [--major N] FILE NAME
       pgconf hba list|check|explain|add|remove ...
       pgconf ident list|check|explain|add|remove ...";

type Failure = Box<dyn std::error::Error>;

fn main() -> ExitCode {
    let mut out = BufWriter::new(io::stdout().lock());
    let mut args = std::env::args_os().skip(1).peekable();
    let family = args.peek().cloned().unwrap_or_default();
    let done = match family.as_bytes() {
        b"hba" => hba::run(args.skip(1), &mut out),
        b"ident" => ident::run(args.skip(1), &mut out),
        _ => Command::from_args(args).and_then(|command| command.run(&mut out)),
    };
    let done = done.and_then(|success| Ok(out.flush().map(|()| success)?));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(1),
        Err(error) => {
            eprint!("pgconf: {error}");
            let mut cause = error.source();
            while let Some(error) = cause {
                eprint!(": {error}");
                cause = error.source();
            }
            eprintln!();
            ExitCode::from(2)
        }
    }
}

struct Command {
    name: String,
    operands: Vec<OsString>,
    auto: bool,
    stdout: bool,
    major: u16,
}

impl Command {
    fn from_args(mut args: impl Iterator<Item = OsString>) -> Result<Self, Failure> {
        let mut command = Self {
            name: String::new(),
            operands: Vec::new(),
            auto: false,
            stdout: false,
            major: 18,
        };
        let mut options = true;
        let mut words = Vec::new();
        while let Some(arg) = args.next() {
            match arg.as_bytes() {
                b"--" if options => options = false,
                b"--auto" if options => command.auto = true,
                b"--stdout" if options => command.stdout = true,
                b"--major" if options => {
                    let number = args.next().ok_or(USAGE)?;
                    command.major = number.to_string_lossy().parse().map_err(|_| USAGE)?;
                }
                b"-h" | b"--help" if options => return Err(USAGE.into()),
                option if options && option.starts_with(b"--") => {
                    return Err(format!("unknown option {}\n{USAGE}", arg.to_string_lossy()).into());
                }
                _ => words.push(arg),
            }
        }
        if words.is_empty() {
            return Err(USAGE.into());
        }
        command.name = words.remove(0).to_string_lossy().into_owned();
        command.operands = words;
        Ok(command)
    }

    fn run(&self, out: &mut impl Write) -> Result<bool, Failure> {
        let (file, rest) = self.operands.split_first().ok_or(USAGE)?;
        let file = Path::new(file);
        match (self.name.as_str(), rest) {
            ("dump", _) => self.dump(out),
            ("get", [_, ..]) => self.get(file, rest, out),
            ("set", [_, ..]) => self.set(file, rest, out),
            ("unset", [_, ..]) => self.unset(file, rest, out),
            ("explain", [name]) => {
                let configuration = self.read(file)?;
                writeln!(out, "{}", configuration.explain(name.as_bytes()))?;
                Ok(configuration.get(name.as_bytes()).is_some())
            }
            _ => Err(USAGE.into()),
        }
    }

    fn dump(&self, out: &mut impl Write) -> Result<bool, Failure> {
        let mut accepted = true;
        for file in &self.operands {
            if self.operands.len() > 1 {
                writeln!(out, "{}", json!({ "dump": bytes(file.as_bytes()) }))?;
            }
            // The server uses an absolute path too, so the paths of included files are absolute.
            let file = std::path::absolute(file)?;
            let configuration = self.read(&file)?;
            accepted &= configuration.is_accepted();
            let directory = file.parent().unwrap_or(&file);
            for event in configuration.events() {
                writeln!(out, "{}", row(&event, directory))?;
            }
        }
        Ok(accepted)
    }

    fn get(&self, file: &Path, names: &[OsString], out: &mut impl Write) -> Result<bool, Failure> {
        let configuration = self.read(file)?;
        let mut all = true;
        for name in names {
            match configuration.get(name.as_bytes()) {
                Some(found) => {
                    out.write_all(&found.value())?;
                    out.write_all(b"\n")?;
                }
                None => {
                    eprintln!("pgconf: {} is not set", name.to_string_lossy());
                    all = false;
                }
            }
        }
        Ok(all)
    }

    fn set(&self, file: &Path, pairs: &[OsString], out: &mut impl Write) -> Result<bool, Failure> {
        let mut document = Document::parse(fs::read(file)?);
        let pairs = pairs
            .iter()
            .map(|pair| {
                let pair = pair.as_bytes();
                let equals = pair.iter().position(|&byte| byte == b'=').ok_or(USAGE)?;
                Ok((&pair[..equals], &pair[equals + 1..]))
            })
            .collect::<Result<Vec<_>, Failure>>()?;
        document.update(pairs)?;
        self.write(file, &document, out)?;
        Ok(true)
    }

    fn unset(
        &self,
        file: &Path,
        names: &[OsString],
        out: &mut impl Write,
    ) -> Result<bool, Failure> {
        let mut document = Document::parse(fs::read(file)?);
        for name in names {
            document.remove(name.as_bytes(), Removal::CommentOut);
        }
        self.write(file, &document, out)?;
        Ok(true)
    }

    fn read(&self, file: &Path) -> Result<Configuration, Failure> {
        let auto_conf = if self.auto {
            AutoConf::Beside
        } else {
            AutoConf::Ignored
        };
        Ok(Resolver::new()
            .major(self.major)
            .auto_conf(auto_conf)
            .read(file)?)
    }

    fn write(&self, file: &Path, document: &Document, out: &mut impl Write) -> Result<(), Failure> {
        write(file, document.as_bytes(), self.stdout, out)
    }
}

/// Replaces the file atomically, so that a server that reads it at the same time sees either the
/// old or the new text. With `stdout` only prints the text.
fn write(file: &Path, text: &[u8], stdout: bool, out: &mut impl Write) -> Result<(), Failure> {
    if stdout {
        return Ok(out.write_all(text)?);
    }
    let file = fs::canonicalize(file)?;
    // A link to /dev/null disables a file. Root must not replace the device.
    if !file.is_file() {
        return Err(format!("{} is not a regular file", file.display()).into());
    }
    let mut name = file.file_name().unwrap_or(OsStr::new("pgconf")).to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = file.with_file_name(name);
    let old = fs::metadata(&file)?;
    let mut options = fs::OpenOptions::new();
    let mut new = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)?;
    let written = keep_owner(&new, &old)
        .and_then(|()| new.set_permissions(old.permissions()))
        .and_then(|()| new.write_all(text))
        .and_then(|()| new.sync_all())
        .and_then(|()| fs::rename(&temporary, &file));
    if let Err(error) = written {
        fs::remove_file(&temporary)?;
        return Err(error.into());
    }
    Ok(())
}

/// Gives the new file the owner of the old one. If that fails, the old file is not replaced,
/// because a server could not read a file that is owned by root.
fn keep_owner(new: &fs::File, old: &fs::Metadata) -> io::Result<()> {
    let made = new.metadata()?;
    if (made.uid(), made.gid()) == (old.uid(), old.gid()) {
        return Ok(());
    }
    fchown(new, Some(old.uid()), Some(old.gid())).map_err(|error| {
        let (uid, gid) = (old.uid(), old.gid());
        let message = format!("cannot keep the owner, user {uid} and group {gid}: {error}");
        io::Error::new(error.kind(), message)
    })
}

fn row(event: &Event<'_>, directory: &Path) -> Json {
    match event {
        Event::Assignment(found) => json!({
            "file": relative(found.file(), directory),
            "line": found.line(),
            "name": bytes(found.name()),
            "value": bytes(&found.value()),
        }),
        Event::Problem(problem) => {
            let mut row = json!({
                "file": relative(problem.file(), directory),
                "line": problem.line(),
                "error": message(problem, directory),
            });
            if let ProblemKind::Syntax(error) = problem.kind() {
                if let Some(near) = error.near() {
                    row["near"] = bytes(near);
                }
            }
            row
        }
        // `Event` is non-exhaustive.
        _ => Json::Null,
    }
}

/// Returns the server's message with relative paths.
fn message(problem: &Problem, directory: &Path) -> Json {
    let (words, path) = match problem.kind() {
        ProblemKind::OpenFile { path, .. } => ("could not open file", path),
        ProblemKind::OpenDirectory { path, .. } => ("could not open directory", path),
        ProblemKind::Stat { path, .. } => ("could not stat file", path),
        kind => return Json::from(kind.to_string()),
    };
    let path = shortened(path, directory);
    bytes(&[words.as_bytes(), b" \"", path.as_os_str().as_bytes(), b"\""].concat())
}

fn relative(path: &Path, directory: &Path) -> Json {
    bytes(shortened(path, directory).as_os_str().as_bytes())
}

/// Returns the path relative to `directory`, otherwise byte for byte as the server built it.
///
/// The path stays absolute if the two have only the root directory in common, or if a double slash
/// follows the common part, which a relative path could not express.
fn shortened(path: &Path, directory: &Path) -> PathBuf {
    let whole = path.as_os_str().as_bytes();
    let mut up = PathBuf::new();
    for ancestor in directory
        .ancestors()
        .filter(|ancestor| ancestor.parent().is_some())
    {
        match whole.strip_prefix(ancestor.as_os_str().as_bytes()) {
            Some(b"") => {
                return if up.as_os_str().is_empty() {
                    ".".into()
                } else {
                    up
                };
            }
            Some(rest) if rest.starts_with(b"//") => break,
            Some([b'/', rest @ ..]) => {
                let mut short = up.into_os_string();
                if !short.is_empty() {
                    short.push("/");
                }
                short.push(OsStr::from_bytes(rest));
                return short.into();
            }
            _ => up.push(".."),
        }
    }
    path.to_path_buf()
}

/// Returns a JSON string, or an object with the base64 form of bytes that are not UTF-8.
fn bytes(bytes: &[u8]) -> Json {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "b64": base64(bytes) }),
    }
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for chunk in bytes.chunks(3) {
        let group = chunk
            .iter()
            .fold(0, |group, &byte| group << 8 | u32::from(byte))
            << (8 * (3 - chunk.len()));
        for n in 0..4 {
            text.push(match n > chunk.len() {
                true => '=',
                false => DIGITS[(group >> (18 - 6 * n) & 63) as usize].into(),
            });
        }
    }
    text
}
