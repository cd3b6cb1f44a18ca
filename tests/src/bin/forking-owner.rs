//! An owner of servers that forks without executing anything: `forking-owner HOW DATA SOCKETS`.
//!
//! The child drops its copies of what owns the server. `child` says whether the child managed that
//! and the server answers; `daemon` goes on as the child, of a parent that has exited. With
//! `lives-on` the child drops nothing, and exits when its standard input ends.
#![allow(clippy::print_stdout, reason = "this is how it answers")]
#![allow(unsafe_code, reason = "nothing else forks without executing a program")]

use std::error::Error;

use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, fork};
use pg_cluster::{Cluster, StartOptions, StopPlan};
use pg_fixture::TempCluster;
use pg_tests::{ask, connect_to, server};

fn main() -> Result<(), Box<dyn Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [how, data, sockets] = &words[..] else {
        return Err("HOW DATA SOCKETS".into());
    };
    let cluster = Cluster::new(server(), data)?;
    let options = StartOptions::new()
        .socket_only(sockets)
        .settings([("fsync", "off"), ("shared_buffers", "1MB")]);
    cluster.start(&options)?;
    let temp = TempCluster::builder().installation(server()).start()?;
    let mut other = connect_to(temp.connection_info());

    // SAFETY: the child only drops what it has a copy of, which is what is tried here.
    match unsafe { fork() }? {
        ForkResult::Child if how == "lives-on" => {
            std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
            std::process::exit(0);
        }
        ForkResult::Child => {
            drop((cluster, temp));
            // Nothing else of this copy is to be run down.
            std::process::exit(0);
        }
        ForkResult::Parent { .. } if how == "daemon" || how == "lives-on" => {
            println!("done");
            // As daemons do: nothing is dropped. The server's owner has exited.
            std::process::exit(0);
        }
        ForkResult::Parent { child } => {
            let status = waitpid(child, None)?;
            if !matches!(status, WaitStatus::Exited(_, 0)) {
                return Err(format!("the child: {status:?}").into());
            }
        }
    }
    ask(&mut other, "SELECT 1");
    ask(&mut pg_tests::connect(&cluster), "SELECT 1");
    cluster.stop(&StopPlan::fast())?;
    println!("done");
    Ok(())
}
