//! Controls local PostgreSQL clusters: init, configure, start, wait, reload, stop, remove; temporary clusters for tests.
