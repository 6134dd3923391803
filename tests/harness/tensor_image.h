/* SPDX-License-Identifier: MIT */
/**
 * A tensor in a device buffer, with every byte that is not an element known: poison around it and between its rows.
 * The poison is NaN in every type, so that reading it shows in results, and a pattern, so that writing over it shows afterwards.
 */
#ifndef VKRING_TESTS_TENSOR_IMAGE_H
#define VKRING_TESTS_TENSOR_IMAGE_H

#include <stdbool.h>

#include <vkring/vkring.h>

/** [batch][rows][heads][dim] */
struct tensor_shape_of_test {
    uint64_t batch, rows, heads, dim;
};

enum tensor_order {
    ORDER_PACKED,      /* strides 0 */
    ORDER_PADDED,      /* room after each head, row and batch entry */
    ORDER_HEADS_FIRST, /* [batch][heads][rows][dim] */
    ORDERS
};

struct tensor_placement {
    enum tensor_order order;
    uint64_t offset_elements;
    uint64_t padding; /* elements after each head of ORDER_PADDED; rows and batch entries get more */
};

struct tensor_image {
    enum vkring_type type;
    struct tensor_shape_of_test shape;
    uint64_t batch_stride, sequence_stride, head_stride; /* elements, as they are */
    struct vkring_tensor tensor;                         /* as the API takes it; its buffer is the image's */
    uint64_t bytes;
    unsigned char *expected; /* poison, and the elements that were put */
    unsigned char *now;      /* what was downloaded last */
};

/** False, with a line on standard error, when memory is short. */
bool tensor_image_create(vkring_device *device, enum vkring_type type, const struct tensor_shape_of_test *shape,
                         const struct tensor_placement *placement, struct tensor_image *out_image);
/** Accepts one that was not created. */
void tensor_image_destroy(struct tensor_image *image);

uint64_t tensor_image_count(const struct tensor_image *image);
/** Rounds packed elements into their places. */
void tensor_image_put(struct tensor_image *image, const float *packed);
bool tensor_image_upload(struct tensor_image *image);
bool tensor_image_download(struct tensor_image *image);
/** The elements that were downloaded last, packed. */
void tensor_image_get(const struct tensor_image *image, float *packed);

/** Whether what was downloaded is what was uploaded, everywhere. */
bool tensor_image_untouched(const struct tensor_image *image);
/** The same outside of the elements. */
bool tensor_image_canaries_alive(const struct tensor_image *image);

#endif
