// The update rule of section 5.
#pragma once

#include "vectors.h"

namespace {

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

}  // namespace
