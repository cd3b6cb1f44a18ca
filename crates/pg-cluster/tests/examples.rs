//! The example programs work as their first lines describe, with a real server.

use std::env;
use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};

/// The newest server, or with `cargo test` alone the one that the programs find by themselves.
fn run(example: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(program(example));
    if let Ok(servers) = env::var("PG_TESTS_BINDIRS") {
        let first = servers.split(':').next().expect("a server");
        command.env("PGINSTALLATION", first);
    }
    command
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .expect("an example that is built: `cargo test -p pg-cluster` builds it")
}

fn program(example: &str) -> PathBuf {
    if let Some(path) = env::var_os(format!("CARGO_BIN_EXE_{example}")) {
        return path.into();
    }
    let deps = env::current_exe().expect("this program");
    let target = deps.ancestors().nth(2).expect("a target directory");
    target.join("examples").join(example)
}

fn stdout(output: &Output) -> String {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn an_embedded_server_keeps_its_data_and_can_be_administered() {
    let room = tempfile::tempdir().expect("a temporary directory");
    // Under root the server runs as another account, which has to get through.
    fs::set_permissions(room.path(), Permissions::from_mode(0o755)).expect("a mode");
    let directory = room.path().join("data");
    let directory = directory.to_str().expect("a path in UTF-8");

    for run_number in 1..=2 {
        let said = stdout(&run("embedded", &[directory]));
        let expected = format!("run number {run_number} with this directory\n");
        assert!(said.contains(&expected), "{said}");
    }

    let said = stdout(&run("admin", &[directory]));
    assert!(said.contains("server          none; shut down"), "{said}");

    let said = stdout(&run("admin", &[directory, "work_mem=5MB"]));
    assert!(said.contains("changed; the next start uses it"), "{said}");
    let said = stdout(&run("admin", &[directory, "work_mem=5MB"]));
    assert!(said.contains("nothing to change in "), "{said}");

    let refused = run("admin", &[directory, "work_mem=5 apples", "wrk_mem=5MB"]);
    let complaints = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(1), "{complaints}");
    assert!(
        complaints.contains("invalid value for parameter"),
        "{complaints}"
    );
    assert!(
        complaints.contains("the nearest known one is `work_mem`"),
        "{complaints}"
    );
    let configuration = fs::read_to_string(format!("{directory}/postgresql.conf")).expect("a file");
    assert!(configuration.contains("\nwork_mem = 5MB") && !configuration.contains("apples"));
}
