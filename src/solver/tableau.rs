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
    /// The same for a second embedded method of a lower order, where there is one.
    pub error_low: &'static [f64],
    /// The order of the error estimate, q in step ~ error^(-1/(q + 1)); the order of the method without one.
    pub order: u32,
    /// The pair's own interpolant, if it has one: row i holds the coefficients of θ, θ², … in b_i(θ), with one more row for k at the new
    /// point, and one for each extra stage.
    pub dense: &'static [&'static [f64]],
    /// Stages for nothing but the interpolant: rows of a and entries of c that follow k at the new point.
    pub extra: &'static [&'static [f64]],
    pub extra_c: &'static [f64],
}

/// No method: what a plain one leaves empty.
pub(super) const BARE: Tableau =
    Tableau { a: &[], b: &[], c: &[], error: &[], error_low: &[], order: 0, dense: &[], extra: &[], extra_c: &[] };

impl Tableau {
    /// b_i(θ) of x(t + θ h) = x + h Σ_i b_i(θ) k_i, after the stages' for k at the new point: the pair's own, or cubic Hermite's.
    pub fn interpolate(&self, theta: f64) -> Vec<f64> {
        if !self.dense.is_empty() {
            return self.dense.iter().map(|row| row.iter().rev().fold(0.0, |sum, coefficient| (sum + coefficient) * theta)).collect();
        }
        let mut weights: Vec<f64> = self.b.iter().map(|b| b * theta * theta * (3.0 - 2.0 * theta)).collect();
        weights[0] += theta * (1.0 - theta).powi(2);
        weights.push(theta * theta * (theta - 1.0));
        weights
    }
}

/// Euler 1768.
pub const EULER: Tableau = Tableau { a: &[&[]], b: &[1.0], c: &[0.0], order: 1, ..BARE };

/// The explicit midpoint rule, order 2 (Runge 1895).
pub const MIDPOINT: Tableau = Tableau { a: &[&[], &[0.5]], b: &[0.0, 1.0], c: &[0.0, 0.5], order: 2, ..BARE };

/// Heun 1900, order 2 (the explicit trapezoidal rule; the deterministic sampler of Karras et al. 2022).
pub const HEUN: Tableau = Tableau { a: &[&[], &[1.0]], b: &[0.5, 0.5], c: &[0.0, 1.0], order: 2, ..BARE };

/// Kutta 1901, order 4.
pub const RK4: Tableau = Tableau {
    a: &[&[], &[0.5], &[0.0, 0.5], &[0.0, 0.0, 1.0]],
    b: &[1.0 / 6.0, 1.0 / 3.0, 1.0 / 3.0, 1.0 / 6.0],
    c: &[0.0, 0.5, 0.5, 1.0],
    order: 4,
    ..BARE
};

/// Bogacki & Shampine 1989, order 3 with an embedded method of order 2.
pub const RK23: Tableau = Tableau {
    a: &[&[], &[1.0 / 2.0], &[0.0, 3.0 / 4.0]],
    b: &[2.0 / 9.0, 1.0 / 3.0, 4.0 / 9.0],
    c: &[0.0, 1.0 / 2.0, 3.0 / 4.0],
    error: &[-5.0 / 72.0, 1.0 / 12.0, 1.0 / 9.0, -1.0 / 8.0],
    order: 2,
    ..BARE
};

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
    // Shampine 1986.
    dense: &[
        &[1.0, -2.8535800653862835, 3.0717434641059005, -1.1270175653862835],
        &[],
        &[0.0, 4.023133379230305, -6.249321565289, 2.675424484351598],
        &[0.0, -3.7324019615885042, 10.068970589843675, -5.685526961588504],
        &[0.0, 2.5548038301849423, -6.399112377351017, 3.5219323679207912],
        &[0.0, -1.3744241142186024, 3.272657752246729, -1.7672812570757455],
        &[0.0, 1.3824689317781436, -3.764937863556287, 2.382468931778144],
    ],
    ..BARE
};

/// Tsitouras 2011, order 5 with an embedded method of order 4.
pub const TSIT5: Tableau = Tableau {
    a: &[
        &[],
        &[0.161],
        &[-0.008480655492356989, 0.335480655492357],
        &[2.8971530571054935, -6.359448489975075, 4.3622954328695815],
        &[5.325864828439257, -11.748883564062828, 7.4955393428898365, -0.09249506636175525],
        &[5.86145544294642, -12.92096931784711, 8.159367898576159, -0.071584973281401, -0.028269050394068383],
    ],
    b: &[0.09646076681806523, 0.01, 0.4798896504144996, 1.379008574103742, -3.290069515436081, 2.324710524099774],
    c: &[0.0, 0.161, 0.327, 0.9, 0.9800255409045097, 1.0],
    error: &[
        -0.001780011052225777,
        -0.0008164344596567469,
        0.007880878010261995,
        -0.1447110071732629,
        0.5823571654525552,
        -0.45808210592918697,
        0.015151515151515152,
    ],
    order: 4,
    dense: &[
        &[1.0, -2.763706197274826, 2.9132554618219126, -1.0530884977290216],
        &[0.0, 0.1317, -0.2234, 0.1017],
        &[0.0, 3.9302962368947516, -5.941033872131505, 2.490627285651253],
        &[0.0, -12.411077166933676, 30.33818863028232, -16.548102889244902],
        &[0.0, 37.50931341651104, -88.1789048947664, 47.37952196281928],
        &[0.0, -27.896526289197286, 65.09189467479366, -34.87065786149661],
        &[0.0, 1.5, -4.0, 2.5],
    ],
    ..BARE
};
