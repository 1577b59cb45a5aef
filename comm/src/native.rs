//! The shim's functions (`native/group.cpp`).
#![allow(unsafe_code)]

use std::ffi::{c_char, c_int};

use torch_sys::C_tensor;

use crate::{Error, Result};

#[repr(C)]
pub struct CStore {
    _opaque: [u8; 0],
}

#[repr(C)]
pub struct CGroup {
    _opaque: [u8; 0],
}

unsafe extern "C" {
    pub fn comm_store(host: *const c_char, port: u16, serve: bool, prefix: *const c_char, timeout: i64, store: *mut *mut CStore) -> c_int;
    pub fn comm_store_drop(store: *mut CStore);
    pub fn comm_store_add(store: *mut CStore, key: *const c_char, value: i64, sum: *mut i64) -> c_int;
    pub fn comm_store_claim(store: *mut CStore, key: *const c_char, value: *const c_char, kept: *mut c_char, room: *mut i64) -> c_int;
    pub fn comm_gloo(store: *mut CStore, address: *const c_char, rank: c_int, world: c_int, timeout: i64, group: *mut *mut CGroup)
    -> c_int;
    pub fn comm_drop(group: *mut CGroup);
    pub fn comm_patience(group: *mut CGroup, timeout: i64) -> c_int;
    pub fn comm_broadcast(group: *mut CGroup, tensor: *const C_tensor, root: c_int) -> c_int;
    pub fn comm_exchange(group: *mut CGroup, to: *const C_tensor, from: *const C_tensor) -> c_int;
    pub fn comm_gather(group: *mut CGroup, to: *const C_tensor, from: *const C_tensor) -> c_int;
    pub fn comm_barrier(group: *mut CGroup) -> c_int;
}

/// What a call's code says.
pub fn done(code: c_int) -> Result<()> {
    match code {
        0 => Ok(()),
        1 => Err(Error::TimedOut),
        3 => Err(Error::Taken),
        _ => Err(Error::Lost),
    }
}
