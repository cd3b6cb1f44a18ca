//! Makes a temporary cluster as its arguments say, and waits to be killed.
//!
//! `temp-owner CACHE STORAGE temp|many|drop|shared|setup` prints `building` when a setup step runs,
//! and the root directory and URI when a server is there. STORAGE is a directory, or `automatic`.

#![allow(clippy::unwrap_used)]

use std::io::{Read as _, Write as _};

use pg_fixture::{Storage, TempCluster};

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
