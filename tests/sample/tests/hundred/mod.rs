//! A hundred tests, each with what `database` of the file above gives it.

use pg_fixture::cluster::Installation;
use pg_fixture::{TempCluster, TempClusterBuilder};
use postgres::{Client, NoTls};
use sample::SCHEMA;

use crate::database;

/// Every test adds its own fruit to a table that no other test sees.
fn keep(uri: &str, fruit: &str) {
    let mut client = Client::connect(uri, NoTls).unwrap();
    client
        .execute("INSERT INTO fruit VALUES ($1, 100)", &[&fruit])
        .unwrap();
    let row = client
        .query_one("SELECT count(*), min(name) FROM fruit", &[])
        .unwrap();
    assert_eq!(
        (row.get::<_, i64>(0), row.get::<_, String>(1)),
        (1, fruit.to_owned())
    );
}

/// The newest server found, or the one that the environment names.
pub fn builder() -> TempClusterBuilder {
    let builder = TempCluster::builder();
    match std::env::var("SAMPLE_BINDIR") {
        Ok(directory) => builder.installation(Installation::from_bin_directory(directory).unwrap()),
        Err(_) => builder,
    }
}

/// The schema by a step in this program, whose key is the schema itself.
#[allow(dead_code, reason = "not every file of tests uses it")]
pub fn with_schema(builder: TempClusterBuilder) -> TempClusterBuilder {
    builder.setup(SCHEMA, |info| {
        Client::connect(&info.uri(), NoTls)?.batch_execute(SCHEMA)
    })
}

/// Two tests of each.
macro_rules! tests {
    ($($fruit:ident),*) => {
        mod ripe {
            $(
                #[test]
                fn $fruit() {
                    let database = super::database();
                    super::keep(&database.uri(), stringify!($fruit));
                }
            )*
        }
        mod dried {
            $(
                #[test]
                fn $fruit() {
                    let database = super::database();
                    super::keep(&database.uri(), concat!("dried ", stringify!($fruit)));
                }
            )*
        }
    };
}

tests!(
    apple,
    apricot,
    avocado,
    banana,
    bilberry,
    blackberry,
    blackcurrant,
    blueberry,
    boysenberry,
    cantaloupe,
    cherry,
    clementine,
    cloudberry,
    coconut,
    cranberry,
    currant,
    damson,
    date,
    dragonfruit,
    durian,
    elderberry,
    feijoa,
    fig,
    gooseberry,
    grape,
    grapefruit,
    guava,
    honeydew,
    jackfruit,
    jujube,
    kiwi,
    kumquat,
    lemon,
    lime,
    lingonberry,
    longan,
    loquat,
    lychee,
    mango,
    mulberry,
    nectarine,
    olive,
    orange,
    papaya,
    peach,
    pear,
    persimmon,
    plum,
    pomegranate,
    quince
);
