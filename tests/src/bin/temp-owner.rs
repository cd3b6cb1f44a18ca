//! Makes a temporary cluster as its arguments say, and waits to be killed.
//!
//! `temp-owner CACHE STORAGE MODE` prints `building` when a setup step runs, the root directory and
//! URI when a server is there, or what it has just done. STORAGE is a directory, or `automatic`.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};
use std::num::NonZeroUsize;

use pg_fixture::{Storage, TempCluster, TempPool};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [cache, storage, mode] = arguments.as_slice() else {
        panic!("temp-owner CACHE STORAGE MODE");
    };
    let storage = match storage.as_str() {
        "automatic" => Storage::Automatic,
        directory => Storage::Directory(directory.into()),
    };
    let builder = TempCluster::builder()
        .installation(pg_tests::server())
        .cache_directory(cache)
        .storage(storage);
    match mode.as_str() {
        "temp" => {
            let temp = builder.start().unwrap();
            say(&format!("{} {}", temp.path(), temp.uri()));
            wait();
        }
        "many" => {
            let mut all = Vec::new();
            loop {
                all.push(builder.start().unwrap());
                say("one more");
            }
        }
        "drop" => loop {
            let temp = builder.start().unwrap();
            say("dropping");
            drop(temp);
            say("dropped");
        },
        "states" => {
            let temp = builder.start().unwrap();
            loop {
                let snapshot = temp.snapshot().unwrap();
                say("snapshot");
                let branch = temp.branch().unwrap();
                say("branch");
                branch.restore(&snapshot).unwrap();
                say("restored");
            }
        }
        "pool" => loop {
            let pool = TempPool::new(builder.clone(), NonZeroUsize::MIN).unwrap();
            for _ in 0..3 {
                drop(pool.acquire().unwrap());
                say("acquired");
            }
        },
        "freeze" => {
            let temp = builder.start().unwrap();
            loop {
                let frozen = temp.freeze().unwrap();
                say("frozen");
                drop(frozen);
                temp.restart().unwrap();
                say("restarted");
                temp.crash().unwrap();
                say("crashed");
                temp.start_again().unwrap();
            }
        }
        "shared" => {
            let database = builder
                .linger(std::time::Duration::from_millis(300))
                .share("tests")
                .unwrap();
            say(&format!(
                "{} {}",
                database
                    .connection_info()
                    .keywords()
                    .split('\'')
                    .nth(1)
                    .unwrap(),
                database.uri()
            ));
            wait();
        }
        _ => {
            let builder = builder.setup("slow", |_| {
                say("building");
                wait();
                Ok::<(), std::io::Error>(())
            });
            drop(builder.start().unwrap());
            say("built");
        }
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// Until standard input ends.
fn wait() {
    let _ = std::io::stdin().read(&mut [0]);
}
