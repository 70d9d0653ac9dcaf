//! A run folder as a training leaves it, from made-up numbers and previews.

use vdm_report::metrics::{
    LevelVariance, MetricsLog, Record, Timing, TimingsLog, TrainRecord, ValidationRecord,
};
use vdm_report::preview::{self, Images, Layout};
use vdm_report::result::{DataSource, LossByLogSnr, NoiseLevels, RunResult, Term, TestLikelihood};
use vdm_report::tensorboard::EventWriter;
use vdm_report::{Error, RunDir, files, npy};

const SIDE: usize = 8;
const LEVELS: u16 = 17;

/// Writes everything but the report.
pub(crate) fn write_finished(run: &RunDir) -> Result<(), Error> {
    write_unfinished(run)?;
    let samples = rings(64, |_| 0.0);
    let images = Images::new(&samples, [64, 1, SIDE, SIDE], LEVELS)?;
    preview::grid(&images, Layout::square(&images))?.save(&run.samples_png())?;
    npy::write(&run.samples_npy(), &samples, &[64, 1, SIDE, SIDE])?;

    let columns = 12;
    let strip = rings(5 * columns, |i| 1.0 - (i % columns) as f64 / (columns - 1) as f64);
    let images = Images::new(&strip, [5 * columns, 1, SIDE, SIDE], LEVELS)?;
    preview::grid(&images, Layout::comfortable(&images, columns))?.save(&run.denoising())?;

    files::write_sealed(&run.loss_by_log_snr(), &loss_by_log_snr())?;
    files::write_sealed(&run.noise_levels(), &noise_levels())?;
    files::write_sealed(&run.result(), &result())
}

/// What a run that was killed half-way leaves.
pub(crate) fn write_unfinished(run: &RunDir) -> Result<(), Error> {
    let config = serde_json::json!({
        "preset": "digits", "seed": 0,
        "data": {"name": "digits", "values": LEVELS},
        "schedule": {"kind": "linear", "log_snr_max": 7.0, "log_snr_min": -4.0},
        "train": {"steps": 4000, "batch": 32, "learning_rate": 3e-3, "warm_up": 100},
    });
    files::write_sealed(&run.config(), &config)?;
    let mut log = MetricsLog::create(&run.metrics(), &[])?;
    let mut timings = TimingsLog::create(&run.timings(), &[])?;
    let mut events = EventWriter::create(run.root(), 1)?;
    let mut noise = Noise(7);
    for step in (10..=4000).step_by(10) {
        let record = train(step, &mut noise);
        events.scalar(step, "train/loss_bits_per_dim", record.loss_bits_per_dim)?;
        log.append(&Record::Train(record))?;
        timings.append(&timing(step))?;
        if step % 500 == 0 {
            log.append(&Record::Validation(validation(step)))?;
            let samples = rings(64, |_| 1.0 - step as f64 / 4000.0);
            let images = Images::new(&samples, [64, 1, SIDE, SIDE], LEVELS)?;
            let grid = preview::grid(&images, Layout { columns: 8, zoom: 6 })?;
            grid.save(&run.samples_at(step))?;
            events.image(step, "samples", &grid)?;
        }
    }
    events.text(0, "config", &format!("```\n{config:#}\n```"))
}

fn bits(step: u64) -> f64 {
    1.72 + 8.0 * (-(step as f64) / 60.0).exp() + 25.0 / (step as f64 + 40.0)
}

fn train(step: u64, noise: &mut Noise) -> TrainRecord {
    let loss = bits(step) + 0.12 * noise.next();
    TrainRecord {
        step,
        skipped: u64::from(step == 1200),
        loss_bits_per_dim: loss,
        terms: vec![Term::new("diffusion", loss - 0.03)],
        weighted_loss: None,
        learning_rate: 3e-3 * (step as f64 / 100.0).min(1.0),
        gradient_norm: 0.8 + 4.0 / (step as f64).sqrt() + 0.2 * noise.next().abs(),
        variance: Some(LevelVariance {
            loss_variance: 0.9 * loss * loss,
            relative_variance: 0.9,
            least_variance_share: 0.7,
        }),
    }
}

fn timing(step: u64) -> Timing {
    let images_per_second = 1030.0 + (step / 10 % 7) as f64;
    Timing { step, seconds: step as f64 * 0.031, images_per_second }
}

fn validation(step: u64) -> ValidationRecord {
    ValidationRecord {
        step,
        bits_per_dim: bits(step) + 0.03,
        standard_error: 0.017,
        terms: vec![
            Term::new("prior", 0.002),
            Term::new("reconstruction", 0.031),
            Term::new("diffusion", bits(step) - 0.003),
        ],
    }
}

fn loss_by_log_snr() -> LossByLogSnr {
    let log_snr: Vec<f64> = (0..44).map(|i| -3.875 + 0.25 * f64::from(i)).collect();
    let loss: Vec<f64> = log_snr.iter().map(|x| 0.393 / (1.0 + (-0.8 * (x - 1.0)).exp())).collect();
    let standard_error = loss.iter().map(|loss| 0.06 * loss).collect();
    LossByLogSnr { log_snr, loss, standard_error, data_dims: 64 }
}

fn noise_levels() -> NoiseLevels {
    let curve = |f: fn(f64) -> [f64; 2]| (0..=64).map(|i| f(f64::from(i) / 64.0)).collect();
    NoiseLevels {
        step: 4000,
        schedule_at_start: curve(|t| [t, 7.0 - 11.0 * t]),
        schedule: curve(|t| [t, 7.0 - 11.0 * t * (2.0 - t)]),
        density: curve(|s| [11.0 * s - 4.0, 0.05 + 0.1 * s]),
    }
}

fn result() -> RunResult {
    let sha256 = "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08".to_owned();
    let mut other = serde_json::Map::new();
    other.insert("git".to_owned(), "4f2c1d9".into());
    RunResult {
        preset: "digits".to_owned(),
        data: DataSource { name: "digits".to_owned(), sha256, items: 1797 },
        steps: 4000,
        skipped: 1,
        seconds: 124.3,
        images_per_second: 1031.6,
        parameters: 283_120,
        device: "cpu, 2 threads".to_owned(),
        libtorch: "2.11.0".to_owned(),
        seed: 0,
        test: TestLikelihood {
            bits_per_dim: 1.7314,
            standard_error: 0.0163,
            terms: vec![
                Term::new("prior", 0.0021),
                Term::new("reconstruction", 0.0308),
                Term::new("diffusion", 1.6985),
            ],
            items: 360,
            estimator: "L_inf, 20 low-discrepancy times an item, EMA weights".to_owned(),
        },
        other,
    }
}

/// Rings of changing size, each mixed with as much noise as `noisiness` of its index says.
fn rings(count: usize, noisiness: impl Fn(usize) -> f64) -> Vec<u8> {
    let mut noise = Noise(1);
    let mut pixels = Vec::with_capacity(count * SIDE * SIDE);
    for image in 0..count {
        let (radius, share) = (1.6 + (image * 7 % 5) as f64 * 0.35, noisiness(image));
        for at in 0..SIDE * SIDE {
            let (x, y) = ((at % SIDE) as f64 - 3.5, (at / SIDE) as f64 - 3.5);
            let ink = 16.0 * (-(x.hypot(0.8 * y) - radius).powi(2)).exp();
            let value = (1.0 - share) * ink + share * (8.0 + 6.0 * noise.next());
            pixels.push(value.round().clamp(0.0, 16.0) as u8);
        }
    }
    pixels
}

/// Roughly normal numbers from a linear congruential generator.
struct Noise(u64);

impl Noise {
    fn next(&mut self) -> f64 {
        let mut uniform = || {
            self.0 = self
                .0
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (self.0 >> 11) as f64 / (1_u64 << 53) as f64
        };
        // Six uniform numbers have variance 1/2.
        ((0..6).map(|_| uniform()).sum::<f64>() - 3.0) * std::f64::consts::SQRT_2
    }
}
