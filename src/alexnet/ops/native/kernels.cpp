// Fast CPU kernels for operations that PyTorch does slowly: response norms, the update rule, views, dropout masks.
// cpu_build.py compiles this folder on the machine that runs it, and cpu.py calls it. reference.py computes the same.
//
// Numbers are float32 or bfloat16 in memory, and float32 in registers. Pictures are N H W C (channels-last).

#include "dropout.h"
#include "linear.h"
#include "norms.h"
#include "pools.h"
#include "resize.h"
#include "update.h"
#include "views.h"

#define EITHER(narrow, ...) \
    if (narrow) {           \
        using T = bf16;     \
        __VA_ARGS__;        \
    } else {                \
        using T = float;    \
        __VA_ARGS__;        \
    }

extern "C" {

void alexnet_norm_forward(int narrow, const void* x, void* y, const Across* o) {
    EITHER(narrow, o->n == 5 ? norm_forward<5>((const T*)x, (T*)y, *o) : norm_forward<0>((const T*)x, (T*)y, *o))
}

void alexnet_norm_backward(int narrow, const void* g, const void* x, void* dx, const Across* o) {
    EITHER(narrow, o->n == 5 ? norm_backward<5>((const T*)g, (const T*)x, (T*)dx, *o)
                             : norm_backward<0>((const T*)g, (const T*)x, (T*)dx, *o))
}

void alexnet_within_forward(int narrow, const void* x, void* y, const Within* o) {
    EITHER(narrow, o->n == 5 ? within_forward<5>((const T*)x, (T*)y, *o) : within_forward<0>((const T*)x, (T*)y, *o))
}

void alexnet_within_backward(int narrow, const void* g, const void* x, void* dx, const Within* o) {
    EITHER(narrow, o->n == 5 ? within_backward<5>((const T*)g, (const T*)x, (T*)dx, *o)
                             : within_backward<0>((const T*)g, (const T*)x, (T*)dx, *o))
}

void alexnet_pool_forward(int narrow, const void* x, void* y, void* index, const Pools* o) {
    EITHER(narrow, pool_forward((const T*)x, (T*)y, (uint8_t*)index, *o))
}

void alexnet_pool_backward(int narrow, const void* g, const void* index, const void* y, void* dx, const Pools* o) {
    EITHER(narrow, pool_backward((const T*)g, (const uint8_t*)index, (const T*)y, (T*)dx, *o))
}

#define OF_NORM(kind, Norm)                                                                                              \
    void alexnet_##kind##_pool_forward(int narrow, const void* x, void* y, void* index, const Norm* a, const Pools* o) { \
        EITHER(narrow, a->n == 5 ? kind##_pool_forward<5>((const T*)x, (T*)y, (uint8_t*)index, *a, *o)                  \
                                 : kind##_pool_forward<0>((const T*)x, (T*)y, (uint8_t*)index, *a, *o))                 \
    }                                                                                                                    \
    void alexnet_##kind##_pool_backward(int narrow, const void* g, const void* index, const void* x, void* dx,          \
                                        const Norm* a, const Pools* o) {                                                 \
        EITHER(narrow,                                                                                                   \
               a->n == 5 ? kind##_pool_backward<5>((const T*)g, (const uint8_t*)index, (const T*)x, (T*)dx, *a, *o)     \
                         : kind##_pool_backward<0>((const T*)g, (const uint8_t*)index, (const T*)x, (T*)dx, *a, *o))    \
    }
OF_NORM(norm, Across)
OF_NORM(within, Within)

void alexnet_momentum(int narrow, float* w, float* v, const void* g, void* shadow, void* finite, int64_t count, float rate,
                      float mu, float decay, int threads) {
    EITHER(narrow, momentum(w, v, (const T*)g, (bf16*)shadow, (uint8_t*)finite, count, rate, mu, decay, threads))
}

void alexnet_product(int narrow, const void* x, const void* w, const void* b, void* y, int64_t outputs, int64_t inputs,
                     int threads) {
    EITHER(narrow, product((const T*)x, (const T*)w, (const T*)b, (T*)y, outputs, inputs, threads))
}

void alexnet_cut(int narrow, const void* images, const void* top, const void* left, const void* mirrored,
                 const float* mean, const float* shift, void* out, const Cut* o) {
    EITHER(narrow, cut((const uint8_t*)images, (const int64_t*)top, (const int64_t*)left, (const uint8_t*)mirrored,
                       mean, shift, (T*)out, *o))
}

void alexnet_cut_scaled(int narrow, const void* images, const void* lines, const float* down, const void* columns,
                        const float* across, const float* mean, const float* shift, void* out, const Cut* o) {
    EITHER(narrow, cut_scaled((const uint8_t*)images, (const int64_t*)lines, down, (const int64_t*)columns, across, mean,
                              shift, (T*)out, *o))
}

#ifdef __AVX512F__
void alexnet_resize(const void* in, int width, int height, int side, const void* across, const void* across_weights,
                    int across_most, const void* down, const void* down_weights, int down_most, void* out) {
    resize((const uint8_t*)in, width, height, side, {(const int32_t*)across, (const int32_t*)across_weights, across_most},
           {(const int32_t*)down, (const int32_t*)down_weights, down_most}, (uint8_t*)out);
}
#endif

void alexnet_kept(void* out, int64_t rows, int64_t units, int64_t first, int64_t position, uint64_t step, uint32_t seed,
                  uint32_t purpose, uint64_t least, int threads) {
    kept((uint8_t*)out, rows, units, first, position, step, seed, purpose, least, threads);
}
}
