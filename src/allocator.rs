//! The process's memory: jemalloc, which keeps what was freed, with a report where there is no more of it.
//!
//! LibTorch takes every activation from the C allocator. That of glibc gives large blocks back to the system at once, so each pass through a
//! network would fault its pages in anew; linked in under the C names, jemalloc serves LibTorch, too.
//!
//! Rust aborts a process whose allocation fails, and an allocator may not unwind; so this one says what happened and ends the process.
//! What is on the disk is whole at any moment.

use std::alloc::{GlobalAlloc, Layout};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use miette::Report;
use score_sde::memory;
use tikv_jemallocator::Jemalloc;

/// Pages stay with the process, in one place whatever their size, and are huge where the system has such.
// SAFETY: a text that ends with 0 is what jemalloc takes by this name.
#[unsafe(export_name = "malloc_conf")]
static SETTINGS: &[u8; 50] = b"dirty_decay_ms:-1,oversize_threshold:0,thp:always\0";

#[global_allocator]
static MEMORY: Reporting = Reporting;

/// Whether the report is being written, which takes a little memory itself.
static ENDING: AtomicBool = AtomicBool::new(false);

struct Reporting;

impl Reporting {
    fn checked(pointer: *mut u8) -> *mut u8 {
        if pointer.is_null() && !ENDING.swap(true, Ordering::Relaxed) {
            let error = memory::error();
            let code = error.exit_code();
            let _ = writeln!(std::io::stderr(), "{:?}", Report::new(error));
            signal_hook::low_level::exit(code.into());
        }
        pointer
    }
}

// SAFETY: every call is jemalloc's with the same arguments, and its pointer is handed on as it is.
unsafe impl GlobalAlloc for Reporting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Reporting::checked(unsafe { Jemalloc.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Reporting::checked(unsafe { Jemalloc.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Reporting::checked(unsafe { Jemalloc.realloc(pointer, layout, size) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { Jemalloc.dealloc(pointer, layout) }
    }
}
