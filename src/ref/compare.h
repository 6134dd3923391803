/* SPDX-License-Identifier: MIT */
/** How far a result is from the reference, in the measures of the gates. */
#ifndef VKRING_REF_COMPARE_H
#define VKRING_REF_COMPARE_H

#include <stdbool.h>
#include <stdint.h>

#include <vkring/vkring.h>

struct error_measure {
    double rms; /* RMS error over the RMS of the reference; absolute where the reference is all zero */
    /*
     * Largest error over the RMS of the reference, or over the element's own magnitude where that is larger: causal attention has rows many
     * times the RMS, and rounding one of them to 16 bits, as exactly as can be, would fail any gate on the RMS alone.
     */
    double maximum;
    bool finite; /* false: a NaN, or an infinity where the reference has none */
};

struct error_measure error_measure(const float *result, const double *reference, uint64_t count);
/**
 * The same in a unit that is at least `least`: sums whose terms cancel, as those of gradients do where a row keeps one key, are off by what
 * their terms are, however little is left; and what underflows in a type has no smaller unit than that type's least normal number.
 */
struct error_measure error_measure_above(const float *result, const double *reference, uint64_t count, double least);

/** lse: the largest |error| / max(1, |lse|). An infinity must be matched by the same infinity. */
double lse_error(const float *result, const double *reference, uint64_t count);

struct error_gate {
    double rms, maximum;
};

/** The forward gates of a type. */
struct error_gate forward_gate(enum vkring_type type);
/** Those of kernels on matrix units, which round weights of attention, and hidden layers, to f16 too. */
struct error_gate forward_gate_on_matrices(enum vkring_type type);
/** The same of a kernel, as plans name it. */
struct error_gate forward_gate_of_kernel(enum vkring_type type, const char *kernel);
/** Those of gradients. */
struct error_gate backward_gate(enum vkring_type type);
/** Twice what was seen. */
#define LSE_GATE 5e-6

bool gate_passes(const struct error_gate *gate, const struct error_measure *error);

#endif
