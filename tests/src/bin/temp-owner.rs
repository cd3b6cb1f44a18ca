//! Makes a temporary cluster as its arguments say, and waits to be killed.
//!
//! `temp-owner CACHE STORAGE temp|many|again|shared|setup` prints `building` when a setup step runs, and the root directory and URI when a server is there.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};

use pg_cluster::{Storage, TempCluster};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [cache, storage, mode] = arguments.as_slice() else {
        panic!("temp-owner CACHE STORAGE MODE");
    };
    let builder = TempCluster::builder()
        .installation(pg_tests::server())
        .cache_directory(cache)
        .storage(Storage::Directory(storage.into()));
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
        "again" => loop {
            drop(builder.start().unwrap());
            say("one more");
        },
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
