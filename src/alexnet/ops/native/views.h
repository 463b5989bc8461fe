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

// Boxes scaled to views, bilinearly. Pixel y of a view lies between the stored lines lines[y] and lines[y] + 1, `down[y]`
// of the way; so do columns. At the last line of a box `down` is 0.
template <class T>
void cut_scaled(const uint8_t* images, const int64_t* lines, const float* down, const int64_t* columns, const float* across,
                const float* mean, const float* shift, T* out, const Cut& o) {
    const int length = 3 * o.size, margin = (o.side - o.size) / 2, whole = 3 * o.side;
#pragma omp parallel num_threads(o.threads)
    {
        std::vector<float> between(whole + L), view(length + L), part(length);
        std::vector<int> left(length), right(length);
#pragma omp for schedule(static)
        for (int64_t picture = 0; picture < o.pictures; picture++) {
            V colour[3] = {};  // the shift of L numbers that start with red, green or blue
            if (shift)
                for (int i = 0; i < 3 * L; i++) colour[i / L][i % L] = shift[3 * picture + i % 3];
            int first = o.side, last = 0;  // the columns that are read
            for (int x = 0; x < o.size; x++) {
                const int at = columns[picture * o.size + x], next = at + 1 < o.side ? at + 1 : at;
                first = at < first ? at : first;
                last = next > last ? next : last;
                for (int c = 0; c < 3; c++) {
                    left[3 * x + c] = 3 * at + c;
                    right[3 * x + c] = 3 * next + c;
                    part[3 * x + c] = across[picture * o.size + x];
                }
            }
            const int begin = 3 * first, end = 3 * (last + 1);
            for (int y = 0; y < o.size; y++) {
                const int64_t line = lines[picture * o.size + y], next = line + 1 < o.side ? line + 1 : line;
                const float beyond = down[picture * o.size + y];
                const uint8_t *upper = images + (picture * o.side + line) * whole, *lower = images + (picture * o.side + next) * whole;
                const float *above = mean + line * whole, *below = mean + next * whole;
                for (int i = begin; i < end; i += L) {
                    const int count = end - i < L ? end - i : L;
                    B bytes{}, others{};
                    memcpy(&bytes, upper + i, count);
                    memcpy(&others, lower + i, count);
                    V a = bytes_to_floats(bytes), b = bytes_to_floats(others);
                    if (o.place) {
                        a -= load(above + i, count);
                        b -= load(below + i, count);
                    }
                    store(&between[i], a + beyond * (b - a), L);
                }
                for (int i = 0; i < length; i++)
                    view[i] = between[left[i]] + part[i] * (between[right[i]] - between[left[i]]);
                const float* middle = mean + 3 * ((int64_t)(margin + y) * o.side + margin);
                T* to = out + (picture * o.size + y) * (int64_t)length;
                for (int i = 0, phase = 0; i < length; i += L, phase = phase == 2 ? 0 : phase + 1) {
                    const int count = length - i;
                    V v = load(&view[i], count);
                    if (!o.place) v -= load(middle + i, count);
                    store(to + i, (v + colour[phase]) * o.factor, count);
                }
            }
        }
    }
}

}  // namespace
