//! All that can be asked of a cluster, or done to one without a server.

use std::time::Duration;

use pg_cluster::{Cluster, Signal, Validation};

/// What is tried, by the name of the method.
pub type Operation = (&'static str, fn(&Cluster));

/// For tests that care whether there is an outcome, and not which.
pub const OPERATIONS: [Operation; 27] = [
    ("is_initialized", |cluster| {
        cluster.is_initialized();
    }),
    ("state", |cluster| drop(cluster.state())),
    ("pid", |cluster| drop(cluster.pid())),
    ("readiness", |cluster| drop(cluster.readiness())),
    ("uptime", |cluster| drop(cluster.uptime())),
    ("control_data", |cluster| drop(cluster.control_data())),
    ("major_version", |cluster| drop(cluster.major_version())),
    ("connection_info", |cluster| drop(cluster.connection_info())),
    ("config_file", |cluster| drop(cluster.config_file())),
    ("hba_file", |cluster| drop(cluster.hba_file())),
    ("external_pid_file", |cluster| {
        drop(cluster.external_pid_file())
    }),
    ("log_tail", |cluster| drop(cluster.log_tail())),
    ("get", |cluster| drop(cluster.settings().get("port"))),
    ("iter", |cluster| {
        drop(cluster.settings().iter().map(Iterator::count))
    }),
    ("effective", |cluster| drop(cluster.settings().effective())),
    ("explain", |cluster| {
        drop(cluster.settings().explain("port"))
    }),
    ("check", |cluster| {
        drop(cluster.settings().check("work_mem", "4MB"))
    }),
    ("set", |cluster| drop(cluster.settings().set("my.v", 1))),
    ("a validated set", |cluster| {
        let settings = cluster.settings().validated(Validation::Server);
        drop(settings.set("my.v", 1));
    }),
    ("remove a setting", |cluster| {
        drop(cluster.settings().remove("my.v"))
    }),
    ("signal", |cluster| drop(cluster.signal(Signal::Smart))),
    ("kill", |cluster| drop(cluster.kill())),
    ("reload", |cluster| drop(cluster.reload())),
    ("promote", |cluster| drop(cluster.promote())),
    ("rotate_log", |cluster| drop(cluster.rotate_log())),
    ("wait_until_stopped", |cluster| {
        drop(cluster.wait_until_stopped(Duration::from_secs(1)));
    }),
    ("wait_until_started", |cluster| {
        drop(cluster.wait_until_started(Duration::from_secs(1)));
    }),
];
