// Vectors of float32, as wide as this machine's, and how they are read and written.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#ifdef __AVX2__
#include <immintrin.h>
#endif
#if defined __AVX512BW__ && defined __AVX512VL__
#define MASKED  // reads and writes of some lanes only
#endif

#define ONCE __attribute__((noinline))  // compiled once, not again for each caller: that takes seconds

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
typedef uint8_t B __attribute__((vector_size(L)));

struct bf16 {
    uint16_t bits;
};

H narrowed(V v) {  // rounds to the nearest bfloat16, ties to even; NaN stays NaN
    H h;
#ifdef __AVX512BF16__
    auto bits = _mm512_cvtneps_pbh((__m512)v);
    memcpy(&h, &bits, sizeof h);
#else
    U u = (U)v;
    U rounded = (u + 0x7fff + ((u >> 16) & 1)) >> 16;
    h = __builtin_convertvector(v == v ? rounded : U{} + 0x7fc0, H);
#endif
    return h;
}

V widened(H h) { return (V)(__builtin_convertvector(h, U) << 16); }

V load(const float* p) {
    V v;
    memcpy(&v, p, sizeof v);
    return v;
}

V load(const bf16* p) {
    H h;
    memcpy(&h, p, sizeof h);
    return widened(h);
}

void store(float* p, V v) { memcpy(p, &v, sizeof v); }

void store(bf16* p, V v) {
    H h = narrowed(v);
    memcpy(p, &h, sizeof h);
}

// The numbers of a vector that begins at i of `count` numbers.
int left(int64_t count, int64_t i) { return count - i < L ? (int)(count - i) : L; }

// The lanes from `count` on read as 0, and are not written.
#ifdef MASKED
__mmask16 first(int count) { return (__mmask16)((1u << (count < 0 ? 0 : count)) - 1); }

V load(const float* p, int count) { return count >= L ? load(p) : (V)_mm512_maskz_loadu_ps(first(count), p); }

V load(const bf16* p, int count) {
    return count >= L ? load(p) : widened((H)_mm256_maskz_loadu_epi16(first(count), p));
}

void store(float* p, V v, int count) {
    if (count >= L) return store(p, v);
    _mm512_mask_storeu_ps(p, first(count), (__m512)v);
}

void store(bf16* p, V v, int count) {
    if (count >= L) return store(p, v);
    _mm256_mask_storeu_epi16(p, first(count), (__m256i)narrowed(v));
}
#else
template <class T>
V load(const T* p, int count) {
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
#endif

// v as memory of type T would hold it.
template <class T>
V as(V v) {
    if constexpr (sizeof(T) == 4) return v;
#ifdef __AVX512BF16__
    return widened(narrowed(v));
#else
    U u = (U)v;
    return v == v ? (V)((u + 0x7fff + ((u >> 16) & 1)) & 0xffff0000) : (V)(U{} + 0x7fc00000);
#endif
}

// Some lanes of a vector.
#ifdef MASKED
typedef __mmask16 Lanes;
V only(Lanes on, V v) { return (V)_mm512_maskz_mov_ps(on, (__m512)v); }
V load_only(Lanes on, const float* p, int) { return (V)_mm512_maskz_loadu_ps(on, p); }
V load_only(Lanes on, const bf16* p, int) { return widened((H)_mm256_maskz_loadu_epi16(on, p)); }
#else
typedef I Lanes;
V only(Lanes on, V v) { return (V)((I)v & on); }
template <class T>
V load_only(Lanes on, const T* p, int count) {  // of `count` numbers
    return only(on, load(p, count));
}
#endif

// The lanes of `count` bytes that have a value.
#ifdef MASKED
Lanes equal(const uint8_t* p, int value, int count) {
    const __mmask16 all = count >= L ? 0xffff : first(count);
    return _mm_mask_cmpeq_epi8_mask(all, _mm_maskz_loadu_epi8(all, p), _mm_set1_epi8((char)value));
}

void store_bytes(uint8_t* p, I v, int count) {
    _mm_mask_storeu_epi8(p, count >= L ? 0xffff : first(count), _mm512_cvtepi32_epi8((__m512i)v));
}
#else
Lanes equal(const uint8_t* p, int value) {
#if defined __AVX2__ && !defined __AVX512F__
    return (I)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i*)p)) == value;
#else
    B bytes;
    memcpy(&bytes, p, L);
    return __builtin_convertvector(bytes, I) == value;
#endif
}

Lanes equal(const uint8_t* p, int value, int count) {
    if (count >= L) return equal(p, value);
    uint8_t part[L];
    memset(part, 0xff, L);
    memcpy(part, p, count);
    return equal(part, value);
}

void store_bytes(uint8_t* p, I v, int count) {
    B bytes = __builtin_convertvector(v, B);
    if (count >= L)
        memcpy(p, &bytes, L);
    else
        memcpy(p, &bytes, count);
}
#endif

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

}  // namespace
