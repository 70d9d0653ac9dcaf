//! Parity with reference numbers: 50-digit mpmath, or code of others (google-research/vdm,
//! diffusers, k-diffusion), rounded to f64. Tolerances are those a few f64 roundings allow.

use serde_json::Value;
use vdm_core::likelihood::Discretized;
use vdm_core::{
    Denoiser, GaussianMixture, LogSnr, NoiseLevel, NoiseSchedule, Parameterization, Posterior,
    Prediction, Scaling, Schedule, Transition, bound,
};

fn fixture(text: &str) -> Value {
    serde_json::from_str(text).expect("fixtures are valid JSON")
}

/// A number, or one of the strings "inf" and "-inf".
fn number(value: &Value) -> f64 {
    match value.as_str() {
        Some("inf") => f64::INFINITY,
        Some("-inf") => f64::NEG_INFINITY,
        _ => value.as_f64().unwrap_or_else(|| panic!("not a number: {value}")),
    }
}

fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().expect("an array").iter().map(number).collect()
}

fn level(case: &Value) -> NoiseLevel {
    NoiseLevel {
        log_snr: number(&case["logsnr"]),
        alpha: number(&case["alpha"]),
        sigma: number(&case["sigma"]),
    }
}

#[test]
fn scalings_match() {
    let data = fixture(include_str!("fixtures/params.json"));
    for case in data["cases"].as_array().unwrap() {
        let scaling = match case["family"].as_str().unwrap() {
            "vp" => Scaling::VariancePreserving,
            "ve" => Scaling::VarianceExploding,
            _ => Scaling::StraightLine,
        };
        let (got, wanted) = (scaling.level(number(&case["logsnr"])), level(case));
        assert!((got.alpha / wanted.alpha - 1.0).abs() < 1e-14, "{case}");
        assert!((got.sigma / wanted.sigma - 1.0).abs() < 1e-14, "{case}");
    }
}

/// M35: the whole conversion matrix, and the coefficients themselves.
#[test]
fn all_conversions_match() {
    let data = fixture(include_str!("fixtures/params.json"));
    let edm = Parameterization::Edm { data_std: number(&data["sigma_data"]) };
    let types = [
        ("x", Parameterization::Image),
        ("eps", Parameterization::Noise),
        ("score", Parameterization::Score),
        ("v", Parameterization::Velocity),
        ("u", Parameterization::Flow),
        ("F", edm),
    ];
    let mut compared = 0;
    for case in data["cases"].as_array().unwrap() {
        let (at, z) = (level(case), numbers(&case["z"]));
        for (from_name, from) in types {
            let value = numbers(&case["pred"][from_name]);
            for (to_name, to) in types {
                let wanted = &case["conv"][from_name][to_name];
                let (a, b) = (number(&wanted["a"]), number(&wanted["b"]));
                let map = from.to(to, &at);
                assert!((map.on_output - b).abs() <= 1e-13 * b.abs(), "{from_name}→{to_name} b");
                let out = Prediction { value: value.clone(), of: from }.to(to, &z, &at);
                for ((got, wanted), (z, p)) in
                    out.iter().zip(numbers(&wanted["out"])).zip(z.iter().zip(&value))
                {
                    let scale = (a * z).abs() + (b * p).abs();
                    let bound = 16.0 * f64::EPSILON / 2.0 * scale;
                    assert!(
                        (got - wanted).abs() <= bound,
                        "{from_name}→{to_name} at λ = {}: {got} for {wanted}",
                        at.log_snr
                    );
                    compared += 1;
                }
            }
        }
    }
    assert_eq!(compared, 45 * 36 * 3);
}

#[test]
fn the_energy_gradient_is_minus_the_score() {
    let at = Scaling::VariancePreserving.level(1.5_f64);
    let score = Parameterization::Score.to(Parameterization::Image, &at);
    let energy = Parameterization::EnergyGradient.to(Parameterization::Image, &at);
    assert_eq!((score.on_z, score.on_output), (energy.on_z, -energy.on_output));
}

#[test]
fn schedules_match() {
    let data = fixture(include_str!("fixtures/schedules.json"));
    for case in data["continuous"].as_array().unwrap() {
        let p = |name: &str| number(&case["params"][name]);
        let schedule = match case["family"].as_str().unwrap() {
            "linear_gamma" => Schedule::linear(-p("gmin"), -p("gmax")).unwrap(),
            _ => Schedule::cosine(p("lmax"), p("lmin")).unwrap(),
        };
        let column = |name: &str| numbers(&case[name]).into_iter();
        let rows = column("t").zip(column("logsnr"));
        let slopes = column("dlogsnr_dt").zip(column("p_logsnr"));
        for ((t, log_snr), (slope, density)) in rows.zip(slopes) {
            let relative = if (0.01..=0.99).contains(&t) { 1e-12 } else { 1e-11 };
            let got = schedule.log_snr(t);
            assert!((got.value() - log_snr).abs() < 2e-11, "{} λ({t})", case["name"]);
            assert!((schedule.slope(t) / slope - 1.0).abs() < relative, "{} slope", case["name"]);
            let got = schedule.density(LogSnr::new(log_snr));
            assert!((got / density - 1.0).abs() < relative, "{} p(λ) at {t}", case["name"]);
        }
        let inverse = &case["inverse"];
        for (log_snr, t) in numbers(&inverse["logsnr"]).iter().zip(numbers(&inverse["t"])) {
            assert!((schedule.time(LogSnr::new(*log_snr)) - t).abs() < 1e-12, "t({log_snr})");
        }
    }
}

#[test]
fn mixtures_match() {
    let data = fixture(include_str!("fixtures/mixtures.json"));
    for case in data["denoiser_cases"].as_array().unwrap() {
        let spec = &data["mixtures"][case["mixture"].as_str().unwrap()];
        let means = spec["means"].as_array().unwrap().iter().map(numbers).collect();
        let mixture =
            GaussianMixture::new(numbers(&spec["weights"]), means, numbers(&spec["stds"])).unwrap();
        let (at, z) = (level(case), numbers(&case["z"]));
        let close = |got: f64, wanted: f64| (got - wanted).abs() <= 1e-12 * (1.0 + wanted.abs());
        assert!(close(mixture.log_density(&z, &at), number(&case["logp"])), "log p: {case}");
        let prediction = mixture.denoise(&z, &at).unwrap();
        let checks = [
            ("x0", prediction.image(&z, &at)),
            ("score", prediction.to(Parameterization::Score, &z, &at)),
        ];
        for (name, got) in checks {
            // Reading a score off an image loses digits where α/σ is large.
            let gain = 1.0 + (at.alpha / at.sigma.powi(2)).abs() * f64::EPSILON / 1e-13;
            for (got, wanted) in got.iter().zip(numbers(&case[name])) {
                assert!(
                    (got - wanted).abs() <= 1e-12 * gain * (1.0 + wanted.abs()),
                    "{name}: {got} for {wanted} in {case}"
                );
            }
        }
    }
}

#[test]
fn posteriors_match() {
    let data = fixture(include_str!("fixtures/elbo.json"));
    let vp = Scaling::VariancePreserving;
    for case in data["posterior"].as_array().unwrap() {
        let n = |name: &str| number(&case[name]);
        let (s, t) = (vp.level(-n("gamma_s")), vp.level(-n("gamma_t")));
        let (forward, q) = (Transition::between(&s, &t), Posterior::between(&s, &t));
        let pairs = [
            (forward.alpha_ts, n("alpha_ts")),
            (forward.var_ts, n("sigma2_ts")),
            (q.on_z, n("coef_z")),
            (q.on_x, n("coef_x")),
            (q.var, n("var")),
        ];
        for (got, wanted) in pairs {
            assert!((got / wanted - 1.0).abs() < 1e-12, "{got} for {wanted} in {case}");
        }
        let mean = q.on_z * n("z_t") + q.on_x * n("x");
        let scale = (q.on_z * n("z_t")).abs() + (q.on_x * n("x")).abs();
        assert!((mean - n("mean")).abs() < 1e-12 * scale, "{case}");
        let error = (n("x") - n("x_hat")) * t.alpha / t.sigma;
        let kl =
            bound::discrete_factor(LogSnr::new(s.log_snr), LogSnr::new(t.log_snr)) * error.powi(2);
        assert!((kl / n("kl_q_p_nats") - 1.0).abs() < 1e-9, "{kl} in {case}");
    }
}

#[test]
fn discretized_likelihoods_match() {
    let data = fixture(include_str!("fixtures/elbo.json"));
    for case in data["encdec"].as_array().unwrap() {
        let levels = u16::try_from(case["vocab_size"].as_u64().unwrap()).unwrap();
        let code = Discretized::new(levels).unwrap();
        let log_snr = LogSnr::from_gamma(number(&case["gamma_0"]));
        let rows = numbers(&case["x"]).into_iter().zip(case["logprob"].as_array().unwrap());
        for ((k, row), encoded) in rows.zip(numbers(&case["encoded"])) {
            let k = k as u16;
            assert_eq!(code.encode(k), encoded);
            for (eps, wanted) in numbers(&case["eps"]).iter().zip(numbers(row)) {
                let y = encoded + log_snr.edm_sigma() * eps;
                let got = code.log_prob(k, y, log_snr);
                assert!((got - wanted).abs() <= 1e-9 * wanted.abs().max(1.0), "{got} {wanted}");
            }
        }
    }
}
