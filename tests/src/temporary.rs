//! Temporary clusters of a test.

use pg_cluster::Installation;
use pg_fixture::{Storage, TempCluster, TempClusterBuilder};

use crate::Room;

/// A temporary cluster whose files and whose templates are in the test's room, so that the test
/// sees what is left of them.
///
/// # Panics
///
/// If the directory of the files cannot be made.
pub fn temp_builder(room: &Room, installation: Installation) -> TempClusterBuilder {
    let storage = room.join("storage");
    if !storage.exists() {
        room.directory("storage");
    }
    TempCluster::builder()
        .installation(installation)
        .cache_directory(room.join("cache"))
        .storage(Storage::Directory(storage))
}
