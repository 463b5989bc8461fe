// Dropout's masks.
#pragma once

#include "vectors.h"

namespace {

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

}  // namespace
