// A fully connected layer for one picture.
#pragma once

#include "vectors.h"

namespace {

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

}  // namespace
