// Fast CPU kernels for operations that PyTorch does slowly: response norms, the update rule, views, dropout masks.
// cpu_build.py compiles this file on the machine that runs it, and cpu.py calls it. reference.py computes the same.
//
// Numbers are float32 or bfloat16 in memory, and float32 in registers. Pictures are N H W C (channels-last).

#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>
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

enum { NONE, BEFORE, AFTER };  // where the ReLU is applied: never, before or after the norm

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

struct Across {
    int64_t rows;  // pixels
    int channels, towers, n;
    float k, a, beta;
    int relu, threads;
};

template <class T, int N, class F>
void sums(const T* x, int maps, const Across& o, F&& each) {  // each(first map, inputs, sums of their windows)
    auto at = [&](int c) {
        V v = load(x + c, maps - c);
        return o.relu == BEFORE ? relu(v) : v;
    };
    V before{}, b = at(0);
    for (int c = 0; c < maps; c += L) {
        V next = c + L < maps ? at(c + L) : V{};
        each(c, b, window<N>(before, b * b, next * next, o.n / 2));
        before = b * b;
        b = next;
    }
}

template <class T, int N>
void norm_forward(const T* x, T* y, const Across& o) {
    const int maps = o.channels / o.towers;
#pragma omp parallel for num_threads(o.threads) schedule(static)
    for (int64_t row = 0; row < o.rows; row++)
        for (int64_t first = row * o.channels; first < (row + 1) * o.channels; first += maps)
            sums<T, N>(x + first, maps, o, [&](int c, V b, V sum) {
                V v = b * powers<T>(o.k + o.a * sum).p75;
                store(y + first + c, o.relu == AFTER ? relu(v) : v, maps - c);
            });
}

template <class T, int N>
void norm_backward(const T* g, const T* x, T* dx, const Across& o) {
    const int maps = o.channels / o.towers, parts = (maps + L - 1) / L;
    const float c2 = 2 * o.a * o.beta;
#pragma omp parallel num_threads(o.threads)
    {
        V* direct = (V*)aligned_alloc(sizeof(V), sizeof(V) * (2 * parts + 2));
        V* u = direct + parts + 1;  // with a vector of zeros on each side
        u[-1] = u[parts] = V{};
#pragma omp for schedule(static)
        for (int64_t row = 0; row < o.rows; row++)
            for (int64_t first = row * o.channels; first < (row + 1) * o.channels; first += maps) {
                sums<T, N>(x + first, maps, o, [&](int c, V b, V sum) {
                    Powers s = powers<T>(o.k + o.a * sum);
                    V slope = load(g + first + c, maps - c);
                    if (o.relu == AFTER) slope = b <= 0.0f ? V{} : slope;
                    direct[c / L] = slope * s.p75;
                    V through = direct[c / L] * b * (s.p50 * s.p50);
                    u[c / L] = load((const float*)&through, maps - c);  // 0 beyond the last map, even if k is 0
                });
                for (int i = 0, c = 0; i < parts; i++, c += L) {
                    V b = load(x + first + c, maps - c);
                    V seen = o.relu == BEFORE ? relu(b) : b;
                    V d = direct[i] - c2 * seen * window<N>(u[i - 1], u[i], u[i + 1], o.n / 2);
                    store(dx + first + c, o.relu == BEFORE ? (b <= 0.0f ? V{} : d) : d, maps - c);
                }
            }
        free(direct);
    }
}

struct Within {
    int64_t pictures;
    int height, width, channels, n;
    float k, a, beta;
    int threads;
};

// A thread's workspace: planes of L maps. Zeros pad `wide` on the left and right, and `rows` above and below.
struct Planes {
    int height, width, half;
    std::vector<float> memory;
    V *wide, *rows, *sums, *direct;

    explicit Planes(const Within& o) : height(o.height), width(o.width), half(o.n / 2) {
        const size_t units = (size_t)height * width, padded = (size_t)height * (width + 2 * half);
        memory.resize(L * (padded + (size_t)(height + 2 * half) * width + 2 * units + 1));
        wide = (V*)(((uintptr_t)memory.data() + sizeof(V) - 1) & ~(uintptr_t)(sizeof(V) - 1));
        rows = wide + padded, sums = rows + (size_t)(height + 2 * half) * width, direct = sums + units;
    }

    template <class F>
    void fill(F&& value) {  // wide = value(unit)
        for (int64_t y = 0, unit = 0; y < height; y++)
            for (V* to = wide + y * (width + 2 * half) + half, *end = to + width; to < end; to++) *to = value(unit++);
    }

    template <int N>
    void box() {  // sums = sums of `wide` over n x n units, clipped at the border of the map
        const int n = N ? N : 2 * half + 1;
        for (int y = 0; y < height; y++)
            add<N>(wide + (int64_t)y * (width + 2 * half), rows + (int64_t)(y + half) * width, 1, n);
        for (int y = 0; y < height; y++) add<N>(rows + (int64_t)y * width, sums + (int64_t)y * width, width, n);
    }

    template <int N>
    void add(const V* from, V* to, int step, int n) {
        for (int x = 0; x < width; x++) {
            V sum = from[x];
            for (int j = 1; j < (N ? N : n); j++) sum += from[x + j * step];
            to[x] = sum;
        }
    }
};

template <class F>
void by_maps(const Within& o, F&& each) {  // each(first number, maps, workspace)
    const int64_t units = (int64_t)o.height * o.width;
#pragma omp parallel num_threads(o.threads)
    {
        Planes planes(o);
#pragma omp for schedule(static)
        for (int64_t picture = 0; picture < o.pictures; picture++)
            for (int c = 0; c < o.channels; c += L) each(picture * units * o.channels + c, o.channels - c, planes);
    }
}

template <class T, int N>
void within_forward(const T* x, T* y, const Within& o) {
    const int64_t units = (int64_t)o.height * o.width;
    by_maps(o, [&](int64_t first, int maps, Planes& p) {
        p.fill([&](int64_t i) {
            V b = load(x + first + i * o.channels, maps);
            return b * b;
        });
        p.box<N>();
        for (int64_t i = 0, at = first; i < units; i++, at += o.channels)
            store(y + at, load(x + at, maps) * powers<T>(o.k + o.a * p.sums[i]).p75, maps);
    });
}

template <class T, int N>
void within_backward(const T* g, const T* x, T* dx, const Within& o) {
    const int64_t units = (int64_t)o.height * o.width;
    const float c2 = 2 * o.a * o.beta;
    by_maps(o, [&](int64_t first, int maps, Planes& p) {
        p.fill([&](int64_t i) {
            V b = load(x + first + i * o.channels, maps);
            return b * b;
        });
        p.box<N>();
        p.fill([&](int64_t i) {
            const int64_t at = first + i * o.channels;
            Powers s = powers<T>(o.k + o.a * p.sums[i]);
            p.direct[i] = load(g + at, maps) * s.p75;
            return p.direct[i] * load(x + at, maps) * (s.p50 * s.p50);
        });
        p.box<N>();
        for (int64_t i = 0, at = first; i < units; i++, at += o.channels)
            store(dx + at, p.direct[i] - c2 * load(x + at, maps) * p.sums[i], maps);
    });
}

template <class G>
void momentum(float* w, float* v, const G* g, bf16* shadow, uint8_t* finite, int64_t count, float rate, float mu, float decay,
              int threads) {
    const int64_t parts = (count + L - 1) / L;
    int lost = 0;  // 1 if a weight is NaN or infinite
#pragma omp parallel num_threads(threads) reduction(| : lost)
    {
        V sum = {};  // of 0 * weight: NaN if any weight is not finite
#pragma omp for schedule(static)
        for (int64_t part = 0; part < parts; part++) {
            const int64_t i = part * L;
            const int lanes = count - i < L ? (int)(count - i) : L;
            V weight = load(w + i, lanes), velocity = mu * load(v + i, lanes);
            if (decay != 0) velocity -= decay * rate * weight;  // as section 5 prints it: times the rate
            velocity -= rate * load(g + i, lanes);
            weight += velocity;
            sum += 0.0f * weight;
            store(v + i, velocity, lanes);
            store(w + i, weight, lanes);
            if (shadow) store(shadow + i, weight, lanes);
        }
        for (int lane = 0; lane < L; lane++) lost |= sum[lane] != 0;
    }
    if (lost) *finite = 0;
}

// y = w x + b for one picture. Each number of w is used once, so the time is that of reading w.
template <class T>
void product(const T* x, const T* w, const T* b, T* y, int64_t outputs, int64_t inputs, int threads) {
    constexpr int ROWS = 4;  // of w at a time, which share each load of x
    const int64_t parts = (outputs + ROWS - 1) / ROWS;
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t part = 0; part < parts; part++) {
        const T* row[ROWS];
        for (int r = 0; r < ROWS; r++) {
            const int64_t output = part * ROWS + r;
            row[r] = w + inputs * (output < outputs ? output : outputs - 1);
        }
        V sum[ROWS] = {};
        int64_t i = 0;
        for (; i + L <= inputs; i += L) {
            const V seen = load(x + i);
            for (int r = 0; r < ROWS; r++) sum[r] += load(row[r] + i) * seen;
        }
        if (i < inputs) {
            const int left = (int)(inputs - i);
            for (int r = 0; r < ROWS; r++) sum[r] += load(row[r] + i, left) * load(x + i, left);
        }
        for (int r = 0; r < ROWS && part * ROWS + r < outputs; r++) {
            float total = 0;
            for (int i = 0; i < L; i++) total += sum[r][i];
            store(y + part * ROWS + r, V{} + (total + load(b + part * ROWS + r, 1)[0]), 1);
        }
    }
}

struct Cut {
    int64_t pictures;
    int side, size, place;  // place: subtract the mean at the crop's place, not the centre's
    float factor;
    int threads;
};

// Mirror the pixels of a row, five at a time: as many as fit in a vector of 16 bytes.
void mirror(const uint8_t* from, uint8_t* to, int pixels) {
    const B16 order = {13, 14, 15, 10, 11, 12, 7, 8, 9, 4, 5, 6, 1, 2, 3, 0};
    int x = 0;
    for (; x + 6 <= pixels; x += 5) {  // 6: reads a byte before the five, and writes one after, which is overwritten next
        B16 five;
        memcpy(&five, from + 3 * (pixels - x - 5) - 1, sizeof five);
        five = __builtin_shuffle(five, order);
        memcpy(to + 3 * x, &five, sizeof five);
    }
    for (; x < pixels; x++) memcpy(to + 3 * x, from + 3 * (pixels - 1 - x), 3);
}

template <class T>
void cut(const uint8_t* images, const int64_t* top, const int64_t* left, const uint8_t* mirrored, const float* mean,
         const float* shift, T* out, const Cut& o) {
    const int length = 3 * o.size, margin = (o.side - o.size) / 2;
    std::vector<float> flipped;  // the mirrored mean, for mirrored crops
    if (o.place) {
        flipped.resize((size_t)3 * o.side * o.side);
        for (int y = 0; y < o.side; y++)
            for (int x = 0; x < o.side; x++)
                memcpy(&flipped[3 * ((size_t)y * o.side + x)], mean + 3 * ((size_t)y * o.side + o.side - 1 - x), 12);
    }
#pragma omp parallel num_threads(o.threads)
    {
        std::vector<uint8_t> pixels(length + L);
#pragma omp for schedule(static)
        for (int64_t picture = 0; picture < o.pictures; picture++) {
            V colour[3] = {};  // the shift of L numbers that start with red, green or blue
            if (shift)
                for (int i = 0; i < 3 * L; i++) colour[i / L][i % L] = shift[3 * picture + i % 3];
            for (int y = 0; y < o.size; y++) {
                const int64_t line = top[picture] + y;
                const uint8_t* from = images + 3 * ((picture * o.side + line) * o.side + left[picture]);
                const float* middle = mean + 3 * ((int64_t)(margin + y) * o.side + margin);
                if (o.place && mirrored[picture])
                    middle = &flipped[3 * (line * o.side + o.side - o.size - left[picture])];
                else if (o.place)
                    middle = mean + 3 * (line * o.side + left[picture]);
                if (mirrored[picture]) {
                    mirror(from, pixels.data(), o.size);
                    from = pixels.data();
                }
                T* to = out + (picture * o.size + y) * (int64_t)length;
                for (int i = 0, phase = 0; i < length; i += L, phase = phase == 2 ? 0 : phase + 1) {
                    const int count = length - i;
                    B bytes{};
                    if (count >= L)
                        memcpy(&bytes, from + i, L);
                    else
                        memcpy(&bytes, from + i, count);
                    store(to + i, (bytes_to_floats(bytes) - load(middle + i, count) + colour[phase]) * o.factor, count);
                }
            }
        }
    }
}

// Philox 4x32-10 (Salmon et al. 2011): out[row][unit] = whether the unit's word is at least `least`. The counter is
// (first + unit / 4, position + row, step).
void kept(uint8_t* out, int64_t rows, int64_t units, int64_t first, int64_t position, uint64_t step, uint32_t seed,
          uint32_t purpose, uint64_t least, int threads) {
#pragma omp parallel for num_threads(threads) schedule(static)
    for (int64_t row = 0; row < rows; row++)
        for (int64_t quad = 0; quad < units; quad += 4 * L) {
            U c[4];
            c[0] = (U)lanes() + (uint32_t)(first + quad / 4), c[1] = U{} + (uint32_t)(position + row);
            c[2] = U{} + (uint32_t)step, c[3] = U{} + (uint32_t)(step >> 32);
            uint32_t k0 = seed, k1 = purpose;
            for (int round = 0; round < 10; round++) {
                U high0, high2, low0 = c[0] * 0xD2511F53u, low2 = c[2] * 0xCD9E8D57u;
                for (int i = 0; i < L; i++) {
                    high0[i] = (uint32_t)((uint64_t)c[0][i] * 0xD2511F53u >> 32);
                    high2[i] = (uint32_t)((uint64_t)c[2][i] * 0xCD9E8D57u >> 32);
                }
                c[0] = high2 ^ c[1] ^ k0, c[1] = low2, c[2] = high0 ^ c[3] ^ k1, c[3] = low0;
                k0 += 0x9E3779B9u, k1 += 0xBB67AE85u;
            }
            for (int i = 0; i < L; i++)
                for (int word = 0; word < 4; word++)
                    if (quad + 4 * i + word < units) out[row * units + quad + 4 * i + word] = c[word][i] >= least;
        }
}

#ifdef __AVX512F__  // without it, Pillow is as fast
// Resize pictures with the same bits as Pillow: weights have 22 bits; rows come first, and their result has 8 bits.

constexpr int BITS = 22;

I wide(const uint8_t* p) { return (I)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i*)p)); }

// The result is 0 .. 255, since the weights are not negative and sum to 1.
void narrow(uint8_t* p, I sum) { _mm_storeu_si128((__m128i*)p, _mm512_cvtepi32_epi8((__m512i)(sum >> BITS))); }

struct Taps {  // output i sums inputs first[i] .. first[i] + most - 1, by weights that may end in zeros
    const int32_t *first, *weights;
    int most;
};

void resize(const uint8_t* in, int width, int height, int side, Taps across, Taps down, uint8_t* out) {
    const int top = down.first[0], last = down.first[side - 1] + down.most, bottom = last < height ? last : height;
    const int length = 4 * side + 16;  // RGBx RGBx ..., plus room for a vector
    static thread_local std::vector<uint8_t> four_kept, rows_kept, line_kept;  // kept: new pages cost more than the work
    four_kept.resize(16 * (int64_t)(width + across.most));
    rows_kept.resize((int64_t)(last - top + 4) * length);
    line_kept.resize(length);
    uint8_t *four = four_kept.data(), *rows = rows_kept.data(), *line = line_kept.data();
    for (int y = top; y < bottom; y += 4) {
        for (int r = 0; r < 4; r++) {  // interleave four rows by column, so that a tap is one vector
            const uint8_t* from = in + (int64_t)(y + r < bottom ? y + r : bottom - 1) * width * 3;
            uint8_t* to = four + 4 * r;
            for (int x = 0; x < width - 1; x++) memcpy(to + 16 * x, from + 3 * x, 4);
            memcpy(to + 16 * (width - 1), from + 3 * (width - 1), 3);
        }
        for (int x = 0; x < side; x++) {
            I sum = I{} + (1 << (BITS - 1));
            for (int t = 0; t < across.most; t++)
                sum += wide(four + 16 * (across.first[x] + t)) * across.weights[x * across.most + t];
            uint8_t made[L];
            narrow(made, sum);
            for (int r = 0; r < 4; r++) memcpy(rows + (int64_t)(y - top + r) * length + 4 * x, made + 4 * r, 4);
        }
    }
    for (int y = 0; y < side; y++, out += 3 * side) {
        for (int i = 0; i < 4 * side; i += L) {
            I sum = I{} + (1 << (BITS - 1));
            for (int t = 0; t < down.most; t++)
                sum += wide(rows + (int64_t)(down.first[y] - top + t) * length + i) * down.weights[y * down.most + t];
            narrow(line + i, sum);
        }
        for (int x = 0; x < side - 1; x++) memcpy(out + 3 * x, line + 4 * x, 4);
        memcpy(out + 3 * (side - 1), line + 4 * (side - 1), 3);
    }
}
#endif

}  // namespace

#define EITHER(narrow, ...) \
    if (narrow) {           \
        using T = bf16;     \
        __VA_ARGS__;        \
    } else {                \
        using T = float;    \
        __VA_ARGS__;        \
    }

extern "C" {

void alexnet_norm_forward(int narrow, const void* x, void* y, const Across* o) {
    EITHER(narrow, o->n == 5 ? norm_forward<T, 5>((const T*)x, (T*)y, *o) : norm_forward<T, 0>((const T*)x, (T*)y, *o))
}

void alexnet_norm_backward(int narrow, const void* g, const void* x, void* dx, const Across* o) {
    EITHER(narrow, o->n == 5 ? norm_backward<T, 5>((const T*)g, (const T*)x, (T*)dx, *o)
                             : norm_backward<T, 0>((const T*)g, (const T*)x, (T*)dx, *o))
}

void alexnet_within_forward(int narrow, const void* x, void* y, const Within* o) {
    EITHER(narrow, o->n == 5 ? within_forward<T, 5>((const T*)x, (T*)y, *o) : within_forward<T, 0>((const T*)x, (T*)y, *o))
}

void alexnet_within_backward(int narrow, const void* g, const void* x, void* dx, const Within* o) {
    EITHER(narrow, o->n == 5 ? within_backward<T, 5>((const T*)g, (const T*)x, (T*)dx, *o)
                             : within_backward<T, 0>((const T*)g, (const T*)x, (T*)dx, *o))
}

void alexnet_momentum(int narrow, float* w, float* v, const void* g, void* shadow, void* finite, int64_t count, float rate,
                      float mu, float decay, int threads) {
    EITHER(narrow, momentum(w, v, (const T*)g, (bf16*)shadow, (uint8_t*)finite, count, rate, mu, decay, threads))
}

void alexnet_product(int narrow, const void* x, const void* w, const void* b, void* y, int64_t outputs, int64_t inputs,
                     int threads) {
    EITHER(narrow, product((const T*)x, (const T*)w, (const T*)b, (T*)y, outputs, inputs, threads))
}

void alexnet_cut(int narrow, const void* images, const void* top, const void* left, const void* mirrored,
                 const float* mean, const float* shift, void* out, const Cut* o) {
    EITHER(narrow, cut((const uint8_t*)images, (const int64_t*)top, (const int64_t*)left, (const uint8_t*)mirrored,
                       mean, shift, (T*)out, *o))
}

#ifdef __AVX512F__
void alexnet_resize(const void* in, int width, int height, int side, const void* across, const void* across_weights,
                    int across_most, const void* down, const void* down_weights, int down_most, void* out) {
    resize((const uint8_t*)in, width, height, side, {(const int32_t*)across, (const int32_t*)across_weights, across_most},
           {(const int32_t*)down, (const int32_t*)down_weights, down_most}, (uint8_t*)out);
}
#endif

void alexnet_kept(void* out, int64_t rows, int64_t units, int64_t first, int64_t position, uint64_t step, uint32_t seed,
                  uint32_t purpose, uint64_t least, int threads) {
    kept((uint8_t*)out, rows, units, first, position, step, seed, purpose, least, threads);
}
}
