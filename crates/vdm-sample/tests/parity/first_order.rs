//! Ancestral sampling and DDIM.

use vdm_sample::{Ancestral, Ddim, PosteriorVariance};

use crate::cases::Case;

/// `None` for algorithms of other modules.
pub(crate) fn error(case: &Case) -> Option<f64> {
    Some(match case.algorithm.as_str() {
        "vdm_ancestral" => case.plain_error(&Ancestral::default()),
        "DDPMScheduler" => {
            let variance = match case.word("variance_type")? {
                "fixed_small" => PosteriorVariance::Small,
                "fixed_large" => PosteriorVariance::Large,
                _ => return None,
            };
            case.plain_error(&Ancestral { variance })
        }
        "DDIMScheduler" => case.plain_error(&Ddim { eta: case.number("eta").unwrap_or(0.0) }),
        _ => return None,
    })
}
