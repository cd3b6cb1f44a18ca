//! What real servers read in `pg_hba.conf` and `pg_ident.conf` files: see `tests/oracle-hba`.

#![allow(dead_code, clippy::unwrap_used, reason = "shared by tests")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pgconf_parse::hba::{Server, Ssl};
use serde_json::Value as Json;

pub(crate) struct Case {
    pub(crate) id: String,
    /// Contents by path in the directory.
    pub(crate) files: BTreeMap<String, Vec<u8>>,
    answers: Vec<(Vec<String>, Json)>,
}

/// A server that was asked.
pub(crate) struct Asked {
    pub(crate) id: String,
    pub(crate) server: Server,
    pub(crate) arguments: Vec<String>,
}

/// A row of the server's view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Row(pub(crate) Vec<Column>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Column {
    Null,
    Number(u64),
    Text(Vec<u8>),
    List(Vec<Vec<u8>>),
}

pub(crate) enum Answer {
    Rows(Vec<Row>),
    /// The server gave up.
    Failed(String),
}

fn oracle() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = root
        .ancestors()
        .find(|root| root.join("tests/oracle-hba").exists());
    root.unwrap().join("tests/oracle-hba")
}

/// The cases of `hba` or `ident`.
pub(crate) fn cases(kind: &str) -> Vec<Case> {
    let text = fs::read_to_string(oracle().join(format!("{kind}.jsonl"))).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    lines.map(|json: Json| Case::of(&json)).collect()
}

pub(crate) fn servers() -> Vec<Asked> {
    let text = fs::read_to_string(oracle().join("servers.jsonl")).unwrap();
    text.lines()
        .map(|line| {
            let json: Json = serde_json::from_str(line).unwrap();
            let major = u16::try_from(json["major"].as_u64().unwrap()).unwrap();
            let has = |name: &str| json[name].as_bool().unwrap();
            let ssl = match json["ssl"].as_str().unwrap() {
                "off" => Ssl::Off,
                _ => Ssl::Missing,
            };
            let mut arguments = vec!["--major".to_owned(), major.to_string()];
            for (name, has) in [
                ("gss", has("gss")),
                ("ldap", has("ldap")),
                ("pam", has("pam")),
            ] {
                if !has {
                    arguments.push(format!("--without={name}"));
                }
            }
            arguments.push(format!("--ssl={}", json["ssl"].as_str().unwrap()));
            arguments.push("--oauth-validators=".to_owned());
            Asked {
                id: json["id"].as_str().unwrap().to_owned(),
                server: Server::new(major)
                    .ssl(ssl)
                    .gss(has("gss"))
                    .ldap(has("ldap"))
                    .pam(has("pam"))
                    .oauth_validators([] as [&str; 0]),
                arguments,
            }
        })
        .collect()
}

impl Case {
    fn of(json: &Json) -> Self {
        let files = json["files"].as_object().unwrap();
        let answers = json["answers"].as_array().unwrap();
        Self {
            id: json["id"].as_str().unwrap().to_owned(),
            files: files
                .iter()
                .map(|(path, json)| (path.clone(), bytes(json)))
                .collect(),
            answers: answers
                .iter()
                .map(|answer| {
                    let servers = answer["servers"].as_array().unwrap();
                    let servers = servers.iter().map(|id| id.as_str().unwrap().to_owned());
                    (servers.collect(), answer["rows"].clone())
                })
                .collect(),
        }
    }

    /// Writes the files.
    pub(crate) fn write(&self, directory: &Path) {
        for (path, content) in &self.files {
            let path = directory.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
    }

    /// What that server said. Nothing if it crashed over the case, or was not asked.
    pub(crate) fn answer(&self, server: &str, directory: &str) -> Option<Answer> {
        let (_, rows) = self
            .answers
            .iter()
            .find(|(servers, _)| servers.iter().any(|id| id == server))?;
        Some(match rows {
            Json::String(message) => Answer::Failed(message.clone()),
            rows => {
                let rows = rows.as_array().unwrap().iter();
                Answer::Rows(rows.map(|row| Row::of(row, directory)).collect())
            }
        })
    }
}

impl Row {
    /// Of JSON, with the directory, and the one above it, put in their places.
    pub(crate) fn of(json: &Json, directory: &str) -> Self {
        let above = Path::new(directory).parent().unwrap().to_str().unwrap();
        let text = |json: &Json| match json {
            Json::String(text) => text
                .replace("@DIR@", directory)
                .replace("@UP@", above)
                .into_bytes(),
            json => bytes(json),
        };
        let column = |json: &Json| match json {
            Json::Null => Column::Null,
            Json::Number(number) => Column::Number(number.as_u64().unwrap()),
            Json::Array(list) => Column::List(list.iter().map(text).collect()),
            json => Column::Text(text(json)),
        };
        Self(json.as_array().unwrap().iter().map(column).collect())
    }

    /// The error, if the row has one.
    pub(crate) fn error(&self) -> Option<String> {
        match self.0.last() {
            Some(Column::Text(text)) => Some(String::from_utf8_lossy(text).into_owned()),
            _ => None,
        }
    }
}

fn bytes(json: &Json) -> Vec<u8> {
    if let Json::String(text) = json {
        return text.clone().into_bytes();
    }
    let digits = json["hex"].as_str().unwrap();
    let byte = |n: usize| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).unwrap();
    (0..digits.len() / 2).map(byte).collect()
}

/// Compares what was read with what the server read. Returns whether they differ on purpose.
pub(crate) fn compare(
    case: &str,
    server: &str,
    ours: &[Row],
    theirs: &Answer,
) -> Result<bool, String> {
    let theirs = match theirs {
        Answer::Rows(rows) => rows,
        // DIFFERENCE: where the server gives up altogether, the line that is to blame has an error.
        Answer::Failed(message) => {
            assert!(
                message.starts_with("exceeded maxAllocatedDescs"),
                "{message}"
            );
            let has_error = ours.iter().any(|row| {
                row.error()
                    .is_some_and(|error| error.ends_with("too many files"))
            });
            return if has_error {
                Ok(true)
            } else {
                Err(format!("{case} on {server}: no error"))
            };
        }
    };
    if ours == theirs {
        return Ok(false);
    }
    // DIFFERENCE: whether the server's machine has an interface of that name is not known.
    let is_interface = |row: &Row| row.error().is_some_and(|error| error.contains("%nosuch"));
    if ours.len() == theirs.len()
        && theirs.iter().any(is_interface)
        && ours
            .iter()
            .zip(theirs)
            .all(|(ours, theirs)| is_interface(theirs) || ours.0[1..] == theirs.0[1..])
    {
        return Ok(true);
    }
    let n = ours
        .iter()
        .zip(theirs)
        .take_while(|(ours, theirs)| ours == theirs)
        .count();
    let shown = |row: Option<&Row>| {
        row.map(|row| {
            let columns = row.0.iter().map(|column| match column {
                Column::Null => "-".to_owned(),
                Column::Number(number) => number.to_string(),
                Column::Text(text) => String::from_utf8_lossy(text).chars().take(120).collect(),
                Column::List(list) => list
                    .iter()
                    .map(|text| {
                        String::from_utf8_lossy(text)
                            .chars()
                            .take(40)
                            .collect::<String>()
                    })
                    .collect::<Vec<_>>()
                    .join(","),
            });
            columns.collect::<Vec<_>>().join(" | ")
        })
    };
    Err(format!(
        "{case} on {server}, row {n}\n  ours   {:?}\n  theirs {:?}",
        shown(ours.get(n)),
        shown(theirs.get(n)),
    ))
}
