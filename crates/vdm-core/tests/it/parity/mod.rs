//! Agreement with numbers that nobody computed with this crate: 50-digit arithmetic and the code of
//! google-research/vdm, diffusers and k-diffusion, rounded to f64 (`tests/fixtures`).
//!
//! Shared by the parity test, which fails beyond the tolerances, and by the `accuracy` example,
//! which prints the worst error of each function.

pub(crate) mod single;
pub(crate) mod small_steps;
pub(crate) mod weights;

use std::collections::BTreeMap;

use serde_json::Value;
use vdm_core::likelihood::Discretized;
use vdm_core::quadrature::tabulated;
use vdm_core::schedule::{
    Betas, Cosine, CosineInterpolated, Discrete, IddpmCosine, Karras, LogSnrRange, Normal,
    Polyexponential, Sigmoid, Spacing, StraightLine, Truncated, VpLinear,
};
use vdm_core::{
    Denoiser, Dual, GaussianMixture, LogSnr, NoiseLevel, NoiseSchedule, Parameterization,
    Posterior, Preconditioning, Prediction, Real, Scalar, Scaling, Schedule, Transition, bound,
};

/// How an error is measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Measure {
    Relative,
    Absolute,
    /// Relative to the sum of the magnitudes of the terms: what rounding allows where they cancel.
    OfTerms,
}

impl std::fmt::Display for Measure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Relative => "relative",
            Self::Absolute => "absolute",
            Self::OfTerms => "of the terms",
        })
    }
}

/// The comparisons of one function so far.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) measure: Measure,
    pub(crate) cases: usize,
    /// The largest error.
    pub(crate) worst: f64,
    /// The largest error as a share of what was allowed in its case.
    pub(crate) share: f64,
    /// The case of the largest share.
    pub(crate) at: String,
}

/// Worst errors by function.
#[derive(Debug, Default)]
pub(crate) struct Parity {
    pub(crate) entries: BTreeMap<String, Entry>,
}

/// A number, or one of the strings "inf" and "-inf".
pub(crate) fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("inf") => f64::INFINITY,
        Some("-inf") => f64::NEG_INFINITY,
        _ => value.as_f64().unwrap_or_else(|| panic!("not a number: {value}")),
    }
}

pub(crate) fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(number).collect()
}

fn fixture(text: &str) -> Value {
    serde_json::from_str(text).expect("fixtures are valid JSON")
}

impl Parity {
    /// Everything there is to compare.
    pub(crate) fn measure() -> Self {
        let mut parity = Self::cheap();
        parity.bounds(true);
        parity
    }

    /// All but what takes most of the time: bounds of more than 32 steps, and of a mixture in two
    /// dimensions.
    pub(crate) fn cheap() -> Self {
        let mut parity = Self::default();
        parity.scalings_and_conversions();
        parity.continuous_schedules();
        parity.discrete_schedules();
        parity.sigma_grids();
        parity.mixtures();
        parity.bounds(false);
        parity.posteriors();
        parity.reconstructions();
        parity.weightings();
        parity
    }

    /// One comparison; `scale` turns the absolute error into the measured one.
    fn compare(
        &mut self,
        function: &str,
        (measure, allowed): (Measure, f64),
        (got, wanted): (f64, f64),
        scale: f64,
        at: impl std::fmt::Display,
    ) {
        let error = if got == wanted { 0.0 } else { (got - wanted).abs() / scale };
        let share = if error.is_nan() { f64::INFINITY } else { error / allowed };
        let entry = self.entries.entry(function.to_owned()).or_insert(Entry {
            measure,
            cases: 0,
            worst: 0.0,
            share: 0.0,
            at: String::new(),
        });
        entry.cases += 1;
        entry.worst = entry.worst.max(error);
        if share > entry.share {
            entry.share = share;
            entry.at = format!("{got:e} for {wanted:e} at {at}");
        }
    }

    fn relative(
        &mut self,
        function: &str,
        allowed: f64,
        got: f64,
        wanted: f64,
        at: impl std::fmt::Display,
    ) {
        self.compare(function, (Measure::Relative, allowed), (got, wanted), wanted.abs(), at);
    }

    fn absolute(
        &mut self,
        function: &str,
        allowed: f64,
        got: f64,
        wanted: f64,
        at: impl std::fmt::Display,
    ) {
        self.compare(function, (Measure::Absolute, allowed), (got, wanted), 1.0, at);
    }

    fn of_terms(
        &mut self,
        function: &str,
        allowed: f64,
        got: f64,
        wanted: f64,
        terms: f64,
        at: impl std::fmt::Display,
    ) {
        self.compare(function, (Measure::OfTerms, allowed), (got, wanted), terms, at);
    }

    fn scalings_and_conversions(&mut self) {
        let data = fixture(include_str!("../../fixtures/params.json"));
        let data_std = number(&data["sigma_data"]);
        for case in data["cases"].as_array().unwrap() {
            let at = level(case);
            let scaling = match case["family"].as_str().unwrap() {
                "vp" => Scaling::VariancePreserving,
                "ve" => Scaling::VarianceExploding,
                _ => Scaling::StraightLine,
            };
            let got = scaling.level(at.log_snr);
            self.relative("Scaling::level: alpha", 1e-13, got.alpha, at.alpha, at.log_snr);
            self.relative("Scaling::level: sigma", 1e-13, got.sigma, at.sigma, at.log_snr);
            self.conversions(case, scaling, &at, data_std);
            self.preconditioning(&case["edm"], at.log_snr, data_std);
        }
    }

    fn conversions(&mut self, case: &Value, scaling: Scaling, at: &NoiseLevel, data_std: f64) {
        let types = [
            ("x", Parameterization::Image),
            ("eps", Parameterization::Noise),
            ("score", Parameterization::Score),
            ("v", Parameterization::Velocity),
            ("u", Parameterization::Flow),
            ("F", Parameterization::Edm { data_std }),
        ];
        // The right-hand side of the probability-flow ODE is one more linear functional.
        let (image, noise) = scaling.rates(at.log_snr);
        let outputs = types
            .into_iter()
            .chain([("dz_dlogsnr", Parameterization::Combination { image, noise })]);
        let z = numbers(&case["z"]);
        for (to_name, to) in outputs {
            let function = format!("Prediction::to, into {to_name}");
            for (from_name, from) in types {
                let value = numbers(&case["pred"][from_name]);
                let wanted = &case["conv"][from_name][to_name];
                let (a, b) = (number(&wanted["a"]), number(&wanted["b"]));
                let map = from.to(to, at);
                let place = format!("{from_name} → {to_name}, {scaling:?}, λ = {}", at.log_snr);
                // The ODE's coefficient of z is 0 for a velocity, as a difference of equal terms.
                let terms =
                    if to_name == "dz_dlogsnr" { a.abs().max(image.max(-noise)) } else { a.abs() };
                self.of_terms("Parameterization::to: on_z", 1e-13, map.on_z, a, terms, &place);
                self.relative("Parameterization::to: on_output", 1e-13, map.on_output, b, &place);
                let out = Prediction { value: value.clone(), of: from }.to(to, &z, at);
                for ((got, wanted), (z, p)) in
                    out.iter().zip(numbers(&wanted["out"])).zip(z.iter().zip(&value))
                {
                    let terms = (a * z).abs() + (b * p).abs();
                    self.of_terms(&function, 8.0 * f64::EPSILON, *got, wanted, terms, &place);
                }
            }
        }
    }

    fn preconditioning(&mut self, case: &Value, log_snr: f64, data_std: f64) {
        let got = Preconditioning::edm(LogSnr::new(log_snr), data_std);
        let pairs = [
            ("c_skip", got.c_skip),
            ("c_out", got.c_out),
            ("c_in", got.c_in),
            ("c_noise", got.c_noise),
            ("loss_weight", got.loss_weight),
        ];
        for (name, got) in pairs {
            self.relative(
                "Preconditioning::edm",
                1e-13,
                got,
                number(&case[name]),
                format!("{name}, λ = {log_snr}"),
            );
        }
    }

    fn continuous_schedules(&mut self) {
        let data = fixture(include_str!("../../fixtures/schedules.json"));
        for case in data["continuous"].as_array().unwrap() {
            let schedule = continuous(case);
            let name = case["name"].as_str().unwrap();
            let (vp, ve) = (Scaling::VariancePreserving, Scaling::VarianceExploding);
            let column = |name: &str| numbers(&case[name]);
            let times = column("t");
            let wanted = ["logsnr", "dlogsnr_dt", "p_logsnr", "alpha_vp", "sigma_vp", "sigma_ve"]
                .map(column);
            for (i, t) in times.iter().enumerate() {
                let [log_snr, slope, density, alpha_vp, sigma_vp, sigma_ve] =
                    [0, 1, 2, 3, 4, 5].map(|column: usize| wanted[column][i]);
                let inner = if (0.01..=0.99).contains(t) { 1e-12 } else { 1e-11 };
                let got = schedule.log_snr(*t);
                let place = format!("t = {t}");
                self.absolute(&format!("{name}: λ(t)"), 2e-11, got.value(), log_snr, &place);
                self.relative(&format!("{name}: dλ/dt"), inner, schedule.slope(*t), slope, &place);
                let got_density = schedule.density(LogSnr::new(log_snr));
                self.relative(&format!("{name}: p(λ)"), inner, got_density, density, &place);
                let scales = [
                    (vp.level(got.value()).alpha, alpha_vp),
                    (vp.level(got.value()).sigma, sigma_vp),
                    (ve.level(got.value()).sigma, sigma_ve),
                ];
                for (got, wanted) in scales {
                    self.relative(&format!("{name}: α(t), σ(t)"), inner, got, wanted, &place);
                }
                for (function, native, got) in natives(name, got.value(), schedule.slope(*t)) {
                    let wanted = number(&case[native][i]);
                    self.relative(&format!("{name}: {function}"), inner, got, wanted, &place);
                }
            }
            let inverse = &case["inverse"];
            for (log_snr, t) in numbers(&inverse["logsnr"]).iter().zip(numbers(&inverse["t"])) {
                let got = schedule.time(LogSnr::new(*log_snr));
                self.absolute(&format!("{name}: t(λ)"), 1e-12, got, t, format!("λ = {log_snr}"));
            }
            for (end, t) in [("t0", 0.0), ("t1", 1.0)] {
                let got = schedule.log_snr(t).value();
                self.absolute(
                    &format!("{name}: λ(t)"),
                    2e-11,
                    got,
                    number(&case["logsnr_end"][end]),
                    end,
                );
            }
        }
    }

    /// The grids of EDM's `σ` of k-diffusion: evenly spread times under a schedule. Its final 0 is
    /// no noise scale of any.
    fn sigma_grids(&mut self) {
        let data = fixture(include_str!("../../fixtures/schedules.json"));
        for case in data["sigma_grids"].as_array().unwrap() {
            let kind = case["kind"].as_str().unwrap();
            let (schedule, last) = sigma_grid(case);
            let (scales, steps) = (numbers(&case["sigma"]), number(&case["n"]) - 1.0);
            let (end, scales) = scales.split_last().unwrap();
            assert_eq!(*end, 0.0);
            for (i, wanted) in scales.iter().enumerate() {
                let share = i as f64 / steps;
                let t = (1.0 - share) + last * share;
                let got = schedule.log_snr(t).edm_sigma();
                let function = format!("grid of k-diffusion: {kind}");
                self.relative(&function, 1e-12, got, *wanted, format!("t = {t}"));
            }
        }
    }

    fn discrete_schedules(&mut self) {
        let data = fixture(include_str!("../../fixtures/schedules.json"));
        for case in data["discrete"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            let table = discrete(case);
            let column = |name: &str| numbers(&case[name]);
            let beta_allowed = if name.contains("cosine") { 2e-11 } else { 1e-12 };
            for (i, n) in column("index").into_iter().enumerate() {
                let (n, at) = (n as usize, format!("n = {n}"));
                let wanted = |name: &str| number(&case[name][i]);
                self.relative(
                    &format!("{name}: β"),
                    beta_allowed,
                    table.beta(n),
                    wanted("beta"),
                    &at,
                );
                self.relative(
                    &format!("{name}: ᾱ"),
                    1e-12,
                    table.alpha_bar(n),
                    wanted("alpha_bar"),
                    &at,
                );
                let log_snr = table.log_snr_at(n).value();
                self.absolute(&format!("{name}: λ"), 2e-11, log_snr, wanted("logsnr"), &at);
                let (got, wanted) =
                    (table.posterior_variance(n), wanted("posterior_variance_fixed_small"));
                self.relative(&format!("{name}: posterior variance"), 2e-11, got, wanted, &at);
            }
            for (count, by_spacing) in case["diffusers_ddpm_timesteps"].as_object().unwrap() {
                for (spacing, name) in [
                    (Spacing::Leading, "leading"),
                    (Spacing::Trailing, "trailing"),
                    (Spacing::Linspace, "linspace"),
                ] {
                    let got = table.timesteps(count.parse().unwrap(), spacing).unwrap();
                    for (got, wanted) in got.iter().zip(numbers(&by_spacing[name])) {
                        self.absolute("Discrete::timesteps", 0.5, *got as f64, wanted, name);
                    }
                }
            }
        }
    }

    fn mixtures(&mut self) {
        let data = fixture(include_str!("../../fixtures/mixtures.json"));
        for case in data["denoiser_cases"].as_array().unwrap() {
            let mixture = mixture(&data["mixtures"][case["mixture"].as_str().unwrap()]);
            let (at, z) = (level(case), numbers(&case["z"]));
            let place = format!("{}, λ = {}", case["mixture"], at.log_snr);
            let mut close = |name: &str, got: f64, wanted: f64| {
                self.of_terms(
                    &format!("GaussianMixture: {name}"),
                    1e-12,
                    got,
                    wanted,
                    1.0 + wanted.abs(),
                    &place,
                );
            };
            close("log_density", mixture.log_density(&z, &at), number(&case["logp"]));
            close(
                "posterior_variance",
                mixture.posterior_variance(&z, &at),
                number(&case["tr_cov_x"]),
            );
            let prediction = mixture.denoise(&z, &at).unwrap();
            for (got, wanted) in prediction.image(&z, &at).iter().zip(numbers(&case["x0"])) {
                close("denoise", *got, wanted);
            }
            for (got, wanted) in mixture.score(&z, &at).iter().zip(numbers(&case["score"])) {
                close("score", *got, wanted);
            }
            for (got, wanted) in prediction.noise(&z, &at).iter().zip(numbers(&case["eps"])) {
                close("denoise, as noise", *got, wanted);
            }
        }
    }

    /// Those that are costly, or the others.
    fn bounds(&mut self, costly: bool) {
        let data = fixture(include_str!("../../fixtures/elbo.json"));
        for case in data["diffusion_loss"].as_array().unwrap() {
            let name = case["mixture"].as_str().unwrap();
            let mixture = mixture(&data["mixtures"][name]);
            let in_plane = in_plane(&mixture);
            if in_plane && !costly {
                continue;
            }
            let x = (!case["x"].is_null()).then(|| numbers(&case["x"]));
            let range =
                LogSnrRange::new(-number(&case["gamma_0"]), -number(&case["gamma_1"])).unwrap();
            let error = noise_error(&mixture, x, range);
            let place = format!("{name}, x = {}", case["x"]);
            for (schedule_name, wanted) in case["L_T"].as_object().unwrap() {
                let schedule = bound_schedule(schedule_name, range);
                for (steps, wanted) in numbers(&case["T"]).into_iter().zip(numbers(wanted)) {
                    if (in_plane || steps > 32.0) != costly {
                        continue;
                    }
                    let got = bound::discrete(&*schedule, steps as usize, &error);
                    let place = format!("{place}, {schedule_name}, T = {steps}");
                    self.relative("bound::discrete (L_T)", 1e-9, got, wanted, &place);
                }
            }
            if in_plane != costly {
                continue;
            }
            let l_inf = bound::continuous(range, &error);
            self.relative("bound::continuous (L_∞)", 1e-9, l_inf, number(&case["L_inf"]), &place);
            if let (Some(wanted), false) = (case.get("prior_kl"), case["x"].is_null()) {
                let end = LogSnr::new(range.min());
                let got: f64 = numbers(&case["x"]).iter().map(|x| bound::prior_kl(end, *x)).sum();
                self.relative("bound::prior_kl", 1e-9, got, number(wanted), &place);
            }
        }
    }

    fn posteriors(&mut self) {
        let data = fixture(include_str!("../../fixtures/elbo.json"));
        let vp = Scaling::VariancePreserving;
        for case in data["posterior"].as_array().unwrap() {
            let n = |name: &str| number(&case[name]);
            let (s, t) = (vp.level(-n("gamma_s")), vp.level(-n("gamma_t")));
            let (forward, q) = (Transition::between(&s, &t), Posterior::between(&s, &t));
            let place = format!("λ {} → {}", t.log_snr, s.log_snr);
            let pairs = [
                ("Transition::between", forward.alpha_ts, n("alpha_ts")),
                ("Transition::between", forward.var_ts, n("sigma2_ts")),
                ("Posterior::between", q.on_z, n("coef_z")),
                ("Posterior::between", q.on_x, n("coef_x")),
                ("Posterior::between", q.var, n("var")),
            ];
            for (function, got, wanted) in pairs {
                self.relative(function, 1e-12, got, wanted, &place);
            }
            let mean = q.on_z * n("z_t") + q.on_x * n("x");
            let terms = (q.on_z * n("z_t")).abs() + (q.on_x * n("x")).abs();
            self.of_terms("Posterior: mean", 1e-12, mean, n("mean"), terms, &place);
            let mean = q.on_z * n("z_t") + q.on_x * n("x_hat");
            let terms = (q.on_z * n("z_t")).abs() + (q.on_x * n("x_hat")).abs();
            let wanted = n("model_mean");
            self.of_terms("Posterior: mean of the model", 1e-12, mean, wanted, terms, &place);
            let noise_error = ((n("x") - n("x_hat")) * t.alpha / t.sigma).powi(2);
            let factor = bound::discrete_factor(LogSnr::new(s.log_snr), LogSnr::new(t.log_snr));
            self.relative(
                "bound::discrete_factor",
                1e-12,
                factor * noise_error,
                n("kl_q_p_nats"),
                &place,
            );
        }
    }

    fn weightings(&mut self) {
        let any = Cosine::default();
        let data = weights::fixture();
        for row in data["weights"].as_array().unwrap() {
            let weighting = weights::weighting(row);
            let name = row["name"].as_str().unwrap();
            let columns = ["logsnr", "w", "log_w", "dw_dlogsnr"];
            for [level, w, log_w, slope] in weights::rows(row, columns) {
                let (at, place) = (LogSnr::new(level), format!("{name}, λ = {level}"));
                self.relative("Weighting::at", 1e-12, weighting.at(at, &any), w, &place);
                self.relative(
                    "Weighting::log_at",
                    1e-12,
                    weighting.log_at(at, &any),
                    log_w,
                    &place,
                );
                self.relative("Weighting::slope", 1e-12, weighting.slope(at, &any), slope, &place);
            }
            let Some(loss) = weights::loss(name) else { continue };
            for [level, wanted] in weights::rows(row, ["logsnr", "implied"]) {
                let got = loss.implied(LogSnr::new(level));
                let place = format!("{name}, λ = {level}");
                self.relative("weighting::implied", 1e-12, got, wanted, place);
            }
        }
    }

    fn reconstructions(&mut self) {
        let data = fixture(include_str!("../../fixtures/elbo.json"));
        for case in data["encdec"].as_array().unwrap() {
            let levels = u16::try_from(case["vocab_size"].as_u64().unwrap()).unwrap();
            let code = Discretized::new(levels).unwrap();
            let log_snr = LogSnr::from_gamma(number(&case["gamma_0"]));
            let values = numbers(&case["x"]);
            for (i, k) in values.iter().enumerate() {
                let (k, at) = (*k as u16, format!("k = {k}, λ = {log_snr}"));
                let encoded = number(&case["encoded"][i]);
                self.absolute("Discretized::encode", 1e-15, code.encode(k), encoded, &at);
                for (j, eps) in numbers(&case["eps"]).iter().enumerate() {
                    let wanted = number(&case["logprob"][i][j]);
                    let got = code.log_prob(k, encoded + log_snr.edm_sigma() * eps, log_snr);
                    let scale = wanted.abs().max(1.0);
                    self.of_terms("Discretized::log_prob", 1e-9, got, wanted, scale, &at);
                }
                let wanted = number(&case["expected_recon_nats"][i]);
                let got = code.reconstruction(k, log_snr);
                self.of_terms(
                    "Discretized::reconstruction",
                    1e-9,
                    got,
                    wanted,
                    wanted.max(1.0),
                    &at,
                );
            }
        }
    }
}

fn level(case: &Value) -> NoiseLevel {
    NoiseLevel {
        log_snr: number(&case["logsnr"]),
        alpha: number(&case["alpha"]),
        sigma: number(&case["sigma"]),
    }
}

/// What a process has in its own coordinates, by its column, from a level and its slope.
fn natives(
    name: &str,
    log_snr: f64,
    slope: f64,
) -> impl Iterator<Item = (&'static str, &'static str, f64)> {
    match name {
        "fm_ot" => {
            let at = Scaling::StraightLine.level(log_snr);
            vec![
                ("α(t), σ(t) of the line", "alpha_native", at.alpha),
                ("α(t), σ(t) of the line", "sigma_native", at.sigma),
            ]
        }
        // α² = e^{−B} and B' = β.
        "vpsde" => vec![
            ("∫β", "int_beta", (-log_snr).softplus()),
            ("β(t)", "beta", -slope * (-log_snr).sigmoid()),
        ],
        _ => vec![],
    }
    .into_iter()
}

/// The schedule of a grid, and the time at which it ends.
fn sigma_grid(case: &Value) -> (Schedule, f64) {
    let p = |name: &str| number(&case["params"][name]);
    match case["kind"].as_str().unwrap() {
        "karras" => {
            let karras = Karras::new(p("sigma_min"), p("sigma_max"), p("rho"));
            (Schedule::Karras(karras.unwrap().into()), 0.0)
        }
        "exponential" => (Schedule::geometric(p("sigma_min"), p("sigma_max")).unwrap(), 0.0),
        "polyexponential" => {
            let power = Polyexponential::new(p("sigma_min"), p("sigma_max"), p("rho"));
            (Schedule::Polyexponential(power.unwrap().into()), 0.0)
        }
        "vp" => {
            let vp = VpLinear::new(p("beta_min"), p("beta_min") + p("beta_d"));
            (Schedule::VpLinear(vp.unwrap().into()), p("eps_s"))
        }
        other => panic!("a grid of kind {other}"),
    }
}

/// The mixture of a specification in the fixtures.
pub(crate) fn mixture(spec: &Value) -> GaussianMixture {
    let means = spec["means"].as_array().unwrap().iter().map(numbers).collect();
    GaussianMixture::new(numbers(&spec["weights"]), means, numbers(&spec["stds"])).unwrap()
}

fn continuous(case: &Value) -> Schedule {
    let p = |name: &str| number(&case["params"][name]);
    // Formulas such as "2*ln(64/256)" carry their value beside them.
    let shift =
        case["params"].get("shift_value").or(case["params"].get("shift")).map_or(0.0, number);
    let family = case["family"].as_str().unwrap();
    let range = |max: f64, min: f64| LogSnrRange::new(max, min).unwrap();
    match family {
        "linear_gamma" => Schedule::linear(-p("gmin"), -p("gmax")).unwrap(),
        "cosine" => Schedule::Cosine(Cosine { shift }.into()),
        "cosine_truncated" => Schedule::Cosine(
            Truncated::new(Cosine { shift }, range(p("lmax") + shift, p("lmin") + shift)).unwrap(),
        ),
        "cosine_interpolated" => Schedule::CosineInterpolated(
            CosineInterpolated::new(range(p("lmax"), p("lmin")), p("s0"), p("s1")).unwrap(),
        ),
        "vpsde" => Schedule::VpLinear(VpLinear::new(p("bmin"), p("bmax")).unwrap().into()),
        "iddpm_cosine_cont" => Schedule::IddpmCosine(IddpmCosine::new(p("s")).unwrap().into()),
        "sigmoid" => {
            Schedule::Sigmoid(Sigmoid::new(p("start"), p("end"), p("tau")).unwrap().into())
        }
        "edm_train" => Schedule::Normal(Normal::edm(p("P_mean"), p("P_std")).unwrap().into()),
        "edm_sample" => {
            Schedule::Karras(Karras::new(p("smin"), p("smax"), p("rho")).unwrap().into())
        }
        "fm_ot" => Schedule::StraightLine(StraightLine::default().into()),
        "ve" => Schedule::geometric(p("smin"), p("smax")).unwrap(),
        other => panic!("a schedule of family {other}"),
    }
}

fn discrete(case: &Value) -> Discrete {
    let p = |name: &str| number(&case["params"][name]);
    let steps = p("T") as usize;
    let ends = |build: fn(usize, f64, f64) -> Betas| build(steps, p("b0"), p("b1"));
    let betas = match case["family"].as_str().unwrap() {
        "linear" => {
            ends(|steps, beta_start, beta_end| Betas::Linear { steps, beta_start, beta_end })
        }
        "scaled_linear" => {
            ends(|steps, beta_start, beta_end| Betas::ScaledLinear { steps, beta_start, beta_end })
        }
        "sigmoid_beta" => {
            ends(|steps, beta_start, beta_end| Betas::Sigmoid { steps, beta_start, beta_end })
        }
        "squaredcos_cap_v2" => Betas::Cosine { steps, offset: p("s"), cap: p("cap") },
        other => panic!("a table of family {other}"),
    };
    Discrete::new(betas, false).unwrap()
}

/// The schedules of the bounds in elbo.json, which share their end points.
fn bound_schedule(name: &str, range: LogSnrRange) -> Box<dyn NoiseSchedule> {
    match name {
        "linear" => Box::new(Schedule::linear(range.max(), range.min()).unwrap()),
        "cosine_truncated" => Box::new(Schedule::cosine(range.max(), range.min()).unwrap()),
        "sigmoid_renormalized" => Box::new(RenormalizedSigmoid { range }),
        other => panic!("a bound under {other}"),
    }
}

/// `α²` goes from one end point's to the other's along a logistic curve: a schedule the crate does
/// not have, as a user would write it.
#[derive(Debug)]
struct RenormalizedSigmoid {
    range: LogSnrRange,
}

impl RenormalizedSigmoid {
    fn curve(&self, t: Dual) -> Dual {
        let lift = |c: f64| t.lift(c);
        let logistic = |u: Dual| u.sigmoid();
        let (first, last) = (logistic(lift(-3.0)), logistic(lift(3.0)));
        let q = (logistic(lift(6.0) * t - lift(3.0)) - first) / (last - first);
        let (max, min) = (lift(self.range.max()), lift(self.range.min()));
        let blend = |a: Dual, b: Dual| a * (lift(1.0) - q) + b * q;
        (blend(max.sigmoid(), min.sigmoid()) / blend((-max).sigmoid(), (-min).sigmoid())).ln()
    }
}

impl NoiseSchedule for RenormalizedSigmoid {
    fn range(&self) -> LogSnrRange {
        self.range
    }
    fn log_snr(&self, t: f64) -> LogSnr {
        LogSnr::new(self.curve(Dual::variable(t)).value)
    }
    fn slope(&self, t: f64) -> f64 {
        self.curve(Dual::variable(t)).derivative
    }
}

/// Whether its expected errors take a quadrature in two dimensions.
fn in_plane(mixture: &GaussianMixture) -> bool {
    mixture.components().count() > 1 && mixture.dims() > 1
}

/// The expected noise error as a function of the level. One Gaussian alone splits into dimensions,
/// so that three of them need no quadrature in three dimensions; for mixtures in two dimensions,
/// where a quadrature is slow, the bounds of 1024 steps share the 161 of a table.
fn noise_error(
    mixture: &GaussianMixture,
    x: Option<Vec<f64>>,
    range: LogSnrRange,
) -> Box<dyn Fn(LogSnr) -> f64> {
    let parts: Vec<(GaussianMixture, Option<Vec<f64>>)> = if mixture.components().count() == 1 {
        let (_, mean, std) = mixture.components().next().unwrap();
        let part = |d: usize| {
            let one = GaussianMixture::new(vec![1.0], vec![vec![mean[d]]], vec![std]).unwrap();
            (one, x.as_ref().map(|x| vec![x[d]]))
        };
        (0..mean.len()).map(part).collect()
    } else {
        vec![(mixture.clone(), x)]
    };
    let exact = move |log_snr: f64| {
        let at = Scaling::VariancePreserving.level(log_snr);
        let of_part = |(mixture, x): &(GaussianMixture, Option<Vec<f64>>)| match x {
            Some(x) => mixture.noise_error(x, &at),
            None => log_snr.exp() * mixture.mmse(&at),
        };
        parts.iter().map(of_part).sum()
    };
    if in_plane(mixture) {
        let table = tabulated(range.min(), range.max(), &exact);
        Box::new(move |log_snr| table(log_snr.value()))
    } else {
        Box::new(move |log_snr| exact(log_snr.value()))
    }
}
