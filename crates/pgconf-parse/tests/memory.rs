//! Memory use: iteration allocates nothing, and a document little more than its text.

#![allow(unsafe_code, reason = "a counting allocator")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use pgconf_parse::{Document, assignments};

struct Counting;

thread_local! {
    /// The number of bytes that this thread holds, and its number of allocations.
    static HELD: Cell<(isize, usize)> = const { Cell::new((0, 0)) };
}

fn count(bytes: isize) {
    HELD.set((HELD.get().0 + bytes, HELD.get().1 + usize::from(bytes > 0)));
}

// SAFETY: every call is forwarded unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller upholds the contract of `alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: the caller upholds the contract of `dealloc`.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns a text like the stock file: mostly comments, and a few settings.
fn stock(lines: usize) -> String {
    (0..lines)
        .map(|n| match n % 20 {
            0 => format!("setting_{n} = '{n} MB'\t\t# (change requires restart)\n"),
            10 => format!("other_{n} = 0x{n:x}\n"),
            _ => "#work_mem = 4MB\t\t\t\t# min 64kB\n".to_owned(),
        })
        .collect()
}

#[test]
fn iterating_allocates_nothing() {
    let source = stock(1000);
    let (_, before) = HELD.get();
    let total: usize = assignments(source.as_bytes())
        .map(|found| found.value().len())
        .sum();
    let (_, after) = HELD.get();
    assert!(total > 0);
    assert_eq!(before, after);
}

#[test]
fn a_document_takes_less_than_twice_its_text() {
    let source = stock(20_000);
    let (before, _) = HELD.get();
    let document = Document::parse(source.as_str());
    let (after, _) = HELD.get();
    assert_eq!(document.assignments().count(), 2000);
    let held = (after - before) as usize;
    assert!(
        held < 2 * source.len(),
        "{held} bytes for {} of text",
        source.len()
    );
}
