//! Finds PostgreSQL installations, reads pg_config, parses versions.
