//! The same tests, each with a database that a directory of migrations has prepared.

mod hundred;

use std::error::Error;
use std::fs;
use std::path::PathBuf;

use hundred::builder;
use pg_fixture::SharedCluster;
use pg_fixture::cluster::ConnectionInfo;
use postgres::{Client, NoTls};

const MIGRATIONS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations");

/// What a migration tool does.
fn migrate(info: &ConnectionInfo) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut client = Client::connect(&info.uri(), NoTls)?;
    let files = fs::read_dir(MIGRATIONS)?.map(|file| Ok(file?.path()));
    let mut files: Vec<PathBuf> = files.collect::<std::io::Result<_>>()?;
    files.sort();
    for file in files {
        client.batch_execute(&fs::read_to_string(file)?)?;
    }
    Ok(())
}

fn database() -> SharedCluster {
    // A change of a file, or another file, is another template.
    let builder = builder().setup_from([MIGRATIONS], migrate);
    builder.share("sample with migrations").unwrap()
}
