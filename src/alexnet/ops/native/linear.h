// A fully connected layer for one picture.
#pragma once

#include "vectors.h"

namespace {

// y = w x + b for one picture. Each number of w is used once, so the time is that of reading w. LARGE: w comes from
// memory, not from a cache.
template <bool LARGE, class T>
void rows_product(const T* x, const T* w, const T* b, T* y, int64_t outputs, int64_t inputs, int threads) {
    constexpr int ROWS = LARGE ? 8 : 4;  // of w at a time, which share each load of x
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
        if (LARGE) {
            constexpr int LINE = 64 / sizeof(T) > L ? 64 / sizeof(T) : L;  // numbers in a line of the cache
            for (; i + LINE <= inputs; i += LINE) {
                for (int r = 0; r < ROWS; r++) {
                    // The processor's own prefetching stops at each page: fetch the next rows to the L2 cache.
                    __builtin_prefetch(row[r] + i + ROWS * inputs, 0, 2);
                    for (int j = 0; j < LINE; j += L) sum[r] += load(row[r] + i + j) * load(x + i + j);
                }
            }
        }
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

template <class T>
void product(const T* x, const T* w, const T* b, T* y, int64_t outputs, int64_t inputs, int threads) {
    const bool large = outputs * inputs * (int64_t)sizeof(T) > (4 << 20);  // a second-level cache is 2 MB at most
    (large ? rows_product<true, T> : rows_product<false, T>)(x, w, b, y, outputs, inputs, threads);
}

}  // namespace
