// What tch 0.24 does not expose of libtorch 2.11. A `torch::Tensor*` is what tch holds behind its
// opaque pointer. No exception may cross `extern "C"`: every body catches, and the text waits in a
// thread-local for vdm_last_error().
#include <ATen/ATen.h>
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <dlfcn.h>
#include <malloc.h>
#include <torch/version.h>

#include <algorithm>
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

// A shallow clone shares the tensor, a view its storage; either is seen by its count.
bool unshared(const at::Tensor& tensor) {
  return tensor.defined() && tensor.use_count() == 1 && tensor.storage().use_count() == 1;
}

// Σ c_j z_j over N arrays, from begin to end. The one loop here whose speed is its own.
template <size_t N, typename T>
#if defined(__GNUC__) && !defined(__clang__)
__attribute__((optimize("O3")))
#endif
void combine(T* out, const T* const* z, const T* c, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; i++) {
    T sum = c[0] * z[0][i];
    for (size_t j = 1; j < N; j++) sum += c[j] * z[j][i];
    out[i] = sum;
  }
}

// As many passes over memory as there are groups of four terms.
template <typename T>
void combine_all(at::Tensor& out_tensor, const std::vector<at::Tensor>& terms,
                 const std::vector<T>& c) {
  constexpr decltype(&combine<1, T>) kernels[] = {combine<1, T>, combine<2, T>, combine<3, T>,
                                                  combine<4, T>};
  std::vector<const T*> z;
  for (const auto& term : terms) z.push_back(term.const_data_ptr<T>());
  T* const out = out_tensor.mutable_data_ptr<T>();
  const int64_t numel = out_tensor.numel();
  at::parallel_for(0, numel, at::internal::GRAIN_SIZE, [&](int64_t begin, int64_t end) {
    size_t done = std::min<size_t>(4, z.size());
    kernels[done - 1](out, z.data(), c.data(), begin, end);
    while (done < z.size()) {
      const size_t n = std::min<size_t>(3, z.size() - done);
      const T* arrays[4] = {out};
      T scales[4] = {1};
      std::copy_n(z.begin() + done, n, arrays + 1);
      std::copy_n(c.begin() + done, n, scales + 1);
      kernels[n](out, arrays, scales, begin, end);
      done += n;
    }
  });
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

// f32 on a GPU with all its 24 bits: cuDNN's convolutions would round inputs to TF32's 11 by default,
// and cuBLAS's products do where TORCH_ALLOW_TF32_CUBLAS_OVERRIDE is set.
int vdm_keep_full_f32() {
  return guarded([] {
    at::globalContext().setAllowTF32CuDNN(false);
    at::globalContext().setAllowTF32CuBLAS(false);
  });
}

// Whether either may round; for tests.
int vdm_rounds_f32() {
  const auto& context = at::globalContext();
  return context.allowTF32CuDNN() || context.allowTF32CuBLAS();
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

// Σ c_i z_i into out, whose memory is used if nothing else holds it: one pass for up to four
// contiguous float or double arrays on the CPU, libtorch's own kernels otherwise.
int vdm_lincomb(at::Tensor* out, at::Tensor** terms, const double* c, size_t n) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    const auto z = list(terms, n);
    const auto type = z[0].scalar_type();
    bool flat = z[0].is_cpu() && (type == at::kFloat || type == at::kDouble);
    for (const auto& term : z) {
      TORCH_CHECK(term.sizes() == z[0].sizes(), "lincomb of shapes ", z[0].sizes(), " and ",
                  term.sizes());
      flat = flat && term.options().type_equal(z[0].options()) && term.is_contiguous();
    }
    const bool reusable = unshared(*out) && out->sizes() == z[0].sizes() &&
                          out->options().type_equal(z[0].options()) && out->is_contiguous();
    if (!reusable) *out = at::empty_like(z[0], at::MemoryFormat::Contiguous);
    if (flat && type == at::kFloat) {
      combine_all<float>(*out, z, {c, c + n});
    } else if (flat) {
      combine_all<double>(*out, z, {c, c + n});
    } else {
      at::mul_out(*out, z[0], at::scalar_tensor(c[0], z[0].options().device(at::kCPU)));
      for (size_t i = 1; i < n; i++) out->add_(z[i], c[i]);
    }
  });
}

// The memory of a contiguous f32 tensor on the CPU that is nobody else's; null if it is not one.
float* vdm_own_memory(at::Tensor* tensor) {
  float* memory = nullptr;
  const int status = guarded([&] {
    const bool plain = unshared(*tensor) && tensor->is_cpu() && tensor->is_contiguous() &&
                       tensor->scalar_type() == at::kFloat && !tensor->requires_grad();
    if (plain) memory = tensor->mutable_data_ptr<float>();
  });
  return status == 0 ? memory : nullptr;
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
