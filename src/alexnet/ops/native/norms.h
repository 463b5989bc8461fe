// Response norms: across the maps of a tower, and within a map.
#pragma once

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

// Maps lie tower by tower, pixel by pixel. A vector may hold maps of several towers or pixels. This says which lanes of
// a vector have their neighbours, j maps before or after, in the same tower; the pattern repeats after `period` vectors.
struct Neighbours {
    int period, half;
    std::vector<float> memory;
    Lanes* lanes;

    explicit Neighbours(const Across& o) : half(o.n / 2) {
        const int maps = o.channels / o.towers;
        int common = L;
        while (maps % common) common /= 2;  // L is a power of 2
        period = maps / common;
        memory.resize((sizeof(Lanes) * 2 * half * period + sizeof(V)) / sizeof(float));
        lanes = (Lanes*)(((uintptr_t)memory.data() + sizeof(V) - 1) & ~(uintptr_t)(sizeof(V) - 1));
        for (int vector = 0, at = 0; vector < period; vector++)
            for (int j = 1; j <= half; j++)
                for (int way = -1; way <= 1; way += 2, at++) {
                    Lanes on{};
                    for (int i = 0; i < L; i++) {
                        const int map = (vector * L + i) % maps + way * j;
                        set(on, i, map >= 0 && map < maps);
                    }
                    lanes[at] = on;
                }
    }

    static void set(Lanes& on, int lane, bool value) {
#ifdef MASKED
        on |= (Lanes)(value << lane);
#else
        on[lane] = value ? -1 : 0;
#endif
    }

    // The sum of `at` and of its neighbours in vector number `vector` of the pattern.
    template <int N>
    V window(V before, V at, V after, int vector) const {
        const Lanes* on = lanes + (N ? N / 2 * 2 : half * 2) * vector;
        V sum = at;
#pragma GCC unroll 8
        for (int j = 1; j <= (N ? N / 2 : half); j++)
            sum += only(on[2 * j - 2], shifted(before, at, after, -j)) + only(on[2 * j - 1], shifted(before, at, after, j));
        return sum;
    }
};

// The norm of `count` numbers, which are whole pixels.
template <int N, class T>
ONCE void norm_line(const T* x, T* y, int64_t count, const Neighbours& near, const Across& o) {
    auto at = [&](int64_t i) {
        if (i >= count) return V{};
        V v = load(x + i, left(count, i));
        return o.relu == BEFORE ? relu(v) : v;
    };
    V b = at(0), before{}, square = b * b;
    for (int64_t i = 0, vector = 0; i < count; i += L, vector = vector + 1 < near.period ? vector + 1 : 0) {
        const V next = at(i + L), after = next * next;
        const V sum = near.window<N>(before, square, after, vector);
        V v = b * powers<T>(o.k + o.a * sum).p75;
        store(y + i, o.relu == AFTER ? relu(v) : v, left(count, i));
        before = square, square = after, b = next;
    }
}

// Its gradient: dx from g and x.
template <int N, class G, class T>
ONCE void norm_line_backward(const G* g, const T* x, T* dx, int64_t count, const Neighbours& near, const Across& o) {
    const float c2 = 2 * o.a * o.beta;
    auto at = [&](int64_t i) { return i < count ? load(x + i, left(count, i)) : V{}; };
    V raw = at(0), b = o.relu == BEFORE ? relu(raw) : raw, square = b * b, square_before{};
    V raw_before{}, b_before{}, direct_before{}, u_before{}, u{};
    int vector = 0, vector_before = 0;
    for (int64_t i = 0; i < count + L; i += L) {  // the sum of u needs the next vector's: dx comes one vector later
        const V raw_next = at(i + L), next = o.relu == BEFORE ? relu(raw_next) : raw_next, square_after = next * next;
        V direct{}, u_after{};
        if (i < count) {
            const Powers s = powers<T>(o.k + o.a * near.window<N>(square_before, square, square_after, vector));
            V slope = load(g + i, left(count, i));
            if (o.relu == AFTER) slope = b <= 0.0f ? V{} : slope;
            direct = slope * s.p75;
            u_after = direct * b * (s.p50 * s.p50);
        }
        if (i) {
            V d = direct_before - c2 * b_before * near.window<N>(u_before, u, u_after, vector_before);
            if (o.relu == BEFORE) d = raw_before <= 0.0f ? V{} : d;
            store(dx + i - L, d, left(count, i - L));
        }
        u_before = u, u = u_after, direct_before = direct, b_before = b, raw_before = raw;
        square_before = square, square = square_after, b = next, raw = raw_next;
        vector_before = vector, vector = vector + 1 < near.period ? vector + 1 : 0;
    }
}

template <class F>
void by_lines(const Across& o, F&& each) {  // each(first number, count)
    const int64_t most = 1 + (1 << 14) / (o.channels + 1), lines = (o.rows + most - 1) / most;
#pragma omp parallel for num_threads(o.threads) schedule(dynamic)
    for (int64_t line = 0; line < lines; line++) {
        const int64_t first = line * most, last = first + most < o.rows ? first + most : o.rows;
        each(first * o.channels, (last - first) * o.channels);
    }
}

template <int N, class T>
void norm_forward(const T* x, T* y, const Across& o) {
    const Neighbours near(o);
    by_lines(o, [&](int64_t first, int64_t count) { norm_line<N>(x + first, y + first, count, near, o); });
}

template <int N, class T>
void norm_backward(const T* g, const T* x, T* dx, const Across& o) {
    const Neighbours near(o);
    by_lines(o, [&](int64_t first, int64_t count) {
        norm_line_backward<N>(g + first, x + first, dx + first, count, near, o);
    });
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
    void fill(F&& value) {  // wide = value(row, column, unit)
        for (int row = 0, unit = 0; row < height; row++) {
            V* to = wide + (int64_t)row * (width + 2 * half) + half;
            for (int column = 0; column < width; column++, unit++) to[column] = value(row, column, unit);
        }
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

    // sums = sums of x^2 over windows; x is the first of the maps, at the first unit.
    template <int N, class T>
    void sum_squares(const T* x, int maps, const Within& o) {
        fill([&](int, int, int64_t unit) {
            V b = load(x + unit * o.channels, maps);
            return b * b;
        });
        box<N>();
    }

    // The gradient: dx from x and from that of each unit, slope(row, column, unit).
    template <int N, class T, class F>
    void gradient(const T* x, T* dx, int maps, const Within& o, F&& slope) {
        const float c2 = 2 * o.a * o.beta;
        sum_squares<N>(x, maps, o);
        fill([&](int row, int column, int64_t unit) {
            Powers s = powers<T>(o.k + o.a * sums[unit]);
            direct[unit] = slope(row, column, unit) * s.p75;
            return direct[unit] * load(x + unit * o.channels, maps) * (s.p50 * s.p50);
        });
        box<N>();
        for (int64_t unit = 0, at = 0; unit < (int64_t)height * width; unit++, at += o.channels)
            store(dx + at, direct[unit] - c2 * load(x + at, maps) * sums[unit], maps);
    }
};

template <class F>
void by_maps(const Within& o, F&& each) {  // each(picture, first map, maps, workspace)
    const int64_t parts = (o.channels + L - 1) / L;
#pragma omp parallel num_threads(o.threads)
    {
        Planes planes(o);
#pragma omp for schedule(dynamic)
        for (int64_t part = 0; part < o.pictures * parts; part++) {
            const int map = (int)(part % parts) * L;
            each(part / parts, map, left(o.channels, map), planes);
        }
    }
}

template <int N, class T>
void within_forward(const T* x, T* y, const Within& o) {
    const int64_t units = (int64_t)o.height * o.width;
    by_maps(o, [&](int64_t picture, int map, int maps, Planes& p) {
        const int64_t first = picture * units * o.channels + map;
        p.sum_squares<N>(x + first, maps, o);
        for (int64_t unit = 0, at = first; unit < units; unit++, at += o.channels)
            store(y + at, load(x + at, maps) * powers<T>(o.k + o.a * p.sums[unit]).p75, maps);
    });
}

template <int N, class T>
void within_backward(const T* g, const T* x, T* dx, const Within& o) {
    by_maps(o, [&](int64_t picture, int map, int maps, Planes& p) {
        const int64_t first = picture * o.height * o.width * o.channels + map;
        p.gradient<N>(x + first, dx + first, maps, o,
                      [&](int, int, int64_t unit) { return load(g + first + unit * o.channels, maps); });
    });
}

}  // namespace
