/* SPDX-License-Identifier: MIT */
/** The .npy files of the tests of the command line. What goes wrong here ends the program with status 2. */
#ifndef VKRING_TESTS_NPY_FILE_H
#define VKRING_TESTS_NPY_FILE_H

#include <stdbool.h>
#include <stdint.h>

#include <vkring/vkring.h>

_Noreturn void die(const char *what, const char *of);
/** Zeroed. */
void *take_memory(uint64_t bytes);
/** "f32", "f16" or "bf16". */
enum vkring_type type_of(const char *name);

/** Of up to 4 dimensions; the rest are 1. Floats have values, integers ids. */
struct tensor {
    enum vkring_type type;
    int dims;
    uint64_t shape[4];
    uint64_t elements;
    float *values;
    int32_t *ids;
};

/** Only what tensor_write and vkring write. No path: no elements. */
struct tensor tensor_read(const char *path);
void tensor_free(struct tensor *tensor);
/** Rounds values to a type. */
void tensor_round(struct tensor *tensor, enum vkring_type type);
/** Of that type, with those lengths. */
bool tensor_is_like(const struct tensor *tensor, enum vkring_type type, int dims, const uint64_t *shape);

/** A file with type, lengths, and values or ids of the tensor. */
void tensor_write(const struct tensor *tensor, const char *path);
/** A file with a header of format major.0 with that text, and so many zeros. */
void npy_write_raw(const char *path, int major, const char *dictionary, unsigned long long bytes);

#endif
