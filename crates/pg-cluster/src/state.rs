//! What a cluster is doing.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pg_install::Program;
use pg_proc::{FindError, Found, Pid, PidFile, Postmaster, Status};

use crate::Cluster;
use crate::cluster::OwnServer;
use crate::control_data::{ControlData, ControlDataError, ControlDataErrorKind};

/// What is to be said of a cluster at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum State {
    /// There is no such directory, or an empty one.
    Void,
    /// The directory holds something that is no complete data directory.
    Uninitialized,
    /// There is a data directory, and no server.
    Stopped,
    /// A server is there and does not accept connections yet: it starts, recovers, or is a hot
    /// standby that is not consistent yet.
    Starting(Pid),
    /// A server accepts connections; a hot standby too, for reading.
    Ready(Pid),
    /// A standby is there that accepts no connections until it is promoted (`hot_standby = off`).
    Standby(Pid),
    /// A server is shutting down.
    Stopping(Pid),
    /// A server is there and is stopped by a signal (SIGSTOP) or a debugger: it answers nobody.
    Suspended(Pid),
    /// A single-user or bootstrap process holds the directory.
    SingleUser(Pid),
    /// A process that may be the server. The caller lacks the rights, or the system the means, to
    /// decide; most often the process belongs to another user. Nothing is signalled, deleted or
    /// started over such a process.
    Unknown(Pid),
}

/// Whether a server accepts connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Readiness {
    /// It does.
    Ready,
    /// It is there and does not, for now.
    NotReady,
    /// There is no server.
    NoServer,
}

impl Cluster {
    /// What the cluster is doing, by its directory and the process found there.
    ///
    /// # Errors
    ///
    /// If the directory or `postmaster.pid` cannot be read.
    pub fn state(&self) -> Result<State, FindError> {
        Ok(match self.occupant()? {
            Occupant::Server(postmaster) => {
                let pid = postmaster.pid();
                if postmaster.is_suspended() {
                    return Ok(State::Suspended(pid));
                }
                match status(&postmaster) {
                    Some(Status::Ready) => State::Ready(pid),
                    Some(Status::Standby) => State::Standby(pid),
                    Some(Status::Stopping) => State::Stopping(pid),
                    _ => State::Starting(pid),
                }
            }
            Occupant::SingleUser(pid) => State::SingleUser(pid),
            Occupant::Unknown(pid) => State::Unknown(pid),
            Occupant::Nobody if self.is_initialized() => State::Stopped,
            Occupant::Nobody
                if self
                    .data_directory()
                    .read_dir_utf8()
                    .is_ok_and(|mut all| all.next().is_some()) =>
            {
                State::Uninitialized
            }
            Occupant::Nobody => State::Void,
        })
    }

    /// The process number of the server, whoever started it; none if there is no server. A process
    /// that holds the directory without being known to be its server counts as well: see
    /// [`State::SingleUser`] and [`State::Unknown`].
    ///
    /// # Errors
    ///
    /// As [`state`](Self::state).
    pub fn pid(&self) -> Result<Option<Pid>, FindError> {
        Ok(match self.occupant()? {
            Occupant::Server(postmaster) => Some(postmaster.pid()),
            Occupant::SingleUser(pid) | Occupant::Unknown(pid) => Some(pid),
            Occupant::Nobody => None,
        })
    }

    /// Whether there is a server, or another process that holds the directory. It need not accept
    /// connections: [`readiness`](Self::readiness) tells.
    ///
    /// # Errors
    ///
    /// As [`state`](Self::state).
    pub fn is_running(&self) -> Result<bool, FindError> {
        Ok(self.pid()?.is_some())
    }

    /// Whether the server accepts connections: yes, not now, or there is none.
    ///
    /// Taken from the last line of `postmaster.pid` of the identified server; no connection is
    /// made.
    ///
    /// # Errors
    ///
    /// As [`state`](Self::state).
    pub fn readiness(&self) -> Result<Readiness, FindError> {
        Ok(match self.occupant()? {
            Occupant::Nobody => Readiness::NoServer,
            Occupant::Server(postmaster)
                if status(&postmaster) == Some(Status::Ready) && !postmaster.is_suspended() =>
            {
                Readiness::Ready
            }
            _ => Readiness::NotReady,
        })
    }

    /// How long the server has been running, by the start time in its `postmaster.pid`, to the
    /// second; none if there is no server.
    ///
    /// # Errors
    ///
    /// As [`state`](Self::state).
    pub fn uptime(&self) -> Result<Option<Duration>, FindError> {
        let started = self.pid_file()?.and_then(|file| file.started_at());
        Ok(started.map(|at| SystemTime::now().duration_since(at).unwrap_or_default()))
    }

    /// What `global/pg_control` says: the system identifier, the state at the last write, and with
    /// `pg_controldata` in the installation checksums and all the rest.
    ///
    /// # Errors
    ///
    /// If the file cannot be read or `pg_controldata` fails.
    pub fn control_data(&self) -> Result<ControlData, ControlDataError> {
        let read = || {
            if self
                .installation()
                .program(Program::PgControldata)
                .is_none()
            {
                return ControlData::read(self.data_directory());
            }
            // The program would wait for whatever there is to open.
            pg_proc::open_regular_file(self.data_directory().join("global/pg_control"))
                .map_err(ControlDataErrorKind::File)?;
            let output = self
                .english_command(Program::PgControldata)
                .map_err(|_| ControlDataErrorKind::Content("pg_controldata is missing"))?
                .args(["-D", self.data_directory().as_str()])
                .run(Duration::from_secs(60))
                .map_err(ControlDataErrorKind::Program)?;
            match ControlData::parse(&String::from_utf8_lossy(&output.stdout)) {
                Ok(data) => Ok(data),
                // An odd version of the program; the file itself is there all the same.
                Err(_) => ControlData::read(self.data_directory()),
            }
        };
        read().map_err(|kind| ControlDataError {
            data_directory: self.data_directory().to_owned(),
            kind,
        })
    }

    pub(crate) fn find(&self) -> Result<Found, FindError> {
        Postmaster::find(self.data_directory())
    }

    /// Who holds the data directory. A server that this object has started is known without a
    /// look, also before it has written its lock file, unless the file names another process.
    pub(crate) fn occupant(&self) -> Result<Occupant, FindError> {
        let own = self.living_server();
        let is_named = |server: &Arc<OwnServer>| {
            let file = PidFile::read(self.data_directory()).ok().flatten();
            file.is_none_or(|file| file.pid == server.process.pid())
        };
        if let Some(server) = own.clone().filter(is_named) {
            return Ok(Occupant::Server(AnyPostmaster::Own(server)));
        }
        Ok(match self.find()? {
            Found::Running(postmaster) => Occupant::Server(AnyPostmaster::Found(postmaster)),
            Found::SingleUser(pid) => Occupant::SingleUser(pid),
            Found::Unknown { pid, .. } => Occupant::Unknown(pid),
            _ => match own {
                Some(server) => Occupant::Server(AnyPostmaster::Own(server)),
                None => Occupant::Nobody,
            },
        })
    }

    /// The identified postmaster, if there is one.
    pub(crate) fn postmaster(&self) -> Result<Option<AnyPostmaster>, FindError> {
        Ok(match self.occupant()? {
            Occupant::Server(postmaster) => Some(postmaster),
            _ => None,
        })
    }

    /// The lock file of the identified postmaster.
    pub(crate) fn pid_file(&self) -> Result<Option<PidFile>, FindError> {
        Ok(self
            .postmaster()?
            .and_then(|postmaster| postmaster.pid_file().ok().flatten()))
    }
}

/// Who holds a data directory.
#[derive(Debug)]
pub(crate) enum Occupant {
    Nobody,
    Server(AnyPostmaster),
    SingleUser(Pid),
    Unknown(Pid),
}

/// A postmaster, however it became known.
#[derive(Debug)]
pub(crate) enum AnyPostmaster {
    Found(Postmaster),
    Own(Arc<OwnServer>),
}

impl Deref for AnyPostmaster {
    type Target = Postmaster;

    fn deref(&self) -> &Postmaster {
        match self {
            Self::Found(postmaster) => postmaster,
            Self::Own(server) => server.process.postmaster(),
        }
    }
}

fn status(postmaster: &Postmaster) -> Option<Status> {
    postmaster.status().ok().flatten()
}
