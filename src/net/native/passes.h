// The passes of the normalisation through one image, whose channels are last in memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cmath>
#include <cstring>

// One copy of a loop for each width of vector registers; the processor's is taken when the program starts.
#if defined(__x86_64__) && defined(__GNUC__) && !defined(__clang__) && __GNUC__ >= 12
#define FOR_EVERY_WIDTH __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define FOR_EVERY_WIDTH
#endif

namespace {

inline double exponential(double x) { return std::exp(x); }

// 2^k e^r with x = k ln 2 + r, |r| <= ln 2 / 2, by Taylor's series to r^7, whose next term is below 6e-9; in words that a compiler makes
// vectors of.
inline float exponential(float x) {
  x = x < -87.0f ? -87.0f : (x > 88.0f ? 88.0f : x);
  // The bits of 3 * 2^22 + k end with those of k.
  const float shifted = x * 1.44269504f + 12582912.0f;
  const float k = shifted - 12582912.0f;
  // ln 2 in two parts, the first of which times k is exact.
  const float r = (x - k * 0.693145752f) - k * 1.42860677e-6f;
  float sum = 1.0f / 5040.0f;
  sum = sum * r + 1.0f / 720.0f;
  sum = sum * r + 1.0f / 120.0f;
  sum = sum * r + 1.0f / 24.0f;
  sum = sum * r + 1.0f / 6.0f;
  sum = sum * r + 0.5f;
  sum = sum * r + 1.0f;
  sum = sum * r + 1.0f;
  int32_t bits;
  std::memcpy(&bits, &shifted, sizeof bits);
  bits = (bits << 23) + 0x3f800000;
  float power;
  std::memcpy(&power, &bits, sizeof power);
  return sum * power;
}

// One image's pixels times channels, in memory in this order.
struct Shape {
  int64_t pixels, channels, groups;
  bool silu;
  // What is left by dropout is multiplied by this.
  double kept;
};

// Sums over the pixels of x - its first pixel, and of its square, for each channel, in blocks whose sums are short.
template <typename T>
FOR_EVERY_WIDTH void moments(const T* x, const Shape& shape, T* block, double* sums) {
  const int64_t channels = shape.channels;
  std::fill(sums, sums + 2 * channels, 0.0);
  for (int64_t first = 0; first < shape.pixels; first += 32) {
    const int64_t end = std::min(first + 32, shape.pixels);
    std::fill(block, block + 2 * channels, T(0));
    for (int64_t i = first; i < end; i++) {
      const T* pixel = x + i * channels;
      for (int64_t c = 0; c < channels; c++) {
        const T d = pixel[c] - x[c];
        block[c] += d;
        block[channels + c] += d * d;
      }
    }
    for (int64_t c = 0; c < 2 * channels; c++) sums[c] += block[c];
  }
}

// y = silu(scale x + shift), with dropout.
template <typename T>
FOR_EVERY_WIDTH void apply(const T* x, const T* scale, const T* shift, const uint8_t* mask, const Shape& shape, T* y) {
  const int64_t channels = shape.channels;
  const T kept = T(shape.kept);
  for (int64_t i = 0; i < shape.pixels; i++, x += channels, y += channels) {
    if (shape.silu) {
      for (int64_t c = 0; c < channels; c++) {
        const T u = x[c] * scale[c] + shift[c];
        y[c] = u / (T(1) + exponential(-u));
      }
    } else {
      for (int64_t c = 0; c < channels; c++) y[c] = x[c] * scale[c] + shift[c];
    }
    if (mask) {
      for (int64_t c = 0; c < channels; c++) y[c] *= kept * T(mask[c]);
      mask += channels;
    }
  }
}

// gx = dy/du gy, u = scale x + shift, and its sums over the pixels, plain and times x - its first pixel.
template <typename T>
FOR_EVERY_WIDTH void gradients(
    const T* x, const T* gy, const T* scale, const T* shift, const uint8_t* mask, const Shape& shape, T* gx, T* block, double* sums) {
  const int64_t channels = shape.channels;
  const T kept = T(shape.kept);
  const T* reference = x;
  std::fill(sums, sums + 2 * channels, 0.0);
  for (int64_t first = 0; first < shape.pixels; first += 32) {
    const int64_t end = std::min(first + 32, shape.pixels);
    std::fill(block, block + 2 * channels, T(0));
    for (int64_t i = first; i < end; i++, x += channels, gy += channels, gx += channels) {
      if (mask) {
        for (int64_t c = 0; c < channels; c++) gx[c] = gy[c] * kept * T(mask[c]);
        mask += channels;
      } else {
        std::memcpy(gx, gy, channels * sizeof(T));
      }
      if (shape.silu) {
        for (int64_t c = 0; c < channels; c++) {
          const T u = x[c] * scale[c] + shift[c];
          const T s = T(1) / (T(1) + exponential(-u));
          gx[c] *= s * (T(1) + u * (T(1) - s));
        }
      }
      for (int64_t c = 0; c < channels; c++) {
        block[c] += gx[c];
        block[channels + c] += gx[c] * (x[c] - reference[c]);
      }
    }
    for (int64_t c = 0; c < 2 * channels; c++) sums[c] += block[c];
  }
}

// gx = of_g gx + of_x x + constant.
template <typename T>
FOR_EVERY_WIDTH void combine(const T* x, const T* of_g, const T* of_x, const T* constant, const Shape& shape, T* gx) {
  const int64_t channels = shape.channels;
  for (int64_t i = 0; i < shape.pixels; i++, x += channels, gx += channels) {
    for (int64_t c = 0; c < channels; c++) gx[c] = of_g[c] * gx[c] + (of_x[c] * x[c] + constant[c]);
  }
}

}  // namespace
