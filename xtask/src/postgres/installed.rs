//! Servers that the system has installed.

use camino::Utf8PathBuf;
use std::process::Command;

use super::fetch::{Origin, Server};

/// Every installed server, newest first.
pub(crate) fn installed() -> Vec<Server> {
    let mut bins: Vec<Utf8PathBuf> = Vec::new();
    if let Ok(entries) = camino::Utf8Path::new("/usr/lib/postgresql").read_dir_utf8() {
        bins.extend(entries.flatten().map(|entry| entry.path().join("bin")));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    bins.extend(
        std::env::split_paths(&path).filter_map(|path| Utf8PathBuf::from_path_buf(path).ok()),
    );
    let mut servers: Vec<Server> = bins
        .into_iter()
        .filter(|bin| bin.join("initdb").exists())
        .filter_map(|bin| {
            let output = Command::new(bin.join("postgres"))
                .arg("--version")
                .output()
                .ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            let version = text.split_whitespace().nth(2)?.to_owned();
            Some(Server {
                bin,
                version,
                origin: Origin::Installed,
            })
        })
        .collect();
    servers.sort_by_key(|server| std::cmp::Reverse(server.major()));
    servers
}
