//! The cost of a database in a shared server, compared with creating and dropping a database
//! manually, and with a server for each test.

use std::time::Instant;

use pg_fixture::{SharedCluster, TempClusterBuilder};
use pg_tests::connect_to;

use super::OURS;
use super::lives::{Ground, first_answer};
use crate::sheet::{Sheet, Who};

const SHARED: Who<'static> = Who::Ours("`SharedCluster`");
const BY_HAND: Who<'static> = Who::Beside("`CREATE DATABASE`, `DROP DATABASE`");
const TABLES: &str = "DO $$ BEGIN FOR n IN 1..100 LOOP EXECUTE format(\
     'CREATE TABLE t%s (id int PRIMARY KEY, name text)', n); END LOOP; END $$";

pub(crate) fn measure(sheet: &mut Sheet, rounds: usize, ground: &Ground) {
    let empty = ground.builder();
    databases(
        sheet,
        "an empty database, to `SELECT 1` and released",
        rounds,
        &empty,
    );
    let tables = ground.builder().setup(TABLES, |info| {
        postgres::Client::connect(&info.uri(), postgres::NoTls)?.batch_execute(TABLES)
    });
    let what = "a database with 100 tables, to `SELECT 1` and released";
    databases(sheet, what, rounds, &tables);
}

/// Measures many databases per round. Released databases are dropped in batches, and the cost of
/// dropping them is included.
fn databases(sheet: &mut Sheet, what: &str, rounds: usize, builder: &TempClusterBuilder) {
    let kept = builder.share("bench").unwrap();
    let info = kept.connection_info();
    let mut administration = connect_to(&info.clone().with_database("postgres"));
    sheet.rounds(rounds, |sheet| {
        for n in 0..10 {
            let begun = Instant::now();
            ours(builder);
            sheet.note(what, SHARED, begun.elapsed());

            let name = format!("by_hand_{n}");
            let begun = Instant::now();
            let create = format!("CREATE DATABASE {name} TEMPLATE pg_fixture_template");
            administration.batch_execute(&create).unwrap();
            drop(first_answer(&info.clone().with_database(&name)));
            let drop = format!("DROP DATABASE {name}");
            // The backend of the client may still be exiting.
            administration.batch_execute(&drop).unwrap();
            sheet.note(what, BY_HAND, begun.elapsed());
        }
        let begun = Instant::now();
        let temp = builder.start().unwrap();
        drop(first_answer(temp.connection_info()));
        drop(temp);
        sheet.note(what, OURS, begun.elapsed());
    });
}

fn ours(builder: &TempClusterBuilder) {
    let database: SharedCluster = builder.share("bench").unwrap();
    drop(first_answer(database.connection_info()));
}
