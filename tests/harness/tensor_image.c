/* SPDX-License-Identifier: MIT */
#include "tensor_image.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Elements before and after the tensor: a stray vector or two lands in them. */
enum { GUARD_ELEMENTS = 64 };

static void poison(unsigned char *bytes, uint64_t count)
{
    static const unsigned char pattern[4] = {0xfe, 0xff, 0xfd, 0x7f};
    for (uint64_t i = 0; i < count; i++)
        bytes[i] = pattern[i % 4];
}

static void place(const struct tensor_shape_of_test *shape, const struct tensor_placement *placement, struct tensor_image *image)
{
    switch (placement->order) {
    case ORDER_HEADS_FIRST:
        image->sequence_stride = shape->dim + placement->padding;
        image->head_stride = shape->rows * image->sequence_stride;
        image->batch_stride = shape->heads * image->head_stride;
        return;
    case ORDER_PADDED:
        image->head_stride = shape->dim + placement->padding;
        image->sequence_stride = shape->heads * image->head_stride + 2 * placement->padding;
        image->batch_stride = shape->rows * image->sequence_stride + 3 * placement->padding;
        return;
    case ORDER_PACKED:
    case ORDERS:
        break;
    }
    image->head_stride = shape->dim;
    image->sequence_stride = shape->heads * shape->dim;
    image->batch_stride = shape->rows * image->sequence_stride;
}

static uint64_t extent_elements(const struct tensor_image *image)
{
    const struct tensor_shape_of_test *shape = &image->shape;
    if (tensor_image_count(image) == 0)
        return 0;
    return (shape->batch - 1) * image->batch_stride + (shape->rows - 1) * image->sequence_stride + (shape->heads - 1) * image->head_stride +
           shape->dim;
}

bool tensor_image_create(vkring_device *device, enum vkring_type type, const struct tensor_shape_of_test *shape,
                         const struct tensor_placement *placement, struct tensor_image *out_image)
{
    const uint64_t element_bytes = vkring_type_bytes(type);
    struct tensor_image image = {.type = type, .shape = *shape};
    place(shape, placement, &image);
    if (placement->order != ORDER_PACKED) {
        image.tensor.batch_stride = image.batch_stride;
        image.tensor.sequence_stride = image.sequence_stride;
        image.tensor.head_stride = image.head_stride;
    }
    image.tensor.offset_bytes = (GUARD_ELEMENTS + placement->offset_elements) * element_bytes;
    image.bytes = image.tensor.offset_bytes + (extent_elements(&image) + GUARD_ELEMENTS) * element_bytes;
    image.expected = malloc(image.bytes);
    image.now = malloc(image.bytes);
    if (!image.expected || !image.now || vkring_buffer_create(device, image.bytes, &image.tensor.buffer) != VKRING_OK) {
        fprintf(stderr, "no buffer of %llu bytes: %s\n", (unsigned long long)image.bytes, vkring_last_error()->message);
        tensor_image_destroy(&image);
        return false;
    }
    poison(image.expected, image.bytes);
    poison(image.now, image.bytes);
    *out_image = image;
    return true;
}

void tensor_image_destroy(struct tensor_image *image)
{
    vkring_buffer_destroy(&image->tensor.buffer);
    free(image->expected);
    free(image->now);
    *image = (struct tensor_image){0};
}

uint64_t tensor_image_count(const struct tensor_image *image)
{
    return image->shape.batch * image->shape.rows * image->shape.heads * image->shape.dim;
}

/* Where head-row `index` of the packed order begins. */
static uint64_t row_byte(const struct tensor_image *image, uint64_t index)
{
    const struct tensor_shape_of_test *shape = &image->shape;
    uint64_t head = index % shape->heads;
    uint64_t row = index / shape->heads % shape->rows;
    uint64_t batch = index / shape->heads / shape->rows;
    uint64_t element = batch * image->batch_stride + row * image->sequence_stride + head * image->head_stride;
    return image->tensor.offset_bytes + element * vkring_type_bytes(image->type);
}

static uint64_t head_rows(const struct tensor_image *image)
{
    return image->shape.batch * image->shape.rows * image->shape.heads;
}

void tensor_image_put(struct tensor_image *image, const float *packed)
{
    if (image->shape.dim == 0)
        return;
    for (uint64_t i = 0; i < head_rows(image); i++)
        vkring_convert_from_f32(image->type, packed + i * image->shape.dim, image->shape.dim, image->expected + row_byte(image, i));
}

void tensor_image_get(const struct tensor_image *image, float *packed)
{
    if (image->shape.dim == 0)
        return;
    for (uint64_t i = 0; i < head_rows(image); i++)
        vkring_convert_to_f32(image->type, image->now + row_byte(image, i), image->shape.dim, packed + i * image->shape.dim);
}

bool tensor_image_upload(struct tensor_image *image)
{
    return vkring_buffer_upload(image->tensor.buffer, 0, image->expected, image->bytes) == VKRING_OK;
}

bool tensor_image_download(struct tensor_image *image)
{
    return vkring_buffer_download(image->tensor.buffer, 0, image->now, image->bytes) == VKRING_OK;
}

bool tensor_image_untouched(const struct tensor_image *image)
{
    return memcmp(image->now, image->expected, image->bytes) == 0;
}

bool tensor_image_canaries_alive(const struct tensor_image *image)
{
    const uint64_t row_bytes = image->shape.dim * vkring_type_bytes(image->type);
    unsigned char *masked = malloc(image->bytes);
    if (!masked)
        return false;
    memcpy(masked, image->now, image->bytes);
    for (uint64_t i = 0; row_bytes && i < head_rows(image); i++)
        memcpy(masked + row_byte(image, i), image->expected + row_byte(image, i), row_bytes);
    bool alive = memcmp(masked, image->expected, image->bytes) == 0;
    free(masked);
    return alive;
}
