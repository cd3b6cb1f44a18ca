//! The libraries that a server can load.

use std::env::consts::DLL_SUFFIX;

use camino::{Utf8Path, Utf8PathBuf};

use crate::installation::Installation;
use crate::program::Program;

impl Installation {
    /// Returns the directory of the libraries that the server loads. This is
    /// [`pkglibdir`](Self::pkglibdir), or else the usual directory relative to the programs. The
    /// directory contains PL/pgSQL, which every server has.
    pub fn library_directory(&self) -> Option<Utf8PathBuf> {
        let server = self.program(Program::Postgres)?;
        let server = server.canonicalize_utf8().ok()?;
        let root = server.parent()?.parent()?;
        let beside = ["lib/postgresql", "lib", "lib64/pgsql", "lib64"].map(|name| root.join(name));
        let known = self.pkglibdir().map(Utf8Path::to_owned);
        let library = format!("plpgsql{DLL_SUFFIX}");
        let mut directories = known.into_iter().chain(beside);
        directories.find(|directory| directory.join(&library).exists())
    }

    /// Returns whether a library exists where the server searches for it. `name` is a name or a
    /// path, as in `shared_preload_libraries` (`expand_dynamic_library_name` in
    /// src/backend/utils/fmgr/dfmgr.c). Returns false if the directory of libraries is not known.
    pub fn has_library(&self, name: &str) -> bool {
        self.library_directory().is_some_and(|directory| {
            let path = directory.join(name.replace("$libdir", directory.as_str()));
            path.exists() || Utf8PathBuf::from(format!("{path}{DLL_SUFFIX}")).exists()
        })
    }
}
