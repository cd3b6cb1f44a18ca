//! Settings of a few words: what each server takes for one, listed or not.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, Output, Stdio};

use pg_cluster::Cluster;
use pg_tests::{Room, servers};
use pgconf_parse::Document;

/// Words that are hidden in some version, or might be.
const WORDS: &[&str] = &[
    "on",
    "off",
    "true",
    "false",
    "yes",
    "no",
    "1",
    "0",
    "t",
    "f",
    "y",
    "n",
    "On",
    "YES",
    "debug",
    "info",
    "fatal",
    "panic",
    "archive",
    "hot_standby",
    "none",
    "default",
    "",
];

#[test]
fn typed_readings_take_the_words_that_each_server_takes() {
    for server in servers() {
        let room = Room::new();
        let cluster = room.cluster(&server);
        let major = server.major_version().first();
        let listed = listed(&cluster);
        assert!(listed.len() > 20, "{major}: {listed:?}");
        let mut words: BTreeSet<&str> = WORDS.iter().copied().collect();
        words.extend(listed.values().flatten().map(String::as_str));

        let pairs = || {
            listed
                .keys()
                .flat_map(|name| words.iter().map(move |word| (name, *word)))
        };
        let sql: String = pairs()
            .map(|(name, word)| format!("ALTER SYSTEM SET {name} = '{word}';\n\n"))
            .collect();
        let output = single(&cluster, &sql);
        let log = String::from_utf8_lossy(&output.stderr);
        let refused: BTreeSet<(&str, &str)> = log
            .lines()
            .filter_map(|line| line.split_once("ALTER SYSTEM SET ")?.1.split_once(" = '"))
            .filter_map(|(name, word)| Some((name, word.strip_suffix("';")?)))
            .collect();
        assert!(!refused.is_empty(), "{log}");
        let (mut hidden, mut known) = (0, BTreeMap::new());
        for (name, word) in pairs() {
            let all: Vec<(&str, &str)> = listed[name].iter().map(|w| (w.as_str(), &**w)).collect();
            let document = Document::parse(format!("{name} = '{word}'\n"));
            let found = document.get(name).unwrap().for_major(major);
            let ours = found.to_enum(&all).ok();
            let theirs = !refused.contains(&(name.as_str(), word));
            assert_eq!(ours.is_some(), theirs, "{major}: {name} = {word}");
            let is_listed = all
                .iter()
                .any(|(listed, _)| listed.eq_ignore_ascii_case(word));
            if let (Some(ours), false) = (ours, is_listed) {
                hidden += 1;
                // The server may show a listed word as another one too: `on` as `pglz`. A hidden
                // one without a listed one of its meaning is shown as it is.
                let seen = shown(&cluster, name, word);
                let same = known.entry((name.clone(), ours.to_owned()));
                let agrees =
                    seen == word || seen == *same.or_insert_with(|| shown(&cluster, name, ours));
                assert!(agrees, "{major}: {name} = {word}: {seen}, {ours}");
            }
        }
        assert!(hidden > 40, "{major}: {hidden}");
    }
}

/// The words of each setting, as the server lists them. Settings that cannot be in a file are left
/// out.
fn listed(cluster: &Cluster) -> BTreeMap<String, Vec<String>> {
    let sql = "SELECT name || E'\\t' || array_to_string(enumvals, E'\\t') AS words \
               FROM pg_settings \
               WHERE vartype = 'enum' AND context <> 'internal' \
               AND name <> 'transaction_isolation';\n\n";
    let output = single(cluster, sql);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let rows = text.split("words = \"").skip(1);
    rows.map(|row| {
        let mut words = row
            .split_once('"')
            .unwrap()
            .0
            .split('\t')
            .map(str::to_owned);
        (words.next().unwrap(), words.collect())
    })
    .collect()
}

/// What the server calls the value.
fn shown(cluster: &Cluster, name: &str, word: &str) -> String {
    let mut command = server(cluster);
    command.args(["-D", cluster.data_directory().as_str()]);
    let output = command
        .arg("-c")
        .arg(format!("{name}={word}"))
        .args(["-C", name])
        .output();
    let output = output.unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

fn single(cluster: &Cluster, sql: &str) -> Output {
    let mut command = server(cluster);
    let settings = [
        "-c",
        "log_min_messages=error",
        "-c",
        "log_min_error_statement=error",
    ];
    command
        .args(["--single", "-j", "-D", cluster.data_directory().as_str()])
        .args(settings);
    let mut child = command
        .arg("postgres")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let sql = sql.to_owned();
    let writer = std::thread::spawn(move || input.write_all(sql.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    output
}

fn server(cluster: &Cluster) -> Command {
    let mut command = Command::new(cluster.daemon_path().unwrap());
    if let Some(account) = cluster.account() {
        command.uid(account.uid()).gid(account.gid());
    }
    command
        .current_dir("/")
        .env_remove("PGDATA")
        .env("LC_ALL", "C");
    command
}
