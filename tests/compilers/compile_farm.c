/* SPDX-License-Identifier: MIT */
/*
 * Compiles the kernels that the library chooses on device 0 and prints what the driver says of each, in tab-separated columns:
 * compile-farm CHIP [few | PROBLEM [WORDS]]
 *
 * With words, as VKRING_KERNELS has them, the kernels that they make of the choice for the problem, and no others.
 *
 * Nothing is run or waited for: the device may be a driver without hardware. A kernel's line comes as soon as it is compiled, so that what
 * a compiler that dies was at follows the last.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "attention/choice_text.h"
#include "attention/forward_choice.h"
#include "attention/kernel.h"
#include "attention/rows.h"
#include "attention/segments.h"
#include "captured_pipelines.h"
#include "feedforward/layer.h"

enum options { PLAIN, CAUSAL, UNSEGMENTED, ALL }; /* the third: all but segment ids */

static const struct farm_problem {
    enum vkring_type type;
    uint64_t head_dim, value_dim;
    enum options options;
    bool few; /* among the few that stand for the others */
} problems[] = {
    {VKRING_TYPE_F32, 64, 64, PLAIN, true},        {VKRING_TYPE_F32, 64, 64, CAUSAL, false},
    {VKRING_TYPE_F32, 64, 64, ALL, true},          {VKRING_TYPE_F32, 128, 128, CAUSAL, false},
    {VKRING_TYPE_F32, 128, 128, ALL, false},       {VKRING_TYPE_F32, 256, 256, ALL, false},
    {VKRING_TYPE_F16, 64, 64, PLAIN, false},       {VKRING_TYPE_F16, 64, 64, ALL, false},
    {VKRING_TYPE_F16, 128, 128, CAUSAL, true},     {VKRING_TYPE_F16, 128, 128, ALL, true},
    {VKRING_TYPE_F16, 256, 256, PLAIN, false},     {VKRING_TYPE_F16, 256, 256, ALL, true},
    {VKRING_TYPE_F16, 40, 72, ALL, false},         {VKRING_TYPE_BF16, 128, 128, CAUSAL, false},
    {VKRING_TYPE_BF16, 128, 128, ALL, false},      {VKRING_TYPE_F16, 64, 64, CAUSAL, true},
    {VKRING_TYPE_F16, 40, 56, CAUSAL, false},      {VKRING_TYPE_BF16, 64, 32, CAUSAL, false},
    {VKRING_TYPE_F16, 64, 64, UNSEGMENTED, false}, {VKRING_TYPE_BF16, 128, 128, UNSEGMENTED, false},
    {VKRING_TYPE_BF16, 256, 256, ALL, false},      {VKRING_TYPE_F16, 32, 32, ALL, false},
    {VKRING_TYPE_F16, 32, 32, CAUSAL, false},
};

static const char *const type_names[] = {[VKRING_TYPE_F32] = "f32", [VKRING_TYPE_F16] = "f16", [VKRING_TYPE_BF16] = "bf16"};
static const char *const option_names[] = {[PLAIN] = "plain", [CAUSAL] = "causal", [UNSEGMENTED] = "unsegmented", [ALL] = "all"};

static struct vkring_plan_params params_of(const struct farm_problem *farmed)
{
    struct vkring_plan_params params = {
        .type = farmed->type,
        .batch = 2,
        .q_len = 8192,
        .kv_len = 8192,
        .heads = 8,
        .kv_heads = 2,
        .head_dim = farmed->head_dim,
        .value_dim = farmed->value_dim,
        .causal = farmed->options != PLAIN,
        .backward = true,
    };
    if (farmed->options >= UNSEGMENTED) {
        params.causal_block = 16;
        params.has_window = true;
        params.window_left = params.window_right = 1000;
        params.segment_ids = farmed->options == ALL;
        params.alibi = params.sinks = true;
        params.softcap = 30;
        params.dropout = 0.1;
        params.bias =
            (struct vkring_bias_params){.present = true, .type = VKRING_TYPE_F32, .per_batch = true, .per_head = true, .per_query = true};
    }
    return params;
}

/* Gradients of a ring and rows that lie apart go with the problem that has everything. */
static struct kernel_use use_of(const struct farm_problem *farmed)
{
    return (struct kernel_use){.partial = farmed->options != PLAIN, .strided = farmed->options >= UNSEGMENTED};
}

struct farm {
    vkring_device *device;
    const char *chip;
    const char *problem;    /* being compiled */
    const char *kernels[2]; /* of the next pipelines, in the order in which they are made */
    bool failed;
};

static void print_number(double value)
{
    if (value < 0)
        printf("\t-");
    else
        printf("\t%.0f", value);
}

static void print_statistics(const struct captured_executable *executable)
{
    /* by RADV, ANV, NVK and NVIDIA's own; names that a driver has none of add nothing */
    static const char *const columns[][5] = {
        {"VGPRs", "Max live registers", "Number of GPRs", "Register Count"},
        {"Spilled VGPRs", "Spills", "Spills to memory"},
        {"Spilled SGPRs", "Spills to reg"},
        {"Scratch size", "Scratch Memory Size", "SLM size", "Local Memory Size"},
        {"LDS size", "Workgroup Memory Size", "Shared Memory Size"},
        {"Subgroups per SIMD", "Max warps/SM"},
        {"Instructions", "Instruction count"},
    };
    printf("\t%u", executable->subgroup_size);
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++)
        print_number(captured_sum(executable, columns[i]));
    printf("\n");
}

/* A pipeline that another problem has too is made once, and printed with the first. */
static void print_pipeline(void *user)
{
    struct farm *farm = user;
    for (uint32_t i = 0; i < captured_pipelines.executable_count; i++) {
        printf("%s\t%s", farm->chip, farm->kernels[0]);
        if (i > 0)
            printf("#%u", i + 1);
        printf("\t%s", farm->problem);
        print_statistics(&captured_pipelines.executables[i]);
    }
    farm->kernels[0] = farm->kernels[1];
    fflush(stdout);
}

static void name_next(struct farm *farm, const char *first, const char *second, const char *problem)
{
    farm->kernels[0] = first;
    farm->kernels[1] = second;
    farm->problem = problem;
}

static void check(struct farm *farm, enum vkring_status status)
{
    if (status == VKRING_OK)
        return;
    printf("%s\t%s\t%s\tfailed: %s\n", farm->chip, farm->kernels[0], farm->problem, vkring_last_error()->message);
    farm->failed = true;
}

static bool is_used(enum spirv_kernel which, const struct problem *problem, const struct kernel_choice *choice)
{
    switch (which) {
    case SPIRV_QUERY_GRADIENT:
        return !choice->keeps_score_grads;
    case SPIRV_QUERY_SUM:
        return choice->keeps_score_grads;
    case SPIRV_MERGE:
        return false; /* of few queries */
    case SPIRV_BIAS_GRADIENT:
        return problem->bias.present;
    case SPIRV_SINK_GRADIENT:
        return problem->sinks;
    default:
        return true;
    }
}

static void name_of(const struct farm_problem *farmed, char *out, size_t size)
{
    snprintf(out, size, "%s %llux%llu %s", type_names[farmed->type], (unsigned long long)farmed->head_dim,
             (unsigned long long)farmed->value_dim, option_names[farmed->options]);
}

/* which: null for all, few, or a name. */
static bool is_wanted(const struct farm *farm, const struct farm_problem *farmed, const char *which)
{
    char name[64];
    name_of(farmed, name, sizeof(name));
    if (farmed->type != VKRING_TYPE_F32 && !farm->device->limits.storage_16bit)
        return false;
    return !which || strcmp(which, name) == 0 || (farmed->few && strcmp(which, "few") == 0);
}

/* And for rows that are not whole quads, problems with uneven dimensions; on matrix units also for those that are no whole octets. */
static void compile_kernel(struct farm *farm, enum spirv_kernel which, const struct farm_problem *farmed, const struct problem *problem,
                           const struct kernel_choice *choice)
{
    struct attention_kernel kernel = {0};
    char name[64], general[80], quads[80];
    const struct matrix_tiles *matrices = kernel_choice_matrices(choice, which);
    snprintf(name, sizeof(name), "%s%s%s", spirv_kernel_name(which), matrices ? "_matrix" : "",
             matrices && matrices->operations ? "_operations" : "");
    snprintf(general, sizeof(general), "%s_general", name);
    snprintf(quads, sizeof(quads), "%s_quads", name);
    if (!is_used(which, problem, choice))
        return;
    name_next(farm, name, NULL, farm->problem);
    check(farm, attention_kernel_create(farm->device, which, problem, choice, use_of(farmed), &kernel));
    if (farmed->head_dim != farmed->value_dim) {
        name_next(farm, general, NULL, farm->problem);
        check(farm, attention_kernel_prepare(farm->device, problem, ALIGNED_ELEMENTS, &kernel));
        name_next(farm, quads, NULL, farm->problem);
        check(farm, attention_kernel_prepare(farm->device, problem, ALIGNED_QUADS, &kernel));
    }
    attention_kernel_destroy(farm->device, &kernel);
}

/* What vkring tune may choose in place of forward on matrix units. */
static void compile_operations(struct farm *farm, const struct farm_problem *farmed, const struct problem *problem,
                               const struct kernel_choice *best)
{
    struct kernel_choice choice = *best;
    choice.matrix_wish.operations = true;
    kernel_choice_settle(farm->device, problem, &choice);
    const struct matrix_tiles *matrices = kernel_choice_matrices(&choice, SPIRV_FORWARD);
    if (matrices && matrices->operations)
        compile_kernel(farm, SPIRV_FORWARD, farmed, problem, &choice);
}

/* Forward of few query rows, and the merge of its splits. */
static void compile_few_queries(struct farm *farm, const struct farm_problem *farmed)
{
    static const enum spirv_kernel kernels[] = {SPIRV_FORWARD, SPIRV_MERGE};
    static const char *const names[] = {"forward_few_queries", "merge"};
    struct vkring_plan_params params = params_of(farmed);
    struct problem problem;
    params.q_len = 1;
    params.backward = false;
    if (problem_resolve(&params, &problem) != VKRING_OK) {
        check(farm, VKRING_ERROR_INVALID_ARGUMENT);
        return;
    }
    const struct kernel_choice best = kernel_choice_best(farm->device, &problem);
    const struct kernel_choice choice = forward_choice(farm->device, &problem, &best);
    for (size_t i = 0; i < sizeof(kernels) / sizeof(kernels[0]); i++) {
        struct attention_kernel kernel = {0};
        struct kernel_use use = use_of(farmed);
        use.splits = true;
        name_next(farm, names[i], NULL, farm->problem);
        check(farm, attention_kernel_create(farm->device, kernels[i], &problem, &choice, use, &kernel));
        attention_kernel_destroy(farm->device, &kernel);
    }
}

/* Where registers are few, forward may be on matrix units if there is no backward. */
static void compile_forward_alone(struct farm *farm, const struct farm_problem *farmed)
{
    struct vkring_plan_params params = params_of(farmed);
    struct problem problem;
    params.backward = false;
    if (problem_resolve(&params, &problem) != VKRING_OK) {
        check(farm, VKRING_ERROR_INVALID_ARGUMENT);
        return;
    }
    const struct kernel_choice best = kernel_choice_best(farm->device, &problem);
    if (kernel_choice_matrices(&best, SPIRV_FORWARD))
        compile_kernel(farm, SPIRV_FORWARD, farmed, &problem, &best);
}

static void compile_words(struct farm *farm, const struct farm_problem *farmed, const struct problem *problem, const char *words)
{
    struct kernel_choice choice = kernel_choice_best(farm->device, problem);
    if (choice_parse(farm->device, problem, words, &choice) != VKRING_OK) {
        check(farm, VKRING_ERROR_INVALID_ARGUMENT);
        return;
    }
    for (enum spirv_kernel which = 0; which < SPIRV_KERNELS; which++)
        compile_kernel(farm, which, farmed, problem, &choice);
}

static void compile_problem(struct farm *farm, const struct farm_problem *farmed, const char *words)
{
    const struct vkring_plan_params params = params_of(farmed);
    struct problem problem;
    char name[64];
    name_of(farmed, name, sizeof(name));
    name_next(farm, "problem", NULL, name);
    if (problem_resolve(&params, &problem) != VKRING_OK) {
        check(farm, VKRING_ERROR_INVALID_ARGUMENT);
        return;
    }
    if (words) {
        compile_words(farm, farmed, &problem, words);
        return;
    }
    const struct kernel_choice scalar = kernel_choice_of_family(farm->device, &problem, KERNELS_SCALAR);
    const struct kernel_choice best = kernel_choice_best(farm->device, &problem);
    for (enum spirv_kernel which = 0; which < SPIRV_KERNELS; which++) {
        compile_kernel(farm, which, farmed, &problem, &scalar);
        if (kernel_choice_matrices(&best, which))
            compile_kernel(farm, which, farmed, &problem, &best);
    }
    compile_operations(farm, farmed, &problem, &best);
    if (!best.matrix)
        compile_forward_alone(farm, farmed);
    if (farmed->few)
        compile_few_queries(farm, farmed);
}

/* Those that know nothing of a problem. */
static void compile_helpers(struct farm *farm)
{
    struct segment_kernels segments = {0};
    for (int i = 0; i < 2; i++) {
        struct rows_kernel pack = {0};
        name_next(farm, "pack", "pack_general", i == 0 ? "16 bits" : "32 bits");
        check(farm, pack_kernel_create(farm->device, i == 0 ? 2 : 4, &pack));
        rows_kernel_destroy(farm->device, &pack);
    }
    for (enum vkring_type type = VKRING_TYPE_F32; type <= VKRING_TYPE_BF16; type++) {
        struct rows_kernel add = {0};
        name_next(farm, "add", "add_general", type_names[type]);
        if (type == VKRING_TYPE_F32 || farm->device->limits.storage_16bit)
            check(farm, add_kernel_create(farm->device, type, &add));
        rows_kernel_destroy(farm->device, &add);
    }
    name_next(farm, "segment_ranges", "segment_bounds", "any");
    check(farm, segment_kernels_create(farm->device, &segments));
    segment_kernels_destroy(farm->device, &segments);
}

/* Products of a feed-forward layer, of the f32 where that is told, scalar and on matrix units: there of uneven rows, too. */
static const struct {
    const char *name;
    enum layer_product product;
} products[] = {
    {"gemm", LAYER_HIDDEN},
    {"gemm_f32_left", LAYER_OUTPUT},
    {"gemm_gradient", LAYER_HIDDEN_GRAD},
    {"gemm_weight_gradient", LAYER_HIDDEN_WEIGHT_GRAD},
    {"gemm_two_products", LAYER_INPUT_GRAD},
};

static void compile_product(struct farm *farm, const struct gemm_kind *kind, const char *name, const struct gemm_wish *wish)
{
    const struct gemm_matrices matrices = gemm_tile_choose(farm->device, kind, wish).matrices;
    struct gemm gemm = {0};
    char full_name[64], general[80];
    snprintf(full_name, sizeof(full_name), "%s%s%s", name, wish->matrix ? "_matrix" : "", wish->operations ? "_operations" : "");
    if ((wish->matrix && !matrices.shape.m) || (wish->operations && !matrices.operations))
        return;
    name_next(farm, full_name, NULL, farm->problem);
    check(farm, gemm_create(farm->device, kind, wish, true, &gemm));
    gemm_destroy(farm->device, &gemm);
    if (!wish->matrix)
        return;
    snprintf(general, sizeof(general), "%s_general", full_name);
    name_next(farm, general, NULL, farm->problem);
    check(farm, gemm_create(farm->device, kind, wish, false, &gemm));
    gemm_destroy(farm->device, &gemm);
}

/* Of a SwiGLU layer with all biases. */
static void compile_feedforward(struct farm *farm, enum vkring_type type)
{
    const struct vkring_feedforward_params params = {
        .type = type,
        .rows = 8192,
        .model_dim = 4096,
        .hidden_dim = 14336,
        .output_dim = 4096,
        .activation = VKRING_ACTIVATION_SILU,
        .gated = true,
        .hidden_bias = true,
        .gate_bias = true,
        .output_bias = true,
        .backward = true,
    };
    static const struct gemm_wish wishes[] = {{.matrix = false}, {.matrix = true}, {.matrix = true, .operations = true}};
    for (size_t i = 0; i < sizeof(products) / sizeof(products[0]); i++) {
        const struct gemm_kind kind = layer_product_kind(&params, products[i].product);
        name_next(farm, products[i].name, NULL, type_names[type]);
        compile_product(farm, &kind, products[i].name, &wishes[0]);
        for (int w = 1; w < 3; w++)
            compile_product(farm, &kind, products[i].name, &wishes[w]);
    }
}

/* Of few, not f16: bf16 is the same, with more to do. */
static void compile_layers(struct farm *farm, bool few)
{
    for (enum vkring_type type = VKRING_TYPE_F32; type <= VKRING_TYPE_BF16; type++)
        if (type == VKRING_TYPE_F32 || (farm->device->limits.storage_16bit && !(few && type == VKRING_TYPE_F16)))
            compile_feedforward(farm, type);
}

int main(int argc, char **argv)
{
    const struct vkring_device_params params = {.cache_folder = ""};
    const char *which = argc > 2 ? argv[2] : NULL, *words = argc > 3 ? argv[3] : NULL;
    struct farm farm = {.chip = argv[1]};
    if (argc < 2 || argc > 4) {
        fprintf(stderr, "usage: compile-farm CHIP [few | PROBLEM [WORDS]]\n");
        return 2;
    }
    if (vk_device_open(&params, NULL, &farm.device) != VKRING_OK) {
        fprintf(stderr, "%s: %s\n", farm.chip, vkring_last_error()->message);
        return 1;
    }
    captured_pipelines.on_created = print_pipeline;
    captured_pipelines.user = &farm;
    printf("# %s\t%s\t%s\n", farm.chip, farm.device->info.name, farm.device->info.driver);
    for (size_t i = 0; i < sizeof(problems) / sizeof(problems[0]); i++)
        if (is_wanted(&farm, &problems[i], which))
            compile_problem(&farm, &problems[i], words);
    if (!words) {
        compile_helpers(&farm);
        compile_layers(&farm, which && strcmp(which, "few") == 0);
    }
    if (!captured_pipelines.available)
        fprintf(stderr, "%s: no " VK_KHR_PIPELINE_EXECUTABLE_PROPERTIES_EXTENSION_NAME "\n", farm.chip);
    vkring_device_destroy(&farm.device);
    return farm.failed;
}
