//! PostgreSQL server processes: postmaster.pid, identity, signals, spawning, waiting.
