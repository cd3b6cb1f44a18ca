//! What is known of the server of a data directory: `postmaster DATA_DIR [--json]`.

#![allow(clippy::print_stdout, reason = "this is what it is for")]

use std::time::Duration;

use camino::Utf8PathBuf;
use pg_proc::{
    Endpoint, Found, Orphans, PidFile, Ping, Postmaster, PostmasterOpts, SocketPath, ping,
};
use serde_json::{Map, Value, json};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut directory = None;
    let mut as_json = false;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "--json" => as_json = true,
            _ => directory = Some(Utf8PathBuf::from(argument)),
        }
    }
    let directory = directory.ok_or("usage: postmaster DATA_DIR [--json]")?;
    let mut facts = Map::new();
    facts.insert("data_directory".into(), json!(directory.as_str()));
    let file = match Postmaster::find(&directory)? {
        Found::Running(postmaster) => {
            facts.insert("state".into(), json!("running"));
            facts.insert("pid".into(), json!(postmaster.pid().as_raw()));
            postmaster.pid_file()?
        }
        Found::Stale(stale) => {
            facts.insert("state".into(), json!("stale"));
            facts.insert("reason".into(), json!(stale.reason.to_string()));
            let orphans = Orphans::find(&directory)?.pids();
            let orphans: Vec<i32> = orphans.into_iter().map(pg_proc::Pid::as_raw).collect();
            facts.insert("orphans".into(), json!(orphans));
            stale.pid_file
        }
        Found::SingleUser(pid) => {
            facts.insert("state".into(), json!("single-user"));
            facts.insert("pid".into(), json!(pid.as_raw()));
            None
        }
        Found::Unknown { pid, uid } => {
            facts.insert("state".into(), json!("unknown"));
            facts.insert("pid".into(), json!(pid.as_raw()));
            facts.insert("uid".into(), json!(uid));
            None
        }
        _ => {
            facts.insert("state".into(), json!("stopped"));
            None
        }
    };
    if let Some(file) = file {
        tell_of_file(&file, &mut facts);
    }
    if let Some(opts) = PostmasterOpts::read(&directory)? {
        facts.insert("program".into(), json!(opts.program.as_str()));
        facts.insert("arguments".into(), json!(opts.arguments));
    }
    if as_json {
        println!("{:#}", Value::Object(facts));
    } else {
        for (name, value) in &facts {
            match value {
                Value::String(text) => println!("{name}: {text}"),
                value => println!("{name}: {value}"),
            }
        }
    }
    Ok(())
}

fn tell_of_file(file: &PidFile, facts: &mut Map<String, Value>) {
    facts.insert(
        "status".into(),
        json!(file.status.map(pg_proc::Status::as_str)),
    );
    facts.insert("start_time".into(), json!(file.start_time));
    facts.insert("port".into(), json!(file.port));
    facts.insert(
        "socket_directory".into(),
        json!(file.socket_directory.as_ref().map(|path| path.as_str())),
    );
    facts.insert("listen_address".into(), json!(file.listen_address));
    facts.insert(
        "shared_memory".into(),
        json!(file.shared_memory.map(|id| [id.key, id.id])),
    );
    let (Some(directory), Some(port)) = (&file.socket_directory, file.port) else {
        return;
    };
    let Ok(socket) = SocketPath::new(directory, port) else {
        return;
    };
    let answer = match ping(&Endpoint::unix(socket), Duration::from_secs(3)) {
        Ping::Accepting => "accepting connections".to_owned(),
        Ping::Rejecting(reason) => format!("rejecting connections: {reason:?}"),
        Ping::NoResponse(e) => format!("no response: {e}"),
        _ => "unknown".to_owned(),
    };
    facts.insert("answer".into(), json!(answer));
}
