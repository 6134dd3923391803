/* SPDX-License-Identifier: MIT */
#include "sample_check.h"

#include <math.h>
#include <stdlib.h>

#include "context_embedding.h"

static void embed_rounded(const unsigned char *text, uint64_t position, enum vkring_type type, float vector[EMBEDDING_DIM])
{
    unsigned char rounded[EMBEDDING_DIM * sizeof(float)];
    embed_context(text, position, vector);
    vkring_convert_from_f32(type, vector, EMBEDDING_DIM, rounded);
    vkring_convert_to_f32(type, rounded, EMBEDDING_DIM, vector);
}

static double score(const float *query, const float *key)
{
    double sum = 0;
    for (unsigned i = 0; i < EMBEDDING_DIM; i++)
        sum += (double)query[i] * (double)key[i];
    return sum / EMBEDDING_DIM;
}

/* Returns the largest. */
static double score_all(const unsigned char *text, uint64_t position, enum vkring_type type, double *scores)
{
    float query[EMBEDDING_DIM], key[EMBEDDING_DIM];
    double largest = -INFINITY;
    embed_rounded(text, position, type, query);
    for (uint64_t j = 0; j < position; j++) {
        embed_rounded(text, j, type, key);
        scores[j] = score(query, key);
        largest = fmax(largest, scores[j]);
    }
    return largest;
}

static double compare(const double expected[256], double sum, enum vkring_type type, const void *row)
{
    float got[256];
    double error = 0;
    vkring_convert_to_f32(type, row, 256, got);
    for (unsigned byte = 0; byte < 256; byte++) {
        const double difference = fabs((double)got[byte] - (sum > 0 ? expected[byte] / sum : 0));
        error = fmax(error, isnan(difference) ? INFINITY : difference);
    }
    return error;
}

double sample_error(const unsigned char *text, uint64_t position, enum vkring_type type, const void *row)
{
    double expected[256] = {0};
    double sum = 0;
    double *scores = malloc((position ? position : 1) * sizeof(*scores));
    if (!scores)
        return INFINITY;
    const double largest = score_all(text, position, type, scores);
    for (uint64_t j = 0; j < position; j++) {
        const double weight = exp(scores[j] - largest);
        expected[text[j]] += weight;
        sum += weight;
    }
    free(scores);
    return compare(expected, sum, type, row);
}

double sample_error_allowed(enum vkring_type type)
{
    return type == VKRING_TYPE_F32 ? 1e-5 : 5e-4;
}
