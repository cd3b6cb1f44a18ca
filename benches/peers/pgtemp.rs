//! pgtemp with its default options.

mod turns;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    turns::take(|bin| {
        let server = pgtemp::PgTempDB::builder().with_bin_path(bin).start();
        let uri = server.connection_uri();
        Ok((server, uri))
    })
}
