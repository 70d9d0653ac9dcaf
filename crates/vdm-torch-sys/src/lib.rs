//! What [`tch`] 0.24 does not expose of libtorch 2.11, behind safe functions.
//!
//! The only crate of the workspace with `unsafe`: a C++ file of a few bodies, each in `try`/`catch`,
//! called here with pointers that [`tch::Tensor`] owns; and one about how threads wait.
//!
//! | function | why |
//! |---|---|
//! | [`fused_adamw`], [`foreach_lerp`], [`global_norm`], [`clear_gradients`] | one kernel for a list of parameters, and an optimizer whose state can be saved |
//! | [`lincomb_into`] | a sampler's step in one pass over memory |
//! | [`own_memory`] | noise written where it is needed |
//! | [`autocast_bf16`] | tch's autocast takes no data type, and none on the CPU |
//! | [`load_library`] | the CUDA backend in a binary linked against the CPU libraries |
//! | [`keep_full_f32`] | f32 that a GPU does not round to TF32 |
//! | [`wait_asleep`] | threads that wait for others leave the processor to other programs |

use std::ffi::{CStr, CString, c_char, c_int};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use tch::Tensor;
use thiserror::Error;
use torch_sys::C_tensor;

/// What libtorch or the loader reported.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("libtorch: {message}")]
pub struct Error {
    /// The text of the C++ exception.
    pub message: String,
}

type Tensors = *const *mut C_tensor;

unsafe extern "C" {
    fn vdm_last_error() -> *const c_char;
    fn vdm_load_library(path: *const c_char) -> c_int;
    fn vdm_keep_full_f32() -> c_int;
    fn vdm_rounds_f32(rounds: *mut c_int) -> c_int;
    fn vdm_fused_adamw(
        params: Tensors,
        grads: Tensors,
        exp_avgs: Tensors,
        exp_avg_sqs: Tensors,
        steps: Tensors,
        n: usize,
        lr: f64,
        beta1: f64,
        beta2: f64,
        weight_decay: f64,
        eps: f64,
        grad_scale: *mut C_tensor,
        found_inf: *mut C_tensor,
    ) -> c_int;
    fn vdm_clear_gradients(params: Tensors, n: usize) -> c_int;
    fn vdm_foreach_lerp(averages: Tensors, values: Tensors, n: usize, weight: f64) -> c_int;
    fn vdm_global_norm(tensors: Tensors, n: usize, out: *mut *mut C_tensor) -> c_int;
    fn vdm_lincomb(out: *mut C_tensor, terms: Tensors, coefficients: *const f64, n: usize)
    -> c_int;
    fn vdm_own_memory(tensor: *mut C_tensor) -> *mut f32;
    fn vdm_autocast_bf16(cuda: c_int, was_on: *mut c_int, was_type: *mut c_int) -> c_int;
    fn vdm_wait_asleep();
    fn vdm_autocast_back(cuda: c_int, was_on: c_int, was_type: c_int) -> c_int;
}

fn pointers(tensors: &[Tensor]) -> Vec<*mut C_tensor> {
    tensors.iter().map(|t| t.as_ptr().cast_mut()).collect()
}

fn check(status: c_int) -> Result<(), Error> {
    if status == 0 {
        return Ok(());
    }
    // SAFETY: the shim returns a NUL-terminated thread-local string, read before any other call.
    let message = unsafe { CStr::from_ptr(vdm_last_error()) }.to_string_lossy().into_owned();
    Err(Error { message })
}

fn same_length(expected: &[Tensor], others: &[(&str, &[Tensor])]) -> Result<(), Error> {
    for (name, list) in others {
        if list.len() != expected.len() {
            let message = format!("{} tensors of {name} for {}", list.len(), expected.len());
            return Err(Error { message });
        }
    }
    Ok(())
}

/// Loads a shared library for all that follows; with `libtorch_cuda.so` the CUDA backend registers
/// itself. Code of the library runs at once.
///
/// # Errors
/// A path that is not absolute, or the loader's message (a missing driver or dependency, say).
pub fn load_library(path: &Path) -> Result<(), Error> {
    if !path.is_absolute() {
        let message = format!("{path:?} is looked for in many folders: use an absolute path");
        return Err(Error { message });
    }
    let path = CString::new(path.as_os_str().as_bytes())
        .map_err(|_| Error { message: format!("a NUL byte in the path {path:?}") })?;
    // SAFETY: a NUL-terminated string that outlives the call.
    check(unsafe { vdm_load_library(path.as_ptr()) })
}

/// Keeps convolutions and matrix products of f32 on a GPU from rounding their inputs to the 11
/// significant bits of TF32, as libtorch lets cuDNN do by default. For the whole process.
///
/// # Errors
/// What libtorch reports.
pub fn keep_full_f32() -> Result<(), Error> {
    // SAFETY: sets two switches of libtorch's global context.
    check(unsafe { vdm_keep_full_f32() })
}

/// Whether libtorch may round f32 on a GPU, as it may until [`keep_full_f32`].
///
/// # Errors
/// What libtorch reports, such as switches that contradict each other.
pub fn rounds_f32() -> Result<bool, Error> {
    let mut rounds = 0;
    // SAFETY: reads two switches of libtorch's global context into a place for a number.
    check(unsafe { vdm_rounds_f32(&raw mut rounds) })?;
    Ok(rounds != 0)
}

/// Has threads of libtorch's loops sleep while they wait for each other, instead of spinning for
/// milliseconds, which on a busy machine takes the core that they wait for. For programs, not for
/// libraries: one whose code has this call starts itself again, in the same process and within
/// milliseconds, before anything in it has run, with `OMP_WAIT_POLICY=passive` in its environment. It does
/// not where that variable or `GOMP_SPINCOUNT` is set: the user's choice holds, and a debugger that must
/// not lose the program can set one. On other systems than Linux with glibc threads wait as they do.
// Inlined: in a program that does not call it nothing refers to the C++ file, so that it is not linked.
#[inline]
pub fn wait_asleep() {
    // SAFETY: does nothing; the reference is what counts.
    unsafe { vdm_wait_asleep() };
}

/// Constants of one optimizer step.
#[derive(Debug, Clone, Copy)]
pub struct AdamW {
    /// Step size.
    pub lr: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Decoupled weight decay.
    pub weight_decay: f64,
    /// Added to the root of the second moment.
    pub eps: f64,
}

/// One list of tensors per role, all of one length and order.
#[derive(Debug)]
pub struct AdamWState<'a> {
    /// Parameters, updated in place.
    pub params: &'a [Tensor],
    /// Gradients; divided by `grad_scale` in place.
    pub grads: &'a [Tensor],
    /// First moments, updated in place.
    pub exp_avgs: &'a [Tensor],
    /// Second moments, updated in place.
    pub exp_avg_sqs: &'a [Tensor],
    /// The number of this step, from 1, as one f32 scalar per parameter.
    pub steps: &'a [Tensor],
}

/// AdamW on all parameters in one kernel. Gradients are divided by `grad_scale`; nothing is updated
/// if `found_inf` is 1. Both are f32 scalars on the parameters' device, so the host need not wait.
///
/// All tensors of parameters, gradients and moments have one floating point type and one device; those
/// of a parameter have its shape and its strides, dense in memory.
///
/// # Errors
/// Names the first tensor that is not so, lists of different lengths or without any tensor; else what
/// libtorch reports. Nothing is changed then.
pub fn fused_adamw(
    state: &AdamWState<'_>,
    constants: AdamW,
    grad_scale: &Tensor,
    found_inf: &Tensor,
) -> Result<(), Error> {
    let AdamWState { params, grads, exp_avgs, exp_avg_sqs, steps } = state;
    same_length(
        params,
        &[
            ("gradients", grads),
            ("first moments", exp_avgs),
            ("second moments", exp_avg_sqs),
            ("steps", steps),
        ],
    )?;
    let AdamW { lr, beta1, beta2, weight_decay, eps } = constants;
    let [p, g, m, v, s] = [params, grads, exp_avgs, exp_avg_sqs, steps].map(|l| pointers(l));
    // SAFETY: five arrays of `p.len()` live tensors each, and two live tensors.
    check(unsafe {
        vdm_fused_adamw(
            p.as_ptr(),
            g.as_ptr(),
            m.as_ptr(),
            v.as_ptr(),
            s.as_ptr(),
            p.len(),
            lr,
            beta1,
            beta2,
            weight_decay,
            eps,
            grad_scale.as_ptr().cast_mut(),
            found_inf.as_ptr().cast_mut(),
        )
    })
}

/// Makes the gradients of all parameters undefined, as before the first backward pass.
///
/// # Errors
/// What libtorch reports, as for a tensor that is undefined itself.
pub fn clear_gradients(params: &[Tensor]) -> Result<(), Error> {
    let p = pointers(params);
    // SAFETY: an array of `p.len()` live tensors.
    check(unsafe { vdm_clear_gradients(p.as_ptr(), p.len()) })
}

/// `average += weight·(value − average)` for each pair, in place.
///
/// # Errors
/// Lists of different lengths or without any tensor, a value of another shape than its average, or what
/// libtorch reports.
pub fn foreach_lerp(averages: &[Tensor], values: &[Tensor], weight: f64) -> Result<(), Error> {
    same_length(averages, &[("values", values)])?;
    let (a, v) = (pointers(averages), pointers(values));
    // SAFETY: two arrays of `a.len()` live tensors.
    check(unsafe { vdm_foreach_lerp(a.as_ptr(), v.as_ptr(), a.len(), weight) })
}

/// The Euclidean norm over all components of all tensors, as a scalar tensor on their device.
///
/// # Errors
/// An empty list, or what libtorch reports.
pub fn global_norm(tensors: &[Tensor]) -> Result<Tensor, Error> {
    let list = pointers(tensors);
    let mut out = std::ptr::null_mut();
    // SAFETY: an array of `list.len()` live tensors, and a place for one pointer.
    check(unsafe { vdm_global_norm(list.as_ptr(), list.len(), &raw mut out) })?;
    // SAFETY: on success `out` is a new tensor that the caller owns.
    Ok(unsafe { Tensor::from_ptr(out) })
}

/// `Σ cᵢ zᵢ` over at least one term, all of one shape and type, written to `out`: into its memory if
/// that fits and no other tensor shares it. Gradients do not flow through.
///
/// One pass over memory for up to four contiguous f32 or f64 tensors on the CPU.
///
/// # Errors
/// No terms, or what libtorch reports (different shapes or devices, say).
pub fn lincomb_into(out: &mut Tensor, terms: &[(f64, &Tensor)]) -> Result<(), Error> {
    if terms.is_empty() {
        return Err(Error { message: "a linear combination needs at least one term".into() });
    }
    let list: Vec<_> = terms.iter().map(|(_, z)| z.as_ptr().cast_mut()).collect();
    let coefficients: Vec<f64> = terms.iter().map(|(c, _)| *c).collect();
    // SAFETY: a live tensor of which this is the only reference, and arrays of `list.len()` live
    // tensors and numbers.
    check(unsafe {
        vdm_lincomb(out.as_mut_ptr(), list.as_ptr(), coefficients.as_ptr(), list.len())
    })
}

/// The components of a contiguous f32 tensor on the CPU, row-major, if no other tensor shares them and
/// no gradient is asked of it.
pub fn own_memory(tensor: &mut Tensor) -> Option<&mut [f32]> {
    let len = tensor.numel();
    // SAFETY: reads counts and types of a tensor that lives through the call.
    let memory = unsafe { vdm_own_memory(tensor.as_mut_ptr()) };
    // SAFETY: the shim answers with a pointer only where there are `len` floats behind it that this
    // tensor alone owns; the exclusive borrow keeps it from being shared, resized or read meanwhile. A
    // tensor without components may have no memory.
    (!memory.is_null()).then(|| unsafe { std::slice::from_raw_parts_mut(memory, len) })
}

/// Runs `body` with matrix products and convolutions on the device type in bf16. Afterwards all is as it was
/// before, also within another such call.
///
/// # Errors
/// What libtorch reports when switching.
pub fn autocast_bf16<T>(cuda: bool, body: impl FnOnce() -> T) -> Result<T, Error> {
    struct Before {
        device: c_int,
        on: c_int,
        kind: c_int,
    }
    impl Drop for Before {
        fn drop(&mut self) {
            // SAFETY: undoes the switch below; also when `body` panics.
            unsafe { vdm_autocast_back(self.device, self.on, self.kind) };
        }
    }
    let (device, mut on, mut kind) = (c_int::from(cuda), 0, 0);
    // SAFETY: a switch of thread-local state, and places for two numbers.
    check(unsafe { vdm_autocast_bf16(device, &raw mut on, &raw mut kind) })?;
    let _before = Before { device, on, kind };
    Ok(body())
}

/// The example of the README, so that it cannot rot.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    fn scalar(value: f64) -> Tensor {
        Tensor::from(value).to_kind(Kind::Float)
    }

    /// One step from rest by hand: m = (1−β₁)g, v = (1−β₂)g², bias-corrected to g and g², so the
    /// parameter moves by lr·(sign g) after decaying by lr·wd.
    #[test]
    fn the_first_adamw_step_is_a_signed_step() {
        let constants = AdamW { lr: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.5, eps: 0.0 };
        let params = [Tensor::from_slice(&[1.0_f32, -2.0])];
        let grads = [Tensor::from_slice(&[6.0_f32, -8.0])];
        let [m, v] = [0, 1].map(|_| [params[0].zeros_like()]);
        let state = AdamWState {
            params: &params,
            grads: &grads,
            exp_avgs: &m,
            exp_avg_sqs: &v,
            steps: &[scalar(1.0)],
        };
        fused_adamw(&state, constants, &scalar(2.0), &scalar(0.0)).unwrap();
        let expected = Tensor::from_slice(&[1.0_f32 * 0.95 - 0.1, -2.0 * 0.95 + 0.1]);
        assert!(f64::try_from((&params[0] - expected).abs().max()).unwrap() < 1e-6);
        // grad_scale = 2 halves the gradient before the moments see it.
        assert!((m[0].double_value(&[0]) - 0.1 * 3.0).abs() < 1e-6);

        let before = params[0].copy();
        fused_adamw(&state, constants, &scalar(1.0), &scalar(1.0)).unwrap();
        assert_eq!(params[0], before, "found_inf leaves everything as it was");
    }

    #[test]
    fn cleared_gradients_do_not_add_up() {
        let x = Tensor::from_slice(&[2.0_f32]).set_requires_grad(true);
        for _ in 0..2 {
            clear_gradients(&[x.shallow_clone()]).unwrap();
            (&x * 3.0).sum(Kind::Float).backward();
        }
        assert_eq!(x.grad().double_value(&[0]), 3.0);
        let error = clear_gradients(&[x, Tensor::new()]).unwrap_err();
        assert_eq!(error.message, "parameter 1 is undefined");
    }

    /// A step over one parameter of four components, with one tensor or scalar exchanged.
    fn step_with(exchange: impl Fn(&mut [[Tensor; 1]; 5], &mut [Tensor; 2])) -> Result<(), Error> {
        let four = || [Tensor::ones([4], (Kind::Float, Device::Cpu))];
        let mut lists = [four(), four(), four(), four(), [scalar(1.0)]];
        let mut scalars = [scalar(1.0), scalar(0.0)];
        exchange(&mut lists, &mut scalars);
        let [params, grads, exp_avgs, exp_avg_sqs, steps] = &lists;
        let state = AdamWState { params, grads, exp_avgs, exp_avg_sqs, steps };
        let constants = AdamW { lr: 0.1, beta1: 0.9, beta2: 0.99, weight_decay: 0.0, eps: 1e-8 };
        let comparable = params[0].defined() && !params[0].is_sparse();
        let before = comparable.then(|| params[0].copy());
        let outcome = fused_adamw(&state, constants, &scalars[0], &scalars[1]);
        let unchanged = before.is_none_or(|before| params[0].equal(&before));
        assert_eq!(outcome.is_err(), unchanged, "an error changes nothing");
        outcome
    }

    /// The kernel itself looks at none of this, and reads and writes past the end of what is smaller.
    #[test]
    fn adamw_refuses_tensors_that_its_kernel_would_walk_beyond() {
        let cpu = |kind| (kind, Device::Cpu);
        step_with(|_, _| ()).unwrap();
        type Wrong = (fn(&Tensor) -> Tensor, &'static str);
        let wrong: [Wrong; 8] = [
            (|t| t.narrow(0, 0, 1).copy(), "has shape [1]"),
            (|t| t.repeat([16_384]), "has shape [65536]"),
            (|t| t.view([2, 2]), "has shape [2, 2]"),
            (|t| t.to_kind(Kind::Double), "is Double"),
            (|t| t.to_kind(Kind::BFloat16), "is BFloat16"),
            // One component in memory.
            (|t| t.narrow(0, 0, 1).expand([4], false), "has strides [0]"),
            (|t| t.repeat([2]).slice(0, 0, 8, 2), "has strides [2]"),
            (|t| t.internal_to_sparse_sparse_dim(1), "is no plain tensor"),
        ];
        for (list, name) in
            ["parameter", "gradient", "first moment", "second moment"].into_iter().enumerate()
        {
            for (make, said) in wrong {
                let error =
                    step_with(|lists, _| lists[list][0] = make(&lists[list][0])).unwrap_err();
                // What is wrong with a parameter shows in the others, but for its places in memory.
                let named = list == 0 || error.message.starts_with(&format!("{name} 0 "));
                assert!(
                    named && (list == 0 || error.message.contains(said)),
                    "{name}, {said}: {error}"
                );
            }
            let error = step_with(|lists, _| lists[list][0] = Tensor::new()).unwrap_err();
            assert!(error.message.starts_with(name), "{error}");
        }
        for empty_or_wrong in [
            Tensor::zeros([0], cpu(Kind::Float)),
            Tensor::zeros([2], cpu(Kind::Float)),
            Tensor::from(1.0),
            Tensor::new(),
        ] {
            let put = |place: &mut Tensor| *place = empty_or_wrong.shallow_clone();
            let error = step_with(|lists, _| put(&mut lists[4][0])).unwrap_err();
            assert_eq!(error.message, "a step is not one f32");
            let error = step_with(|_, scalars| put(&mut scalars[0])).unwrap_err();
            assert_eq!(error.message, "grad_scale is not one f32");
            let error = step_with(|_, scalars| put(&mut scalars[1])).unwrap_err();
            assert_eq!(error.message, "found_inf is not one f32");
        }
    }

    /// Of one shape and dense, in another order: every component would meet another one's moment.
    #[test]
    fn adamw_refuses_another_order_in_memory() {
        let matrix = || Tensor::ones([2, 3], (Kind::Float, Device::Cpu));
        let turned = Tensor::ones([3, 2], (Kind::Float, Device::Cpu)).transpose(0, 1);
        let error = step_with(|lists, _| {
            for list in &mut lists[..4] {
                list[0] = matrix();
            }
            lists[2][0] = turned.shallow_clone();
        })
        .unwrap_err();
        assert!(error.message.contains("first moment 0 has strides [1, 2]"), "{error}");
        // A dimension of one has no order.
        step_with(|lists, _| {
            for (index, list) in lists[..4].iter_mut().enumerate() {
                let row = Tensor::ones([4], (Kind::Float, Device::Cpu));
                list[0] =
                    if index == 1 { row.view([4, 1]).transpose(0, 1) } else { row.view([1, 4]) };
            }
        })
        .unwrap();
    }

    #[test]
    fn lists_of_different_lengths_are_refused() {
        let error = foreach_lerp(&[scalar(1.0)], &[], 0.5).unwrap_err();
        assert_eq!(error.message, "0 tensors of values for 1");
        let three = Tensor::zeros([3], (Kind::Float, Device::Cpu));
        let error = foreach_lerp(&[three], &[scalar(1.0)], 0.5).unwrap_err();
        assert_eq!(error.message, "value 0 has shape [], its average [3]");
        assert!(
            !foreach_lerp(&[Tensor::new()], &[Tensor::new()], 0.5).unwrap_err().message.is_empty()
        );
    }

    /// Views whose memory holds something else than their values.
    #[test]
    fn lazy_views_count_by_their_values() {
        let z = Tensor::from_slice(&[1.0_f32, -2.0]);
        let lazy = [
            (z.shallow_clone().internal_neg_view(), [-1.0_f32, 2.0]),
            (Tensor::internal_efficientzerotensor([2], (Kind::Float, Device::Cpu)), [0.0, 0.0]),
        ];
        for (mut view, values) in lazy {
            let mut out = z.zeros_like();
            lincomb_into(&mut out, &[(2.0, &view), (1.0, &z)]).unwrap();
            let wanted = [2.0 * values[0] + 1.0, 2.0 * values[1] - 2.0];
            assert_eq!(Vec::<f32>::try_from(&out).unwrap(), wanted);
            assert_eq!(own_memory(&mut view), None);
            lincomb_into(&mut view, &[(1.0, &z)]).unwrap();
            assert_eq!(Vec::<f32>::try_from(&view).unwrap(), [1.0, -2.0]);
        }
    }

    #[test]
    fn lerp_and_norm_run_over_lists() {
        let averages = [scalar(0.0), scalar(4.0)];
        foreach_lerp(&averages, &[scalar(8.0), scalar(0.0)], 0.25).unwrap();
        assert_eq!(averages.each_ref().map(|t| t.double_value(&[])), [2.0, 3.0]);
        let norm = global_norm(&[scalar(3.0), Tensor::from_slice(&[4.0_f32, 12.0])]).unwrap();
        assert!((norm.double_value(&[]) - 13.0).abs() < 1e-6);
        assert!(!global_norm(&[]).unwrap_err().message.is_empty());
    }

    #[test]
    fn linear_combinations_of_any_length_layout_and_type() {
        let options = (Kind::Double, Device::Cpu);
        let c = [2.0, -1.0, 0.5, 3.0, -0.25, 1.0, 0.125, -4.0, 7.0];
        let z: Vec<Tensor> = (0..9).map(|_| Tensor::randn([3, 40, 50], options)).collect();
        type Case = (fn(&Tensor) -> Tensor, f64);
        let cases: [Case; 4] = [
            (|z| z.to_kind(Kind::Float), 2e-5),
            (|z| z.to_kind(Kind::Float).transpose(0, 2), 2e-5),
            (Tensor::shallow_clone, 1e-13),
            (|z| z.transpose(0, 2), 1e-13),
        ];
        for (case, tolerance) in cases {
            let z: Vec<Tensor> = z.iter().map(case).collect();
            for n in 1..=9 {
                let terms: Vec<_> = c.iter().copied().zip(&z).take(n).collect();
                let mut out = z[0].zeros_like();
                lincomb_into(&mut out, &terms).unwrap();
                let wanted = terms[1..].iter().fold(&z[0] * c[0], |sum, (c, z)| sum + *z * *c);
                let error = f64::try_from((&out - wanted).abs().max()).unwrap();
                assert!(error < tolerance, "{n} terms: {error}");
            }
        }
        let mut out = Tensor::zeros([2], options);
        assert!(lincomb_into(&mut out, &[]).unwrap_err().message.contains("at least one term"));
        let other = Tensor::zeros([3], options);
        let error = lincomb_into(&mut out, &[(1.0, &other), (1.0, &z[0])]).unwrap_err();
        assert!(error.message.contains("lincomb of shapes"), "{error}");
    }

    /// Memory is used again where it may be, and never under another tensor's feet.
    #[test]
    fn a_linear_combination_leaves_shared_memory_alone() {
        let z = Tensor::from_slice(&[1.0_f32, 2.0]);
        let mut out = z.zeros_like();
        let memory = out.data_ptr();
        lincomb_into(&mut out, &[(3.0, &z)]).unwrap();
        assert_eq!(out.data_ptr(), memory);
        let mut shared = z.shallow_clone();
        lincomb_into(&mut shared, &[(3.0, &z), (1.0, &z)]).unwrap();
        assert_eq!(Vec::<f32>::try_from(&z).unwrap(), [1.0, 2.0]);
        assert_eq!(Vec::<f32>::try_from(&shared).unwrap(), [4.0, 8.0]);
        let mut view = z.view([2]);
        lincomb_into(&mut view, &[(3.0, &z)]).unwrap();
        assert_eq!(Vec::<f32>::try_from(&z).unwrap(), [1.0, 2.0]);
    }

    #[test]
    fn only_plain_memory_of_ones_own_is_lent() {
        let options = (Kind::Float, Device::Cpu);
        let mut alone = Tensor::zeros([2, 3], options);
        own_memory(&mut alone).unwrap()[4] = 7.0;
        assert_eq!(alone.double_value(&[1, 1]), 7.0);
        let shared = alone.shallow_clone();
        assert_eq!(own_memory(&mut alone), None);
        drop(shared);
        let view = alone.view([6]);
        assert_eq!(own_memory(&mut alone), None);
        drop(view);
        assert!(own_memory(&mut alone).is_some());
        assert_eq!(own_memory(&mut alone.transpose(0, 1)), None);
        assert_eq!(own_memory(&mut Tensor::zeros([2], (Kind::Double, Device::Cpu))), None);
        assert_eq!(own_memory(&mut Tensor::zeros([2], options).set_requires_grad(true)), None);
        assert_eq!(own_memory(&mut Tensor::new()), None);
        assert!(
            own_memory(&mut Tensor::zeros([0], options)).is_none_or(|memory| memory.is_empty())
        );
    }

    #[test]
    fn autocast_covers_the_body_and_no_more() {
        let a = Tensor::ones([4, 4], (Kind::Float, Device::Cpu));
        assert_eq!(autocast_bf16(false, || a.matmul(&a).kind()), Ok(Kind::BFloat16));
        assert_eq!(a.matmul(&a).kind(), Kind::Float);
        let around = autocast_bf16(false, || {
            autocast_bf16(false, || ()).unwrap();
            a.matmul(&a).kind()
        });
        assert_eq!(around, Ok(Kind::BFloat16), "still on after an inner one");
        assert_eq!(a.matmul(&a).kind(), Kind::Float);
    }

    #[test]
    fn f32_is_rounded_until_it_is_told_not_to_be() {
        assert!(rounds_f32().unwrap(), "libtorch's default, which is what the switch is for");
        keep_full_f32().unwrap();
        assert!(!rounds_f32().unwrap());
    }

    #[test]
    fn a_missing_library_is_named() {
        let error = load_library(Path::new("/nowhere/libtorch_cuda.so")).unwrap_err();
        assert!(error.message.contains("/nowhere/libtorch_cuda.so"), "{error}");
        let refused =
            [("/nowhere/a\0b", "a NUL byte"), ("libm.so.6", "absolute"), ("./a.so", "absolute")];
        for (path, said) in refused {
            let error = load_library(Path::new(path)).unwrap_err();
            assert!(error.message.contains(said), "{error}");
        }
    }
}
