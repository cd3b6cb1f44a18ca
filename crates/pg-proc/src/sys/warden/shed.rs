//! Giving back the memory that a forked warden has inherited.
//!
//! Every page that both processes share is copied when the owner writes it. So large memory that
//! the warden does not need is unmapped: the owner's allocations, and the stacks of its threads.
//! Code, static data, and the stack and thread-local data of the thread that forked stay.

use nix::libc::{self, c_void};

use super::payload::List;
use crate::sys::fork;

/// Smaller mappings cost less than they are worth.
const LARGE: usize = 256 << 10;

#[derive(Clone, Copy)]
struct Mapping {
    start: usize,
    end: usize,
    is_anonymous: bool,
}

/// Async-signal-safe. Does nothing where `/proc` is out of reach.
pub(super) fn shed_memory() {
    let mut mappings = List::new();
    if !read_mappings(&mut mappings) {
        return;
    }
    let here = 0_u8;
    // SAFETY: returns a number that was stored when the thread began.
    let thread = unsafe { libc::pthread_self() } as usize;
    // SAFETY: as above.
    let errno = unsafe { libc::__errno_location() } as usize;
    let list = mappings.as_slice().as_ptr() as usize;
    let needed = [&raw const here as usize, thread, errno, list];
    let mut before = 0;
    for mapping in mappings.as_slice() {
        let is_needed = needed
            .iter()
            .any(|place| (mapping.start..mapping.end).contains(place));
        // Static data that begins as zeros follows the file that it belongs to.
        let may_be_static = mapping.start == before;
        before = if mapping.is_anonymous { 0 } else { mapping.end };
        let size = mapping.end - mapping.start;
        if mapping.is_anonymous && size >= LARGE && !is_needed && !may_be_static {
            // SAFETY: nothing of this process refers to it any more.
            unsafe { libc::munmap(mapping.start as *mut c_void, size) };
        }
    }
}

/// Reads `/proc/self/maps`: each line has the range, rights, offset, device, inode, and a name.
fn read_mappings(mappings: &mut List<Mapping>) -> bool {
    // SAFETY: a constant path.
    let fd = unsafe {
        libc::open(
            c"/proc/self/maps".as_ptr(),
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    if fd < 0 {
        return false;
    }
    let mut line = [0_u8; 256];
    let mut length = 0;
    let mut buffer = [0; 4096];
    let mut is_complete = true;
    loop {
        let n = fork::read(fd, &mut buffer);
        let Some(bytes) = usize::try_from(n).ok().and_then(|n| buffer.get(..n)) else {
            is_complete = false;
            break;
        };
        if bytes.is_empty() {
            break;
        }
        for &byte in bytes {
            if byte != b'\n' {
                // Longer lines end with a path, which is not used.
                if let Some(slot) = line.get_mut(length) {
                    *slot = byte;
                    length += 1;
                }
                continue;
            }
            let mapping = line.get(..length).and_then(parse);
            length = 0;
            is_complete &= mapping.is_some_and(|mapping| mappings.push(mapping));
        }
    }
    // SAFETY: opened above.
    unsafe { libc::close(fd) };
    is_complete
}

fn parse(line: &[u8]) -> Option<Mapping> {
    let mut fields = line.split(|&byte| byte == b' ').filter(|f| !f.is_empty());
    let mut range = fields.next()?.split(|&byte| byte == b'-');
    let (start, end) = (hexadecimal(range.next()?)?, hexadecimal(range.next()?)?);
    let inode = fields.nth(3)?;
    let name = fields.next().unwrap_or_default();
    Some(Mapping {
        start,
        end,
        is_anonymous: inode == b"0"
            && (name.is_empty() || name == b"[heap]" || name.starts_with(b"[anon")),
    })
}

fn hexadecimal(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0_usize, |number, &digit| {
        let value = (digit as char).to_digit(16)?;
        number.checked_mul(16)?.checked_add(value as usize)
    })
}
