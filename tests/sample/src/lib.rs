//! A program that keeps fruit in a database would be here.

/// The migrations. Tests pass this text as the key of their setup too, so a change of it makes a
/// new template.
pub const SCHEMA: &str = "CREATE TABLE fruit (name text PRIMARY KEY, weight int NOT NULL)";
