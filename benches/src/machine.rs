//! The machine of the measurements.

use std::fmt;
use std::fs;
use std::process::Command;

use camino::Utf8Path;

use crate::Plan;

pub(crate) struct Machine {
    processor: String,
    cores: usize,
    kernel: String,
    storage: String,
    server: String,
    rustc: String,
    user: &'static str,
    rounds: usize,
    /// The load average of the last minute.
    load: Option<String>,
}

impl Machine {
    pub(crate) fn look(plan: &Plan) -> Self {
        let unknown = || "unknown".to_owned();
        let storage = &plan.storage;
        let installed = || pg_tests::server().version_string().to_owned();
        Self {
            processor: processor().unwrap_or_else(unknown),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            kernel: output("uname", &["-sr"]).unwrap_or_else(unknown),
            storage: match file_system(storage) {
                Some(kind) => format!("{storage} ({kind})"),
                None => storage.to_string(),
            },
            // `cargo xtask bench` also names the client by which the server was fetched.
            server: std::env::var("BENCH_SERVER").unwrap_or_else(|_| installed()),
            rustc: output("rustc", &["--version"])
                .and_then(|text| Some(text.split(' ').nth(1)?.to_owned()))
                .unwrap_or_else(unknown),
            user: if rustix::process::geteuid().is_root() {
                "root"
            } else {
                "an ordinary user"
            },
            rounds: plan.rounds,
            load: fs::read_to_string("/proc/loadavg")
                .ok()
                .and_then(|text| Some(text.split(' ').next()?.to_owned())),
        }
    }

    /// Describes the machine in one sentence.
    pub(crate) fn brief(&self) -> String {
        format!(
            "Medians of {} rounds: {} cores of {}, PostgreSQL {}, Rust {}.",
            self.rounds, self.cores, self.processor, self.server, self.rustc
        )
    }
}

impl fmt::Display for Machine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "* {} cores of {}, {}",
            self.cores, self.processor, self.kernel
        )?;
        writeln!(f, "* PostgreSQL {}, Rust {}", self.server, self.rustc)?;
        writeln!(f, "* temporary clusters in {}", self.storage)?;
        write!(f, "* {} rounds, as {}", self.rounds, self.user)?;
        match &self.load {
            Some(load) => write!(f, ", load {load} before"),
            None => Ok(()),
        }
    }
}

fn processor() -> Option<String> {
    if let Ok(text) = fs::read_to_string("/proc/cpuinfo") {
        // Kernels for Arm do not report a model.
        let line = text.lines().find(|line| line.starts_with("model name"))?;
        return Some(line.split_once(": ")?.1.trim().to_owned());
    }
    output("sysctl", &["-n", "machdep.cpu.brand_string"])
}

/// Returns the type of the file system that contains the path.
fn file_system(path: &Utf8Path) -> Option<String> {
    let path = path.canonicalize_utf8().ok()?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    mounts
        .lines()
        .filter_map(|line| {
            let mut fields = line.split(' ').skip(1);
            Some((fields.next()?, fields.next()?))
        })
        .filter(|(mounted_on, _)| path.starts_with(mounted_on))
        .max_by_key(|(mounted_on, _)| mounted_on.len())
        .map(|(_, kind)| kind.to_owned())
}

fn output(program: &str, arguments: &[&str]) -> Option<String> {
    let output = Command::new(program).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}
