//! Handing an order to the warden, which must not allocate: bytes in a file without a name.
//!
//! The owner writes an order into a [`Writer`], with places in it counted from its beginning. The
//! warden maps the bytes into its memory, privately, and turns those counts into pointers.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::OwnedFd;
use std::ptr;

use nix::libc::{self, c_char, c_void};

/// The alignment of the parts of an order.
const ALIGNMENT: usize = 8;

/// An order under construction. It begins with a header of type `H`, which has the offsets of the
/// other parts.
pub(super) struct Writer<H> {
    bytes: Vec<u8>,
    header: std::marker::PhantomData<H>,
}

impl<H: Copy> Writer<H> {
    pub(super) fn new() -> Self {
        Self {
            bytes: vec![0; size_of::<H>().next_multiple_of(ALIGNMENT)],
            header: std::marker::PhantomData,
        }
    }

    /// Adds a string and its zero byte; returns its place, which is never zero.
    pub(super) fn string(&mut self, text: &CStr) -> usize {
        let place = self.bytes.len();
        self.bytes.extend(text.to_bytes_with_nul());
        place
    }

    /// Adds values; returns the place of the first.
    pub(super) fn values<T: Copy>(&mut self, values: &[T]) -> usize {
        const { assert!(align_of::<T>() <= ALIGNMENT) };
        self.align();
        let place = self.bytes.len();
        for value in values {
            self.bytes.extend(bytes_of(value));
        }
        place
    }

    /// Adds strings and an array of their offsets that ends with zero; returns the offset of the
    /// array.
    pub(super) fn strings(&mut self, texts: &[CString]) -> usize {
        let mut places: Vec<usize> = texts.iter().map(|text| self.string(text)).collect();
        places.push(0);
        self.values(&places)
    }

    /// The order in a file without a name, readable from its beginning.
    pub(super) fn finish(mut self, header: H) -> io::Result<OwnedFd> {
        self.align();
        for (slot, &byte) in self.bytes.iter_mut().zip(bytes_of(&header)) {
            *slot = byte;
        }
        let mut file = nameless_file()?;
        file.write_all(&self.bytes)?;
        super::super::above_standard(file.into())
    }

    fn align(&mut self) {
        let end = self.bytes.len().next_multiple_of(ALIGNMENT);
        self.bytes.resize(end, 0);
    }
}

/// The bytes of a value without padding: all types that are written are plain C structs, with
/// every field of the same size or filled up by hand.
fn bytes_of<T: Copy>(value: &T) -> &[u8] {
    // SAFETY: the value is valid for its size, and lives as long as the slice.
    unsafe { std::slice::from_raw_parts(ptr::from_ref(value).cast(), size_of::<T>()) }
}

#[cfg(any(all(target_os = "linux", not(pg_portable)), target_os = "freebsd"))]
fn nameless_file() -> io::Result<File> {
    use rustix::fs::MemfdFlags;
    Ok(rustix::fs::memfd_create(c"pg-proc order", MemfdFlags::CLOEXEC)?.into())
}

/// Created in the directory for temporary files, for the moment between two system calls.
#[cfg(not(any(all(target_os = "linux", not(pg_portable)), target_os = "freebsd")))]
fn nameless_file() -> io::Result<File> {
    use std::os::unix::fs::OpenOptionsExt as _;
    use std::sync::atomic::{AtomicU64, Ordering};
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let name = format!(".pg-proc-order-{}-{number}", std::process::id());
    let path = std::env::temp_dir().join(name);
    let mut options = File::options();
    let file = options
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)?;
    std::fs::remove_file(&path)?;
    Ok(file)
}

/// An order in the warden's memory. Everything here is async-signal-safe.
#[derive(Clone, Copy)]
pub(super) struct Payload<H> {
    base: *mut u8,
    size: usize,
    header: std::marker::PhantomData<H>,
}

impl<H: Copy> Payload<H> {
    /// Maps what a [`Writer`] of the same header has written; none if that cannot be.
    pub(super) fn map(fd: libc::c_int) -> Option<Self> {
        // SAFETY: `info` is valid; the mapping is placed by the system and has the file's size.
        unsafe {
            let mut info: libc::stat = std::mem::zeroed();
            if libc::fstat(fd, &mut info) != 0 {
                return None;
            }
            let size = usize::try_from(info.st_size).ok()?;
            if size < size_of::<H>() {
                return None;
            }
            let (rights, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE);
            let base = libc::mmap(ptr::null_mut(), size, rights, flags, fd, 0);
            (base != libc::MAP_FAILED).then_some(Self {
                base: base.cast(),
                size,
                header: std::marker::PhantomData,
            })
        }
    }

    pub(super) fn header(&self) -> H {
        // SAFETY: the mapping is page-aligned, and at least this large.
        unsafe { self.base.cast::<H>().read() }
    }

    /// The string at this place; none for place zero.
    pub(super) fn string(&self, place: usize) -> Option<&CStr> {
        // SAFETY: written by `Writer::string`, with a zero byte at its end.
        (place > 0 && place < self.size)
            .then(|| unsafe { CStr::from_ptr(self.base.add(place).cast()) })
    }

    /// The values at this place.
    pub(super) fn values<T: Copy>(&self, place: usize, count: usize) -> &[T] {
        let fits = count
            .checked_mul(size_of::<T>())
            .and_then(|size| size.checked_add(place))
            .is_some_and(|end| end <= self.size);
        if !fits {
            return &[];
        }
        // SAFETY: written by `Writer::values`, aligned, and within the mapping.
        unsafe { std::slice::from_raw_parts(self.base.add(place).cast(), count) }
    }

    /// The array of [`Writer::strings`], with pointers instead of places. To be called once for
    /// each array.
    pub(super) fn pointers(&self, place: usize) -> *const *const c_char {
        // SAFETY: the array ends with zero, and both it and the strings are within the mapping.
        unsafe {
            let array = self.base.add(place).cast::<usize>();
            let mut slot = array;
            while *slot != 0 {
                *slot += self.base as usize;
                slot = slot.add(1);
            }
            array.cast::<*const c_char>()
        }
    }

    pub(super) fn unmap(self) {
        // SAFETY: mapped by `map`; it is not used any more.
        unsafe { libc::munmap(self.base.cast::<c_void>(), self.size) };
    }
}

/// A growing list without an allocator. Everything here is async-signal-safe.
pub(super) struct List<T> {
    base: *mut T,
    length: usize,
    capacity: usize,
}

impl<T: Copy> List<T> {
    pub(super) const fn new() -> Self {
        Self {
            base: ptr::null_mut(),
            length: 0,
            capacity: 0,
        }
    }

    /// Returns whether memory was available for it.
    pub(super) fn push(&mut self, value: T) -> bool {
        if self.length == self.capacity && !self.grow() {
            return false;
        }
        // SAFETY: within the capacity.
        unsafe { self.base.add(self.length).write(value) };
        self.length += 1;
        true
    }

    pub(super) fn clear(&mut self) {
        self.length = 0;
    }

    /// Keeps the entries for which `keep` returns true.
    pub(super) fn retain(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        let mut kept = 0;
        for index in 0..self.length {
            // SAFETY: both are within the length.
            unsafe {
                let mut value = self.base.add(index).read();
                if keep(&mut value) {
                    self.base.add(kept).write(value);
                    kept += 1;
                }
            }
        }
        self.length = kept;
    }

    pub(super) fn as_slice(&self) -> &[T] {
        self.slice_parts()
            // SAFETY: written by `push` up to the length.
            .map_or(&[], |base| unsafe {
                std::slice::from_raw_parts(base, self.length)
            })
    }

    pub(super) fn as_mut_slice(&mut self) -> &mut [T] {
        match self.slice_parts() {
            // SAFETY: as above, and borrowed exclusively.
            Some(base) => unsafe { std::slice::from_raw_parts_mut(base, self.length) },
            None => &mut [],
        }
    }

    fn slice_parts(&self) -> Option<*mut T> {
        (self.length > 0).then_some(self.base)
    }

    fn grow(&mut self) -> bool {
        let capacity = (self.capacity * 2).max(64);
        // SAFETY: an anonymous mapping where the system wants it; the old one is copied and given
        // back.
        unsafe {
            let base = libc::mmap(
                ptr::null_mut(),
                capacity * size_of::<T>(),
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANON,
                -1,
                0,
            );
            if base == libc::MAP_FAILED {
                return false;
            }
            if self.capacity > 0 {
                ptr::copy_nonoverlapping(self.base, base.cast(), self.length);
                libc::munmap(self.base.cast(), self.capacity * size_of::<T>());
            }
            self.base = base.cast();
        }
        self.capacity = capacity;
        true
    }
}
