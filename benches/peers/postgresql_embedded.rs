//! postgresql_embedded, configured to use the installed programs instead of downloading them.

mod turns;

use std::time::Duration;

use postgresql_embedded::Settings;
use postgresql_embedded::blocking::PostgreSQL;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    turns::take(|bin| {
        let settings = Settings {
            installation_dir: bin.parent().ok_or("a directory above the programs'")?.to_owned(),
            trust_installation_dir: true,
            timeout: Some(Duration::from_secs(60)),
            ..Settings::new()
        };
        let mut server = PostgreSQL::new(settings);
        server.setup()?;
        server.start()?;
        let uri = server.settings().url("postgres");
        Ok((server, uri))
    })
}
