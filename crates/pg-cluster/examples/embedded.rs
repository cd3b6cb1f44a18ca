//! An application that brings its own PostgreSQL server and keeps its data.
//!
//! `embedded DIRECTORY` makes a cluster in the directory at its first run, starts the server, works
//! with it until standard input ends, and shuts it down. The next run finds what this one has
//! stored.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program prints"
)]

use std::error::Error;
use std::io;
use std::process::ExitCode;

use pg_cluster::{
    Cluster, ConnectionInfo, InitOptions, Installation, MajorVersion, Report, Request, StartError,
    StartOptions, Started, StopPlan,
};

const USER: &str = "app";

fn main() -> ExitCode {
    let Some(directory) = std::env::args().nth(1) else {
        eprintln!("usage: embedded DIRECTORY");
        return ExitCode::from(2);
    };
    match run(&directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            report(&*error);
            ExitCode::FAILURE
        }
    }
}

fn run(directory: &str) -> Result<(), Box<dyn Error>> {
    let cluster = Cluster::new(installation_for(directory)?, directory)?;
    if !cluster.is_initialized() {
        cluster.init(&InitOptions::new().user(USER))?;
        // Kept in the file, since they apply to every start. Settings that differ between starts go
        // into `StartOptions`.
        cluster
            .settings()
            .update([("work_mem", "16MB"), ("max_connections", "20")])?;
    }

    // No TCP, and the socket is in a directory that only the owner of the data can enter: no port
    // to choose, no password to keep.
    let options = StartOptions::new().socket_only(cluster.data_directory());
    match cluster.start(&options)? {
        Started::Now(pid) => println!("started process {pid}"),
        // Another run of this program started the server, and the server exits with that run.
        Started::AlreadyRunning(pid) => println!("process {pid} is running already"),
        _ => {}
    }
    let address = cluster
        .connection_info()?
        .ok_or("the server listens nowhere")?
        .with_user(USER)
        .with_database("postgres");
    println!("{}", address.uri());

    work(&address)?;
    // A server would do its work here. If it is killed instead of getting to the next line, the
    // database server ends just the same.
    io::copy(&mut io::stdin(), &mut io::sink())?;

    cluster.stop(&StopPlan::escalating())?;
    Ok(())
}

/// The installation that the data was made with. A newer major version that was installed since
/// could not read it.
fn installation_for(directory: &str) -> Result<Installation, Box<dyn Error>> {
    let wanted = match MajorVersion::from_pg_version_file(format!("{directory}/PG_VERSION")) {
        Ok(major) => Request::series(major),
        Err(_) => Request::newest(),
    };
    Ok(Installation::find(&wanted)?)
}

fn work(address: &ConnectionInfo) -> Result<(), postgres::Error> {
    let mut client = postgres::Client::connect(&address.uri(), postgres::NoTls)?;
    client.batch_execute(
        "CREATE TABLE IF NOT EXISTS runs (at timestamptz DEFAULT now()); \
         INSERT INTO runs DEFAULT VALUES",
    )?;
    let runs: i64 = client.query_one("SELECT count(*) FROM runs", &[])?.get(0);
    println!("run number {runs} with this directory");
    client.close()
}

/// The error, its causes, advice, and the messages of the server.
fn report(error: &(dyn Error + 'static)) {
    eprintln!("embedded: {}", Report::new(error));
    if let Some(error) = error.downcast_ref::<StartError>() {
        eprint!("{}", error.log());
    }
}
