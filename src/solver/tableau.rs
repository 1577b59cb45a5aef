//! Butcher tableaus: an explicit Runge-Kutta method is data.

/// k_i = f(x + h Σ_j a_ij k_j, t + c_i h), x(t + h) = x + h Σ_i b_i k_i.
pub struct Tableau {
    /// Row i holds a_i0 … a_i(i-1); row 0 is empty.
    pub a: &'static [&'static [f64]],
    pub b: &'static [f64],
    pub c: &'static [f64],
    /// For a pair with error estimate: b minus the weights of the embedded method, with one more entry for k at the new point
    /// (first same as last); empty otherwise.
    pub error: &'static [f64],
    /// The order of the error estimate, q in step ~ error^(-1/(q + 1)); the order of the method without one.
    pub order: u32,
}

/// Euler 1768.
pub const EULER: Tableau = Tableau { a: &[&[]], b: &[1.0], c: &[0.0], error: &[], order: 1 };

/// Heun 1900, order 2 (the explicit trapezoidal rule; the deterministic sampler of Karras et al. 2022).
pub const HEUN: Tableau = Tableau { a: &[&[], &[1.0]], b: &[0.5, 0.5], c: &[0.0, 1.0], error: &[], order: 2 };

/// Dormand & Prince 1980, order 5 with an embedded method of order 4.
pub const RK45: Tableau = Tableau {
    a: &[
        &[],
        &[1.0 / 5.0],
        &[3.0 / 40.0, 9.0 / 40.0],
        &[44.0 / 45.0, -56.0 / 15.0, 32.0 / 9.0],
        &[19372.0 / 6561.0, -25360.0 / 2187.0, 64448.0 / 6561.0, -212.0 / 729.0],
        &[9017.0 / 3168.0, -355.0 / 33.0, 46732.0 / 5247.0, 49.0 / 176.0, -5103.0 / 18656.0],
    ],
    b: &[35.0 / 384.0, 0.0, 500.0 / 1113.0, 125.0 / 192.0, -2187.0 / 6784.0, 11.0 / 84.0],
    c: &[0.0, 0.2, 0.3, 0.8, 8.0 / 9.0, 1.0],
    error: &[71.0 / 57600.0, 0.0, -71.0 / 16695.0, 71.0 / 1920.0, -17253.0 / 339200.0, 22.0 / 525.0, -1.0 / 40.0],
    order: 4,
};
