/* SPDX-License-Identifier: MIT */
#include "compare.h"

#include <math.h>

struct error_measure error_measure(const float *result, const double *reference, uint64_t count)
{
    struct error_measure error = {.finite = true};
    double error_squares = 0;
    double reference_squares = 0;
    for (uint64_t i = 0; i < count; i++) {
        double difference = (double)result[i] - reference[i];
        if (!isfinite(difference)) {
            error.finite = false;
            continue;
        }
        error.maximum = fmax(error.maximum, fabs(difference));
        error_squares += difference * difference;
        reference_squares += reference[i] * reference[i];
    }
    if (count)
        error.rms = sqrt(error_squares / (double)count);
    if (reference_squares > 0) {
        double unit = sqrt(reference_squares / (double)count);
        error.rms /= unit;
        error.maximum /= unit;
    }
    return error;
}

double lse_error(const float *result, const double *reference, uint64_t count)
{
    double largest = 0;
    for (uint64_t i = 0; i < count; i++) {
        double ours = (double)result[i];
        if (isinf(reference[i]) && ours == reference[i])
            continue;
        double difference = fabs(ours - reference[i]) / fmax(1, fabs(reference[i]));
        largest = isfinite(difference) ? fmax(largest, difference) : INFINITY;
    }
    return largest;
}

struct error_gate forward_gate(enum vkring_type type)
{
    switch (type) {
    case VKRING_TYPE_F32:
        return (struct error_gate){.rms = 5e-6, .maximum = 5e-5};
    case VKRING_TYPE_F16:
        return (struct error_gate){.rms = 6e-4, .maximum = 3e-3};
    case VKRING_TYPE_BF16:
        return (struct error_gate){.rms = 3e-3, .maximum = 1.5e-2};
    }
    return (struct error_gate){0};
}

bool gate_passes(const struct error_gate *gate, const struct error_measure *error)
{
    return error->finite && error->rms <= gate->rms && error->maximum <= gate->maximum;
}
