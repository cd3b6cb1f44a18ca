//! A standby that lags shows old rows, and how an application that reads from it sees its own
//! writes: it takes the position of the commit along, and waits for it before it reads.
//!
//! ```console
//! $ cargo run -p pg-fixture --example read_your_writes
//! ```

#![allow(clippy::print_stdout, reason = "a program that shows something")]

use std::error::Error;
use std::time::{Duration, Instant};

use pg_fixture::cluster::Lsn;
use pg_fixture::{ReplicaSet, TempCluster, TempClusterBuilder};
use postgres::{Client, NoTls};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How far the standby is behind, on purpose.
const LAG: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(60);

#[allow(dead_code, reason = "a test runs the rest")]
fn main() -> Outcome<()> {
    run(TempCluster::builder())
}

/// Does it with the servers of this builder.
pub(crate) fn run(builder: TempClusterBuilder) -> Outcome<()> {
    let set = builder.standbys(1).start()?;
    let standby = set.standbys().next().ok_or("a standby")?;
    let mut client = Client::connect(&set.primary().uri(), NoTls)?;
    client.batch_execute("CREATE TABLE orders (n int)")?;
    standby.wait_for(set.primary().lsn()?, PATIENCE)?;
    standby.lag_by(LAG)?;
    standby.wait_streaming(PATIENCE)?;
    // A replay that is paused is behind for certain; one that lags, for a while.
    standby.pause_replay()?;

    let position = order(&mut client, 1)?;
    let naive = count(&set)?;
    println!("read at once: {naive} orders");
    if naive != 0 {
        return Err("a paused standby shows nothing new".into());
    }

    standby.resume_replay()?;
    let begun = Instant::now();
    standby.wait_for(position, PATIENCE)?;
    let waited = count(&set)?;
    println!(
        "read at {position}, after {:.0?}: {waited} orders",
        begun.elapsed()
    );
    if waited != 1 {
        return Err("the write is not visible after the wait for its position".into());
    }

    // With little time, read from the primary instead.
    let position = order(&mut client, 2)?;
    standby.disconnect();
    let server = match standby.wait_for(position, Duration::from_millis(20)) {
        Ok(_) => standby.uri(),
        Err(error) => {
            println!("{error}: the primary answers");
            set.primary().uri()
        }
    };
    let row = Client::connect(&server, NoTls)?.query_one("SELECT count(*) FROM orders", &[])?;
    match row.get::<_, i64>(0) {
        2 => Ok(()),
        n => Err(format!("{n} orders instead of two").into()),
    }
}

/// Writes an order, and returns the position of the log after it: what the application keeps in the
/// session of its user.
fn order(client: &mut Client, n: i32) -> Outcome<Lsn> {
    client.execute("INSERT INTO orders VALUES ($1)", &[&n])?;
    let row = client.query_one("SELECT pg_current_wal_lsn()::text", &[])?;
    Ok(row.get::<_, String>(0).parse()?)
}

fn count(set: &ReplicaSet) -> Outcome<i64> {
    let standby = set.standbys().next().ok_or("a standby")?;
    let mut client = Client::connect(&standby.uri(), NoTls)?;
    Ok(client.query_one("SELECT count(*) FROM orders", &[])?.get(0))
}
