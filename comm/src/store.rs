//! Words and numbers that all processes see.
#![allow(unsafe_code)]

use std::ffi::CString;
use std::ptr;
use std::time::Duration;

use crate::native::{self, CStore, done};
use crate::{Error, Result};

/// The longest word that is told, in bytes.
const LONGEST: usize = 4096;

/// A connection to the store that a process or a launcher keeps at a port.
pub struct Store(pub(crate) *mut CStore);

// SAFETY: LibTorch's stores lock their connection for every call.
unsafe impl Send for Store {}
unsafe impl Sync for Store {}

impl Store {
    /// Connects to `host`:`port`, where this very process keeps the store if it is to `serve`, and waits so long for who does. Keys of another
    /// `prefix` are others.
    ///
    /// Errors: the port is taken, or nobody answers in time.
    pub fn connect(host: &str, port: u16, serve: bool, prefix: &str, timeout: Duration) -> Result<Store> {
        let (host, prefix) = (word(host), word(prefix));
        let mut store = ptr::null_mut();
        // SAFETY: words and place live until the call returns.
        done(unsafe { native::comm_store(host.as_ptr(), port, serve, prefix.as_ptr(), timeout.as_millis() as i64, &mut store) })?;
        Ok(Store(store))
    }

    /// Adds to a number, which is 0 at first, and tells the sum.
    pub fn add(&self, key: &str, value: i64) -> Result<i64> {
        let (key, mut sum) = (word(key), 0);
        // SAFETY: as above, and the store lives as long as `self`.
        done(unsafe { native::comm_store_add(self.0, key.as_ptr(), value, &mut sum) })?;
        Ok(sum)
    }

    /// Puts a word that is not empty at a key where there is none, and tells the one that stays: the first that anybody put there. Words are cut
    /// after 4096 bytes.
    pub fn claim(&self, key: &str, value: &str) -> Result<String> {
        let (key, value) = (word(key), word(value));
        let mut kept = vec![0u8; LONGEST];
        let mut room = LONGEST as i64;
        // SAFETY: as above; the call writes at most `room` bytes.
        done(unsafe { native::comm_store_claim(self.0, key.as_ptr(), value.as_ptr(), kept.as_mut_ptr().cast(), &mut room) })?;
        kept.truncate(usize::try_from(room).map_err(|_| Error::Lost)?);
        Ok(String::from_utf8_lossy(&kept).into_owned())
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        // SAFETY: nobody uses it any more.
        unsafe { native::comm_store_drop(self.0) }
    }
}

/// A word as C has it, without zero bytes.
pub(crate) fn word(text: &str) -> CString {
    let mut bytes = text.replace('\0', "").into_bytes();
    bytes.truncate(LONGEST);
    CString::new(bytes).expect("no zero byte is left")
}
