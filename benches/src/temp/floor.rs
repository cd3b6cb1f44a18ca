//! The lower bound for a temporary cluster: the files are in one pack and written by several
//! threads while the server starts, without any checks.

use std::fs::{self, File};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Child;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use camino::{Utf8Path, Utf8PathBuf};
use pg_cluster::Program;
use rustix::fs::inotify;
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::process::{Pid, Signal, kill_process};

use super::lives::{Ground, Life, Template, address, first_answer, own};

const BLOCK: usize = 4096;
const BATCH: u64 = 256 << 10;
const READY: &[u8] = b"ready   \n";

/// A data directory in one file.
pub(crate) struct Pack {
    directories: Vec<String>,
    /// The files that the server reads when it starts.
    first: Vec<Batch>,
    databases: Vec<Batch>,
    file: File,
    owner: (u32, u32),
    template: Template,
}

/// Files with consecutive data.
struct Batch {
    data: Range<u64>,
    files: Vec<Packed>,
}

struct Packed {
    path: String,
    size: u64,
    /// The offset in the file, and the range in the batch.
    parts: Vec<(u64, Range<usize>)>,
}

/// A server that accepts connections.
pub(crate) struct Running {
    process: Child,
    root: Utf8PathBuf,
}

impl Pack {
    pub(crate) fn new(ground: &Ground) -> Self {
        let template = ground.template();
        let data = template.root.join("data");
        let info = fs::metadata(&data).unwrap();
        let mut names = (Vec::new(), Vec::new());
        collect(&data, &data, &mut names);
        let (directories, files) = names;
        let is_of_database = |path: &String| path.starts_with("base/");
        let (databases, first): (Vec<_>, Vec<_>) = files.into_iter().partition(is_of_database);
        let pack = template.root.join("pack");
        let mut bytes = Vec::new();
        let mut batches = |paths: Vec<String>, size| batches(&data, paths, size, &mut bytes);
        let (first, databases) = (batches(first, BATCH / 4), batches(databases, BATCH));
        fs::write(&pack, bytes).unwrap();
        Self {
            directories,
            first,
            databases,
            file: File::open(pack).unwrap(),
            owner: (info.uid(), info.gid()),
            template,
        }
    }

    pub(crate) fn life(&self, ground: &Ground) -> Life {
        let begun = Instant::now();
        let (server, client) = self.start(ground);
        let create = begun.elapsed();
        drop(client);
        server.end(Signal::QUIT);
        Life {
            create,
            whole: begun.elapsed(),
        }
    }

    /// Creates a cluster and returns after the first answer.
    pub(crate) fn start(&self, ground: &Ground) -> (Running, postgres::Client) {
        let root = ground.fresh("floor");
        let (data, sockets) = (root.join("data"), root.join("s"));
        for directory in [&data, &sockets] {
            fs::create_dir(directory).unwrap();
            own(directory, 0o700);
        }
        let held = File::open(&data).unwrap();
        let (uid, gid) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        for name in &self.directories {
            rustix::fs::mkdirat(&held, name, Mode::RWXU).unwrap();
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            rustix::fs::chownat(&held, name, Some(uid), Some(gid), flags).unwrap();
        }
        self.write(&held, &self.first);
        let from = self.template.root.as_str();
        let argument = |argument: &String| argument.replace(from, root.as_str());
        let arguments: Vec<_> = self.template.arguments.iter().map(argument).collect();
        let events = inotify::init(inotify::CreateFlags::CLOEXEC).unwrap();
        let wanted = inotify::WatchFlags::CREATE | inotify::WatchFlags::MODIFY;
        inotify::add_watch(&events, data.as_std_path(), wanted).unwrap();
        let mut server = ground.program(Program::Postgres);
        let process = std::thread::scope(|scope| {
            scope.spawn(|| self.write(&held, &self.databases));
            let process = server.args(arguments).spawn().unwrap();
            let pid_file = data.join("postmaster.pid");
            while !fs::read(&pid_file).is_ok_and(|text| text.ends_with(READY)) {
                let _ = rustix::io::read(&events, &mut [0; BLOCK]).unwrap();
            }
            process
        });
        let client = first_answer(&address(&sockets));
        (Running { process, root }, client)
    }

    fn write(&self, data: &File, batches: &[Batch]) {
        let next = AtomicUsize::new(0);
        let work = || {
            let mut buffer = Vec::new();
            while let Some(batch) = batches.get(next.fetch_add(1, Ordering::Relaxed)) {
                self.batch(data, batch, &mut buffer);
            }
        };
        std::thread::scope(|scope| {
            scope.spawn(work);
            work();
        });
    }

    fn batch(&self, data: &File, batch: &Batch, buffer: &mut Vec<u8>) {
        let (uid, gid) = (Uid::from_raw(self.owner.0), Gid::from_raw(self.owner.1));
        let length = batch.data.end - batch.data.start;
        buffer.resize(usize::try_from(length).unwrap(), 0);
        self.file.read_exact_at(buffer, batch.data.start).unwrap();
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        for Packed { path, size, parts } in &batch.files {
            let opened = rustix::fs::openat(data, path, flags, Mode::RUSR | Mode::WUSR);
            let file = File::from(opened.unwrap());
            rustix::fs::fchown(&file, Some(uid), Some(gid)).unwrap();
            let mut end = 0;
            for (offset, range) in parts {
                file.write_all_at(&buffer[range.clone()], *offset).unwrap();
                end = offset + range.len() as u64;
            }
            if end < *size {
                file.set_len(*size).unwrap();
            }
        }
    }
}

impl Running {
    pub(crate) fn end(mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.process), signal).unwrap();
        self.process.wait().unwrap();
        fs::remove_dir_all(&self.root).unwrap();
    }
}

/// Collects directories and files, each directory before its entries.
fn collect(top: &Utf8Path, directory: &Utf8Path, names: &mut (Vec<String>, Vec<String>)) {
    for entry in directory.read_dir_utf8().unwrap() {
        let entry = entry.unwrap();
        let name = entry.path().strip_prefix(top).unwrap().to_string();
        if entry.file_type().unwrap().is_dir() {
            names.0.push(name);
            collect(top, entry.path(), names);
        } else if !matches!(entry.file_name(), "postmaster.opts" | "pg_internal.init") {
            names.1.push(name);
        }
    }
}

fn batches(data: &Utf8Path, paths: Vec<String>, size: u64, pack: &mut Vec<u8>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for path in paths {
        let position = pack.len() as u64;
        let is_full = |batch: &Batch| position - batch.data.start > size;
        if batches.last().is_none_or(is_full) {
            batches.push(Batch {
                data: position..position,
                files: Vec::new(),
            });
        }
        let Some(batch) = batches.last_mut() else {
            continue;
        };
        let bytes = fs::read(data.join(&path)).unwrap();
        let mut parts: Vec<(u64, Range<usize>)> = Vec::new();
        for (number, block) in bytes.chunks(BLOCK).enumerate() {
            if block.iter().all(|&byte| byte == 0) {
                continue;
            }
            let offset = (number * BLOCK) as u64;
            let from = pack.len() - usize::try_from(batch.data.start).unwrap();
            match parts.last_mut() {
                Some((begin, range)) if *begin + range.len() as u64 == offset => {
                    range.end += block.len();
                }
                _ => parts.push((offset, from..from + block.len())),
            }
            pack.extend_from_slice(block);
        }
        batch.data.end = pack.len() as u64;
        batch.files.push(Packed {
            path,
            size: bytes.len() as u64,
            parts,
        });
    }
    batches
}
