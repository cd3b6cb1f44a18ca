//! Removing directories and releasing shared memory when the owner exits: the owner's side.
//! See [`guarding`](super::guarding) for the other.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd as _, OwnedFd};

use super::order;
use super::payload::Writer;
use super::protocol::{ErrandOrder, MAX_PARENTS, MemoryOrder, ORDER_ERRAND, RemovalOrder};
use super::start;
use crate::sys::fork;

/// The actions at the owner's exit, in this order.
#[derive(Debug, Default)]
pub(crate) struct Errand {
    /// Data directories whose server's shared memory is to be given back: a directory that is held
    /// open, and the names that lead from there, which need not exist yet.
    pub(crate) data_directories: Vec<(OwnedFd, Vec<CString>)>,
    pub(crate) removals: Vec<Removal>,
}

impl Errand {
    pub(crate) fn is_empty(&self) -> bool {
        self.data_directories.is_empty() && self.removals.is_empty()
    }
}

/// A name in a directory that is held open: its path may lead elsewhere by the time it is used.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) parent: OwnedFd,
    pub(crate) name: CString,
}

/// A directory to be removed, known by more than its path.
#[derive(Debug)]
pub(crate) struct Removal {
    pub(crate) place: Place,
    pub(crate) device: u64,
    pub(crate) inode: u64,
    /// A file that has to be in it.
    pub(crate) marker: Option<CString>,
    /// The directory itself stays.
    pub(crate) content_only: bool,
}

/// Gives the warden an errand. The warden performs it when every copy of the first descriptor is
/// closed. It then writes a byte to the other end of the second, and closes that end. Anything
/// written into the first cancels the errand.
///
/// Returns when the warden has taken the order: a directory is never thought to be guarded while it
/// is not. A warden that is killed before that has done nothing, and the next one gets the order.
pub(crate) fn guard(errand: &Errand) -> io::Result<(OwnedFd, OwnedFd)> {
    match order_once(errand) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => order_once(errand),
        outcome => outcome,
    }
}

fn order_once(errand: &Errand) -> io::Result<(OwnedFd, OwnedFd)> {
    let (lifeline_read, lifeline) = fork::pipe()?;
    let (done, done_write) = fork::pipe()?;
    fork::set_nonblocking(&lifeline_read)?;
    let mut writer = Writer::new();
    let mut parents = Vec::new();
    let mut data_directories = Vec::new();
    for (parent, names) in &errand.data_directories {
        let places: Vec<usize> = names.iter().map(|name| writer.string(name)).collect();
        data_directories.push(MemoryOrder {
            parent: parents.len(),
            names: writer.values(&places),
            name_count: places.len(),
        });
        parents.push(parent.as_fd());
    }
    let mut removals = Vec::new();
    for removal in &errand.removals {
        let marker = removal.marker.as_ref();
        removals.push(RemovalOrder {
            parent: parents.len(),
            name: writer.string(&removal.place.name),
            marker: marker.map_or(0, |marker| writer.string(marker)),
            content_only: removal.content_only.into(),
            device: removal.device,
            inode: removal.inode,
        });
        parents.push(removal.place.parent.as_fd());
    }
    if parents.len() > MAX_PARENTS {
        let text = format!("more than {MAX_PARENTS} directories for one guard");
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    let header = ErrandOrder {
        data_directories: writer.values(&data_directories),
        data_directory_count: data_directories.len(),
        removals: writer.values(&removals),
        removal_count: removals.len(),
    };
    let payload = writer.finish(header)?;
    let mut descriptors = vec![payload.as_fd(), lifeline_read.as_fd(), done_write.as_fd()];
    descriptors.extend(parents);
    start::send(ORDER_ERRAND, &descriptors)?;
    drop((lifeline_read, done_write));
    order::answer(&done).map_err(|error| error.cause)?;
    Ok((lifeline, done))
}
