//! Starting a server, and the handle of one that this process has started.

use std::borrow::Cow;
use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::process::ExitStatus;
use std::sync::Arc;
use std::time::{Duration, Instant};

use camino::Utf8PathBuf;
use nix::libc;
use thiserror::Error;

use crate::account::Account;
use crate::deadline::Deadline;
use crate::files::pid_file::{PidFile, Status};
use crate::launch::command::Command;
use crate::launch::command::Streams;
use crate::launch::log::{Log, LogPart, LogReader, Tail};
use crate::launch::ownership::Ownership;
use crate::launch::passage::{PATIENCE, Passage};
use crate::launch::spawn_error::{SpawnError, SpawnErrorKind};
use crate::launch::stop_plan::StopPlan;
use crate::launch::supervised::Supervised;
use crate::launch::tenancy::Tenancy;
use crate::pid::Pid;
use crate::postmaster::handle::FileVersion;
use crate::postmaster::handle::Postmaster;
use crate::postmaster::wait;
use crate::postmaster::wait_error::{WaitError, WaitErrorKind};
use crate::signal::{Signal, SignalError, SignalErrorKind};
use crate::sys::{self, Means, Orders, Sink, Vigil, command};

/// The options with which a server is started.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerOptions {
    data_directory: Utf8PathBuf,
    log: Log,
    ownership: Ownership,
    tenancy: Option<Tenancy>,
    bystander: Option<Pid>,
    turn_timeout: Duration,
}

impl ServerOptions {
    /// For the server of this data directory. The command still has to name it among its arguments
    /// (`-D`).
    ///
    /// By default the output of the server is discarded, and the server is bound to this process.
    pub fn new(data_directory: impl Into<Utf8PathBuf>) -> Self {
        let data_directory = data_directory.into();
        Self {
            data_directory,
            log: Log::Null,
            ownership: Ownership::default(),
            tenancy: None,
            bystander: None,
            turn_timeout: PATIENCE,
        }
    }

    /// The longest wait for other processes that start a server of this data directory over the
    /// lock file of a crashed one; a minute if not set.
    #[must_use]
    pub fn turn_timeout(mut self, timeout: Duration) -> Self {
        self.turn_timeout = timeout;
        self
    }

    /// A process that is named by the lock file of a socket and was found not to be a server.
    /// Without this the new server takes it for one.
    ///
    /// By default this is the calling process, which corresponds to the parent of `pg_ctl`: in a
    /// container its PID is often that of the previous server (`PG_GRANDPARENT_PID` in
    /// `CreateLockFile`, src/backend/utils/init/miscinit.c). A process that the stale
    /// `postmaster.pid` names takes precedence.
    #[must_use]
    pub fn bystander(mut self, pid: Pid) -> Self {
        self.bystander = Some(pid);
        self
    }

    /// The destination of the server's output.
    #[must_use]
    pub fn log(mut self, log: Log) -> Self {
        self.log = log;
        self
    }

    /// The effect on the server when this process exits.
    #[must_use]
    pub fn ownership(mut self, ownership: Ownership) -> Self {
        self.ownership = ownership;
        self
    }

    /// For a bound server: once it was [left](Server::leave), or this process has exited, it runs
    /// as long as it has users.
    #[must_use]
    pub fn tenancy(mut self, tenancy: Tenancy) -> Self {
        self.tenancy = Some(tenancy);
        self
    }
}

/// A server that this process started.
///
/// # Cleanup
///
/// Dropping it has the same effect as the exit of this process. A bound server is shut down by its
/// [`StopPlan`], and drop waits for that, at most two seconds longer than the plan takes. A
/// detached server continues to run.
///
/// Only the process that started the server owns it. In a forked process, dropping the copy shuts
/// nothing down and does not wait. If the owner exits while such a copy remains, in a program that
/// has made itself a daemon, the server runs as long as the copy does.
///
/// The warden enforces this: a process between this one and the server (`pg-proc: warden` in `ps`,
/// one for each program). If the warden itself is killed, the kernel sends a bound server SIGQUIT
/// on Linux; on other systems the server keeps running.
#[derive(Debug)]
pub struct Server {
    // Dropped in this order: first the server ends, then there is nothing left to read.
    supervised: Supervised,
    postmaster: Postmaster,
    log: LogReader,
    /// The plan, while bound.
    plan: Option<StopPlan>,
}

impl Command {
    /// Starts the command as the server of a data directory. Returns as soon as it was executed: it
    /// is not [ready](Server::wait_ready) then.
    ///
    /// A lock file left behind by a crashed server does not prevent the start, even if its process
    /// ID now belongs to another process.
    ///
    /// # Races
    ///
    /// Any number of processes may do this at once: one server stays, and the others find its lock
    /// file and exit. PostgreSQL does not guarantee this if a crashed server has left its file.
    /// Such starts therefore happen one at a time, by a [`DirectoryLock`](crate::DirectoryLock)
    /// that is waited for up to a minute. The call then returns when the server has written its own
    /// file, at most ten seconds later. Servers that are started by other means in the same
    /// milliseconds are not protected.
    ///
    /// # Errors
    ///
    /// Fails if the program cannot be executed, the data directory has a server, or the log of a
    /// detached server is to be kept in memory.
    ///
    /// # Cleanup
    ///
    /// See [`Server`]: a bound server exits with this process, and leaves nothing but its files.
    pub fn spawn_server(&self, options: &ServerOptions) -> Result<Server, SpawnError> {
        let process = |e: io::Error| self.failed(SpawnErrorKind::Process(e));
        if let (Ownership::Detached, Log::Tail(_)) = (&options.ownership, &options.log) {
            return Err(self.failed(SpawnErrorKind::DetachedTail));
        }
        let file = options.data_directory.join(PidFile::NAME);
        let file_before = FileVersion::of(&file);
        let mut passage = Passage::find(&options.data_directory, options.turn_timeout)
            .map_err(|kind| self.failed(kind))?;
        if passage.environment.is_empty() {
            let pid = options.bystander.map_or_else(
                || std::process::id().to_string(),
                |bystander| bystander.to_string(),
            );
            passage.environment.push(("PG_GRANDPARENT_PID", pid));
        }

        let null = |write: bool| {
            let file = File::options().read(!write).write(write).open("/dev/null");
            file.and_then(|file| sys::above_standard(file.into()))
                .map_err(process)
        };
        let mut pending_tail = None;
        let mut log = LogReader::None;
        let [stdout, stderr] = match &options.log {
            Log::Null => [Sink::Descriptor(null(true)?), Sink::Descriptor(null(true)?)],
            Log::Inherit => {
                let stream = io::stderr();
                let copy = || stream.as_fd().try_clone_to_owned().map_err(process);
                [Sink::Descriptor(copy()?), Sink::Descriptor(copy()?)]
            }
            Log::File(path) => {
                let offset = std::fs::metadata(path).map_or(0, |meta| meta.len());
                log = LogReader::File {
                    path: path.clone(),
                    offset,
                    owner: self.account.as_ref().map(Account::uid),
                };
                let path = self.c_string(path.as_os_str())?;
                [Sink::File(path.clone()), Sink::File(path)]
            }
            Log::Tail(limit) => {
                let (read, write) = sys::pipe().map_err(process)?;
                pending_tail = Some((read, *limit));
                [
                    Sink::Descriptor(write.try_clone().map_err(process)?),
                    Sink::Descriptor(write),
                ]
            }
        };
        let plan = match &options.ownership {
            Ownership::Bound(plan) => Some(plan.clone()),
            Ownership::Detached => None,
        };
        let orders = Orders {
            steps: plan.as_ref().map(StopPlan::to_steps).unwrap_or_default(),
            bound: plan.is_some(),
            if_warden_dies: libc::SIGQUIT,
            whole_group: false,
            hold: self.held_guard()?,
            vigil: options.tenancy.as_ref().map(|tenancy| Vigil {
                users: Arc::clone(&tenancy.users),
                lock: tenancy.lock.clone(),
                linger_ms: i64::try_from(tenancy.linger.as_millis()).unwrap_or(i64::MAX),
            }),
        };
        let streams = Streams {
            stdin: null(false)?,
            stdout,
            stderr,
        };
        let launched = self.launch(&passage.environment, streams, &orders)?;
        let (supervised, process_handle) = Supervised::new(launched);
        if let Some((stream, limit)) = pending_tail {
            log = LogReader::Memory(Tail::drain(stream, limit).map_err(process)?);
        }
        let postmaster = Postmaster {
            process: process_handle,
            data_directory: options.data_directory.clone(),
            means: Means::Native,
            file_before,
        };
        passage.pass(&postmaster);
        Ok(Server {
            supervised,
            postmaster,
            log,
            plan,
        })
    }
}

impl Server {
    /// Its process ID.
    pub fn pid(&self) -> Pid {
        self.postmaster.pid()
    }

    /// The server as any process would see it.
    pub fn postmaster(&self) -> &Postmaster {
        &self.postmaster
    }

    /// The exit status, once it has exited.
    pub fn exit_status(&self) -> Option<ExitStatus> {
        self.supervised.exit_status()
    }

    /// Returns whether the server is shut down when this process exits.
    pub const fn is_bound(&self) -> bool {
        self.plan.is_some()
    }

    /// Sends a signal.
    ///
    /// # Errors
    ///
    /// Fails if the server has exited, or belongs to another user and this process is not root.
    ///
    /// # Races
    ///
    /// None: it goes through a pidfd, or is sent by the warden, whose child the server is.
    pub fn send(&self, signal: Signal) -> Result<(), SignalError> {
        if self.postmaster.process.descriptor().is_some() {
            return self.postmaster.send(signal);
        }
        self.postmaster.wait_for_handler(signal)?;
        // Its parent can signal it without a doubt about whom it hits.
        if self.supervised.exit_status().is_some() {
            let errno = rustix::io::Errno::SRCH;
            return Err(SignalError::new(
                self.pid(),
                signal,
                SignalErrorKind::from_errno(errno),
            ));
        }
        self.supervised.signal(signal);
        Ok(())
    }

    /// Like [`Postmaster::wait_ready`]; the error contains the exit status.
    ///
    /// # Errors
    ///
    /// Fails if the server exits or the wait times out.
    pub fn wait_ready(&self, deadline: impl Into<Deadline>) -> Result<Status, WaitError> {
        self.wait_status(&[Status::Ready, Status::Standby], deadline)
    }

    /// Like [`Postmaster::wait_status`]; the error contains the exit status.
    ///
    /// # Errors
    ///
    /// Fails if the server exits or the wait times out.
    pub fn wait_status(
        &self,
        wanted: &[Status],
        deadline: impl Into<Deadline>,
    ) -> Result<Status, WaitError> {
        let end = Some(self.supervised.descriptor());
        wait::for_status(&self.postmaster, wanted, deadline.into(), end).map_err(|e| {
            match e.kind() {
                WaitErrorKind::Exited(_) => {
                    let soon = Deadline::after(Duration::from_secs(1));
                    e.with_exit_status(self.supervised.wait_exit_status(soon))
                }
                _ => e,
            }
        })
    }

    /// Waits until nothing of the server is left, neither itself nor its children, and returns its
    /// exit status; none if it was not seen.
    ///
    /// # Errors
    ///
    /// Fails if the wait times out.
    pub fn wait_gone(
        &self,
        deadline: impl Into<Deadline>,
    ) -> Result<Option<ExitStatus>, WaitError> {
        let deadline = deadline.into();
        if !self.supervised.is_here() {
            self.postmaster.wait_gone(deadline)?;
            return Ok(None);
        }
        let since = Instant::now();
        if self.supervised.wait_all_gone(deadline) {
            self.postmaster.wait_gone(deadline)?;
            return Ok(self.exit_status());
        }
        let last = self
            .postmaster
            .pid_file()
            .ok()
            .flatten()
            .and_then(|file| file.status);
        let kind = WaitErrorKind::TimedOut(last);
        Err(WaitError::new(self.pid(), since, kind))
    }

    /// At most `limit` bytes from the end of what this server has written to its log since it was
    /// started.
    ///
    /// # Errors
    ///
    /// Fails if the log file cannot be read.
    pub fn log_tail(&self, limit: usize) -> io::Result<Vec<u8>> {
        self.log.tail(limit)
    }

    /// Returns whether the log of the server can be read: false for [`Log::Inherit`] and
    /// [`Log::Null`].
    pub fn keeps_log(&self) -> bool {
        self.log.is_kept()
    }

    /// The number of bytes that this server has written to its log since it was started: the
    /// position of the next byte.
    ///
    /// # Errors
    ///
    /// Fails if the log file cannot be read.
    pub fn log_end(&self) -> io::Result<u64> {
        self.log.end()
    }

    /// At most `limit` bytes of the log from a position on: of what this server has written since
    /// it was started, without the first `position` bytes.
    ///
    /// # Errors
    ///
    /// Fails if the log file cannot be read.
    pub fn read_log(&self, position: u64, limit: usize) -> io::Result<LogPart> {
        self.log.since(position, limit)
    }

    /// Waits until the server has written more than `position` bytes to its log, and returns
    /// whether it has. Returns false if the wait times out, or as soon as the server has exited and
    /// no more bytes can arrive.
    ///
    /// ```no_run
    /// # fn example(server: &mut pg_proc::Server) -> Result<(), Box<dyn std::error::Error>> {
    /// use std::time::Duration;
    ///
    /// let mut position = 0;
    /// while server.wait_log(position, Duration::from_secs(60))? {
    ///     let part = server.read_log(position, 64 << 10)?;
    ///     print!("{}", String::from_utf8_lossy(&part.bytes));
    ///     position = part.end();
    /// }
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    ///
    /// Fails if the log file cannot be read.
    pub fn wait_log(&self, position: u64, deadline: impl Into<Deadline>) -> io::Result<bool> {
        let has_ended = || !self.postmaster.is_alive();
        let end = self.postmaster.process.descriptor();
        self.log.wait(position, deadline.into(), end, has_ended)
    }

    /// Lets go of the server without ending it or waiting for anything: it belongs to its
    /// [users](ServerOptions::tenancy) now.
    ///
    /// A bound server without users is shut down as if this value were dropped.
    pub fn leave(mut self) {
        self.plan = None;
    }

    /// Lets the server outlive this process from now on.
    ///
    /// One that was bound before keeps the warden, which then waits for the server's end and
    /// does nothing else.
    ///
    /// # Errors
    ///
    /// Fails if the log of the server is kept in the memory of this process: see [`Log::Tail`].
    pub fn detach(&mut self) -> Result<(), DetachError> {
        if matches!(self.log, LogReader::Memory(_)) {
            return Err(DetachError { pid: self.pid() });
        }
        self.supervised.command(&[command::DETACH]);
        self.plan = None;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.supervised.let_go();
        if !self.supervised.is_here() {
            return;
        }
        let Some(plan) = &self.plan else { return };
        let longest = Deadline::after(plan.duration().saturating_add(Duration::from_secs(2)));
        self.supervised.wait_all_gone(longest);
        if self.postmaster.is_alive() {
            // The warden has exited, or it is blocked in the kernel. Nothing more can be done.
            let _ = self.postmaster.send(Signal::Immediate);
            let _ = self.postmaster.wait_gone(longest);
        }
    }
}

/// A server whose log is kept in the memory of this process cannot be detached.
#[derive(Debug, Error)]
#[error("server process {pid} cannot be detached: its log is kept in the memory of this process")]
pub struct DetachError {
    pub(crate) pid: Pid,
}

impl DetachError {
    /// The process ID of the postmaster.
    pub const fn pid(&self) -> Pid {
        self.pid
    }

    /// Advice on how to start the server.
    pub fn hint(&self) -> Option<Cow<'_, str>> {
        Some("start the server with a log file".into())
    }
}

#[cfg(test)]
mod tests {
    use camino::Utf8Path;

    use super::*;
    use crate::fs::guard::GuardOptions;

    fn patience() -> Deadline {
        Deadline::after(Duration::from_secs(60))
    }

    /// A program that forks workers, or makes itself a daemon, has copies of all of its values.
    #[test]
    fn a_forked_copy_shuts_nothing_down() {
        let room = tempfile::tempdir().expect("a directory");
        let room = Utf8Path::from_path(room.path()).expect("UTF-8");
        let kept = room.join("kept");
        std::fs::create_dir(&kept).expect("a directory");
        let mut guard = Some(GuardOptions::new().remove(&kept).guard().expect("a guard"));
        let options = ServerOptions::new(room).log(Log::Tail(4096));
        let server = Command::new("/bin/sh")
            .args(["-c", "echo began; sleep 600 & wait"])
            .spawn_server(&options)
            .expect("a program");
        let mut server = Some(server);
        for _ in 0..3 {
            assert!(sys::succeeds_in_forked_process(|| {
                if let Some(server) = &server {
                    assert_eq!(server.exit_status(), None);
                    let _ = server.log_tail(100);
                    server.wait_gone(Duration::ZERO).expect_err("it runs");
                }
                drop(server.take());
                drop(guard.take());
            }));
            let server = server.as_ref().expect("only the copy was dropped");
            assert!(server.postmaster().is_alive());
            assert!(kept.exists());
        }
        let server = server.take().expect("only the copy was dropped");
        server.send(Signal::Kill).expect("a signal");
        server.wait_gone(patience()).expect("the end");
        assert!(server.exit_status().is_some());
        assert_eq!(server.log_tail(100).expect("a log"), b"began\n");
        assert!(guard.take().expect("a guard").remove(patience()));
        assert!(!kept.exists());
    }
}
