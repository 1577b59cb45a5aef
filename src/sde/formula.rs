//! A process of the user's own, as two formulas in t.

use std::sync::Arc;
use std::{fmt, thread};

use exmex::{Differentiate, Express, FlatEx};
use schemars::JsonSchema;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Level, Sde, Slope};

/// α(t) and σ(t) as formulas, such as `alpha = "cos(pi*t/2)"` and `sigma = "sin(pi*t/2)"`: numbers such as 0.001, `t`, `pi`, `+ - * / ^`, brackets,
/// and functions such as `exp`, `log` (of base e), `sqrt`, `sin`, `cos`, `tanh`. Their slopes are found by symbolic differentiation. α(0) is 1, and α / σ falls all the way to
/// t = 1; the prior is N(0, σ(1)² I). Where α(1) = 0, whoever divides by α ends where α / σ is 0.001.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Formula {
    /// α(t), at least 0.
    #[schemars(with = "String")]
    pub alpha: Expression,
    /// σ(t), above 0 after t = 0.
    #[schemars(with = "String")]
    pub sigma: Expression,
}

/// A formula in t with its slope.
#[derive(Clone)]
pub struct Expression {
    text: String,
    /// The formula and its slope, which are large.
    parsed: Arc<[FlatEx<f64>; 2]>,
}

/// What a formula may name beside functions, in the order of the alphabet.
const NAMES: [&str; 2] = ["pi", "t"];

impl Expression {
    /// Error: what is wrong with the text.
    pub fn parse(text: &str) -> Result<Expression, String> {
        if text.len() > LONGEST {
            return Err(format!("a formula of {} characters is too long: at most {LONGEST} are allowed; use [sde.table]", text.len()));
        }
        if let Some(power) = power_of_minus(text) {
            return Err(format!("`{power}` may be read in two ways: write -(a^b) or (-a)^b"));
        }
        // Derivatives of long formulas are deep.
        let deep = thread::Builder::new().stack_size(STACK);
        let parsed = thread::scope(|scope| {
            let parsed = deep.spawn_scoped(scope, || Expression::parsed(text)).map_err(|error| error.to_string())?;
            parsed.join().map_err(|_| format!("`{text}` is no formula in t; {WANTED}"))?
        });
        Ok(Expression { text: text.to_owned(), parsed: parsed? })
    }

    fn parsed(text: &str) -> Result<Arc<[FlatEx<f64>; 2]>, String> {
        // With both names in it, whatever the formula needs, and no more.
        let whole = format!("({text}) + 0*pi + 0*t");
        let value = exmex::parse::<f64>(&whole).map_err(|_| format!("`{text}` is no formula in t; {WANTED}"))?;
        if let Some(name) = value.var_names().iter().find(|name| !NAMES.contains(&name.as_str())) {
            return Err(format!("`{text}` names `{name}`, which is neither a function nor t; {WANTED}"));
        }
        let slope = value.clone().partial(1).map_err(|_| format!("`{text}` has no slope by formula; {WANTED}"))?;
        Ok(Arc::new([value, slope]))
    }

    fn at(&self, t: f64) -> f64 {
        of(&self.parsed[0], t)
    }

    fn slope_at(&self, t: f64) -> f64 {
        of(&self.parsed[1], t)
    }
}

/// Characters of a formula.
const LONGEST: usize = 500;
/// Bytes, of which none is taken before it is needed.
const STACK: usize = 1 << 30;

/// The first power whose base has a minus in front, such as `-t^2`, which is -(t²) to a mathematician and (-t)² to the parser.
fn power_of_minus(text: &str) -> Option<&str> {
    let bytes = text.as_bytes();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'.' || byte == b'_';
    let skip = |mut i: usize, what: &dyn Fn(u8) -> bool| {
        while bytes.get(i).is_some_and(|&byte| what(byte)) {
            i += 1;
        }
        i
    };
    for start in (0..bytes.len()).filter(|&i| bytes[i] == b'-') {
        let before = text[..start].trim_end().bytes().last();
        if before.is_some_and(|byte| is_name(byte) || byte == b')' || !byte.is_ascii()) {
            continue;
        }
        // A number, a name, a function of something, or something in brackets.
        let mut end = skip(skip(start + 1, &|byte| byte == b' '), &is_name);
        if bytes.get(end) == Some(&b'(') {
            let mut depth = 0;
            end += 1 + bytes[end..].iter().position(|byte| {
                depth += i32::from(*byte == b'(') - i32::from(*byte == b')');
                depth == 0
            })?;
        }
        let after = skip(end, &|byte| byte == b' ');
        if bytes.get(after) == Some(&b'^') {
            return text.get(start..=after);
        }
    }
    None
}

const WANTED: &str = "give numbers, t, pi, + - * / ^, brackets and functions such as exp, log, sqrt, sin, cos, tanh";

fn of(expression: &FlatEx<f64>, t: f64) -> f64 {
    expression.eval(&[std::f64::consts::PI, t]).expect("a formula in pi and t")
}

impl fmt::Debug for Expression {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{:?}", self.text)
    }
}

impl PartialEq for Expression {
    fn eq(&self, other: &Expression) -> bool {
        self.text == other.text
    }
}

impl Serialize for Expression {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.text.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Expression {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Expression, D::Error> {
        Expression::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl Sde for Formula {
    fn level(&self, t: f64) -> Level {
        Level { t, alpha: self.alpha.at(t).max(0.0), sigma: self.sigma.at(t) }
    }
    fn slope(&self, t: f64) -> Slope {
        Slope { alpha: self.alpha.slope_at(t), sigma: self.sigma.slope_at(t) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{VE, VP, chained};

    fn formula(alpha: &str, sigma: &str) -> Formula {
        let [alpha, sigma] = [alpha, sigma].map(|text| Expression::parse(text).unwrap());
        Formula { alpha, sigma }
    }

    #[test]
    fn formulas_of_a_process_are_that_process() {
        let vp = formula("exp(-0.25*19.9*t^2 - 0.5*t*0.1)", "sqrt(1 - exp(-0.5*19.9*t^2 - t*0.1))");
        let ve = formula("1", "0.01 * (50 / 0.01)^t");
        let linear = formula("1 - t", "t");
        let (_, built_in) = chained().into_iter().find(|(name, _)| *name == "linear").unwrap();
        for (formula, truth) in [(&vp, &VP as &dyn Sde), (&ve, &VE), (&linear, built_in)] {
            let close =
                |got: f64, truth: f64| assert!((got / truth - 1.0).abs() < 1e-9 || got == truth, "{formula:?}: {got} is not {truth}");
            for t in [1e-3, 0.2, 0.7, 0.99] {
                close(formula.alpha(t), truth.alpha(t));
                close(formula.sigma(t), truth.sigma(t));
                close(formula.slope(t).alpha, truth.slope(t).alpha);
                close(formula.slope(t).sigma, truth.slope(t).sigma);
                close(formula.drift(t), truth.drift(t));
                close(formula.diffusion(t), truth.diffusion(t));
                close(formula.time_of_log_snr(truth.log_snr(t)), t);
            }
            close(formula.horizon(), truth.horizon());
            assert!((formula.prior_std() / truth.prior_std() - 1.0).abs() < 1e-4);
            assert_eq!(formula.check(), Ok(()));
        }
    }

    #[test]
    fn what_is_no_formula_or_no_path_is_said() {
        for (text, said) in [
            ("1 -", "`1 -` is no formula in t"),
            ("x + t", "names `x`"),
            ("", "is no formula"),
            ("1 - t)", "no formula"),
            ("sin", "no formula"),
            ("abs(t)", "no slope by formula"),
        ] {
            let error = Expression::parse(text).unwrap_err();
            assert!(error.contains(said) && error.contains("; give numbers"), "`{text}`: {error}");
        }
        for text in ["-t^2", "exp(-t^2)", "1 + 2*(-exp(t)^2)", "- (1 + t) ^ 2"] {
            let error = Expression::parse(text).unwrap_err();
            assert!(error.contains("two ways"), "`{text}`: {error}");
        }
        for text in ["-(t^2)", "(-t)^2", "1 - t^2", "(1 + t) - (2 - t)^2", "2^-t", "π - t^2"] {
            assert!(Expression::parse(text).is_ok(), "{text}");
        }
        let [long, deep, nested] = ["+t".repeat(600), "+exp(t*t)".repeat(55), format!("{}t{}", "sin(".repeat(99), ")".repeat(99))];
        assert!(Expression::parse(&long).unwrap_err().contains("too long"));
        for text in [&deep[1..], &nested] {
            assert!(Expression::parse(text).unwrap().slope_at(0.3).is_finite());
        }
        for (alpha, sigma, key, said) in [
            ("0.9 - t/2", "t", "alpha", "alpha is 0.9 at t = 0"),
            ("1 - 2*t", "t", "sigma", "does not fall"),
            ("1 - t", "0*t", "sigma", "sigma is 0"),
            ("1", "t*(1.5 - t)", "sigma", "does not fall from t = 0.75"),
            ("1", "-t", "sigma", "sigma is -0.001"),
            ("1", "log(t)", "sigma", "sigma is"),
            ("1/(1 - t)", "t", "sigma", "does not fall"),
        ] {
            let fault = formula(alpha, sigma).check().unwrap_err();
            assert!(fault.key == key && fault.message.contains(said), "{alpha}, {sigma}: {fault:?}");
        }
    }

    #[test]
    fn it_is_read_from_a_file_and_written_back() {
        let text = "alpha = \"cos(pi*t/2)\"\nsigma = \"sin(pi*t/2)\"\n";
        let formula: Formula = toml::from_str(text).unwrap();
        assert_eq!(toml::to_string(&formula).unwrap(), text);
        assert!(
            (formula.alpha(0.5) - 0.5f64.sqrt()).abs() < 1e-15 && (formula.slope(1.0).alpha + 0.5 * std::f64::consts::PI).abs() < 1e-12
        );
        let error = toml::from_str::<Formula>("alpha = \"1 - s\"\nsigma = \"t\"").unwrap_err();
        assert!(error.message().contains("names `s`") && error.span() == Some(8..15), "{error:?}");
    }
}
