/* SPDX-License-Identifier: MIT */
#include "attention_case.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case_problem.h"

static const char *const input_names[INPUTS_KINDS] = {"normal",     "heavy tail", "big logits", "huge key",
                                                      "block gaps", "one-hot",    "values one"};
static const char *const type_names[] = {"f32", "f16", "bf16"};
static const char *const order_names[ORDERS] = {"packed", "padded", "heads first"};

void case_print(const struct attention_case *c)
{
    const struct vkring_plan_params *p = &c->params;
    fprintf(stderr, "  case %s: seed %" PRIu64 " %s batch %" PRIu64 " q_len %" PRIu64 " kv_len %" PRIu64, c->name ? c->name : "-", c->seed,
            type_names[p->type], p->batch, p->q_len, p->kv_len);
    fprintf(stderr, " heads %" PRIu64 "/%" PRIu64 " dims %" PRIu64 "/%" PRIu64 "%s", p->heads, p->kv_heads, p->head_dim, p->value_dim,
            p->causal ? " causal" : "");
    if (p->has_query_offset)
        fprintf(stderr, " query_offset %" PRId64, p->query_offset);
    if (p->has_scale)
        fprintf(stderr, " scale %g", p->scale);
    if (p->dispatch_seconds > 0 || p->chunk_bytes)
        fprintf(stderr, " dispatch_seconds %g chunk_bytes %" PRIu64, p->dispatch_seconds, p->chunk_bytes);
    fprintf(stderr, "; inputs %s; tensors %s, offset %" PRIu64 ", padding %" PRIu64 "%s\n", input_names[c->inputs],
            order_names[c->placement.order], c->placement.offset_elements, c->placement.padding, c->no_lse ? ", no lse" : "");
}

bool case_complain(const struct attention_case *c, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fputc('\n', stderr);
    case_print(c);
    return false;
}

void case_free_result(struct case_result *result)
{
    free(result->output);
    free(result->lse);
    *result = (struct case_result){0};
}

uint64_t case_output_count(const struct attention_case *c, const struct case_result *result)
{
    return c->params.batch * result->info.query_rows * c->params.heads * case_value_dim(c);
}

uint64_t case_lse_count(const struct attention_case *c, const struct case_result *result)
{
    return c->params.batch * c->params.heads * result->info.query_rows;
}

bool case_same_bits(const struct attention_case *c, const struct case_result *a, const struct case_result *b)
{
    if (a->info.query_rows != b->info.query_rows)
        return case_complain(c, "results have %" PRIu64 " and %" PRIu64 " rows", a->info.query_rows, b->info.query_rows);
    if (memcmp(a->output, b->output, case_output_count(c, a) * sizeof(float)) != 0)
        return case_complain(c, "outputs differ in their bits");
    if (memcmp(a->lse, b->lse, case_lse_count(c, a) * sizeof(float)) != 0)
        return case_complain(c, "lse differs in its bits");
    return true;
}

/* Copies rows [first, first + rows) of each of count blocks of whole rows. */
static void gather_rows(const double *whole, uint64_t blocks, uint64_t whole_rows, uint64_t width, uint64_t first, uint64_t rows,
                        double *to)
{
    for (uint64_t b = 0; b < blocks; b++)
        memcpy(to + b * rows * width, whole + (b * whole_rows + first) * width, rows * width * sizeof(double));
}

bool case_measure(const struct attention_case *c, const struct case_data *data, const struct case_result *result,
                  struct case_errors *out_errors)
{
    const struct vkring_plan_params *p = &c->params;
    const uint64_t output_count = case_output_count(c, result), lse_count = case_lse_count(c, result);
    double *reference = malloc((output_count + lse_count + 1) * sizeof(double));
    if (!reference)
        return case_complain(c, "no memory");
    gather_rows(data->output, p->batch, p->q_len, p->heads * case_value_dim(c), result->info.first_query_row, result->info.query_rows,
                reference);
    gather_rows(data->lse, p->batch * p->heads, p->q_len, 1, result->info.first_query_row, result->info.query_rows,
                reference + output_count);
    out_errors->output = error_measure(result->output, reference, output_count);
    out_errors->lse = c->no_lse ? 0 : lse_error(result->lse, reference + output_count, lse_count);
    free(reference);
    return true;
}

/*
 * Scores are f32 sums: one of magnitude S is off by about S · 2^-24, and its weight by as much, whatever computes it.
 * Only inputs that are made to be extreme get this room; S is the largest finite |lse|.
 */
static double score_room(const struct attention_case *c, const struct case_data *data, const struct case_result *result)
{
    const struct vkring_plan_params *p = &c->params;
    double largest = 0;
    if (c->inputs == INPUTS_NORMAL || c->inputs == INPUTS_ONE_HOT || c->inputs == INPUTS_VALUES_ONE)
        return 0;
    for (uint64_t b = 0; b < p->batch * p->heads; b++)
        for (uint64_t i = 0; i < result->info.query_rows; i++) {
            double lse = data->lse[b * p->q_len + result->info.first_query_row + i];
            largest = isfinite(lse) ? fmax(largest, fabs(lse)) : largest;
        }
    return largest * 0x1p-22;
}

static bool judge_exact(const struct attention_case *c, const struct case_data *data, const struct case_result *result)
{
    const struct vkring_plan_params *p = &c->params;
    const uint64_t width = p->heads * case_value_dim(c);
    const double ulp = p->type == VKRING_TYPE_F32 ? 0x1p-23 : p->type == VKRING_TYPE_F16 ? 0x1p-10 : 0x1p-7;
    for (uint64_t i = 0; i < case_output_count(c, result); i++) {
        uint64_t row = i / width % result->info.query_rows, b = i / width / result->info.query_rows;
        double reference = data->output[(b * p->q_len + result->info.first_query_row + row) * width + i % width];
        double allowed = c->inputs == INPUTS_VALUES_ONE ? ulp : 0;
        if (!(fabs((double)result->output[i] - reference) <= allowed))
            return case_complain(c, "output element %" PRIu64 " is %.9g, not %.9g", i, (double)result->output[i], reference);
    }
    return true;
}

bool case_judge(const struct attention_case *c, const struct case_data *data, const struct case_result *result)
{
    struct case_errors errors;
    struct error_gate gate = forward_gate(c->params.type);
    double room = score_room(c, data, result);
    if (!case_measure(c, data, result, &errors))
        return false;
    /* the RMS of a few elements is as good as the largest error of them */
    if (case_output_count(c, result) < 256)
        gate.rms = gate.maximum;
    gate.rms += room;
    gate.maximum += 10 * room;
    if (!gate_passes(&gate, &errors.output))
        return case_complain(c, "output: RMS error %.3g (gate %.3g), largest %.3g (gate %.3g)%s", errors.output.rms, gate.rms,
                             errors.output.maximum, gate.maximum, errors.output.finite ? "" : ", NaN or infinite");
    if (!(errors.lse <= LSE_GATE))
        return case_complain(c, "lse: error %.3g (gate %.3g)", errors.lse, LSE_GATE);
    if (environment_says("VKRING_TEST_VERBOSE"))
        fprintf(stderr, "%s %d rms %.3g max %.3g lse %.3g\n", type_names[c->params.type], (int)c->inputs, errors.output.rms,
                errors.output.maximum, errors.lse);
    if (c->inputs == INPUTS_ONE_HOT || c->inputs == INPUTS_VALUES_ONE)
        return judge_exact(c, data, result);
    return true;
}

bool case_passes(const struct attention_case *c, vkring_device *device, vkring_comm *comm)
{
    struct case_data data = {0};
    struct case_result result = {0};
    bool passes = case_make_data(c, &data) && case_run(c, device, comm, &data, &result) &&
                  case_refer(c, &data, result.info.first_query_row, result.info.query_rows) && case_judge(c, &data, &result);
    case_free_result(&result);
    case_free_data(&data);
    return passes;
}
