//! The files of the project.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use anyhow::{Context as _, Result};
use camino::{Utf8Path, Utf8PathBuf};

use crate::workspace;

/// Files by path relative to the workspace.
pub(super) struct Tree {
    files: BTreeMap<Utf8PathBuf, Vec<u8>>,
}

impl Tree {
    /// Reads the files that git tracks, and new files that are not ignored, so that a violation is
    /// reported before the commit.
    pub(super) fn read(root: &Utf8Path) -> Result<Tree> {
        let mut git = Command::new("git");
        // In a checkout of another account, git fails because of hooks and configuration, which
        // this command does not use.
        git.args(["-c", "safe.directory=*", "ls-files", "-z"])
            .args(["--cached", "--others", "--exclude-standard"])
            .current_dir(root);
        let names = String::from_utf8(workspace::output_of(&mut git)?)
            .context("a file's name is not UTF-8")?;
        let mut files = BTreeMap::new();
        for name in names.split_terminator('\0') {
            // A file that is deleted but not committed, a submodule, or a link to a directory.
            let Ok(content) = fs::read(root.join(name)) else {
                continue;
            };
            files.insert(Utf8PathBuf::from(name), content);
        }
        Ok(Tree { files })
    }

    #[cfg(test)]
    pub(super) fn made_up(files: &[(&str, &str)]) -> Tree {
        let files = files
            .iter()
            .map(|(path, text)| (Utf8PathBuf::from(*path), text.as_bytes().to_vec()));
        Tree {
            files: files.collect(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.files.len()
    }

    /// Iterates over the text files.
    pub(super) fn texts(&self) -> impl Iterator<Item = (&Utf8Path, &str)> {
        self.files.iter().filter_map(|(path, content)| {
            Some((path.as_path(), std::str::from_utf8(content).ok()?))
        })
    }

    /// Iterates over the text files whose names end in `.EXTENSION`.
    pub(super) fn with_extension<'a>(
        &'a self,
        extension: &'a str,
    ) -> impl Iterator<Item = (&'a Utf8Path, &'a str)> {
        self.texts()
            .filter(move |(path, _)| path.extension() == Some(extension))
    }

    pub(super) fn text(&self, path: &Utf8Path) -> Option<&str> {
        std::str::from_utf8(self.files.get(path)?).ok()
    }

    /// Returns whether a file with this path, or a file in this directory, exists.
    pub(super) fn contains(&self, path: &Utf8Path) -> bool {
        path.as_str().is_empty() || self.files.keys().any(|file| file.starts_with(path))
    }
}
