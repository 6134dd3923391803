/* SPDX-License-Identifier: MIT */
#include "bench_draw.h"

#include <pthread.h>
#include <stdlib.h>

#include <ref/random_input.h>

#include "bench_peak.h"

/* A thread is not worth starting for fewer. */
#define LEAST_OF_THREAD 65536u

struct part {
    pthread_t thread;
    struct bench_draw draw;
    float *values;
    void *elements;
};

static void *draw_part(void *argument)
{
    const struct part *part = argument;
    const struct bench_draw *draw = &part->draw;
    random_fill(draw->seed, RANDOM_NORMAL, draw->factor, draw->first, draw->count, part->values);
    vkring_convert_from_f32(draw->type, part->values, draw->count, part->elements);
    vkring_convert_to_f32(draw->type, part->elements, draw->count, part->values);
    return NULL;
}

/* From `begin` of the whole on. */
static struct part part_of(const struct bench_draw *draw, float *values, void *elements, uint64_t begin, uint64_t count)
{
    struct part part = {
        .draw = *draw,
        .values = values + begin,
        .elements = (char *)elements + begin * vkring_type_bytes(draw->type),
    };
    part.draw.first += begin;
    part.draw.count = count;
    return part;
}

void bench_draw(const struct bench_draw *draw, float *values, void *elements)
{
    const uint64_t cores = bench_peak_usable_cores(), most = draw->count / LEAST_OF_THREAD + 1, wanted = cores < most ? cores : most;
    const uint64_t each = (draw->count + wanted - 1) / wanted;
    struct part *parts = wanted > 1 ? calloc(wanted - 1, sizeof(*parts)) : NULL;
    uint64_t begin = 0, started = 0;
    for (; parts && started < wanted - 1; started++, begin += each) {
        parts[started] = part_of(draw, values, elements, begin, each);
        if (pthread_create(&parts[started].thread, NULL, draw_part, &parts[started]) != 0)
            break;
    }
    /* what is left, all of it where there are no threads to be had */
    struct part rest = part_of(draw, values, elements, begin, draw->count - begin);
    draw_part(&rest);
    for (uint64_t i = 0; i < started; i++)
        pthread_join(parts[i].thread, NULL);
    free(parts);
}
