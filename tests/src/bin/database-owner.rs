//! Takes databases of a shared server as its arguments say, and is killed.
//!
//! `database-owner CACHE STORAGE hold|acquire|reset|COUNT` prints the URI when there is a database,
//! and a line for each time it is reset; with a number, it takes and releases so many, and says
//! `done`.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::time::Duration;

use pg_fixture::{SharedCluster, Storage, TempCluster};
use pg_tests::{ask, connect_to};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [cache, storage, mode] = arguments.as_slice() else {
        panic!("database-owner CACHE STORAGE MODE");
    };
    let builder = TempCluster::builder()
        .installation(pg_tests::server())
        .cache_directory(cache)
        .storage(Storage::Directory(storage.into()))
        .linger(Duration::from_millis(300));
    let take = || builder.share("databases").unwrap();
    match mode.as_str() {
        "hold" => {
            let database = take();
            say(&database.uri());
            let _ = std::io::stdin().read(&mut [0]);
        }
        "acquire" => loop {
            say(&take().uri());
        },
        "reset" => {
            let database = take();
            loop {
                say(&database.uri());
                database.reset().unwrap();
            }
        }
        count => {
            for _ in 0..count.parse().unwrap() {
                use_once(&take());
            }
            say("done");
        }
    }
}

/// Nobody else is or was there.
fn use_once(database: &SharedCluster) {
    let mut client = connect_to(database.connection_info());
    ask(
        &mut client,
        "CREATE TABLE mine (n int); SELECT count(*) FROM mine",
    );
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    if writeln!(out, "{line}").and_then(|()| out.flush()).is_err() {
        // Nobody reads it any more.
        std::process::exit(1);
    }
}
