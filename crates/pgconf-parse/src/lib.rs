//! Round-trip parser and editor of postgresql.conf, exact on bytes and in the server's own reading.
