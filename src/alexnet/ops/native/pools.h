// Max pools at stride 2, alone, after a ReLU, or after a norm, in one pass with it.
#pragma once

#include <type_traits>
#include <vector>

#include "norms.h"

namespace {

constexpr int SIDE = 5;     // of the largest pool; cpu.py's LARGEST
constexpr int HOLDERS = 3;  // pools along one side that hold a unit, at most

struct Pools {
    int64_t pictures;
    int height, width, channels, down, across, size;  // `down` x `across` pools of `size` x `size` units, clipped
    int relu, threads;
};

// Find the largest numbers of a pool's maps, and their places in its window, line by line. `from` are the first units of
// its rows, and units are `next` numbers apart. N is the side of the window if it is known, or 0.
template <int N, class T, class P>
ONCE void largest(const P* const* from, int64_t next, int rows, int columns, int size, int relu_last, T* y, uint8_t* index,
             int maps) {
    for (int c = 0; c < maps; c += L) {
        const int count = left(maps, c);
        V best = load(from[0] + c, count);
        I place{};
#pragma GCC unroll 3
        for (int row = 0; row < (N ? N : rows); row++)
#pragma GCC unroll 3
            for (int column = row ? 0 : 1; column < (N ? N : columns); column++) {
                const V v = load(from[row] + column * next + c, count);
                const I more = (v > best) | (v != v);  // NaN is the largest, and the last NaN is chosen, as in PyTorch
                best = more ? v : best, place = more ? I{} + (row * (N ? N : size) + column) : place;
            }
        store(y + c, relu_last ? relu(best) : best, count);
        if (index) store_bytes(index + c, place, count);
    }
}

// The pools of a line. `unit(row, column)` is the address of the first number of a unit, and P the type of the numbers.
template <class T, class P, class F>
void pool_line(F&& unit, int line, const Pools& o, int relu_last, T* y, uint8_t* index, int maps) {
    const int top = 2 * line, rows = o.height - top < o.size ? o.height - top : o.size;
    for (int column = 0; column < o.across; column++) {
        const int x = 2 * column, columns = o.width - x < o.size ? o.width - x : o.size;
        const P* from[SIDE];
        for (int row = 0; row < rows; row++) from[row] = unit(top + row, x);
        const int64_t to = (int64_t)column * o.channels, next = unit(top, x + 1) - from[0];
        uint8_t* places = index ? index + to : nullptr;
        if (rows == 3 && columns == 3)  // almost all of the paper's, with constants in place of bounds
            largest<3>(from, next, 3, 3, 3, relu_last, y + to, places, maps);
        else
            largest<0>(from, next, rows, columns, o.size, relu_last, y + to, places, maps);
    }
}

// The pools along one side that hold a unit, first to last, and its place in each.
struct Holding {
    int count, pools[HOLDERS], places[HOLDERS];
};

std::vector<Holding> holding(int side, int pools, int size) {
    std::vector<Holding> found(side);
    for (int unit = 0; unit < side; unit++) {
        Holding& one = found[unit];
        one.count = 0;
        for (int pool = 0; pool < pools; pool++)
            if (2 * pool <= unit && unit < 2 * pool + size) one.pools[one.count] = pool, one.places[one.count++] = unit - 2 * pool;
    }
    return found;
}

// The pools that hold a unit, in PyTorch's order, and its place in each.
struct Holders {
    int count;
    int64_t at[HOLDERS * HOLDERS];  // the first number of the pool
    int places[HOLDERS * HOLDERS];

    Holders(const Holding& row, const Holding& column, const Pools& o) : count(0) {
        for (int i = 0; i < row.count; i++)
            for (int j = 0; j < column.count; j++, count++) {
                at[count] = ((int64_t)row.pools[i] * o.across + column.pools[j]) * o.channels;
                places[count] = row.places[i] * o.size + column.places[j];
            }
    }

    // The gradient of a unit's maps from c on: the sum of what the pools that chose it hand down, rounded as PyTorch
    // rounds it. `y` is what the pools gave, if a ReLU came before them; it passes no gradient where y <= 0. N is the
    // number of pools if it is known, or 0.
    template <int N, class T>
    V gradient(const T* g, const uint8_t* index, const T* y, int64_t c, int maps) const {
        V sum{};
#pragma GCC unroll 4
        for (int i = 0; i < (N ? N : count); i++) {
            V one = load_only(equal(index + at[i] + c, places[i], maps), g + at[i] + c, maps);
            if (y) one = load(y + at[i] + c, maps) <= 0.0f ? V{} : one;
            sum = i ? as<T>(sum + one) : 0.0f + one;
        }
        return sum;
    }

    // Those of all maps.
    template <class T, class D>
    ONCE void gradients(const T* g, const uint8_t* index, const T* y, D* dx, int maps) const {
        auto all = [&](auto known) {
            for (int c = 0; c < maps; c += L)
                store(dx + c, gradient<known>(g, index, y, c, left(maps, c)), left(maps, c));
        };
        if (count == 1) return all(std::integral_constant<int, 1>());
        if (count == 2) return all(std::integral_constant<int, 2>());
        if (count == 4) return all(std::integral_constant<int, 4>());
        all(std::integral_constant<int, 0>());
    }
};

// How far apart the numbers of a picture and of its pools are.
int64_t units_of(const Pools& o) { return (int64_t)o.height * o.width * o.channels; }
int64_t pools_of(const Pools& o) { return (int64_t)o.down * o.across * o.channels; }

template <class T>
void pool_forward(const T* x, T* y, uint8_t* index, const Pools& o) {
    const int64_t lines = o.pictures * o.down;
#pragma omp parallel for num_threads(o.threads) schedule(dynamic)
    for (int64_t line = 0; line < lines; line++) {
        const T* picture = x + line / o.down * units_of(o);
        const int64_t to = line * o.across * o.channels;
        auto unit = [&](int row, int column) { return picture + ((int64_t)row * o.width + column) * o.channels; };
        pool_line<T, T>(unit, line % o.down, o, o.relu, y + to, index ? index + to : nullptr, o.channels);
    }
}

template <class T>
void pool_backward(const T* g, const uint8_t* index, const T* y, T* dx, const Pools& o) {
    const auto rows = holding(o.height, o.down, o.size), columns = holding(o.width, o.across, o.size);
    const int64_t lines = o.pictures * o.height;
#pragma omp parallel for num_threads(o.threads) schedule(dynamic)
    for (int64_t line = 0; line < lines; line++) {
        const int64_t from = line / o.height * pools_of(o);
        T* to = dx + line * o.width * o.channels;
        for (int x = 0; x < o.width; x++, to += o.channels)
            Holders(rows[line % o.height], columns[x], o)
                .gradients(g + from, index + from, y ? y + from : y, to, o.channels);
    }
}

// The lines of a picture are normed one after another, as its pools need them, into a buffer of `size` lines.
template <int N, class T>
void norm_pool_forward(const T* x, T* y, uint8_t* index, const Across& a, const Pools& o) {
    const Neighbours near(a);
    const int64_t length = (int64_t)o.width * o.channels;
    const int bands = o.pictures >= 4 * o.threads ? 1 : o.down < o.threads ? o.down : o.threads;  // of a picture
#pragma omp parallel num_threads(o.threads)
    {
        std::vector<T> lines(length * o.size);
#pragma omp for schedule(dynamic)
        for (int64_t band = 0; band < o.pictures * bands; band++) {
            const int64_t picture = band / bands, part = band % bands;
            const int begin = o.down * part / bands, end = o.down * (part + 1) / bands;
            const T* from = x + picture * units_of(o);
            auto unit = [&](int row, int column) {
                return lines.data() + row % o.size * length + (int64_t)column * o.channels;
            };
            for (int line = begin, normed = 2 * begin; line < end; line++) {
                for (; normed < o.height && normed < 2 * line + o.size; normed++)
                    norm_line<N>(from + normed * length, unit(normed, 0), length, near, a);
                const int64_t to = picture * pools_of(o) + (int64_t)line * o.across * o.channels;
                pool_line<T, T>(unit, line, o, NONE, y + to, index ? index + to : nullptr, o.channels);
            }
        }
    }
}

template <int N, class T>
void norm_pool_backward(const T* g, const uint8_t* index, const T* x, T* dx, const Across& a, const Pools& o) {
    const Neighbours near(a);
    const auto rows = holding(o.height, o.down, o.size), columns = holding(o.width, o.across, o.size);
    const int64_t length = (int64_t)o.width * o.channels, lines = o.pictures * o.height;
#pragma omp parallel num_threads(o.threads)
    {
        std::vector<float> slopes(length);
#pragma omp for schedule(dynamic)
        for (int64_t line = 0; line < lines; line++) {
            const int64_t from = line / o.height * pools_of(o);
            float* to = slopes.data();
            for (int at = 0; at < o.width; at++, to += o.channels)
                Holders(rows[line % o.height], columns[at], o)
                    .gradients(g + from, index + from, (const T*)nullptr, to, o.channels);
            norm_line_backward<N>(slopes.data(), x + line * length, dx + line * length, length, near, a);
        }
    }
}

template <int N, class T>
void within_pool_forward(const T* x, T* y, uint8_t* index, const Within& w, const Pools& o) {
    by_maps(w, [&](int64_t picture, int map, int maps, Planes& p) {
        const T* from = x + picture * units_of(o) + map;
        p.sum_squares<N>(from, maps, w);
        for (int64_t unit = 0; unit < (int64_t)w.height * w.width; unit++)
            p.direct[unit] = as<T>(load(from + unit * w.channels, maps) * powers<T>(w.k + w.a * p.sums[unit]).p75);
        auto unit = [&](int row, int column) { return (const float*)&p.direct[(int64_t)row * o.width + column]; };
        for (int line = 0; line < o.down; line++) {
            const int64_t to = picture * pools_of(o) + (int64_t)line * o.across * o.channels + map;
            pool_line<T, float>(unit, line, o, NONE, y + to, index ? index + to : nullptr, maps);
        }
    });
}

template <int N, class T>
void within_pool_backward(const T* g, const uint8_t* index, const T* x, T* dx, const Within& w, const Pools& o) {
    const auto rows = holding(o.height, o.down, o.size), columns = holding(o.width, o.across, o.size);
    by_maps(w, [&](int64_t picture, int map, int maps, Planes& p) {
        const int64_t from = picture * pools_of(o), to = picture * units_of(o) + map;
        p.gradient<N>(x + to, dx + to, maps, w, [&](int row, int column, int64_t) {
            return Holders(rows[row], columns[column], o)
                .template gradient<0>(g + from, index + from, (const T*)nullptr, map, maps);
        });
    });
}

}  // namespace
