/* SPDX-License-Identifier: MIT */
#include "packet_shape.h"

#include "../base/checked.h"

#define PART_ALIGNMENT 256u

void packet_shape_add(struct packet_shape *shape, int part, const struct tensor_shape *tensor)
{
    /* the products were checked with the problem */
    shape->part_bytes[part] = tensor->batch * tensor->rows * tensor->heads * tensor->dim * tensor->element_bytes;
    shape->part_offset[part] = divide_up(shape->bytes, PART_ALIGNMENT) * PART_ALIGNMENT;
    if (shape->part_bytes[part] > 0)
        shape->bytes = shape->part_offset[part] + shape->part_bytes[part];
}

struct packet_shape packet_shape_of(const struct problem *problem, uint64_t rows)
{
    struct packet_shape shape = {.rows = rows};
    for (int part = 0; part < PACKET_PARTS; part++) {
        const struct tensor_shape tensor = key_part_shape(problem, (enum key_part)part, problem->batch > 0 ? rows : 0);
        packet_shape_add(&shape, part, &tensor);
    }
    return shape;
}

uint64_t packet_shape_payload(const struct packet_shape *shape)
{
    uint64_t bytes = 0;
    for (int part = 0; part < PACKET_PARTS; part++)
        bytes += shape->part_bytes[part];
    return bytes;
}

uint64_t packet_shape_end(const struct packet_shape *shape, uint64_t payload_bytes)
{
    int part = 0;
    if (payload_bytes == 0)
        return 0;
    while (payload_bytes > shape->part_bytes[part])
        payload_bytes -= shape->part_bytes[part++];
    return shape->part_offset[part] + payload_bytes;
}

struct packet_memory packet_shape_memory(const struct packet_shape *shape, void *first)
{
    struct packet_memory memory = {{0}};
    for (int part = 0; first && part < PACKET_PARTS; part++)
        memory.parts[part] = (char *)first + shape->part_offset[part];
    return memory;
}
