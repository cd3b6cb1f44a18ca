//! Servers that the caller may examine only in part, or not at all.

mod identity_fixture;
mod proc_fixture;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;

use identity_fixture::{claim, is_running};
use pg_proc::{Command, PidFile};
use proc_fixture::{Cluster, account, bin_directories, patience};

/// Without `ps` the shared memory is the evidence; without any, it is unknown whether a process is
/// the server.
#[test]
fn a_server_is_found_without_ps() {
    let cluster = Cluster::new();
    let ask = || {
        let output = std::process::Command::new(env!("CARGO_BIN_EXE_proc-owner"))
            .args(["find-portably", cluster.data.as_str()])
            .env("PATH", "/nowhere")
            .output()
            .expect("an answer");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    claim(&cluster, 1, 1);
    assert!(ask().starts_with("Unknown"), "{}", ask());
    let server = cluster.start();
    assert!(is_running(&ask(), server.pid()), "{}", ask());
    fs::remove_file(cluster.data.join(PidFile::NAME)).expect("rm");
    assert!(is_running(&ask(), server.pid()), "{}", ask());
}

/// Root as in a Docker container. Requires root.
#[test]
fn a_server_is_found_without_the_right_to_trace() {
    let Some(servers) = account() else { return };
    for bin in bin_directories() {
        let cluster = Cluster::with(bin);
        let ask = || {
            let output = pg_tests::with_docker_capabilities()
                .arg(env!("CARGO_BIN_EXE_proc-owner"))
                .args(["find", cluster.data.as_str()])
                .output()
                .expect("setpriv");
            String::from_utf8_lossy(&output.stdout).into_owned()
        };
        let mut sleep = std::process::Command::new("sleep");
        sleep.arg("1000").current_dir(&cluster.data);
        let mut sleep = sleep.uid(servers.uid()).gid(servers.gid()).spawn();
        let sleep = sleep.as_mut().expect("sleep");
        claim(&cluster, sleep.id() as i32, i64::from(u32::MAX));
        assert!(ask().contains("OtherProgram"), "{}", ask());
        let server = cluster.start();
        assert!(is_running(&ask(), server.pid()), "{bin}: {}", ask());
        claim(&cluster, sleep.id() as i32, i64::from(u32::MAX));
        assert!(is_running(&ask(), server.pid()), "{bin}: {}", ask());
        fs::remove_file(cluster.data.join(PidFile::NAME)).expect("rm");
        assert!(is_running(&ask(), server.pid()), "{bin}: {}", ask());
        sleep.kill().expect("kill");
        sleep.wait().expect("wait");
    }
}

/// Takes root, or user namespaces.
#[test]
fn a_server_is_found_without_proc() {
    if !pg_tests::may_mount() {
        return;
    }
    let cluster = Cluster::new();
    let server = cluster.start();
    let ask = || {
        let output = std::process::Command::new("unshare")
            .args(["--mount", "--user", "--map-root-user"].iter().take(
                // Root keeps its own users.
                if account().is_some() { 1 } else { 3 },
            ))
            .args(["sh", "-c", "mount -t tmpfs none /proc && exec \"$@\"", "sh"])
            .arg(env!("CARGO_BIN_EXE_proc-owner"))
            .args(["find", cluster.data.as_str()])
            .output()
            .expect("unshare");
        assert!(output.status.success(), "{output:?}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert!(is_running(&ask(), server.pid()), "{}", ask());
    fs::remove_file(cluster.data.join(PidFile::NAME)).expect("rm");
    assert!(is_running(&ask(), server.pid()), "{}", ask());
}

/// Takes two users, and so root.
#[test]
fn a_server_of_another_user_is_unknown() {
    let (Some(servers), Some(stranger)) = (account(), pg_tests::stranger()) else {
        return;
    };
    let cluster = Cluster::new();
    let server = cluster.start();
    for open in [
        &cluster.root,
        &cluster.data,
        &cluster.data.join(PidFile::NAME),
    ] {
        fs::set_permissions(open, fs::Permissions::from_mode(0o755)).expect("chmod");
    }
    let helper = cluster.root.join("helper");
    fs::copy(env!("CARGO_BIN_EXE_proc-owner"), &helper).expect("cp");
    let ask = || {
        let command = Command::new(&helper).args(["find", cluster.data.as_str()]);
        let output = command
            .account(stranger.clone())
            .run(patience())
            .expect("an answer");
        String::from_utf8(output.stdout).expect("UTF-8")
    };
    let expected = format!(
        "Unknown {{ pid: Pid({}), uid: Some({}) }}\n",
        server.pid(),
        servers.uid()
    );
    assert_eq!(ask(), expected);

    server.postmaster().kill(patience()).expect("killed");
    assert!(ask().starts_with("Stale"), "{}", ask());
    fs::set_permissions(&cluster.data, fs::Permissions::from_mode(0o700)).expect("chmod");
    let command = Command::new(&helper).args(["find", cluster.data.as_str()]);
    command
        .account(stranger)
        .run(patience())
        .expect_err("a directory that it may not read");
}
