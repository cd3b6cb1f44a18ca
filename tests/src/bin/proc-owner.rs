//! An owner of servers, for tests that end it: `proc-owner HOW ROOT PROGRAM [ARGUMENT...]`.
//!
//! Starts the program as the server of `ROOT/data`, in the account of that directory, bound, with a
//! guard over `ROOT`; prints the server's process number when the server is ready; and ends as
//! `HOW` says: `return`, `panic`, `exit`, `abort`, `detach`, or `wait` for being killed. `run` runs
//! the program to its end instead of taking it for a server. `find` and `find-portably` only report
//! what holds the data directory `ROOT`, `env` runs the program `ROOT` and prints what it says, and
//! `guards` sets up guards over `ROOT/0`, `ROOT/1`, ... until that fails, and prints how many there
//! are.

#![allow(clippy::print_stdout, reason = "this is how it answers")]

use std::io::Read;
use std::time::Duration;

use camino::{Utf8Path, Utf8PathBuf};
use pg_proc::{Account, Command, Deadline, GuardOptions, Postmaster, ServerOptions, StopPlan};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let how = arguments.next().ok_or("how to end?")?;
    let root = Utf8PathBuf::from(arguments.next().ok_or("which directory?")?);
    if how == "find" {
        println!("{:?}", Postmaster::find(&root)?);
        return Ok(());
    }
    if how == "find-portably" {
        println!("{:?}", Postmaster::find_portably(&root)?);
        return Ok(());
    }
    if how == "env" {
        // Something large, which a warden that has to be forked gives back.
        let _ballast = std::hint::black_box(vec![1_u8; 64 << 20]);
        // A thread that goes on, and one that forks: neither is the first of this process.
        let (_goes_on, waits) = std::sync::mpsc::channel::<()>();
        std::thread::spawn(move || waits.recv());
        let run = || Command::new(root).run(Duration::from_secs(60));
        let output = std::thread::scope(|scope| scope.spawn(run).join());
        let output = output.map_err(|_| "the thread panicked")??;
        print!("{}", String::from_utf8(output.stdout)?);
        return Ok(());
    }
    if how == "guards" {
        let guard = |number: usize| {
            let path = root.join(number.to_string());
            std::fs::create_dir_all(path.join("below/this")).ok()?;
            GuardOptions::new()
                .remove(&path)
                .release_memory_of(path.join("below"))
                .release_memory_of(path.join("below/this"))
                .guard()
                .ok()
        };
        let guards: Vec<_> = (0..).map_while(guard).collect();
        println!("{}", guards.len());
        std::process::abort();
    }
    let program = arguments.next().ok_or("which program?")?;
    let patience = || Deadline::after(Duration::from_secs(60));

    let data = root.join("data");
    let guard = GuardOptions::new()
        .release_memory_of(&data)
        .remove_marked(&root, "marker")
        .guard()?;
    let command = Command::new(program)
        .args(arguments)
        .account(account(&root)?)
        .guarded_by(&guard);
    if how == "run" {
        println!("running");
        command.run(Deadline::never())?;
        return Ok(());
    }
    let plan = if how == "throw-away" {
        StopPlan::throw_away()
    } else {
        StopPlan::brief()
    };
    let options = ServerOptions::new(&data).ownership(pg_proc::Ownership::Bound(plan));
    let mut server = command.spawn_server(&options)?;
    server.wait_ready(patience())?;
    println!("{}", server.pid());
    match how.as_str() {
        "panic" => panic!("as asked"),
        "exit" => std::process::exit(3),
        "abort" => std::process::abort(),
        "return" => {}
        "detach" => {
            server.detach()?;
            guard.release();
            return Ok(());
        }
        // The test holds the other end, and kills this process instead of closing it.
        _ => {
            std::io::stdin().read_to_end(&mut Vec::new())?;
        }
    }
    drop(server);
    drop(guard);
    Ok(())
}

fn account(root: &Utf8Path) -> Result<Option<Account>, pg_proc::AccountError> {
    Account::for_data_directory(root)
}
