// Group normalisation, SiLU and dropout as one operation for images on a CPU, with a gradient that keeps the input alone.
//
// LibTorch's own three keep three images for the gradient and pass them through memory nine times forwards and backwards; this one keeps
// one and passes it through four times. It is LibTorch's own three again on other devices, and where the gradient itself is to be
// differentiated.

#include <ATen/Parallel.h>
#include <torch/csrc/autograd/custom_function.h>
#include <torch/csrc/autograd/autograd.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "passes.h"

namespace {

using torch::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::variable_list;

constexpr double EPSILON = 1e-6;

// u = scale x + shift of the channels from `first` on, whose group has this mean and 1 / standard deviation.
template <typename T>
void affine(const T* weight, const T* bias, const double* statistics, int64_t first, int64_t count, T* scale, T* shift) {
  for (int64_t c = first; c < first + count; c++) {
    const double factor = weight[c] * statistics[1];
    scale[c] = T(factor);
    shift[c] = T(bias[c] - statistics[0] * factor);
  }
}

// A tensor with its channels last in memory.
Tensor pixels_of(const Tensor& x) { return x.contiguous(at::MemoryFormat::ChannelsLast); }

Shape shape_of(const Tensor& x, int64_t groups, bool silu, double kept) { return {x.size(2) * x.size(3), x.size(1), groups, silu, kept}; }

// y, and the mean and 1 / standard deviation of each image's groups [B, groups, 2] in f64.
template <typename T>
std::pair<Tensor, Tensor> forward(const Tensor& x, const Tensor& weight, const Tensor& bias, const uint8_t* mask, const Shape& shape) {
  const auto [pixels, channels, groups, silu, kept] = shape;
  const int64_t size = pixels * channels, each = channels / groups;
  Tensor y = at::empty_like(x), statistics = at::empty({x.size(0), groups, 2}, at::kDouble);
  const T *from = x.const_data_ptr<T>(), *w = weight.const_data_ptr<T>(), *b = bias.const_data_ptr<T>();
  T* to = y.data_ptr<T>();
  double* kept_statistics = statistics.data_ptr<double>();
  at::parallel_for(0, x.size(0), 1, [&, pixels = pixels, channels = channels, groups = groups](int64_t first, int64_t end) {
    std::vector<T> block(2 * channels), scale(channels), shift(channels);
    std::vector<double> sums(2 * channels);
    for (int64_t i = first; i < end; i++) {
      const T* image = from + i * size;
      moments(image, shape, block.data(), sums.data());
      for (int64_t g = 0; g < groups; g++) {
        double mean = 0, square = 0;
        for (int64_t c = g * each; c < (g + 1) * each; c++) mean += image[c] + sums[c] / pixels;
        mean /= each;
        for (int64_t c = g * each; c < (g + 1) * each; c++) {
          const double off = sums[c] / pixels, from_mean = image[c] + off - mean;
          square += sums[channels + c] / pixels - off * off + from_mean * from_mean;
        }
        const double rstd = 1 / std::sqrt(std::max(square / each, 0.0) + EPSILON);
        double* of = kept_statistics + 2 * (i * groups + g);
        of[0] = mean;
        of[1] = rstd;
        affine(w, b, of, g * each, each, scale.data(), shift.data());
      }
      apply(image, scale.data(), shift.data(), mask ? mask + i * size : nullptr, shape, to + i * size);
    }
  });
  return {y, statistics};
}

// Gradients of the image, and of weight and bias as rows [B, 2, channels] in f64 whose sum they are.
template <typename T>
std::pair<Tensor, Tensor> backward(
    const Tensor& x, const Tensor& gy, const Tensor& weight, const Tensor& bias, const uint8_t* mask, const Tensor& statistics,
    const Shape& shape) {
  const int64_t pixels = shape.pixels, channels = shape.channels, groups = shape.groups;
  const int64_t size = pixels * channels, each = channels / groups;
  Tensor gx = at::empty_like(x), rows = at::empty({x.size(0), 2, channels}, at::kDouble);
  const T *from = x.const_data_ptr<T>(), *g_from = gy.const_data_ptr<T>(), *w = weight.const_data_ptr<T>(), *b = bias.const_data_ptr<T>();
  T* to = gx.data_ptr<T>();
  double* of_parameters = rows.data_ptr<double>();
  const double* all_statistics = statistics.const_data_ptr<double>();
  at::parallel_for(0, x.size(0), 1, [&](int64_t first, int64_t end) {
    std::vector<T> block(2 * channels), scale(channels), shift(channels), of_x(channels), constant(channels);
    std::vector<double> sums(2 * channels);
    for (int64_t i = first; i < end; i++) {
      const T* image = from + i * size;
      for (int64_t g = 0; g < groups; g++) {
        affine(w, b, all_statistics + 2 * (i * groups + g), g * each, each, scale.data(), shift.data());
      }
      gradients(
          image, g_from + i * size, scale.data(), shift.data(), mask ? mask + i * size : nullptr, shape, to + i * size, block.data(),
          sums.data());
      double *of_weight = of_parameters + 2 * i * channels, *of_bias = of_weight + channels;
      for (int64_t g = 0; g < groups; g++) {
        const double mean = all_statistics[2 * (i * groups + g)], rstd = all_statistics[2 * (i * groups + g) + 1];
        // Of w du/dx's two means over the group: plain, and times the normalised x.
        double plain = 0, along = 0;
        for (int64_t c = g * each; c < (g + 1) * each; c++) {
          of_bias[c] = sums[c];
          of_weight[c] = (sums[channels + c] + (image[c] - mean) * sums[c]) * rstd;
          plain += w[c] * of_bias[c];
          along += w[c] * of_weight[c];
        }
        const double of_mean = plain / (each * pixels), slope = along / (each * pixels) * rstd;
        for (int64_t c = g * each; c < (g + 1) * each; c++) {
          of_x[c] = T(-slope * rstd);
          constant[c] = T((slope * mean - of_mean) * rstd);
        }
      }
      combine(image, scale.data(), of_x.data(), constant.data(), shape, to + i * size);
    }
  });
  return {gx, rows};
}

// The same by LibTorch's operations.
Tensor composed(const Tensor& x, const Tensor& weight, const Tensor& bias, const Tensor& mask, int64_t groups, bool silu, double kept) {
  Tensor y = at::group_norm(x, groups, weight, bias, EPSILON);
  if (silu) y = at::silu(y);
  return mask.defined() ? y * (mask.to(y.scalar_type()) * kept) : y;
}

struct Norm : torch::autograd::Function<Norm> {
  static Tensor forward(
      AutogradContext* context, const Tensor& x, const Tensor& weight, const Tensor& bias, const std::optional<Tensor>& mask,
      int64_t groups, bool silu, double kept) {
    // The loops trust these.
    TORCH_CHECK(groups > 0 && x.size(1) % groups == 0, "norm: ", x.size(1), " channels in ", groups, " groups");
    for (const Tensor& parameter : {weight, bias}) {
      const bool alike = parameter.is_cpu() && parameter.is_contiguous() && parameter.scalar_type() == x.scalar_type();
      TORCH_CHECK(alike && parameter.numel() == x.size(1), "norm: a parameter that does not fit");
    }
    const bool bytes_of_x = !mask || (mask->is_cpu() && mask->scalar_type() == at::kByte && mask->sizes() == x.sizes());
    TORCH_CHECK(bytes_of_x, "norm: a mask that does not fit");
    const Tensor image = pixels_of(x), dropped = mask ? pixels_of(*mask) : Tensor();
    const uint8_t* bytes = dropped.defined() ? dropped.const_data_ptr<uint8_t>() : nullptr;
    const Shape shape = shape_of(image, groups, silu, kept);
    auto [y, statistics] = image.scalar_type() == at::kFloat ? ::forward<float>(image, weight, bias, bytes, shape)
                                                             : ::forward<double>(image, weight, bias, bytes, shape);
    context->save_for_backward({x, weight, bias, dropped, statistics});
    context->saved_data["groups"] = groups;
    context->saved_data["silu"] = silu;
    context->saved_data["kept"] = kept;
    return y;
  }

  static variable_list backward(AutogradContext* context, variable_list gradients) {
    const auto saved = context->get_saved_variables();
    const Tensor &x = saved[0], &weight = saved[1], &bias = saved[2], &mask = saved[3];
    const int64_t groups = context->saved_data["groups"].toInt();
    const bool silu = context->saved_data["silu"].toBool();
    const double kept = context->saved_data["kept"].toDouble();
    Tensor of_x, of_weight, of_bias;
    if (at::GradMode::is_enabled()) {
      variable_list inputs;
      for (const Tensor& input : {x, weight, bias}) {
        if (input.requires_grad()) inputs.push_back(input);
      }
      auto found = torch::autograd::grad({composed(x, weight, bias, mask, groups, silu, kept)}, inputs, {gradients[0]}, true, true);
      auto next = found.begin();
      if (x.requires_grad()) of_x = *next++;
      if (weight.requires_grad()) of_weight = *next++;
      if (bias.requires_grad()) of_bias = *next++;
    } else {
      const Tensor image = pixels_of(x), gy = pixels_of(gradients[0]);
      const uint8_t* bytes = mask.defined() ? mask.const_data_ptr<uint8_t>() : nullptr;
      const Shape shape = shape_of(image, groups, silu, kept);
      auto [gx, rows] = image.scalar_type() == at::kFloat ? ::backward<float>(image, gy, weight, bias, bytes, saved[4], shape)
                                                          : ::backward<double>(image, gy, weight, bias, bytes, saved[4], shape);
      of_x = gx;
      if (weight.requires_grad() || bias.requires_grad()) {
        const Tensor sums = rows.sum(0).to(weight.scalar_type());
        of_weight = sums[0];
        of_bias = sums[1];
      }
    }
    return {of_x, of_weight, of_bias, Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

thread_local std::string complaint;

}  // namespace

extern "C" {

// silu(GroupNorm(x)) with dropout: x [B, channels, H, W], mask null or bytes of its shape, 1 for what is kept. Null on an error, which
// `score_sde_complaint` tells.
torch::Tensor* score_sde_norm(
    const Tensor* x, const Tensor* weight, const Tensor* bias, const Tensor* mask, int64_t groups, bool silu, double kept) {
  try {
    const auto dropped = mask ? std::optional(*mask) : std::nullopt;
    const bool ours = x->is_cpu() && x->dim() == 4 && (x->scalar_type() == at::kFloat || x->scalar_type() == at::kDouble);
    if (ours) return new Tensor(Norm::apply(*x, *weight, *bias, dropped, groups, silu, kept));
    return new Tensor(composed(*x, *weight, *bias, dropped.value_or(Tensor()), groups, silu, kept));
  } catch (const c10::Error& error) {
    complaint = error.what_without_backtrace();
    return nullptr;
  } catch (const std::exception& error) {
    complaint = error.what();
    return nullptr;
  }
}

const char* score_sde_complaint() { return complaint.c_str(); }
}
