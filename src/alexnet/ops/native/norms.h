// Response norms: across the maps of a tower, and within a map.
#pragma once

#include <cstdlib>
#include <vector>

#include "vectors.h"

namespace {

enum { NONE, BEFORE, AFTER };  // where the ReLU is applied: never, before or after the norm

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

}  // namespace
