//! The system's memory, with a report where there is no more of it.
//!
//! Rust aborts a process whose allocation fails, and an allocator may not unwind; so this one says what happened and ends the process.
//! What is on the disk is whole at any moment.

use std::alloc::{GlobalAlloc, Layout, System};
use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

use miette::Report;
use score_sde::memory;

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

// SAFETY: every call is the system allocator's with the same arguments, and its pointer is handed on as it is.
unsafe impl GlobalAlloc for Reporting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Reporting::checked(unsafe { System.alloc(layout) })
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        Reporting::checked(unsafe { System.alloc_zeroed(layout) })
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        Reporting::checked(unsafe { System.realloc(pointer, layout, size) })
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}
