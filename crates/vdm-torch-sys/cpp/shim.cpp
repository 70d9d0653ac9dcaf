// What tch 0.24 does not expose of libtorch 2.11. A `torch::Tensor*` is what tch holds behind its
// opaque pointer. No exception may cross `extern "C"`: every body catches, and the text waits in a
// thread-local for vdm_last_error().
// Operators one by one: ATen/ATen.h, which has all of them, takes 8 s to read.
#include <ATen/Context.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>
#include <ATen/core/Tensor.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_foreach_lerp.h>
#include <ATen/ops/_foreach_norm.h>
#include <ATen/ops/_fused_adamw.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/stack.h>
#include <dlfcn.h>
#include <torch/version.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <vector>

static_assert(TORCH_VERSION_MAJOR == 2 && TORCH_VERSION_MINOR == 11,
              "the shim is written for libtorch 2.11; run `cargo xtask doctor`");

// From ATen/autocast_mode.h, which would read ATen/ATen.h.
namespace at::autocast {
TORCH_API bool is_autocast_enabled(at::DeviceType device_type);
TORCH_API void set_autocast_enabled(at::DeviceType device_type, bool enabled);
TORCH_API at::ScalarType get_autocast_dtype(at::DeviceType device_type);
TORCH_API void set_autocast_dtype(at::DeviceType device_type, at::ScalarType dtype);
TORCH_API int increment_nesting();
TORCH_API int decrement_nesting();
TORCH_API void clear_cache();
}  // namespace at::autocast

namespace {
thread_local std::string last_error;

// Without memory for the text there is none.
void remember(const char* text) noexcept {
  try {
    last_error = text;
  } catch (...) {
    last_error.clear();
  }
}

template <class Body>
int guarded(Body body) noexcept {
  try {
    body();
    return 0;
  } catch (const c10::Error& e) {
    remember(e.what_without_backtrace());
  } catch (const std::exception& e) {
    remember(e.what());
  } catch (...) {
    remember("an exception of unknown type");
  }
  return -1;
}

std::vector<at::Tensor> list(at::Tensor** tensors, size_t n) {
  std::vector<at::Tensor> out;
  out.reserve(n);
  for (size_t i = 0; i < n; i++) out.push_back(*tensors[i]);
  return out;
}

// Whether memory holds the values as they are: it may hold their negatives or conjugates, or nothing for
// zeros.
bool plain(const at::Tensor& tensor) {
  return tensor.defined() && tensor.layout() == at::kStrided && !tensor.is_neg() &&
         !tensor.is_conj() && !tensor._is_zerotensor() && !tensor.is_quantized();
}

// The same places in memory for the same components. The stride of a dimension of one is arbitrary.
bool same_places(const at::Tensor& one, const at::Tensor& other) {
  if (one.sizes() != other.sizes()) return false;
  for (int64_t d = 0; d < one.dim(); d++) {
    if (one.size(d) > 1 && one.stride(d) != other.stride(d)) return false;
  }
  return true;
}

// A fused kernel walks the memory of all lists by the count of the parameter's components, whatever
// theirs are.
void check_list(const char* name, const std::vector<at::Tensor>& tensors,
                const std::vector<at::Tensor>& params) {
  for (size_t i = 0; i < tensors.size(); i++) {
    const auto &tensor = tensors[i], &param = params[i];
    TORCH_CHECK(plain(tensor), name, " ", i, " is no plain tensor in memory");
    TORCH_CHECK(tensor.sizes() == param.sizes(), name, " ", i, " has shape ", tensor.sizes(),
                ", its parameter ", param.sizes());
    TORCH_CHECK(tensor.scalar_type() == params[0].scalar_type(), name, " ", i, " is ",
                tensor.scalar_type(), ", parameter 0 ", params[0].scalar_type());
    TORCH_CHECK(tensor.device() == params[0].device(), name, " ", i, " is on ", tensor.device(),
                ", parameter 0 on ", params[0].device());
    TORCH_CHECK(tensor.is_non_overlapping_and_dense() && same_places(tensor, param), name, " ", i,
                " has strides ", tensor.strides(), ", its parameter ", param.strides(),
                ": both must be dense and alike");
  }
}

// One f32 that a kernel reads by its address.
void check_scalar(const char* name, const at::Tensor& scalar, const at::Tensor& param) {
  TORCH_CHECK(plain(scalar) && scalar.scalar_type() == at::kFloat && scalar.numel() == 1, name,
              " is not one f32");
  TORCH_CHECK(scalar.device() == param.device(), name, " is on ", scalar.device(),
              ", parameter 0 on ", param.device());
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
  return guarded([&] {
    // Its constructors run here, and may throw.
    if (dlopen(path, RTLD_NOW | RTLD_GLOBAL)) return;
    const char* why = dlerror();
    throw std::runtime_error(why ? why : "dlopen failed without a message");
  });
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
int vdm_rounds_f32(int* rounds) {
  return guarded([&] {
    const auto& context = at::globalContext();
    *rounds = context.allowTF32CuDNN() || context.allowTF32CuBLAS();
  });
}

int vdm_fused_adamw(at::Tensor** params, at::Tensor** grads, at::Tensor** exp_avgs,
                    at::Tensor** exp_avg_sqs, at::Tensor** steps, size_t n, double lr, double beta1,
                    double beta2, double weight_decay, double eps, at::Tensor* grad_scale,
                    at::Tensor* found_inf) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    TORCH_CHECK(n > 0, "there are no parameters");
    const auto p = list(params, n), g = list(grads, n), m = list(exp_avgs, n),
               v = list(exp_avg_sqs, n), s = list(steps, n);
    TORCH_CHECK(p[0].defined() && p[0].is_floating_point(), "parameter 0 has no floating point type");
    check_list("parameter", p, p);
    check_list("gradient", g, p);
    check_list("first moment", m, p);
    check_list("second moment", v, p);
    for (const auto& step : s) check_scalar("a step", step, p[0]);
    check_scalar("grad_scale", *grad_scale, p[0]);
    check_scalar("found_inf", *found_inf, p[0]);
    at::_fused_adamw_(p, g, m, v, {}, s, lr, beta1, beta2, weight_decay, eps, /*amsgrad=*/false,
                      /*maximize=*/false, *grad_scale, *found_inf);
  });
}

int vdm_foreach_lerp(at::Tensor** averages, at::Tensor** values, size_t n, double weight) {
  return guarded([&] {
    at::NoGradGuard no_grad;
    const auto a = list(averages, n), v = list(values, n);
    for (size_t i = 0; i < n; i++) {
      // One value would otherwise do for all components of an average.
      TORCH_CHECK(a[i].defined() && v[i].defined() && a[i].sizes() == v[i].sizes(), "value ", i,
                  " has shape ", v[i].sizes(), ", its average ", a[i].sizes());
    }
    at::_foreach_lerp_(a, v, weight);
  });
}

// Drops gradients rather than zeroing them: the next backward pass then hands its own tensors over
// instead of adding to zeros.
int vdm_clear_gradients(at::Tensor** params, size_t n) {
  return guarded([&] {
    for (size_t i = 0; i < n; i++) {
      // All undefined tensors are one object, which would be changed.
      TORCH_CHECK(params[i]->defined(), "parameter ", i, " is undefined");
      params[i]->mutable_grad().reset();
    }
  });
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
      flat = flat && plain(term) && term.options().type_equal(z[0].options()) &&
             term.is_contiguous();
    }
    const bool reusable = unshared(*out) && plain(*out) && out->sizes() == z[0].sizes() &&
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
    const bool lent = unshared(*tensor) && plain(*tensor) && tensor->is_cpu() &&
                      tensor->is_contiguous() && tensor->scalar_type() == at::kFloat &&
                      !tensor->requires_grad();
    if (lent) memory = tensor->mutable_data_ptr<float>();
  });
  return status == 0 ? memory : nullptr;
}

// Autocast to bf16 on one device type; what was before is left for vdm_autocast_back.
int vdm_autocast_bf16(int cuda, int* was_on, int* was_type) {
  return guarded([&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    *was_on = at::autocast::is_autocast_enabled(device);
    *was_type = static_cast<int>(at::autocast::get_autocast_dtype(device));
    at::autocast::set_autocast_dtype(device, at::kBFloat16);
    at::autocast::set_autocast_enabled(device, true);
    at::autocast::increment_nesting();
  });
}

int vdm_autocast_back(int cuda, int was_on, int was_type) {
  return guarded([&] {
    const auto device = cuda ? at::kCUDA : at::kCPU;
    if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
    at::autocast::set_autocast_enabled(device, was_on != 0);
    at::autocast::set_autocast_dtype(device, static_cast<at::ScalarType>(was_type));
  });
}
}
