//! Servers that their lock file does not name, lock files that name a wrong process, and callers
//! that may not examine a process.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use pg_cluster::{
    Cluster, Ownership, StartErrorKind, StartOptions, StartWait, Started, State, StopPlan, Stopped,
};
use pg_proc::PidFile;
use pg_tests::{Room, ask, child, connect, role, server, server_account, servers};

fn detached(room: &Room) -> StartOptions {
    room.start_options().ownership(Ownership::Detached)
}

/// `postmaster.pid` is removed by hand, as advice on the web recommends.
fn without_lock_file(room: &Room, cluster: &Cluster) -> pg_proc::Pid {
    let started = cluster.start(&detached(room)).expect("a server");
    fs::remove_file(cluster.data_directory().join(PidFile::NAME)).expect("rm");
    started.pid()
}

/// A zombie is not.
fn is_alive(pid: pg_proc::Pid) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

#[test]
fn a_server_without_its_lock_file_is_stopped() {
    for installation in servers() {
        let room = Room::new();
        let starter = room.cluster(&installation);
        let pid = without_lock_file(&room, &starter);
        // Another process would see the same.
        let cluster = Cluster::new(installation, starter.data_directory()).expect("an account");
        assert_eq!(cluster.pid().expect("a state"), Some(pid));
        let refused = cluster.start(&detached(&room)).expect_err("running");
        assert!(
            matches!(refused.kind(), StartErrorKind::LockFileLost(found) if *found == pid),
            "{refused:?}"
        );
        let stopped = cluster.stop(&StopPlan::fast()).expect("stopped");
        assert!(
            matches!(stopped, Stopped::By { pid: found, .. } if found == pid),
            "{stopped:?}"
        );
        assert!(!is_alive(pid));
        assert_eq!(cluster.state().expect("a state"), State::Stopped);
    }
}

#[test]
fn a_cluster_is_not_removed_under_its_server() {
    for installation in servers() {
        let room = Room::new();
        let starter = room.cluster(&installation);
        let pid = without_lock_file(&room, &starter);
        let cluster = Cluster::new(installation, starter.data_directory()).expect("an account");
        cluster.remove().expect("removed");
        assert!(!is_alive(pid));
        assert!(!cluster.data_directory().exists());
    }
}

#[test]
fn a_program_called_postgres_does_not_hold_a_cluster() {
    let room = Room::new();
    let cluster = room.cluster(&server());
    let program = room.join("postgres_exporter");
    fs::copy("/bin/sleep", &program).expect("cp");
    let mut bystander = Command::new(&program);
    bystander.arg("1000").current_dir(cluster.data_directory());
    if let Some(account) = server_account() {
        bystander.uid(account.uid()).gid(account.gid());
    }
    let mut bystander = bystander.spawn().expect("sleep");
    let number = bystander.id();
    for content in [String::new(), "garbage\n".to_owned(), format!("{number}\n")] {
        fs::write(cluster.data_directory().join(PidFile::NAME), &content).expect("write");
        assert_eq!(
            cluster.state().expect("a state"),
            State::Stopped,
            "{content}"
        );
        let stopped = cluster.stop(&StopPlan::escalating());
        assert_eq!(stopped.expect("nothing to stop"), Stopped::NotRunning);
    }
    assert_eq!(bystander.try_wait().expect("wait"), None, "it has ended");
    bystander.kill().expect("kill");
    bystander.wait().expect("wait");
}

#[test]
fn a_reload_right_after_a_start_does_not_terminate_the_server() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        for round in 0..5 {
            let options = room.start_options().wait(StartWait::Spawned);
            cluster.start(&options).expect("a server");
            cluster.reload().expect("reloaded");
            let started = cluster.wait_until_started(std::time::Duration::from_secs(60));
            assert!(started.is_ok(), "round {round}: {started:?}");
            cluster.stop(&StopPlan::fast()).expect("stopped");
        }
    }
}

/// Root as in a Docker container: without CAP_SYS_PTRACE, CAP_IPC_OWNER and CAP_SYS_ADMIN. Requires
/// root.
#[test]
fn root_without_ptrace_identifies_servers() {
    if server_account().is_none() {
        return;
    }
    if role().is_none() {
        let test = "root_without_ptrace_identifies_servers";
        let plain = child(test, "docker");
        let mut command = pg_tests::with_docker_capabilities();
        command.arg(plain.get_program()).args(plain.get_args());
        let set = plain
            .get_envs()
            .filter_map(|(name, value)| Some((name, value?)));
        let output = command.envs(set).output().expect("setpriv");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        assert!(said.contains("1 passed"), "{said}");
        return;
    }
    for installation in servers() {
        let room = Room::new();
        let starter = room.cluster(&installation);
        let pid = starter.start(&detached(&room)).expect("a server").pid();
        // The action of another program.
        let cluster = Cluster::new(installation, starter.data_directory()).expect("an account");
        assert_eq!(cluster.state().expect("a state"), State::Ready(pid));
        assert_eq!(ask(&mut connect(&cluster), "SELECT 1"), "1");
        let again = cluster.start(&detached(&room)).expect("a state");
        assert_eq!(again, Started::AlreadyRunning(pid));
        assert_eq!(cluster.reload().expect("reloaded"), pid);
        assert_eq!(cluster.kill().expect("killed"), Some(pid));
        let pid = cluster.start(&detached(&room)).expect("a server").pid();
        fs::remove_file(cluster.data_directory().join(PidFile::NAME)).expect("rm");
        assert_eq!(starter.pid().expect("a state"), Some(pid));
        starter.remove().expect("removed");
        assert!(!is_alive(pid));
    }
}
