// Training views: crops, mirrors and colour.
#pragma once

#include <vector>

#include "vectors.h"

namespace {

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

}  // namespace
