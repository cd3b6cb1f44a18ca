//! Turns of a peer.
//!
//! For each line on standard input, the program creates a server, runs `SELECT 1`, and removes the
//! server. It prints the seconds until the answer and in total: `took: 0.5 0.6`. If this fails, it
//! exits, and the last line on standard error gives the reason.

use std::error::Error;
use std::io::BufRead;
use std::path::PathBuf;
use std::time::{Duration, Instant};

type Outcome<T> = Result<T, Box<dyn Error>>;

pub fn take<S>(start: impl Fn(PathBuf) -> Outcome<(S, String)>) -> Outcome<()> {
    let bin: PathBuf = std::env::args_os().nth(1).expect("the programs' directory").into();
    for line in std::io::stdin().lock().lines() {
        line?;
        let begun = Instant::now();
        let (server, uri) = start(bin.clone())?;
        let mut client = connect(&uri)?;
        assert_eq!(client.query_one("SELECT 1", &[])?.get::<_, i32>(0), 1);
        let create = begun.elapsed();
        drop(client);
        drop(server);
        println!("took: {} {}", create.as_secs_f64(), begun.elapsed().as_secs_f64());
    }
    Ok(())
}

/// Connects repeatedly until the server is ready. pgtemp returns after a tenth of a second, which
/// may be earlier.
fn connect(uri: &str) -> Result<postgres::Client, postgres::Error> {
    let begun = Instant::now();
    loop {
        match postgres::Client::connect(uri, postgres::NoTls) {
            Err(_) if begun.elapsed() < Duration::from_secs(30) => {
                std::thread::sleep(Duration::from_millis(1));
            }
            result => return result,
        }
    }
}
