// What tch 0.24 does not expose of libtorch 2.11. A `torch::Tensor*` is what tch holds behind its
// opaque pointer. No exception may cross `extern "C"`: every body catches, and the text waits in a
// thread-local for vdm_last_error().
#include <ATen/ATen.h>
#include <ATen/autocast_mode.h>
#include <dlfcn.h>
#include <malloc.h>
#include <torch/version.h>

#include <string>
#include <vector>

static_assert(TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR == 11,
              "the shim is written for libtorch 2.11; run `cargo xtask doctor`");

namespace {
thread_local std::string last_error;

template <class Body>
int guarded(Body body) {
  try {
    body();
    return 0;
  } catch (const std::exception& e) {
    last_error = e.what();
  } catch (...) {
    last_error = "an exception of unknown type";
  }
  return -1;
}

std::vector<at::Tensor> list(at::Tensor** tensors, size_t n) {
  std::vector<at::Tensor> out;
  out.reserve(n);
  for (size_t i = 0; i < n; i++) out.push_back(*tensors[i]);
  return out;
}
}  // namespace

extern "C" {

const char* vdm_last_error() { return last_error.c_str(); }

// Registers the CUDA backend with a process that was linked against the CPU libraries alone.
int vdm_load_library(const char* path) {
  if (dlopen(path, RTLD_NOW | RTLD_GLOBAL)) return 0;
  const char* why = dlerror();
  last_error = why ? why : "dlopen failed without a message";
  return -1;
}

// Keeps freed activations for reuse: by default glibc unmaps every large block at once and pays
// page faults for it again in the next layer.
void vdm_keep_freed_memory() {
  // Older glibc refuses thresholds above 32 MiB.
  if (!mallopt(M_MMAP_THRESHOLD, 1 << 30)) mallopt(M_MMAP_THRESHOLD, 32 << 20);
  mallopt(M_TRIM_THRESHOLD, 2147483647);
  mallopt(M_TOP_PAD, 64 << 20);
}

int vdm_fused_adamw(at::Tensor** params, at::Tensor** grads, at::Tensor** exp_avgs,
                    at::Tensor** exp_avg_sqs, at::Tensor** steps, size_t n, double lr, double beta1,
                    double beta2, double weight_decay, double eps, at::Tensor* grad_scale,
                    at::Tensor* found_inf) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    at::_fused_adamw_(list(params, n), list(grads, n), list(exp_avgs, n), list(exp_avg_sqs, n), {},
                      list(steps, n), lr, beta1, beta2, weight_decay, eps, /*amsgrad=*/false,
                      /*maximize=*/false, *grad_scale, *found_inf);
  });
}

int vdm_foreach_lerp(at::Tensor** averages, at::Tensor** values, size_t n, double weight) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    at::_foreach_lerp_(list(averages, n), list(values, n), weight);
  });
}

// Drops gradients rather than zeroing them: the next backward pass then hands its own tensors over
// instead of adding to zeros.
void vdm_clear_gradients(at::Tensor** params, size_t n) {
  for (size_t i = 0; i < n; i++) params[i]->mutable_grad().reset();
}

// Euclidean norm over all tensors, as a 0-dimensional tensor on their device.
int vdm_global_norm(at::Tensor** tensors, size_t n, at::Tensor** out) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    *out = new at::Tensor(at::stack(at::_foreach_norm(list(tensors, n), 2)).norm());
  });
}

// Autocast to bf16 on one device type, on or off.
int vdm_autocast_bf16(int cuda, int on) {
  return guarded([&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    if (on) {
      at::autocast::set_autocast_dtype(device, at::kBFloat16);
      at::autocast::increment_nesting();
    } else if (at::autocast::decrement_nesting() == 0) {
      at::autocast::clear_cache();
    }
    at::autocast::set_autocast_enabled(device, on != 0);
  });
}
}
