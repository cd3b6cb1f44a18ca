//! The time until WAL streams from a primary to its standby, and the latency of detecting that the
//! standby has replayed a commit or was promoted.

use std::time::Instant;

use camino::Utf8Path;
use pg_cluster::{BaseBackupOptions, Cluster, Durability, Lsn, Program, StartOptions};
use pg_fixture::{Replica, ReplicaSet, Storage, TempCluster, TempClusterBuilder};
use pg_tests::{Room, ask, complete_server, connect_to, give_to_servers};

use crate::Plan;
use crate::sheet::{Sheet, Who};

const PAIR: &str = "a primary and a standby, until WAL streams";
const THREE: &str = "a primary and two standbys, until WAL streams";
const CATCH_UP: &str = "from a commit until it is known that the standby shows it";
const PROMOTION: &str = "from the order until a standby is known to be a primary";

const OURS: Who<'static> = Who::Ours("`ReplicaSet`");
const BY_HAND: Who<'static> = Who::Beside("`pg_basebackup` of a temporary cluster");
const SPIN: Who<'static> = Who::Floor("a client that asks without a pause");

pub(crate) fn measure(sheet: &mut Sheet, plan: &Plan) {
    let room = Room::new();
    let builder = TempCluster::builder()
        .installation(complete_server())
        .cache_directory(room.join("cache"))
        .storage(Storage::Directory(plan.storage.clone()));
    let mut number = 0;
    sheet.rounds(plan.rounds, |sheet| {
        let begun = Instant::now();
        let set = set(&builder, 1);
        sheet.note(PAIR, OURS, begun.elapsed());
        catch_up(sheet, &set);
        promotion(sheet, &set);
        drop(set);
        let spun = self::set(&builder, 1);
        promotion_by_spinning(sheet, &spun);
        drop(spun);

        let begun = Instant::now();
        let three = self::set(&builder, 2);
        sheet.note(THREE, OURS, begun.elapsed());
        drop(three);

        number += 1;
        by_hand(
            sheet,
            &builder,
            &room,
            &room.join(&format!("standby{number}")),
        );
    });
}

fn set(builder: &TempClusterBuilder, standbys: usize) -> ReplicaSet {
    builder.clone().standbys(standbys).start().unwrap()
}

fn by_hand(sheet: &mut Sheet, builder: &TempClusterBuilder, room: &Room, data: &Utf8Path) {
    let sockets = room.join("sockets");
    if !sockets.exists() {
        std::fs::create_dir(&sockets).unwrap();
        give_to_servers(&sockets);
    }
    let begun = Instant::now();
    let primary = builder.start().unwrap();
    let installation = primary.cluster().installation().clone();
    assert!(installation.program(Program::PgBasebackup).is_some());
    let standby = Cluster::new(installation, data).unwrap();
    let options = BaseBackupOptions::new().durability(Durability::NotSynced);
    standby
        .init_standby_of(primary.connection_info(), &options)
        .unwrap();
    let fast = [("fsync", "off"), ("shared_buffers", "16MB")];
    let options = StartOptions::new().socket_only(sockets).settings(fast);
    standby.start(&options).unwrap();
    let mut client = connect_to(primary.connection_info());
    while ask(&mut client, "SELECT count(*) FROM pg_stat_replication") == "0" {}
    sheet.note(PAIR, BY_HAND, begun.elapsed());
    drop(client);
    drop(primary);
}

fn catch_up(sheet: &mut Sheet, set: &ReplicaSet) {
    let standby = standby(set);
    let mut writer = connect_to(set.primary().connection_info());
    let mut reader = connect_to(standby.connection_info());
    writer.batch_execute("CREATE TABLE t (i int)").unwrap();
    // Both sessions stay open for the following measurements.
    standby
        .wait_for(set.primary().lsn().unwrap(), PATIENCE)
        .unwrap();
    let insert = "INSERT INTO t VALUES (1)";
    let position = |writer: &mut postgres::Client| -> Lsn {
        let lsn = ask(writer, "SELECT pg_current_wal_lsn()");
        lsn.parse().unwrap()
    };
    for _ in 0..5 {
        writer.batch_execute(insert).unwrap();
        let begun = Instant::now();
        let lsn = position(&mut writer);
        standby.wait_for(lsn, PATIENCE).unwrap();
        sheet.note(CATCH_UP, OURS, begun.elapsed());

        writer.batch_execute(insert).unwrap();
        let begun = Instant::now();
        let lsn = position(&mut writer);
        let replayed = format!("SELECT pg_last_wal_replay_lsn() >= '{lsn}'");
        while ask(&mut reader, &replayed) == "f" {}
        sheet.note(CATCH_UP, SPIN, begun.elapsed());
    }
}

fn promotion(sheet: &mut Sheet, set: &ReplicaSet) {
    let begun = Instant::now();
    set.promote(standby(set)).unwrap();
    sheet.note(PROMOTION, OURS, begun.elapsed());
}

fn promotion_by_spinning(sheet: &mut Sheet, set: &ReplicaSet) {
    let standby = standby(set);
    let mut reader = connect_to(standby.connection_info());
    let begun = Instant::now();
    standby.cluster().promote().unwrap();
    while ask(&mut reader, "SELECT pg_is_in_recovery()") == "t" {}
    sheet.note(PROMOTION, SPIN, begun.elapsed());
}

fn standby(set: &ReplicaSet) -> &Replica {
    set.standbys().next().unwrap()
}

const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
