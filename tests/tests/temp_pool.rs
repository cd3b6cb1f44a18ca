//! Servers that are started before they are wanted.
#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use pg_fixture::{TempCluster, TempClusterBuilder, TempErrorKind, TempPool};
use pg_proc::{Ownership, Signal};
use pg_tests::{Room, ask, connect_to, names, processes_below, server, servers, temp_builder};

const PATIENCE: Duration = Duration::from_secs(60);
const TWO: NonZeroUsize = NonZeroUsize::MIN.saturating_add(1);

fn builder(room: &Room) -> TempClusterBuilder {
    temp_builder(room, server())
}

fn await_ready(pool: &TempPool, count: usize) {
    let until = Instant::now() + PATIENCE;
    while pool.ready() < count {
        assert!(Instant::now() < until, "{} are ready", pool.ready());
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_pool_keeps_the_wanted_number_of_distinct_servers() {
    for server in servers() {
        let room = Room::new();
        let pool = TempPool::new(builder(&room).installation(server), TWO).unwrap();
        await_ready(&pool, 2);
        let acquired: Vec<TempCluster> = (0..4).map(|_| pool.acquire().unwrap()).collect();
        for temp in &acquired {
            ask(&mut connect_to(temp.connection_info()), "SELECT 1");
        }
        let mut paths: Vec<_> = acquired.iter().map(TempCluster::path).collect();
        paths.sort_unstable();
        paths.dedup();
        assert_eq!(paths.len(), 4);
        await_ready(&pool, 2);
        assert_eq!(names(&room.join("storage")).len(), 6);
        // Those that were acquired outlive the pool; the others go with it.
        drop(pool);
        assert_eq!(names(&room.join("storage")).len(), 4);
        for temp in &acquired {
            ask(&mut connect_to(temp.connection_info()), "SELECT 1");
        }
        drop(acquired);
        assert!(names(&room.join("storage")).is_empty());
        assert!(processes_below(&room.join("storage")).is_empty());
    }
}

#[test]
fn a_pool_that_is_dropped_immediately_removes_its_servers() {
    let room = Room::new();
    drop(builder(&room).start().unwrap());
    for _ in 0..5 {
        drop(TempPool::new(builder(&room), TWO).unwrap());
        // What takes longer than a drop may wait goes in the background.
        let until = Instant::now() + PATIENCE;
        while !names(&room.join("storage")).is_empty() {
            assert!(Instant::now() < until, "{:?}", names(&room.join("storage")));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn one_caller_gets_the_error_and_the_next_start_is_tried() {
    let room = Room::new();
    let (starts, fails) = (
        Arc::new(AtomicUsize::new(0)),
        Arc::new(AtomicBool::new(true)),
    );
    let (counted, failing) = (Arc::clone(&starts), Arc::clone(&fails));
    let builder = builder(&room).setup("sometimes", move |_| {
        counted.fetch_add(1, Ordering::SeqCst);
        match failing.load(Ordering::SeqCst) {
            true => Err(std::io::Error::other("not today")),
            false => Ok(()),
        }
    });
    let pool = TempPool::new(builder, TWO).unwrap();
    for _ in 0..2 {
        let error = pool.acquire().unwrap_err();
        assert!(
            matches!(error.kind(), TempErrorKind::Setup(..)),
            "{error:?}"
        );
    }
    // It does not try for ever: each error is handed out before the next start.
    assert!((2..=3).contains(&starts.load(Ordering::SeqCst)));
    fails.store(false, Ordering::SeqCst);
    // The third one may have failed already.
    let temp = pool.acquire().or_else(|_| pool.acquire()).unwrap();
    ask(&mut connect_to(temp.connection_info()), "SELECT 1");
}

#[test]
fn a_caller_does_not_wait_longer_than_it_wants_to() {
    let room = Room::new();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let released = std::sync::Mutex::new(released);
    let builder = builder(&room).setup("slow", move |_| {
        let _ = released.lock().unwrap().recv();
        Ok::<(), std::io::Error>(())
    });
    let pool = TempPool::new(builder, TWO).unwrap();
    let error = pool.acquire_within(Duration::from_millis(20)).unwrap_err();
    assert!(matches!(error.kind(), TempErrorKind::PoolIsEmpty(_)));
    release.send(()).unwrap();
    pool.acquire().unwrap();
}

#[test]
fn a_server_that_has_exited_meanwhile_is_not_handed_out() {
    let room = Room::new();
    let pool = TempPool::new(builder(&room), TWO).unwrap();
    await_ready(&pool, 2);
    for name in names(&room.join("storage")) {
        let data = room.join("storage").join(name).join("data");
        if let pg_proc::Found::Running(postmaster) = pg_proc::Postmaster::find(&data).unwrap() {
            postmaster.send(Signal::Immediate).unwrap();
            postmaster.wait_gone(PATIENCE).unwrap();
        }
    }
    let temp = pool.acquire().unwrap();
    ask(&mut connect_to(temp.connection_info()), "SELECT 1");
}

#[test]
fn the_servers_of_a_pool_must_not_be_detached() {
    let room = Room::new();
    let detached = builder(&room).ownership(Ownership::Detached);
    let error = TempPool::new(detached, TWO).unwrap_err();
    assert!(matches!(error.kind(), TempErrorKind::Option(_)));
}
