/* SPDX-License-Identifier: MIT */
/*
 * Makes the .npy files that tests of the command line give to it, good and bad, and judges those that it writes:
 *
 *   npy-helper make FILE f32|f16 SEED BATCH LENGTH HEADS DIM [INDEX VALUE]   normal values; one of them VALUE
 *   npy-helper raw FILE MAJOR DICTIONARY BYTES                              a header of that format with that text, and so many zeros
 *   npy-helper check QUERY KEY VALUE OUTPUT LSE|- f32|f16|bf16 full|causal OFFSET|- SCALE|-
 *       whether OUTPUT (and LSE) is what the oracle makes of inputs rounded to the type, within the type's gates
 *
 * Reads only what `make` and vkring write. Exit status: 0 good, 1 not, 2 wrong usage.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <ref/compare.h>
#include <ref/random_input.h>
#include <ref/reference.h>

#define HEADER_BYTES 128

static void die(const char *what, const char *of)
{
    fprintf(stderr, "npy-helper: %s: %s\n", what, of);
    exit(2);
}

static void *take_memory(uint64_t bytes)
{
    void *memory = calloc(1, bytes ? bytes : 1);
    if (!memory)
        die("no memory", "");
    return memory;
}

static enum vkring_type type_of(const char *name)
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

static int make(int count, char **words)
{
    if (count != 7 && count != 9)
        die("wrong number of arguments for", "make");
    const enum vkring_type type = type_of(words[1]);
    uint64_t shape[4], elements = 1;
    char dictionary[128];
    for (int i = 0; i < 4; i++)
        elements *= shape[i] = strtoull(words[3 + i], NULL, 10);
    float *values = take_memory(elements * sizeof(float));
    void *rounded = take_memory(elements * sizeof(float));
    random_fill(strtoull(words[2], NULL, 10), RANDOM_NORMAL, 1, 0, elements, values);
    if (count == 9)
        values[strtoull(words[7], NULL, 10)] = strtof(words[8], NULL);
    vkring_convert_from_f32(type, values, elements, rounded);
    snprintf(dictionary, sizeof(dictionary), "{'descr': '%s', 'fortran_order': False, 'shape': (%llu, %llu, %llu, %llu), }",
             type == VKRING_TYPE_F32 ? "<f4" : "<f2", (unsigned long long)shape[0], (unsigned long long)shape[1],
             (unsigned long long)shape[2], (unsigned long long)shape[3]);
    FILE *file = open_to_write(words[0]);
    write_header(file, 1, dictionary, HEADER_BYTES);
    fwrite(rounded, vkring_type_bytes(type), elements, file);
    close_written(file, words[0]);
    free(values);
    free(rounded);
    return 0;
}

static int raw(int count, char **words)
{
    if (count != 4 || strlen(words[2]) > 2000)
        die("wrong arguments for", "raw");
    FILE *file = open_to_write(words[0]);
    write_header(file, atoi(words[1]), words[2], strlen(words[2]) + 64);
    for (unsigned long long bytes = strtoull(words[3], NULL, 10); bytes > 0; bytes--)
        fputc(0, file);
    close_written(file, words[0]);
    return 0;
}

/* Judging -------------------------------------------------------------------------------------------------------------- */

struct tensor {
    enum vkring_type type;
    uint64_t shape[4];
    uint64_t elements;
    float *values;
};

static void read_shape(const char *header, const char *path, struct tensor *tensor)
{
    unsigned long long shape[4] = {0};
    const char *type = strstr(header, "'descr': '<f");
    const char *tuple = strstr(header, "'shape': (");
    if (!type || !tuple || !strstr(header, "'fortran_order': False"))
        die("not as vkring writes it", path);
    const int dims = sscanf(tuple, "'shape': (%llu, %llu, %llu, %llu", &shape[0], &shape[1], &shape[2], &shape[3]);
    tensor->type = type[12] == '4' ? VKRING_TYPE_F32 : VKRING_TYPE_F16;
    tensor->elements = 1;
    for (int i = 0; i < 4; i++) {
        tensor->shape[i] = i < dims ? shape[i] : 1;
        tensor->elements *= tensor->shape[i];
    }
}

static struct tensor read_tensor(const char *path)
{
    struct tensor tensor = {0};
    char header[HEADER_BYTES + 1] = "";
    FILE *file = fopen(path, "rb");
    if (!file || fread(header, 1, HEADER_BYTES, file) != HEADER_BYTES)
        die("cannot read", path);
    const size_t total = 10 + (size_t)(unsigned char)header[8] + 256 * (size_t)(unsigned char)header[9];
    if (memcmp(header, "\x93NUMPY\x01", 8) != 0 || total > HEADER_BYTES || total % 64 != 0)
        die("not as vkring writes it", path);
    read_shape(header + 10, path, &tensor);
    const uint64_t bytes = vkring_type_bytes(tensor.type);
    void *stored = take_memory(tensor.elements * bytes + 1);
    tensor.values = take_memory(tensor.elements * sizeof(float));
    fseek(file, (long)total, SEEK_SET);
    if (fread(stored, 1, tensor.elements * bytes + 1, file) != tensor.elements * bytes)
        die("too long or too short", path);
    vkring_convert_to_f32(tensor.type, stored, tensor.elements, tensor.values);
    free(stored);
    fclose(file);
    return tensor;
}

static void round_to(enum vkring_type type, struct tensor *tensor)
{
    void *rounded = take_memory(tensor->elements * sizeof(float));
    vkring_convert_from_f32(type, tensor->values, tensor->elements, rounded);
    vkring_convert_to_f32(type, rounded, tensor->elements, tensor->values);
    free(rounded);
}

static bool has_shape(const struct tensor *tensor, uint64_t a, uint64_t b, uint64_t c, uint64_t d)
{
    return tensor->shape[0] == a && tensor->shape[1] == b && tensor->shape[2] == c && tensor->shape[3] == d;
}

static bool judge_output(const struct tensor *output, const double *expected, enum vkring_type type)
{
    const struct error_gate gate = forward_gate(type);
    const struct error_measure error = error_measure(output->values, expected, output->elements);
    printf("# output: rms %.3g, maximum %.3g\n", error.rms, error.maximum);
    return gate_passes(&gate, &error);
}

static bool judge_lse(const struct tensor *lse, const double *expected)
{
    const double error = lse_error(lse->values, expected, lse->elements);
    printf("# lse: %.3g\n", error);
    return error <= LSE_GATE;
}

static struct reference_problem problem_of(const struct tensor *query, const struct tensor *key, const struct tensor *value, char **words)
{
    struct reference_problem problem = {
        .batch = query->shape[0],
        .q_len = query->shape[1],
        .kv_len = key->shape[1],
        .heads = query->shape[2],
        .kv_heads = key->shape[2],
        .head_dim = query->shape[3],
        .value_dim = value->shape[3],
        .causal = strcmp(words[6], "causal") == 0,
        .query_offset = strtoll(words[7], NULL, 10),
        .scale = strtod(words[8], NULL),
    };
    if (strcmp(words[7], "-") == 0)
        problem.query_offset = (int64_t)problem.kv_len - (int64_t)problem.q_len;
    if (strcmp(words[8], "-") == 0)
        problem.scale = 1 / sqrt((double)problem.head_dim);
    return problem;
}

static int check(int count, char **words)
{
    if (count != 9)
        die("wrong number of arguments for", "check");
    const enum vkring_type type = type_of(words[5]);
    struct tensor query = read_tensor(words[0]), key = read_tensor(words[1]), value = read_tensor(words[2]);
    struct tensor output = read_tensor(words[3]), lse = {0};
    const struct reference_problem problem = problem_of(&query, &key, &value, words);
    double *expected = take_memory(output.elements * sizeof(double));
    double *expected_lse = take_memory(problem.batch * problem.heads * problem.q_len * sizeof(double));
    bool good = output.type == query.type && has_shape(&output, problem.batch, problem.q_len, problem.heads, problem.value_dim);
    if (strcmp(words[4], "-") != 0) {
        lse = read_tensor(words[4]);
        good = good && lse.type == VKRING_TYPE_F32 && has_shape(&lse, problem.batch, problem.heads, problem.q_len, 1);
    }
    round_to(type, &query);
    round_to(type, &key);
    round_to(type, &value);
    good = good && reference_forward(&problem, query.values, key.values, value.values, 0, problem.q_len, expected, expected_lse);
    good = good && judge_output(&output, expected, type) && (!lse.values || judge_lse(&lse, expected_lse));
    free(query.values);
    free(key.values);
    free(value.values);
    free(output.values);
    free(lse.values);
    free(expected);
    free(expected_lse);
    return good ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *verb = argc > 1 ? argv[1] : "";
    if (strcmp(verb, "make") == 0)
        return make(argc - 2, argv + 2);
    if (strcmp(verb, "raw") == 0)
        return raw(argc - 2, argv + 2);
    if (strcmp(verb, "check") == 0)
        return check(argc - 2, argv + 2);
    die("unknown verb", verb);
    return 2;
}
