//! Any bytes at all as a `.pth` file: an error or tensors, never a panic, and no memory or time beyond what the file's size warrants.
//!
//!     scripts/fuzz 600

#![no_main]

use std::io::Cursor;

use libfuzzer_sys::fuzz_target;
use score_sde::pth::{Archive, unpickle};

fuzz_target!(|bytes: &[u8]| {
    let _ = unpickle(bytes);
    let Ok(Archive { pickle, mut storages }) = Archive::read(Cursor::new(bytes)) else { return };
    for tensor in pickle.tensors().take(64) {
        if let Ok(tensor) = storages.read(&tensor)
            && tensor.numel() < 1 << 16
        {
            let _ = tensor.contiguous();
        }
    }
    let _ = pickle.root().describe();
});
