//! The life of a server: started, waited for, found, signalled, stopped.

mod proc_fixture;

use pg_proc::{Found, Postmaster, Signal, Status};
use proc_fixture::{Cluster, bin_directories, patience};

#[test]
fn starts_serves_and_stops() {
    for bin in bin_directories() {
        let cluster = Cluster::with(bin);
        let server = cluster.start();
        assert!(pg_proc::ping(&cluster.endpoint(), patience()).is_accepting());
        let one: i32 = cluster
            .connect()
            .query_one("SELECT 1", &[])
            .expect("SELECT")
            .get(0);
        assert_eq!(one, 1);

        let Found::Running(found) = Postmaster::find(&cluster.data).expect("find") else {
            panic!("not found")
        };
        assert_eq!(found.pid(), server.pid());
        let file = found.pid_file().expect("pid file").expect("pid file");
        assert_eq!(file.status, Some(Status::Ready));

        found.send(Signal::Fast).expect("signal");
        found.wait_gone(patience()).expect("gone");
        let status = server.wait_gone(patience()).expect("gone").expect("status");
        assert!(status.success(), "{status}");
        assert!(matches!(
            Postmaster::find(&cluster.data),
            Ok(Found::Nothing)
        ));
        assert!(found.send(Signal::Fast).expect_err("gone").is_gone());
    }
}
