// The resize of `prepare`.
#pragma once

#include <vector>

#include "vectors.h"

namespace {

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
