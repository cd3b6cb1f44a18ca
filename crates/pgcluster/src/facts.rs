//! Facts about a cluster and its server.

use std::time::Duration;

use pg_cluster::proc::{Found, Orphans, Pid, PidFile, Postmaster, PostmasterOpts};
use pg_cluster::{Cluster, ConnectionInfo, ControlData, State, Version};
use serde_json::{Value, json};

use crate::connection;
use crate::failure::Result;
use crate::table::{self, Cell};
use crate::words::{DIM, rounded, state_name, state_style};

/// A cluster and its server at one moment.
#[derive(Debug)]
pub(crate) struct Facts {
    directory: String,
    version: Version,
    pub(crate) state: State,
    pid_file: Option<PidFile>,
    address: Option<ConnectionInfo>,
    uptime: Option<Duration>,
    control: Option<ControlData>,
    orphans: Vec<Pid>,
    command_line: Option<PostmasterOpts>,
}

impl Facts {
    pub(crate) fn of(cluster: &Cluster) -> Result<Self> {
        let state = cluster.state()?;
        let directory = cluster.data_directory();
        let (pid_file, orphans) = match Postmaster::find(directory)? {
            Found::Running(postmaster) => (postmaster.pid_file().ok().flatten(), Vec::new()),
            Found::Stale(_) => (None, Orphans::find(directory).map(|found| found.pids())?),
            _ => (None, Vec::new()),
        };
        let address = match process(state) {
            Some(_) => connection::of(cluster)?,
            None => None,
        };
        Ok(Self {
            directory: directory.to_string(),
            version: cluster.installation().version().clone(),
            state,
            pid_file,
            address,
            uptime: cluster.uptime()?,
            control: ControlData::read(directory).ok(),
            orphans,
            command_line: PostmasterOpts::read(directory).ok().flatten(),
        })
    }

    pub(crate) fn json(&self) -> Value {
        let file = self.pid_file.as_ref();
        let memory = file.and_then(|file| file.shared_memory);
        json!({
            "data_directory": self.directory,
            "version": self.version.without_vendor().to_string(),
            "state": state_name(self.state),
            "pid": process(self.state).map(Pid::as_raw),
            "uri": self.address.as_ref().map(ConnectionInfo::uri),
            "port": file.and_then(|file| file.port),
            "socket_directory": file
                .and_then(|file| Some(file.socket_directory.as_ref()?.as_str())),
            "listen_address": file.and_then(|file| file.listen_address.as_deref()),
            "started_at": file.and_then(|file| file.start_time),
            "shared_memory": memory.map(|memory| json!({"key": memory.key, "id": memory.id})),
            "orphans": self.orphans.iter().map(|pid| pid.as_raw()).collect::<Vec<_>>(),
            "control_state": self.control.as_ref().map(|control| control.state.as_str()),
            "system_identifier": self.control.as_ref()
                .map(|control| control.system_identifier.to_string()),
            "program": self.command_line.as_ref().map(|line| line.program.as_str()),
            "arguments": self.command_line.as_ref().map(|line| &line.arguments),
        })
    }

    pub(crate) fn text(&self) -> String {
        let state = state_name(self.state);
        let since = self.uptime.map(|time| format!(", for {}", rounded(time)));
        let server = match process(self.state) {
            Some(pid) => format!("{state}, process {pid}{}", since.unwrap_or_default()),
            None => state.to_owned(),
        };
        let mut rows = vec![
            ("directory", self.directory.as_str().into()),
            ("version", Cell::from(&self.version)),
            ("server", Cell::styled(server, state_style(state))),
        ];
        if let Some(address) = &self.address {
            rows.push(("address", address.uri().into()));
        }
        if !self.orphans.is_empty() {
            let pids: Vec<String> = self.orphans.iter().map(ToString::to_string).collect();
            let text = format!("{}, left behind by a crashed server", pids.join(", "));
            rows.push(("processes", text.into()));
        }
        if let Some(control) = &self.control {
            let text = format!(
                "{}, system {}",
                control.state.as_str(),
                control.system_identifier
            );
            rows.push(("control file", Cell::styled(text, DIM)));
        }
        table::list(rows)
    }
}

/// The process that holds the data directory.
pub(crate) fn process(state: State) -> Option<Pid> {
    match state {
        State::Starting(pid)
        | State::Ready(pid)
        | State::Standby(pid)
        | State::Stopping(pid)
        | State::Suspended(pid)
        | State::SingleUser(pid)
        | State::Unknown(pid) => Some(pid),
        _ => None,
    }
}
