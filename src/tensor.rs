//! Small helpers for tensors whose first axis is the batch.

use tch::{Device, Kind, Tensor};

/// One number per example as a tensor [B, 1, ...] that broadcasts over `x` [B, ...], in x's kind and on its device.
pub fn column(x: &Tensor, values: impl IntoIterator<Item = f64>) -> Tensor {
    column_of_kind(x.kind(), x, values)
}

/// The same in a kind of its own.
pub fn column_of_kind(kind: Kind, x: &Tensor, values: impl IntoIterator<Item = f64>) -> Tensor {
    let values: Vec<f64> = values.into_iter().collect();
    let mut shape = vec![1; x.dim()];
    shape[0] = values.len() as i64;
    Tensor::from_slice(&values).to_kind(kind).to_device(x.device()).view(shape.as_slice())
}

/// f(t) for each example's t as a tensor [B, 1, ...]; f is evaluated once where all times are equal.
pub fn column_of(x: &Tensor, t: &[f64], f: impl Fn(f64) -> f64) -> Tensor {
    if t.iter().all(|&other| other == t[0]) { column(x, std::iter::once(f(t[0]))) } else { column(x, t.iter().map(|&t| f(t))) }
}

/// Places on the batch axis as a tensor that indexes it.
pub fn indices(places: &[usize], device: Device) -> Tensor {
    let places: Vec<i64> = places.iter().map(|&place| place as i64).collect();
    Tensor::from_slice(&places).to_device(device)
}

/// The examples of x [B, ...] at some places.
pub fn select(x: &Tensor, places: &[usize]) -> Tensor {
    x.index_select(0, &indices(places, x.device()))
}

/// Sum over everything but the batch axis: [B, ...] -> `[B]`.
pub fn sum_per_example(x: &Tensor) -> Tensor {
    x.flatten(1, -1).sum_dim_intlist(1i64, false, None::<Kind>)
}

/// Draws of the logistic law from draws z of N(0, 1): ln u / (1 - u) with u = Φ(z).
pub fn logistic_of_normal(z: &Tensor) -> Tensor {
    z.special_log_ndtr() - z.neg().special_log_ndtr()
}

/// Tensors of one number each as f64, in one look at the device.
pub fn numbers<const N: usize>(scalars: [Tensor; N]) -> [f64; N] {
    let values = to_vec(&Tensor::stack(&scalars, 0));
    std::array::from_fn(|i| values[i])
}

/// Images in data units as bytes, row-major.
pub fn pixels(x: &Tensor) -> Vec<u8> {
    let bytes = x.round().clamp(0.0, 255.0).to_kind(Kind::Uint8).to_device(Device::Cpu);
    Vec::try_from(bytes.contiguous().view(-1)).expect("pixels are bytes")
}

/// The numbers of a tensor as f64, row-major.
pub fn to_vec(x: &Tensor) -> Vec<f64> {
    Vec::try_from(x.to_kind(Kind::Double).to_device(tch::Device::Cpu).contiguous().view(-1)).expect("a contiguous f64 tensor")
}
