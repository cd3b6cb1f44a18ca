//! The state of a cluster.

use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use pg_install::Program;
use pg_proc::{ControlData, ControlDataError, FindError, Found, Pid, PidFile, Postmaster, Status};

use crate::Cluster;
use crate::cluster::OwnServer;

/// The state of a cluster at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum State {
    /// The directory does not exist or is empty.
    Absent,
    /// The directory is not empty and is not a complete data directory.
    Uninitialized,
    /// The data directory is complete, and no server is running.
    Stopped,
    /// The server does not accept connections yet: it is starting, recovering, or a hot standby
    /// that is not consistent yet.
    Starting(Pid),
    /// The server accepts connections; a hot standby accepts them for reading.
    Ready(Pid),
    /// The server is a standby with `hot_standby = off`: it accepts no connections until promoted.
    Standby(Pid),
    /// The server is shutting down.
    Stopping(Pid),
    /// The server is stopped by a signal (SIGSTOP) or a debugger, or frozen (`docker pause`), and
    /// does not respond to clients.
    Suspended(Pid),
    /// A single-user or bootstrap process holds the directory.
    SingleUser(Pid),
    /// A process that may be the server. The caller does not have the rights, or the system does
    /// not have the means, to decide. Most often the process belongs to another user. Nothing is
    /// signalled, deleted or started in this case.
    Unknown(Pid),
}

/// The readiness of a server to accept connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Readiness {
    /// The server accepts connections.
    Ready,
    /// A server is running and does not accept connections now.
    NotReady,
    /// No server is running.
    NoServer,
}

impl Cluster {
    /// The state of the cluster, by its directory and the process that holds it.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// use pg_cluster::State;
    ///
    /// match cluster.state()? {
    ///     State::Absent | State::Uninitialized => println!("not initialized"),
    ///     State::Stopped => println!("stopped"),
    ///     State::Ready(pid) => println!("process {pid} accepts connections"),
    ///     other => println!("{other:?}"),
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the directory or `postmaster.pid` cannot be read.
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
            Occupant::NoProcess if self.is_initialized() => State::Stopped,
            Occupant::NoProcess
                if self
                    .data_directory()
                    .read_dir_utf8()
                    .is_ok_and(|mut all| all.next().is_some()) =>
            {
                State::Uninitialized
            }
            Occupant::NoProcess => State::Absent,
        })
    }

    /// The process ID of the server, whichever process started it; none if no server is running. A
    /// process that holds the directory counts even if it cannot be identified as a server: see
    /// [`State::SingleUser`] and [`State::Unknown`].
    ///
    /// # Errors
    ///
    /// Fails as [`state`](Self::state) does.
    pub fn pid(&self) -> Result<Option<Pid>, FindError> {
        Ok(match self.occupant()? {
            Occupant::Server(postmaster) => Some(postmaster.pid()),
            Occupant::SingleUser(pid) | Occupant::Unknown(pid) => Some(pid),
            Occupant::NoProcess => None,
        })
    }

    /// Returns whether a server or another process holds the directory. It need not accept
    /// connections: see [`readiness`](Self::readiness).
    ///
    /// # Errors
    ///
    /// Fails as [`state`](Self::state) does.
    pub fn is_running(&self) -> Result<bool, FindError> {
        Ok(self.pid()?.is_some())
    }

    /// Returns whether the server accepts connections, by the last line of `postmaster.pid` of the
    /// identified server. No connection is made.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// use pg_cluster::Readiness;
    ///
    /// if cluster.readiness()? != Readiness::Ready {
    ///     println!("no connections are accepted now");
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails as [`state`](Self::state) does.
    pub fn readiness(&self) -> Result<Readiness, FindError> {
        Ok(match self.occupant()? {
            Occupant::NoProcess => Readiness::NoServer,
            Occupant::Server(postmaster)
                if status(&postmaster) == Some(Status::Ready) && !postmaster.is_suspended() =>
            {
                Readiness::Ready
            }
            _ => Readiness::NotReady,
        })
    }

    /// The time since the server was started, by its `postmaster.pid`, to the second; none if no
    /// server is running.
    ///
    /// # Errors
    ///
    /// Fails as [`state`](Self::state) does.
    pub fn uptime(&self) -> Result<Option<Duration>, FindError> {
        let started = self.pid_file()?.and_then(|file| file.started_at());
        Ok(started.map(|at| SystemTime::now().duration_since(at).unwrap_or_default()))
    }

    /// The identity, the formats and the state of the cluster, from `global/pg_control`. If the
    /// installation has `pg_controldata`, and it succeeds, checksums and all other entries are
    /// included.
    ///
    /// ```no_run
    /// # fn example(cluster: &pg_cluster::Cluster) -> Result<(), Box<dyn std::error::Error>> {
    /// let control = cluster.control_data()?;
    /// println!("system identifier {}, state {}", control.system_identifier, control.state);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the file cannot be read.
    pub fn control_data(&self) -> Result<ControlData, ControlDataError> {
        // First, because the program would wait for a pipe or a device to open.
        let read = ControlData::read(self.data_directory())?;
        let by_program = || {
            let program = self.english_command(Program::PgControldata).ok()?;
            let output = program
                .args(["-D", self.data_directory().as_str()])
                .run(Duration::from_secs(60));
            String::from_utf8_lossy(&output.ok()?.stdout).parse().ok()
        };
        Ok(by_program().unwrap_or(read))
    }

    pub(crate) fn find(&self) -> Result<Found, FindError> {
        Postmaster::find(self.data_directory())
    }

    /// The process that holds the data directory. A server that this object has started is known
    /// even before it has written its lock file, unless the file names another process.
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
                None => Occupant::NoProcess,
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

/// The process that holds a data directory.
#[derive(Debug)]
pub(crate) enum Occupant {
    NoProcess,
    Server(AnyPostmaster),
    SingleUser(Pid),
    Unknown(Pid),
}

/// A postmaster that was found, or that this object has started.
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
