//! The f32 face: every function over any [`Real`] called with f32, beside itself in f64.

use vdm_core::{NoiseLevel, Parameterization, Posterior, Real, Scalar, Scaling, Transition};

/// The worst error of one function, in units of the last place of f32.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) function: String,
    pub(crate) cases: usize,
    pub(crate) worst: f64,
}

/// One unit in the last place of an f32 of this magnitude.
fn ulp(magnitude: f64) -> f64 {
    let smallest = f64::from(f32::MIN_POSITIVE);
    let exponent = magnitude.abs().max(smallest).log2().floor();
    exponent.exp2() * f64::from(f32::EPSILON)
}

#[derive(Default)]
struct Table {
    rows: Vec<Row>,
}

impl Table {
    /// `got` in f32 for `exact`, in units of the last place of the largest of `terms`.
    fn compare(&mut self, function: &str, got: f32, exact: f64, terms: f64) {
        let error =
            if f64::from(got) == exact { 0.0 } else { (f64::from(got) - exact).abs() / ulp(terms) };
        let found = self.rows.iter().position(|row| row.function == function);
        let i = found.unwrap_or_else(|| {
            self.rows.push(Row { function: function.to_owned(), cases: 0, worst: 0.0 });
            self.rows.len() - 1
        });
        self.rows[i].cases += 1;
        self.rows[i].worst =
            if error.is_nan() { f64::INFINITY } else { self.rows[i].worst.max(error) };
    }

    fn plain(&mut self, function: &str, got: f32, exact: f64) {
        self.compare(function, got, exact, exact);
    }
}

const SCALINGS: [Scaling; 5] = [
    Scaling::VariancePreserving,
    Scaling::VarianceExploding,
    Scaling::StraightLine,
    Scaling::SubVariancePreserving,
    Scaling::UnitVariance { data_std: 0.5 },
];

const PARAMETERIZATIONS: [Parameterization; 7] = [
    Parameterization::Image,
    Parameterization::Noise,
    Parameterization::Score,
    Parameterization::EnergyGradient,
    Parameterization::Velocity,
    Parameterization::Flow,
    Parameterization::Edm { data_std: 0.5 },
];

/// At every so many of 6,001 levels, and at all pairs.
pub(crate) fn measure(every: usize) -> Vec<Row> {
    let mut table = Table::default();
    let levels: Vec<f32> = (-3000..=3000_i16).map(|i| f32::from(i) * 0.01).collect();
    for log_snr in levels.iter().step_by(every) {
        elementary(&mut table, *log_snr);
        for scaling in SCALINGS {
            scales_and_conversions(&mut table, scaling, *log_snr);
        }
    }
    for s in levels.iter().step_by(37) {
        for t in levels.iter().step_by(41).filter(|t| *t < s) {
            steps(&mut table, *s, *t);
        }
    }
    table.rows
}

fn elementary(table: &mut Table, x: f32) {
    let wide = f64::from(x);
    table.plain("Real::sigmoid", x.sigmoid(), wide.sigmoid());
    table.plain("Scalar::softplus", x.softplus(), wide.softplus());
    table.plain("Scalar::normal_cdf", (x * 0.4).normal_cdf(), f64::from(x * 0.4).normal_cdf());
}

/// Generic over the scalar: computed in f32 from end to end.
fn scales_and_conversions(table: &mut Table, scaling: Scaling, log_snr: f32) {
    let at = scaling.level(log_snr);
    let exact = scaling.level(f64::from(log_snr));
    let name = format!("Scaling::level, {scaling:?}");
    table.plain(&name, at.alpha, exact.alpha);
    table.plain(&name, at.sigma, exact.sigma);
    // From here the scales are inputs, exact as they stand.
    let wide = NoiseLevel {
        log_snr: f64::from(at.log_snr),
        alpha: f64::from(at.alpha),
        sigma: f64::from(at.sigma),
    };
    for from in PARAMETERIZATIONS {
        for to in PARAMETERIZATIONS {
            let (got, exact) = (from.to(to, &at), from.to(to, &wide));
            let (signal, noise) = from.target(&wide);
            let (other_signal, other_noise) = to.target(&wide);
            // on_z = (p'q − q'p)/(αq − σp) in units of the two targets.
            let determinant = wide.alpha * noise - wide.sigma * signal;
            let terms = ((other_signal * noise).abs().max((other_noise * signal).abs())
                / determinant)
                .abs();
            table.compare(
                "Parameterization::to, on_z",
                got.on_z,
                exact.on_z,
                terms.max(exact.on_z.abs()),
            );
            let terms = (other_noise * wide.alpha).abs().max((other_signal * wide.sigma).abs())
                / determinant.abs();
            table.compare(
                "Parameterization::to, on_output",
                got.on_output,
                exact.on_output,
                terms.max(exact.on_output.abs()),
            );
        }
    }
}

fn steps(table: &mut Table, s: f32, t: f32) {
    for scaling in SCALINGS {
        let (low, high) = (scaling.level(s), scaling.level(t));
        let widen = |level: &NoiseLevel<f32>| NoiseLevel {
            log_snr: f64::from(level.log_snr),
            alpha: f64::from(level.alpha),
            sigma: f64::from(level.sigma),
        };
        let (wide_low, wide_high) = (widen(&low), widen(&high));
        let (got, exact) =
            (Transition::between(&low, &high), Transition::between(&wide_low, &wide_high));
        table.plain("Transition::between", got.alpha_ts, exact.alpha_ts);
        table.plain("Transition::between", got.var_ts, exact.var_ts);
        let (got, exact) =
            (Posterior::between(&low, &high), Posterior::between(&wide_low, &wide_high));
        table.plain("Posterior::between", got.on_z, exact.on_z);
        table.plain("Posterior::between", got.on_x, exact.on_x);
        table.plain("Posterior::between", got.var, exact.var);
    }
}
