//! What LibTorch's operations do in too many passes through memory, as operations of our own in C++ (`native/`).
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};

use tch::Tensor;
use torch_sys::C_tensor;

use super::dropout::Mask;

unsafe extern "C" {
    fn score_sde_norm(
        x: *const C_tensor,
        weight: *const C_tensor,
        bias: *const C_tensor,
        mask: *const C_tensor,
        groups: i64,
        silu: bool,
        kept: f64,
    ) -> *mut C_tensor;
    fn score_sde_complaint() -> *const c_char;
}

/// What follows a group normalisation.
pub(super) enum Then<'a> {
    Nothing,
    Silu(Option<&'a Mask>),
}

/// Group normalisation (Wu & He 2018; ε = 1e-6) of `x` [B, C, H, W] or [B, C], with `weight` and `bias` `[C]`, and what follows, as one
/// operation; its gradient has a gradient, too. On a CPU no image but `x` is kept for it, and one comes out with its channels last in
/// memory.
pub(super) fn norm(x: &Tensor, weight: &Tensor, bias: &Tensor, groups: i64, then: &Then) -> Tensor {
    let (silu, mask) = match then {
        Then::Nothing => (false, None),
        Then::Silu(mask) => (true, *mask),
    };
    let kept = mask.map_or(1.0, |mask| mask.kept);
    let mask = mask.map_or(std::ptr::null(), |mask| mask.bytes.as_ptr());
    // SAFETY: the function reads tensors that live until it returns, checks their shapes and kinds, catches what C++ throws, and gives a
    // tensor away, or null.
    unsafe {
        let y = score_sde_norm(x.as_ptr(), weight.as_ptr(), bias.as_ptr(), mask, groups, silu, kept);
        // As LibTorch's own operations do when they fail.
        assert!(!y.is_null(), "{}", CStr::from_ptr(score_sde_complaint()).to_string_lossy());
        Tensor::from_ptr(y)
    }
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::super::dropout::Dropout;
    use super::*;
    use crate::tensor::to_vec;
    use crate::testing::largest;

    /// By LibTorch's own operations.
    fn composed(x: &Tensor, weight: &Tensor, bias: &Tensor, groups: i64, then: &Then) -> Tensor {
        let y = x.group_norm(groups, Some(weight), Some(bias), 1e-6, false);
        match then {
            Then::Nothing => y,
            Then::Silu(None) => y.silu(),
            Then::Silu(Some(mask)) => y.silu() * mask.bytes.to_kind(x.kind()) * mask.kept,
        }
    }

    /// Images far from 0 with few and with many pixels, in either order of memory.
    fn images(kind: Kind) -> Vec<Tensor> {
        let image = |size: [i64; 4]| Tensor::randn(size, (Kind::Double, Device::Cpu)) * 2.0 + 10.0;
        let last = image([2, 7, 9, 12]).permute([0, 3, 1, 2]);
        [image([3, 12, 1, 1]), image([2, 12, 11, 5]), last].map(|x| x.to_kind(kind).set_requires_grad(true)).into()
    }

    fn parameters(kind: Kind) -> [Tensor; 2] {
        [1.0, 0.3].map(|mean| (Tensor::randn([12], (Kind::Double, Device::Cpu)) * 0.5 + mean).to_kind(kind).set_requires_grad(true))
    }

    #[test]
    fn it_is_libtorchs_operations_with_their_gradients() {
        tch::set_num_threads(1);
        tch::manual_seed(1);
        for (kind, error) in [(Kind::Double, 1e-12), (Kind::Float, 1e-4)] {
            let [weight, bias] = parameters(kind);
            for x in images(kind) {
                let mask = Dropout::new(1, 0..x.size()[0] as u64).mask(&x, 0.4);
                for then in [Then::Nothing, Then::Silu(None), Then::Silu(mask.as_ref())] {
                    let inputs = [&x, &weight, &bias];
                    let (ours, theirs) = (norm(&x, &weight, &bias, 4, &then), composed(&x, &weight, &bias, 4, &then));
                    assert!(largest(&(&ours - &theirs)) < error, "{kind:?} {:?}", x.size());
                    let along = Tensor::randn_like(&x.detach());
                    let gradients = [ours, theirs].map(|y| Tensor::run_backward(&[(y * &along).sum(kind)], &inputs, false, false));
                    for (ours, theirs) in gradients[0].iter().zip(&gradients[1]) {
                        let scale = largest(theirs).max(1.0);
                        assert!(largest(&(ours - theirs)) < error * scale, "{kind:?} {:?}: {ours} is not {theirs}", x.size());
                    }
                }
            }
        }
    }

    #[test]
    fn its_gradient_has_a_gradient() {
        tch::set_num_threads(1);
        tch::manual_seed(2);
        let [weight, bias] = parameters(Kind::Double);
        for x in images(Kind::Double) {
            let mask = Dropout::new(1, 0..x.size()[0] as u64).mask(&x, 0.4);
            let inputs = [&x, &weight, &bias];
            let along = Tensor::randn_like(&x.detach()).set_requires_grad(true);
            let second = |f: &dyn Fn(&Tensor, &Tensor, &Tensor, i64, &Then) -> Tensor| {
                let y = f(&x, &weight, &bias, 4, &Then::Silu(mask.as_ref()));
                let first = Tensor::run_backward(&[(y * &along).sum(Kind::Double)], &inputs, true, true);
                let sum = first.iter().map(|gradient| gradient.square().sum(Kind::Double)).reduce(|a, b| a + b).expect("three gradients");
                Tensor::run_backward(&[sum], &[&x, &weight, &bias, &along], false, false)
            };
            for (ours, theirs) in second(&norm).iter().zip(second(&composed)) {
                assert!(largest(&(ours - &theirs)) < 1e-9 * largest(&theirs).max(1.0), "{:?}: {ours} is not {theirs}", x.size());
            }
        }
    }

    /// From where the exponential function underflows to where it overflows, and beyond.
    #[test]
    fn silu_is_right_at_every_size() {
        tch::set_num_threads(1);
        let x = Tensor::from_slice(&[-1f32, 1.0]).view([1, 1, 2, 1]);
        for scale in [1e-6, 0.3, 0.7, 1.0, 2.0, 7.0, 30.0, 80.0, 90.0, 1e4, 1e30] {
            let (weight, bias) = (Tensor::from_slice(&[scale as f32]), Tensor::from_slice(&[0.01 * scale as f32]));
            let [ours, theirs] = [norm, composed].map(|f| to_vec(&f(&x, &weight, &bias, 1, &Then::Silu(None))));
            for (ours, theirs) in ours.into_iter().zip(theirs) {
                let rounding = if theirs > 0.0 { 1e-6 } else { 1e-6 * (1.0 + scale) };
                assert!((ours - theirs).abs() <= rounding * theirs.abs() + 1e-37 * scale, "{scale}: {ours} is not {theirs}");
            }
        }
    }

    #[test]
    fn threads_change_no_bit() {
        let x = Tensor::randn([5, 12, 6, 7], (Kind::Float, Device::Cpu)).set_requires_grad(true);
        let [weight, bias] = parameters(Kind::Float);
        let all = |threads| {
            tch::set_num_threads(threads);
            let y = norm(&x, &weight, &bias, 4, &Then::Silu(None));
            let mut all = Tensor::run_backward(&[y.square().sum(Kind::Float)], &[&x, &weight, &bias], false, false);
            all.push(y);
            all.iter().flat_map(|tensor| to_vec(&tensor.detach())).collect::<Vec<_>>()
        };
        let one = all(1);
        assert_eq!(all(3), one);
        tch::set_num_threads(1);
    }

    #[test]
    #[should_panic(expected = "a mask that does not fit")]
    fn a_mask_of_another_batch_is_refused() {
        let [weight, bias] = parameters(Kind::Float);
        let x = Tensor::zeros([4, 12, 2, 2], (Kind::Float, Device::Cpu));
        let mask = Dropout::new(1, 0..3).mask(&x.narrow(0, 0, 3), 0.5);
        drop(norm(&x, &weight, &bias, 4, &Then::Silu(mask.as_ref())));
    }
}
