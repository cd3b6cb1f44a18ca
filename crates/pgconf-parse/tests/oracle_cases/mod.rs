//! The oracle's cases: files, and the results of real servers. The README in the folder of the
//! cases describes the format.

#![allow(dead_code, reason = "each test that includes this uses a part of it")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use serde_json::Value as Json;

/// The server versions whose results are recorded.
pub(crate) const MAJORS: [u16; 9] = [10, 11, 12, 13, 14, 15, 16, 17, 18];

pub(crate) struct Case {
    pub(crate) id: String,
    json: Json,
}

/// An assignment that the server read, or an error that it reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) file: Vec<u8>,
    pub(crate) line: usize,
    pub(crate) read: Read,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Read {
    Setting {
        name: Vec<u8>,
        value: Vec<u8>,
    },
    Error {
        error: Vec<u8>,
        near: Option<Vec<u8>>,
    },
}

/// Reads all cases of all files.
pub(crate) fn all() -> Vec<Case> {
    let folder = Path::new(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/",
        env!("CARGO_PKG_NAME")
    ));
    let folder = folder.ancestors().find_map(|folder| {
        let cases = folder.join("tests/oracle");
        cases.is_dir().then_some(cases)
    });
    let folder = folder.expect("the folder tests/oracle of this repository");
    let mut cases = Vec::new();
    for name in ["hand", "bytes", "fuzz", "tree", "ftree", "stock"] {
        let text = fs::read_to_string(folder.join(name).with_extension("jsonl")).unwrap();
        cases.extend(text.lines().map(|line| {
            let json: Json = serde_json::from_str(line).unwrap();
            Case {
                id: json["id"].as_str().unwrap().to_owned(),
                json,
            }
        }));
    }
    assert!(
        cases.len() > 2000,
        "the oracle is not complete: {} cases",
        cases.len()
    );
    cases
}

impl Case {
    /// Creates the data directory, writes the files, and returns the path of the first one.
    pub(crate) fn write_to(&self, data: &Path) -> PathBuf {
        fs::create_dir_all(data).unwrap();
        let placed = |path: &str| {
            let path = data.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            path
        };
        for (path, content) in self.files() {
            fs::write(placed(path), self.substituted(content, data)).unwrap();
        }
        for directory in list(&self.json["dirs"]) {
            fs::create_dir_all(data.join(directory.as_str().unwrap())).unwrap();
        }
        for (path, target) in self.json["links"].as_object().into_iter().flatten() {
            symlink(target.as_str().unwrap(), placed(path)).unwrap();
        }
        data.join("postgresql.conf")
    }

    /// Paths and contents of the files.
    pub(crate) fn files(&self) -> impl Iterator<Item = (&str, Vec<u8>)> {
        let files = self.json["files"].as_object().unwrap();
        files
            .iter()
            .map(|(path, content)| (path.as_str(), bytes(content)))
    }

    /// The rows that the server of that version read, in order.
    pub(crate) fn rows(&self, major: u16, data: &Path) -> Vec<Row> {
        list(&self.verdict(major)["rows"])
            .map(|json| self.row(json, data))
            .collect()
    }

    /// The indexes of the rows in effect.
    pub(crate) fn effective(&self, major: u16) -> Vec<usize> {
        list(&self.verdict(major)["effective"])
            .map(|n| n.as_u64().unwrap() as usize)
            .collect()
    }

    /// The missing files of `include_if_exists`, as the newest server reports them.
    pub(crate) fn skipped(&self, data: &Path) -> Vec<Vec<u8>> {
        list(&self.json["skipped"])
            .map(|path| self.substituted(bytes(path), data))
            .collect()
    }

    fn verdict(&self, major: u16) -> &Json {
        let others = list(&self.json["other_versions"]);
        let own = others.into_iter().find(|other| {
            list(&other["versions"]).any(|version| version.as_u64() == Some(major.into()))
        });
        own.unwrap_or(&self.json)
    }

    fn row(&self, json: &Json, data: &Path) -> Row {
        Row::of(json, |path| self.substituted(path, data))
    }

    fn substituted(&self, text: Vec<u8>, data: &Path) -> Vec<u8> {
        const PLACEHOLDER: &[u8] = b"@PGDATA@";
        if self.json["subst"] != Json::Bool(true) {
            return text;
        }
        let mut result = Vec::new();
        let mut rest = text.as_slice();
        while let Some(&byte) = rest.first() {
            match rest.strip_prefix(PLACEHOLDER) {
                Some(after) => {
                    result.extend(data.as_os_str().as_bytes());
                    rest = after;
                }
                None => {
                    result.push(byte);
                    rest = &rest[1..];
                }
            }
        }
        result
    }
}

impl Row {
    /// Reads a row from JSON. `path` converts the texts that contain paths.
    pub(crate) fn of(json: &Json, path: impl Fn(Vec<u8>) -> Vec<u8>) -> Self {
        let field = |name: &str| json.get(name).map(bytes);
        Self {
            file: field("file").map_or(b"postgresql.conf".to_vec(), &path),
            line: json["line"].as_u64().unwrap() as usize,
            read: match field("name") {
                Some(name) => Read::Setting {
                    name,
                    value: field("value").unwrap(),
                },
                None => Read::Error {
                    error: path(field("error").unwrap()),
                    near: field("near"),
                },
            },
        }
    }
}

/// Compares our rows with those of the server, and returns the number of deliberate differences.
///
/// DIFFERENCE: for an error at the end of a last line without a newline, the server reports the
/// line before. This crate reports the line itself.
pub(crate) fn compare(id: &str, ours: &[Row], server: &[Row], data: &Path) -> usize {
    let mut differences = 0;
    for (ours, server) in ours.iter().zip(server) {
        if ours == server {
            continue;
        }
        let moved = Row {
            line: server.line + 1,
            ..server.clone()
        };
        let syntax = Read::Error {
            error: b"syntax error".to_vec(),
            near: None,
        };
        let content = fs::read(data.join(OsStr::from_bytes(&ours.file))).unwrap_or_default();
        let newlines = content.iter().filter(|byte| **byte == b'\n').count();
        let at_end = !content.ends_with(b"\n") && ours.line == newlines + 1;
        assert!(
            *ours == moved && ours.read == syntax && at_end,
            "{id}:\n  ours   {ours:?}\n  server {server:?}",
        );
        differences += 1;
    }
    assert_eq!(
        ours.len(),
        server.len(),
        "{id}: ours {ours:#?}, server {server:#?}"
    );
    differences
}

fn list(json: &Json) -> impl Iterator<Item = &Json> {
    json.as_array().into_iter().flatten()
}

/// Reads a string, or an object with the base64 form of bytes that are not UTF-8.
pub(crate) fn bytes(json: &Json) -> Vec<u8> {
    match json.as_str() {
        Some(text) => text.as_bytes().to_vec(),
        None => from_base64(json["b64"].as_str().unwrap()),
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    let digit = |byte: u8| match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        _ => 63,
    };
    let digits: Vec<u32> = text
        .bytes()
        .filter(|&byte| byte != b'=')
        .map(|byte| digit(byte).into())
        .collect();
    digits
        .chunks(4)
        .flat_map(|chunk| {
            let group =
                chunk.iter().fold(0, |group, digit| group << 6 | digit) << (6 * (4 - chunk.len()));
            group
                .to_be_bytes()
                .into_iter()
                .skip(1)
                .take(chunk.len() - 1)
        })
        .collect()
}
