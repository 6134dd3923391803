/* SPDX-License-Identifier: MIT */
#include "npy_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER_BYTES 128

_Noreturn void die(const char *what, const char *of)
{
    fprintf(stderr, "npy-helper: %s: %s\n", what, of);
    exit(2);
}

void *take_memory(uint64_t bytes)
{
    void *memory = calloc(1, bytes ? bytes : 1);
    if (!memory)
        die("no memory", "");
    return memory;
}

enum vkring_type type_of(const char *name)
{
    if (strcmp(name, "f32") == 0)
        return VKRING_TYPE_F32;
    if (strcmp(name, "f16") == 0)
        return VKRING_TYPE_F16;
    if (strcmp(name, "bf16") != 0)
        die("unknown type", name);
    return VKRING_TYPE_BF16;
}

/* Writing -------------------------------------------------------------------------------------------------------------- */

static void write_header(FILE *file, int major, const char *dictionary, size_t total)
{
    const size_t preamble = major == 1 ? 10 : 12;
    char header[4096];
    memset(header, ' ', sizeof(header));
    const size_t text = total - preamble;
    memcpy(header, "\x93NUMPY", 6);
    header[6] = (char)major;
    for (size_t i = 7; i < preamble; i++)
        header[i] = 0;
    header[8] = (char)(text & 0xff);
    header[9] = (char)(text >> 8);
    memcpy(header + preamble, dictionary, strlen(dictionary));
    header[total - 1] = '\n';
    fwrite(header, 1, total, file);
}

static FILE *open_to_write(const char *path)
{
    FILE *file = fopen(path, "wb");
    if (!file)
        die("cannot write", path);
    return file;
}

static void close_written(FILE *file, const char *path)
{
    if (ferror(file) || fclose(file) != 0)
        die("cannot write", path);
}

static const char *descr_of(const struct tensor *tensor)
{
    return tensor->ids ? "<i4" : tensor->type == VKRING_TYPE_F32 ? "<f4" : "<f2";
}

static void write_elements(const struct tensor *tensor, FILE *file)
{
    void *rounded;
    if (tensor->ids) {
        fwrite(tensor->ids, sizeof(int32_t), tensor->elements, file);
        return;
    }
    rounded = take_memory(tensor->elements * sizeof(float));
    vkring_convert_from_f32(tensor->type, tensor->values, tensor->elements, rounded);
    fwrite(rounded, vkring_type_bytes(tensor->type), tensor->elements, file);
    free(rounded);
}

void tensor_write(const struct tensor *tensor, const char *path)
{
    char dictionary[HEADER_BYTES], shape[64] = "";
    size_t length = 0;
    for (int i = 0; i < tensor->dims; i++)
        length += (size_t)snprintf(shape + length, sizeof(shape) - length, "%llu, ", (unsigned long long)tensor->shape[i]);
    snprintf(dictionary, sizeof(dictionary), "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }", descr_of(tensor), shape);
    FILE *file = open_to_write(path);
    write_header(file, 1, dictionary, HEADER_BYTES);
    write_elements(tensor, file);
    close_written(file, path);
}

void npy_write_raw(const char *path, int major, const char *dictionary, unsigned long long bytes)
{
    FILE *file = open_to_write(path);
    write_header(file, major, dictionary, strlen(dictionary) + 64);
    for (; bytes > 0; bytes--)
        fputc(0, file);
    close_written(file, path);
}

/* Reading -------------------------------------------------------------------------------------------------------------- */

static void read_shape(const char *header, const char *path, struct tensor *tensor)
{
    unsigned long long shape[4] = {0};
    const char *tuple = strstr(header, "'shape': (");
    if (!tuple || !strstr(header, "'fortran_order': False"))
        die("not as vkring writes it", path);
    tensor->dims = sscanf(tuple, "'shape': (%llu, %llu, %llu, %llu", &shape[0], &shape[1], &shape[2], &shape[3]);
    tensor->elements = 1;
    for (int i = 0; i < 4; i++) {
        tensor->shape[i] = i < tensor->dims ? shape[i] : 1;
        tensor->elements *= tensor->shape[i];
    }
}

static void read_elements(FILE *file, const char *path, bool ids, struct tensor *tensor)
{
    const uint64_t bytes = ids ? sizeof(int32_t) : vkring_type_bytes(tensor->type);
    void *stored = take_memory(tensor->elements * bytes + 1);
    if (fread(stored, 1, tensor->elements * bytes + 1, file) != tensor->elements * bytes)
        die("too long or too short", path);
    if (ids) {
        tensor->ids = stored;
        return;
    }
    tensor->values = take_memory(tensor->elements * sizeof(float));
    vkring_convert_to_f32(tensor->type, stored, tensor->elements, tensor->values);
    free(stored);
}

struct tensor tensor_read(const char *path)
{
    struct tensor tensor = {0};
    char header[HEADER_BYTES + 1] = "";
    if (!path)
        return tensor;
    FILE *file = fopen(path, "rb");
    if (!file || fread(header, 1, HEADER_BYTES, file) != HEADER_BYTES)
        die("cannot read", path);
    const size_t total = 10 + (size_t)(unsigned char)header[8] + 256 * (size_t)(unsigned char)header[9];
    const char *type = strstr(header + 10, "'descr': '<");
    if (memcmp(header, "\x93NUMPY\x01", 8) != 0 || total > HEADER_BYTES || total % 64 != 0 || !type)
        die("not as vkring writes it", path);
    tensor.type = type[12] == '4' ? VKRING_TYPE_F32 : VKRING_TYPE_F16;
    read_shape(header + 10, path, &tensor);
    fseek(file, (long)total, SEEK_SET);
    read_elements(file, path, type[11] == 'i', &tensor);
    fclose(file);
    return tensor;
}

void tensor_free(struct tensor *tensor)
{
    free(tensor->values);
    free(tensor->ids);
    *tensor = (struct tensor){0};
}

void tensor_round(struct tensor *tensor, enum vkring_type type)
{
    void *rounded = take_memory(tensor->elements * sizeof(float));
    vkring_convert_from_f32(type, tensor->values, tensor->elements, rounded);
    vkring_convert_to_f32(type, rounded, tensor->elements, tensor->values);
    free(rounded);
}

bool tensor_is_like(const struct tensor *tensor, enum vkring_type type, int dims, const uint64_t *shape)
{
    bool like = tensor->values && tensor->type == type && tensor->dims == dims;
    for (int i = 0; i < dims; i++)
        like = like && tensor->shape[i] == shape[i];
    return like;
}
