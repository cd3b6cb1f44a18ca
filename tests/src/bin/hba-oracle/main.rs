//! Puts `pg_hba.conf` and `pg_ident.conf` files before real servers and prints what they read, as
//! `tests/oracle-hba/README.md` describes.
//!
//! ```text
//! PG_TESTS_BINDIRS=... cargo run --package pg-tests --bin hba-oracle -- tests/oracle-hba
//! ```

#![allow(clippy::print_stderr, reason = "a command-line program")]

mod cases;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;

use camino::{Utf8Path, Utf8PathBuf};
use cases::{Case, Kind};
use pg_cluster::{Cluster, Installation, Signal, StartOptions, StopPlan};
use pg_tests::{Room, ask, connect, give_to_servers, rows, servers};
use postgres::Client;
use serde_json::{Value as Json, json};

fn main() {
    let target = Utf8PathBuf::from(std::env::args().nth(1).expect("the directory to write to"));
    let cases = cases::all();
    // Without the comment, each server's answers by case.
    let mut answers: Vec<Vec<(String, Json)>> = vec![Vec::new(); cases.len()];
    let mut list = String::new();
    for installation in servers().into_iter().rev() {
        let room = Room::new();
        let mut server = Server::start(&room, &installation);
        writeln!(list, "{}", server.description).expect("a string");
        eprintln!("{}", server.description);
        for (case, answers) in cases.iter().zip(&mut answers) {
            if case.kind == Kind::Ident && server.major < 15 {
                continue;
            }
            match server.answer(case) {
                Some(answer) => answers.push((server.id.clone(), answer)),
                // Lists that include themselves exhaust the stack of some servers.
                None => server.restart(&room),
            }
        }
        server.stop();
    }
    fs::write(target.join("servers.jsonl"), list).expect("a file");
    for kind in [Kind::Hba, Kind::Ident] {
        let mut text = String::new();
        for (case, answers) in cases.iter().zip(&answers) {
            if case.kind == kind {
                writeln!(text, "{}", row(case, answers)).expect("a string");
            }
        }
        fs::write(target.join(format!("{}.jsonl", kind.name())), text).expect("a file");
    }
}

/// A case as a line of the oracle: servers that gave the same answer share it.
fn row(case: &Case, answers: &[(String, Json)]) -> Json {
    let files: serde_json::Map<String, Json> = case
        .files
        .iter()
        .map(|(path, content)| (path.clone(), bytes(content)))
        .collect();
    let mut groups: Vec<(Vec<&str>, &Json)> = Vec::new();
    for (server, answer) in answers {
        match groups.iter_mut().find(|(_, known)| *known == answer) {
            Some((servers, _)) => servers.push(server),
            None => groups.push((vec![server], answer)),
        }
    }
    let groups: Vec<Json> = groups
        .into_iter()
        .map(|(servers, rows)| json!({ "servers": servers, "rows": rows }))
        .collect();
    json!({ "id": case.id, "files": files, "answers": groups })
}

struct Server {
    id: String,
    major: u32,
    description: Json,
    cluster: Cluster,
    client: Client,
    directory: Utf8PathBuf,
}

impl Server {
    fn start(room: &Room, installation: &Installation) -> Self {
        let cluster = Cluster::new(installation.clone(), room.join("data")).expect("an account");
        let options = pg_tests::init_options().encoding("SQL_ASCII");
        cluster.init(&options).expect("initdb");
        let directory = room.directory("files");
        let hba = directory.join("pg_hba.conf");
        put(&hba, b"local all all trust\n");
        put(&directory.join("pg_ident.conf"), b"");
        let start = start_options(room, &directory);
        cluster.start(&start).expect("a running server");
        let mut client = connect(&cluster);
        let version = ask(&mut client, "SHOW server_version");
        let id = version.split(' ').next().expect("a version").to_owned();
        let mut server = Self {
            major: installation.version().major().into(),
            id,
            description: Json::Null,
            cluster,
            client,
            directory,
        };
        server.describe();
        server
    }

    /// What was left out when the server was compiled is seen in its answers.
    fn describe(&mut self) {
        let text = "host all all all gss\nhost all all all ldap ldapserver=s ldapprefix=p\n\
                    host all all all pam\nhostssl all all all trust\n";
        let case = Case {
            id: "describe".to_owned(),
            kind: Kind::Hba,
            files: vec![("pg_hba.conf".to_owned(), text.as_bytes().to_vec())],
        };
        let rows = self.answer(&case).expect("a running server");
        let has = |n: usize| {
            let error = rows[n].as_array().and_then(|row| row.last()?.as_str());
            !error.is_some_and(|error| error.ends_with("not supported by this build"))
        };
        self.id = self.id.clone() + if has(0) { "+gss" } else { "" };
        self.description = json!({
            "id": self.id,
            "major": self.major,
            "gss": has(0),
            "ldap": has(1),
            "pam": has(2),
            "ssl": if has(3) { "off" } else { "missing" },
        });
    }

    fn restart(&mut self, room: &Room) {
        put(
            &self.directory.join("pg_hba.conf"),
            b"local all all trust\n",
        );
        self.cluster
            .stop(&StopPlan::fast())
            .expect("a stopped server");
        let start = start_options(room, &self.directory);
        self.cluster.start(&start).expect("a running server");
        self.client = connect(&self.cluster);
    }

    /// Nothing if the server crashes.
    fn answer(&mut self, case: &Case) -> Option<Json> {
        for entry in self.directory.read_dir_utf8().expect("a directory") {
            let path = entry.expect("an entry").into_path();
            if path.is_dir() {
                fs::remove_dir_all(path).expect("root's rights");
            } else {
                fs::remove_file(path).expect("root's rights");
            }
        }
        for (path, content) in &case.files {
            put(&self.directory.join(path), content);
        }
        match rows(&mut self.client, &query(case.kind, self.major)) {
            Ok(rows) => Some(rows.iter().map(|row| self.row(row)).collect()),
            Err(error) => {
                let message = error.as_db_error()?.message();
                Some(json!(self.neutral(message)))
            }
        }
    }

    fn row(&self, row: &[Option<String>]) -> Json {
        row.iter()
            .map(|column| match column {
                None => Json::Null,
                Some(text) if text.starts_with('{') => text
                    .trim_matches(['{', '}'])
                    .split(',')
                    .map(|hex| self.text(hex))
                    .collect(),
                Some(text) => match text.strip_prefix('#') {
                    Some(number) => number.parse::<i64>().expect("a number").into(),
                    None => self.text(text),
                },
            })
            .collect()
    }

    fn text(&self, hex: &str) -> Json {
        let digits = hex.strip_prefix("x").expect("hexadecimal digits");
        let value: Vec<u8> = (0..digits.len() / 2)
            .map(|n| u8::from_str_radix(&digits[2 * n..2 * n + 2], 16).expect("two digits"))
            .collect();
        match String::from_utf8(value) {
            Ok(text) => self.neutral(&text).into(),
            Err(error) => bytes(error.as_bytes()),
        }
    }

    fn neutral(&self, text: &str) -> String {
        let above = self.directory.parent().expect("a directory in the room");
        text.replace(self.directory.as_str(), "@DIR@")
            .replace(above.as_str(), "@UP@")
    }

    fn stop(self) {
        drop(self.client);
        self.cluster.signal(Signal::Smart).expect("a signal");
    }
}

fn start_options(room: &Room, directory: &Utf8Path) -> StartOptions {
    room.start_options().settings([
        ("hba_file", directory.join("pg_hba.conf").as_str()),
        ("ident_file", directory.join("pg_ident.conf").as_str()),
    ])
}

/// Bytes pass through as hexadecimal digits, for they need not be text.
fn query(kind: Kind, major: u32) -> String {
    let hex = |column: &str| format!("'x' || encode(convert_to({column}, 'SQL_ASCII'), 'hex')");
    let list = |column: &str| {
        format!(
            "(SELECT array_agg('x' || encode(convert_to(e, 'SQL_ASCII'), 'hex') ORDER BY n) \
             FROM unnest({column}) WITH ORDINALITY AS u(e, n))::text"
        )
    };
    let file = if major >= 16 {
        hex("file_name")
    } else {
        "NULL".to_owned()
    };
    let number = match (major >= 16, kind) {
        (false, _) => "NULL",
        (true, Kind::Hba) => "'#' || rule_number",
        (true, Kind::Ident) => "'#' || map_number",
    };
    let (columns, view) = match kind {
        Kind::Hba => (
            [
                hex("type"),
                list("database"),
                list("user_name"),
                hex("address"),
                hex("netmask"),
                hex("auth_method"),
                list("options"),
                hex("error"),
            ]
            .to_vec(),
            "pg_hba_file_rules()",
        ),
        Kind::Ident => (
            [
                hex("map_name"),
                hex("sys_name"),
                hex("pg_username"),
                hex("error"),
            ]
            .to_vec(),
            "pg_ident_file_mappings()",
        ),
    };
    format!(
        "SELECT {number}, {file}, '#' || line_number, {} FROM {view}",
        columns.join(", ")
    )
}

fn put(path: &Utf8Path, content: &[u8]) {
    let mut parents: Vec<&Utf8Path> = path
        .ancestors()
        .skip(1)
        .take_while(|p| !p.exists())
        .collect();
    parents.reverse();
    for parent in parents {
        fs::create_dir(parent).expect("a new directory");
        give_to_servers(parent);
    }
    fs::write(path, content).expect("a file");
    give_to_servers(path);
}

/// A string, or an object with the hexadecimal digits of bytes that are not UTF-8.
fn bytes(value: &[u8]) -> Json {
    match std::str::from_utf8(value) {
        Ok(text) => text.into(),
        Err(_) => {
            let digits: BTreeMap<&str, String> = BTreeMap::from([(
                "hex",
                value.iter().map(|byte| format!("{byte:02x}")).collect(),
            )]);
            json!(digits)
        }
    }
}
