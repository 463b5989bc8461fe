// Vectors of float32, as wide as this machine's, and how they are read and written.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#ifdef __AVX512F__
#include <immintrin.h>
#endif

namespace {

#if defined __AVX512F__
constexpr int L = 16;  // lanes
#elif defined __AVX__
constexpr int L = 8;
#else
constexpr int L = 4;
#endif
typedef float V __attribute__((vector_size(4 * L)));
typedef int32_t I __attribute__((vector_size(4 * L)));
typedef uint32_t U __attribute__((vector_size(4 * L)));
typedef uint16_t H __attribute__((vector_size(2 * L)));

struct bf16 {
    uint16_t bits;
};

V load(const float* p) {
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}

V load(const bf16* p) {
    H h;
    memcpy(&h, p, sizeof h);
    return (V)(__builtin_convertvector(h, U) << 16);
}

void store(float* p, V v) { memcpy(p, &v, sizeof v); }

void store(bf16* p, V v) {  // rounds to nearest, ties to even; NaN stays NaN
#ifdef __AVX512BF16__
    auto h = _mm512_cvtneps_pbh((__m512)v);
#else
    U u = (U)v;
    U rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    H h = __builtin_convertvector(v == v ? rounded : U{} + 0x7fc0, H);
#endif
    memcpy(p, &h, 2 * L);
}

typedef uint8_t B __attribute__((vector_size(L)));
typedef uint8_t B16 __attribute__((vector_size(16)));

V bytes_to_floats(B bytes) {
#ifdef __AVX512F__
    __m128i b;
    memcpy(&b, &bytes, sizeof b);
    return (V)_mm512_cvtepi32_ps(_mm512_cvtepu8_epi32(b));
#else
    V v;
    float f[L];
    for (int i = 0; i < L; i++) f[i] = bytes[i];
    memcpy(&v, f, sizeof v);
    return v;
#endif
}

template <class T>
V load(const T* p, int count) {  // lanes from `count` on are 0
    if (count >= L) return load(p);
    T part[L] = {};
    if (count > 0) memcpy(part, p, count * sizeof(T));
    return load(part);
}

template <class T>
void store(T* p, V v, int count) {
    if (count >= L) return store(p, v);
    T part[L];
    store(part, v);
    memcpy(p, part, count * sizeof(T));
}

// Not v > 0 ? v : 0, so that NaN passes, as in PyTorch.
V relu(V v) { return v <= 0.0f ? V{} : v; }

// s^-1/2. bfloat16 keeps 8 bits, and the processor's estimate has 14, so only float32 needs a Newton step.
template <class T>
V rsqrt(V s) {
#ifdef __AVX512F__
    V r = (V)_mm512_rsqrt14_ps((__m512)s);
    return sizeof(T) == 2 ? r : r * (1.5f - 0.5f * (s * r) * r);
#else
    float r[L];
    store(r, s);
    for (float& one : r) one = 1.0f / sqrtf(one);
    return load(r);
#endif
}

struct Powers {
    V p75, p50;  // s^-3/4 and s^-1/2
};

template <class T>
Powers powers(V s) {
    V r = rsqrt<T>(s);
    V p = r * (r * rsqrt<T>(r));
    I infinite = s == INFINITY;  // where a Newton step would turn 0 into NaN
    return {infinite ? V{} : p, infinite ? V{} : r};
}

I lanes() {
    I lane{};
    for (int i = 0; i < L; i++) lane[i] = i;
    return lane;
}

// The numbers j places after those of `at`, j = -L .. L; `before` and `after` are the vectors next to it.
V shifted(V before, V at, V after, int j) {
    const I lane = lanes();
    return j < 0 ? __builtin_shuffle(before, at, lane + (L + j)) : __builtin_shuffle(at, after, lane + j);
}

template <int N>
V window(V before, V at, V after, int half) {
    V sum = at;
    if constexpr (N) {
#pragma GCC unroll 8
        for (int j = 1; j <= N / 2; j++) sum += shifted(before, at, after, -j) + shifted(before, at, after, j);
    } else {
        for (int j = 1; j <= half; j++) sum += shifted(before, at, after, -j) + shifted(before, at, after, j);
    }
    return sum;
}

}  // namespace
