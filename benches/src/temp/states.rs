//! How long it takes to keep a state, to go back to it, and to go on from it elsewhere; and to take
//! a //! server that is ready.

use std::fs;
use std::num::NonZeroUsize;
use std::time::Instant;

use pg_fixture::{TempCluster, TempPool};

use super::lives::{Ground, copy, first_answer};
use crate::sheet::{Sheet, Who};

const SNAPSHOT: &str = "keep the state, until the server answers again";
const RESTORE: &str = "go back to a kept state, until the server answers";
const BRANCH: &str = "another server with this state, until both answer";
const ACQUIRE: &str = "take a server out of a pool that is full";

const FLOOR: Who<'static> = Who::Floor("fast stop, copy and bare exec, watched by spinning");

pub(super) fn measure(sheet: &mut Sheet, rounds: usize, ground: &Ground) {
    let template = ground.template();
    let data = template.root.join("data");
    let temp = ground.start();
    let answers = |temp: &TempCluster| drop(first_answer(temp.connection_info()));
    sheet.rounds(rounds, |sheet| {
        let begun = Instant::now();
        let snapshot = temp.snapshot().unwrap();
        answers(&temp);
        sheet.note(
            SNAPSHOT,
            Who::Ours("`TempCluster::snapshot`"),
            begun.elapsed(),
        );

        let begun = Instant::now();
        temp.restore(&snapshot).unwrap();
        answers(&temp);
        sheet.note(
            RESTORE,
            Who::Ours("`TempCluster::restore`"),
            begun.elapsed(),
        );

        let begun = Instant::now();
        let branch = temp.branch().unwrap();
        answers(&temp);
        answers(&branch);
        sheet.note(BRANCH, Who::Ours("`TempCluster::branch`"), begun.elapsed());
        drop((branch, snapshot));

        let server = ground.execute(&template.root, &template.arguments);
        let saved = ground.fresh("saved").join("data");
        let begun = Instant::now();
        server.shut_down();
        copy(&data, &saved);
        let server = ground.execute(&template.root, &template.arguments);
        sheet.note(SNAPSHOT, FLOOR, begun.elapsed());

        let begun = Instant::now();
        server.shut_down();
        fs::remove_dir_all(&data).unwrap();
        copy(&saved, &data);
        let server = ground.execute(&template.root, &template.arguments);
        sheet.note(RESTORE, FLOOR, begun.elapsed());

        let begun = Instant::now();
        server.shut_down();
        let branch = ground.copy_and_execute(&template);
        let server = ground.execute(&template.root, &template.arguments);
        sheet.note(BRANCH, FLOOR, begun.elapsed());
        branch.shut_down();
        server.shut_down();
    });
    let pool = TempPool::new(ground.builder(), NonZeroUsize::MIN).unwrap();
    sheet.rounds(rounds, |sheet| {
        while pool.ready() == 0 {
            std::thread::yield_now();
        }
        let begun = Instant::now();
        let temp = pool.acquire().unwrap();
        sheet.note(ACQUIRE, Who::Ours("`TempPool::acquire`"), begun.elapsed());
        answers(&temp);
        let begun = Instant::now();
        let started = ground.start();
        sheet.note(
            ACQUIRE,
            Who::Beside("`TempCluster::start`"),
            begun.elapsed(),
        );
        drop((temp, started));
    });
}
