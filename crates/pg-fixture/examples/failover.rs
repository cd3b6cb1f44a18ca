//! A primary dies while a client writes, its standby takes over, and nothing that was acknowledged
//! is lost.
//!
//! ```console
//! $ cargo run -p pg-fixture --example failover
//! ```

#![allow(clippy::print_stdout, reason = "a program that shows something")]

use std::collections::BTreeSet;
use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pg_fixture::{TempCluster, TempClusterBuilder};
use postgres::{Client, NoTls};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How many rows are to be acknowledged before the primary dies, and by the next one.
const ROWS: usize = 50;
const PATIENCE: Duration = Duration::from_secs(60);

#[allow(dead_code, reason = "a test runs the rest")]
fn main() -> Outcome<()> {
    run(TempCluster::builder())
}

/// What the client knows.
#[derive(Default)]
struct Application {
    /// Where it writes. A real one has a proxy or several hosts in its connection string.
    address: Mutex<String>,
    acknowledged: Mutex<BTreeSet<i32>>,
    is_over: AtomicBool,
}

/// Does it with the servers of this builder.
pub(crate) fn run(builder: TempClusterBuilder) -> Outcome<()> {
    // A commit is acknowledged when the standby has replayed it.
    let set = builder.standbys(1).synchronous(1).start()?;
    let (primary, standby) = (&set.members()[0], &set.members()[1]);
    Client::connect(&primary.uri(), NoTls)?
        .batch_execute("CREATE TABLE rows (n int PRIMARY KEY)")?;
    let application = Application::default();
    application.move_to(&primary.uri());

    std::thread::scope(|scope| {
        scope.spawn(|| application.write());
        let outcome = (|| {
            let before = application.wait_for(ROWS)?;
            primary.cluster().kill()?;
            let begun = Instant::now();
            set.promote(standby)?;
            application.move_to(&standby.uri());
            println!(
                "{before} rows before; a new primary after {:.1?}",
                begun.elapsed()
            );
            application.wait_for(before + ROWS)
        })();
        application.is_over.store(true, Ordering::Relaxed);
        outcome
    })?;

    let mut client = Client::connect(&set.primary().uri(), NoTls)?;
    let rows = client.query("SELECT n FROM rows", &[])?;
    let found: BTreeSet<i32> = rows.iter().map(|row| row.get(0)).collect();
    let acknowledged = application.acknowledged();
    let lost: Vec<_> = acknowledged.difference(&found).collect();
    println!(
        "{} rows acknowledged, {} lost",
        acknowledged.len(),
        lost.len()
    );
    if !lost.is_empty() {
        return Err(format!("acknowledged and lost: {lost:?}").into());
    }
    Ok(())
}

impl Application {
    fn move_to(&self, address: &str) {
        address.clone_into(&mut self.address.lock().unwrap_or_else(PoisonError::into_inner));
    }

    fn acknowledged(&self) -> BTreeSet<i32> {
        let acknowledged = self.acknowledged.lock();
        acknowledged.unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn wait_for(&self, rows: usize) -> Outcome<usize> {
        let begun = Instant::now();
        loop {
            let acknowledged = self.acknowledged().len();
            if acknowledged >= rows {
                return Ok(acknowledged);
            }
            if begun.elapsed() > PATIENCE {
                return Err(format!("only {acknowledged} rows were acknowledged").into());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Writes one row after the other, and each again that was not acknowledged.
    fn write(&self) {
        let mut n = 0;
        while !self.is_over.load(Ordering::Relaxed) {
            let address = self
                .address
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .clone();
            let Ok(mut client) = Client::connect(&address, NoTls) else {
                std::thread::sleep(Duration::from_millis(5));
                continue;
            };
            // What was written and not acknowledged may be there.
            let insert = "INSERT INTO rows VALUES ($1) ON CONFLICT DO NOTHING";
            while !self.is_over.load(Ordering::Relaxed) && client.execute(insert, &[&n]).is_ok() {
                let acknowledged = self.acknowledged.lock();
                acknowledged
                    .unwrap_or_else(PoisonError::into_inner)
                    .insert(n);
                n += 1;
            }
        }
    }
}
