//! The guide's chapter on troubleshooting speaks of the messages that there are.

use pg_tests::{joined, messages};

const GUIDE: &str = include_str!("../../docs/guide.md");

/// Files whose every message the guide explains.
const EXPLAINED: [&str; 8] = [
    include_str!("../../crates/pg-cluster/src/init/error.rs"),
    include_str!("../../crates/pg-cluster/src/remove.rs"),
    include_str!("../../crates/pg-cluster/src/settings/error.rs"),
    include_str!("../../crates/pg-cluster/src/start/error.rs"),
    include_str!("../../crates/pg-cluster/src/control_error.rs"),
    include_str!("../../crates/pg-cluster/src/replication/error.rs"),
    include_str!("../../crates/pg-fixture/src/error.rs"),
    include_str!("../../crates/pg-fixture/src/replicas/error.rs"),
];

/// Files of which it explains the frequent ones.
const MENTIONED: [&str; 8] = [
    include_str!("../../crates/pg-cluster/src/init/options.rs"),
    include_str!("../../crates/pg-install/src/discovery/error.rs"),
    include_str!("../../crates/pg-install/src/installation/error.rs"),
    include_str!("../../crates/pg-proc/src/files/socket.rs"),
    include_str!("../../crates/pg-proc/src/fs/locked_file.rs"),
    include_str!("../../crates/pg-proc/src/launch/spawn_error.rs"),
    include_str!("../../crates/pg-proc/src/postmaster/suspend.rs"),
    include_str!("../../crates/pg-proc/src/postmaster/wait_error.rs"),
];

/// Messages that come from elsewhere, or from functions without a message of their own.
const OTHERS: [&str; 1] = ["failed to … postgresql.conf"];

fn troubleshooting() -> &'static str {
    let (_, chapter) = GUIDE
        .split_once("\n## Troubleshooting\n")
        .expect("the chapter");
    chapter
}

#[test]
fn every_message_of_a_cluster_is_explained() {
    let sources: Vec<String> = EXPLAINED.iter().map(|source| joined(source)).collect();
    let missing: Vec<_> = sources
        .iter()
        .flat_map(|source| messages(source))
        .filter(|parts| !parts.iter().all(|part| troubleshooting().contains(part)))
        .collect();
    assert!(
        missing.is_empty(),
        "docs/guide.md does not explain {missing:#?}"
    );
}

#[test]
fn every_message_explained_exists() {
    let rows = troubleshooting().lines().filter_map(|line| {
        let cell = line.strip_prefix("| ")?.split(" | ").next()?;
        Some(cell).filter(|cell| cell.contains('`') && !cell.starts_with("A "))
    });
    let headings = troubleshooting()
        .lines()
        .filter_map(|line| line.strip_prefix("### "));
    let quoted = rows
        .chain(headings)
        .flat_map(|text| text.split('`').skip(1).step_by(2));
    let sources: Vec<String> = EXPLAINED
        .iter()
        .chain(&MENTIONED)
        .map(|source| joined(source))
        .collect();
    let exists = |part: &str| sources.iter().any(|source| source.contains(part));
    let unknown: Vec<&str> = quoted
        .filter(|message| !OTHERS.contains(message))
        .filter(|message| !message.split('…').map(str::trim).all(exists))
        .collect();
    assert!(
        unknown.is_empty(),
        "docs/guide.md quotes what nobody says: {unknown:#?}"
    );
}
