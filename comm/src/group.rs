//! Collectives.
#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ptr;
use std::time::Duration;

use tch::{Device, Tensor, no_grad};

use crate::native::{self, CGroup, done};
use crate::store::word;
use crate::{Result, Store};

/// Processes 0 to `world` - 1, of which this is `rank`; all of them make the same calls in the same order. Tensors of another device pass through
/// the CPU.
pub struct Group {
    group: *mut CGroup,
    rank: usize,
    world: usize,
    /// Where the others' parts of the last sum went: memory that the next sum need not ask for again.
    kept: RefCell<Option<Tensor>>,
}

// SAFETY: a group is used by one thread at a time, since it is not Sync, and any thread may be that.
unsafe impl Send for Group {}

impl Group {
    /// Joins the group whose processes meet in `store`; this one is reached by the others at `address`, an address of this machine. A collective
    /// waits `timeout` for the others, and so does this.
    pub fn join(store: &Store, rank: usize, world: usize, address: &str, timeout: Duration) -> Result<Group> {
        let (address, mut group) = (word(address), ptr::null_mut());
        let timeout = timeout.as_millis() as i64;
        // SAFETY: words and place live until the call returns.
        done(unsafe { native::comm_gloo(store.0, address.as_ptr(), rank as i32, world as i32, timeout, &mut group) })?;
        Ok(Group { group, rank, world, kept: RefCell::default() })
    }

    /// From here on a collective waits so long.
    pub fn wait_for(&self, timeout: Duration) -> Result<()> {
        // SAFETY: the group lives as long as `self`.
        done(unsafe { native::comm_patience(self.group, timeout.as_millis() as i64) })
    }

    pub fn rank(&self) -> usize {
        self.rank
    }

    pub fn world(&self) -> usize {
        self.world
    }

    /// The sum of all processes' `x`, of one shape and kind, which may take the memory of `x`: the same bits in each of them and on every call, since numbers are added as a
    /// balanced tree of ranks has them, (0 + 1) + (2 + 3) for four. Each process sends and receives 2 (world - 1) / world of the tensor, as a ring
    /// would have it.
    pub fn all_reduce_sum(&self, x: Tensor) -> Result<Tensor> {
        no_grad(|| {
            let (world, size) = (self.world as i64, x.numel() as i64);
            let each = (size + world - 1) / world;
            let flat = self.here(&x).view(-1);
            let whole = if each * world == size { flat } else { flat.constant_pad_nd([0, each * world - size]) };
            let mut kept = self.kept.borrow_mut();
            let fits = kept.as_ref().is_some_and(|kept| kept.kind() == whole.kind() && kept.size() == whole.size());
            let parts = if fits { kept.take() } else { None }.unwrap_or_else(|| whole.empty_like());
            self.exchange(&parts, &whole)?;
            let sum = tree(&parts.view([world, each]).unbind(0));
            self.gather(&whole, &sum)?;
            *kept = Some(parts);
            Ok(whole.narrow(0, 0, size).view(x.size().as_slice()).to_device(x.device()))
        })
    }

    /// Fills `x` with that of process `root`.
    pub fn broadcast(&self, x: &mut Tensor, root: usize) -> Result<()> {
        no_grad(|| {
            let here = self.here(x);
            // SAFETY: the tensor lives until the call returns.
            done(unsafe { native::comm_broadcast(self.group, here.as_ptr(), root as i32) })?;
            x.copy_(&here);
            Ok(())
        })
    }

    /// All processes' `x`, of one shape and kind, in the order of their ranks.
    pub fn all_gather(&self, x: &Tensor) -> Result<Vec<Tensor>> {
        no_grad(|| {
            let from = self.here(x).view(-1);
            let to = Tensor::empty([self.world as i64 * from.size()[0]], (x.kind(), Device::Cpu));
            self.gather(&to, &from)?;
            Ok(to.view([&[self.world as i64], &x.size()[..]].concat().as_slice()).to_device(x.device()).unbind(0))
        })
    }

    /// Waits until all processes are here.
    pub fn barrier(&self) -> Result<()> {
        // SAFETY: the group lives as long as `self`.
        done(unsafe { native::comm_barrier(self.group) })
    }

    /// The tensor as the collectives take it.
    fn here(&self, x: &Tensor) -> Tensor {
        x.detach().to_device(Device::Cpu).contiguous()
    }

    /// Part i of `from` goes to process i, and its part for this one into part i of `to`.
    fn exchange(&self, to: &Tensor, from: &Tensor) -> Result<()> {
        // SAFETY: the tensors live until the call returns, and are of one size.
        done(unsafe { native::comm_exchange(self.group, to.as_ptr(), from.as_ptr()) })
    }

    fn gather(&self, to: &Tensor, from: &Tensor) -> Result<()> {
        // SAFETY: as above; both are flat, and `to` has room for `world` of `from`.
        done(unsafe { native::comm_gather(self.group, to.as_ptr(), from.as_ptr()) })
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // SAFETY: nobody uses it any more.
        unsafe { native::comm_drop(self.group) }
    }
}

/// The sum of at least one tensor, each half by itself, in the memory of the first.
fn tree(parts: &[Tensor]) -> Tensor {
    match parts {
        [one] => one.shallow_clone(),
        _ => {
            let (first, second) = parts.split_at(parts.len() / 2);
            tree(first).g_add_(&tree(second))
        }
    }
}
