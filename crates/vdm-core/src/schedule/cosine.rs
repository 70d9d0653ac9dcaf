//! Cosine schedules: plain, shifted for high resolution, and interpolated between two shifts.

use std::f64::consts::FRAC_PI_2;

use serde::{Deserialize, Serialize};

use super::{Curve, LogSnrRange, NoiseSchedule, Time, Truncated, solve, sound};
use crate::setting::require;
use crate::{Error, LogSnr, Scalar};

/// `λ_t = −2 ln tan(πt/2) + shift`, from `+∞` to `−∞`.
///
/// Under the variance-preserving scaling and without a shift `α = cos(πt/2)`, `σ = sin(πt/2)`: the
/// latent turns at constant speed from data to noise. Levels near `λ = shift` are visited most,
/// `p(λ) = sech((λ − shift)/2)/(2π)`.
///
/// Nichol and Dhariwal 2021 in the log-SNR form of Hoogeboom et al. 2023, whose shift for images of
/// side `n` under a schedule made for side `n₀` is `2 ln(n₀/n)`.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Cosine {
    /// Added to every level, in nats of log-SNR.
    #[serde(default)]
    pub shift: f64,
}

impl Curve for Cosine {
    fn ends(&self) -> LogSnrRange {
        LogSnrRange::WHOLE
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let quarter = at.t.lift(FRAC_PI_2);
        // tan(π/2 − u) = 1/tan(u): the smaller angle keeps its digits.
        let half = if at.t.value() <= 0.5 {
            -(quarter * at.t).tan().ln()
        } else {
            (quarter * at.rest).tan().ln()
        };
        half.lift(2.0) * half + half.lift(self.shift)
    }
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        let half = log_snr.lift(0.5) * (*log_snr - log_snr.lift(self.shift));
        let turns = |half: C| half.exp().atan() / half.lift(FRAC_PI_2);
        if half.value() >= 0.0 { Time::early(turns(-half)) } else { Time::late(turns(half)) }
    }
}

/// The truncated cosine schedule plus a shift that moves from `shift_data` at `t = 0` to
/// `shift_noise` at `t = 1` ("interpolated" in Hoogeboom et al. 2023): high noise as a high
/// resolution wants it, fine detail as a low one does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawInterpolated", into = "RawInterpolated")]
pub struct CosineInterpolated {
    raw: RawInterpolated,
    base: Truncated<Cosine>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawInterpolated {
    log_snr_max: f64,
    log_snr_min: f64,
    shift_data: f64,
    shift_noise: f64,
}

impl TryFrom<RawInterpolated> for CosineInterpolated {
    type Error = Error;
    fn try_from(raw: RawInterpolated) -> Result<Self, Error> {
        let range = LogSnrRange::new(raw.log_snr_max, raw.log_snr_min)?;
        Self::new(range, raw.shift_data, raw.shift_noise)
    }
}

impl From<CosineInterpolated> for RawInterpolated {
    fn from(schedule: CosineInterpolated) -> Self {
        schedule.raw
    }
}

impl CosineInterpolated {
    /// `range` is that of the cosine schedule before the shifts, both ends finite.
    ///
    /// # Errors
    /// [`Error::ScheduleRange`] if an end is infinite; [`Error::Setting`] if a shift is not finite
    /// or rises so much from data to noise that the sum no longer falls; [`Error::ScheduleShape`].
    pub fn new(range: LogSnrRange, shift_data: f64, shift_noise: f64) -> Result<Self, Error> {
        let base = Truncated::new(Cosine::default(), range.finite()?)?;
        let rise = shift_noise - shift_data;
        // The cosine falls slowest at λ = 0, or at the end nearest to it.
        let gentlest = 0.0_f64.clamp(range.min(), range.max());
        let slope = -1.0 / base.density(LogSnr::new(gentlest));
        let falls = rise.is_finite() && slope + rise < 0.0;
        let remedy = "use a finite difference too small to make log-SNR rise anywhere";
        require(falls, "schedule.shift_noise - shift_data", rise, remedy)?;
        let ends = [
            ("schedule.shift_data", shift_data, range.max() + shift_data),
            ("schedule.shift_noise", shift_noise, range.min() + shift_noise),
        ];
        for (field, value, end) in ends {
            let remedy = "use one that shifts its end to no further than 1400 from 0";
            require(end.abs() <= LogSnrRange::LARGEST, field, value, remedy)?;
        }
        LogSnrRange::new(ends[0].2, ends[1].2)?;
        let raw = RawInterpolated {
            log_snr_max: range.max(),
            log_snr_min: range.min(),
            shift_data,
            shift_noise,
        };
        sound(Self { raw, base })
    }
}

impl Curve for CosineInterpolated {
    fn ends(&self) -> LogSnrRange {
        let RawInterpolated { log_snr_max, log_snr_min, shift_data, shift_noise } = self.raw;
        LogSnrRange::ordered(log_snr_max + shift_data, log_snr_min + shift_noise)
    }
    fn at<C: Scalar>(&self, at: &Time<C>) -> C {
        let (data, noise) = (at.t.lift(self.raw.shift_data), at.t.lift(self.raw.shift_noise));
        self.base.at(at) + data * at.rest + noise * at.t
    }
    /// No closed form: solved to the last digit.
    fn inverse<C: Scalar>(&self, log_snr: &C) -> Time<C> {
        solve(self, log_snr)
    }
}
