//! Starts that get no shared memory.
//!
//! In its own test program, since the warden kills the processes left behind when another server of
//! the same program exits.

#![allow(clippy::unwrap_used, reason = "it is a test throughout")]

use std::time::Duration;

use pg_cluster::{Ownership, StartErrorKind};
use pg_tests::{Orphan, Room, refused, servers};

/// No huge pages for a terabyte, and a backend of a dead postmaster that holds the segment.
#[test]
fn a_lack_of_shared_memory_is_reported() {
    for installation in servers() {
        let room = Room::new();
        let cluster = room.cluster(&installation);
        let greedy = [("shared_buffers", "1TB"), ("huge_pages", "on")];
        let error = refused(&cluster, &room.start_options().settings(greedy));
        assert!(
            matches!(error.kind(), StartErrorKind::SharedMemory(message)
                if message.contains("shared memory")),
            "{error:?}"
        );

        let detached = room.start_options().ownership(Ownership::Detached);
        cluster.start(&detached).unwrap();
        let orphan = Orphan::leave_by(&cluster);
        let impatient = room.start_options().timeout(Duration::from_secs(2));
        let error = refused(&cluster, &impatient);
        assert!(
            matches!(error.kind(), StartErrorKind::SharedMemory(_)),
            "{error:?}"
        );
        assert!(error.hint().unwrap().contains("`Cluster::kill`"));
        // The backend is not all that may be left: see the guide.
        drop(orphan);
        assert_eq!(cluster.kill().unwrap(), None);
        cluster.start(&room.start_options()).unwrap();
    }
}
