/* SPDX-License-Identifier: MIT */
#include "attention_case.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case_problem.h"
#include "case_tensors.h"

static const char *const input_names[INPUTS_KINDS] = {"normal",     "heavy tail", "big logits", "huge key",
                                                      "block gaps", "one-hot",    "values one", "magnitudes"};
static const char *const type_names[] = {"f32", "f16", "bf16"};
static const char *const segment_names[SEGMENTS_KINDS] = {"sorted", "unsorted", "disjoint", "negative", "equal"};
static const char *const bias_names[BIAS_KINDS] = {"finite", "masks some", "masks rows", "masks all"};
static const char *const order_names[ORDERS] = {"packed", "padded", "heads first"};

static void print_options(const struct attention_case *c)
{
    const struct vkring_plan_params *p = &c->params;
    if (p->causal_block)
        fprintf(stderr, " causal_block %" PRIu64, p->causal_block);
    if (p->has_window)
        fprintf(stderr, " window %" PRId64 ":%" PRId64, p->window_left, p->window_right);
    if (p->segment_ids)
        fprintf(stderr, " segments %s", segment_names[c->segments]);
    if (p->bias.present)
        fprintf(stderr, " bias %s%s%s%s, %s", type_names[p->bias.type], p->bias.per_batch ? ", per batch" : "",
                p->bias.per_head ? ", per head" : "", p->bias.per_query ? ", per query" : "", bias_names[c->bias]);
    if (p->softcap > 0)
        fprintf(stderr, " softcap %g", p->softcap);
    if (p->dropout > 0)
        fprintf(stderr, " dropout %g", p->dropout);
    fprintf(stderr, "%s%s%s", p->alibi ? " alibi" : "", p->sinks ? " sinks" : "", p->backward ? " backward" : "");
}

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
    print_options(c);
    if (p->layout)
        fprintf(stderr, " layout %d", (int)p->layout);
    if (p->has_key_layout)
        fprintf(stderr, " key layout %d", (int)p->key_layout);
    if (p->dispatch_seconds > 0 || p->chunk_bytes)
        fprintf(stderr, " dispatch_seconds %g chunk_bytes %" PRIu64, p->dispatch_seconds, p->chunk_bytes);
    fprintf(stderr, "; inputs %s; tensors %s, offset %" PRIu64 ", padding %" PRIu64 "%s%s\n", input_names[c->inputs],
            order_names[c->placement.order], c->placement.offset_elements, c->placement.padding, c->no_lse ? ", no lse" : "",
            c->no_residuals ? ", no residuals" : "");
    if (c->again[0])
        fprintf(stderr, "  again: %s %s\n", c->again, getenv("VKRING_TEST_COMMAND") ? getenv("VKRING_TEST_COMMAND") : "and this test");
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
    for (int g = 0; g < GRADIENTS; g++)
        free(result->gradients[g]);
    *result = (struct case_result){0};
}

uint64_t case_output_count(const struct attention_case *c, const struct case_result *result)
{
    return case_slice_count(c, &result->info, OUTPUT);
}

uint64_t case_lse_count(const struct attention_case *c, const struct case_result *result)
{
    return case_slice_count(c, &result->info, LSE);
}

bool case_is_supported(const struct attention_case *c, bool has_16bit)
{
    return has_16bit || (c->params.type == VKRING_TYPE_F32 && c->params.bias.type == VKRING_TYPE_F32);
}

bool case_same_bits(const struct attention_case *c, const struct case_result *a, const struct case_result *b)
{
    if (a->info.rows.query_rows != b->info.rows.query_rows)
        return case_complain(c, "results have %" PRIu64 " and %" PRIu64 " rows", a->info.rows.query_rows, b->info.rows.query_rows);
    if (memcmp(a->output, b->output, case_output_count(c, a) * sizeof(float)) != 0)
        return case_complain(c, "outputs differ in their bits");
    if (memcmp(a->lse, b->lse, case_lse_count(c, a) * sizeof(float)) != 0)
        return case_complain(c, "lse differs in its bits");
    for (int g = 0; c->params.backward && g < GRADIENTS; g++) {
        enum case_tensor tensor = QUERY_GRAD + (enum case_tensor)g;
        if (memcmp(a->gradients[g], b->gradients[g], case_slice_count(c, &a->info, tensor) * sizeof(float)) != 0)
            return case_complain(c, "%s differs in its bits", case_tensor_name(tensor));
    }
    return true;
}

/* The rank's slice of what the oracle says. */
static double *reference_slice(const struct attention_case *c, const struct case_result *result, enum case_tensor tensor,
                               const double *whole)
{
    const struct case_slice slice = case_slice(c, &result->info, tensor);
    double *part = malloc((slice.blocks * slice.rows * slice.width + 1) * sizeof(double));
    if (part)
        case_take_slice(&slice, sizeof(double), whole, part);
    return part;
}

/*
 * Gradients are sums of P · (dP - delta), where a row that keeps few keys, or gives nearly all of its weight to one, has terms that cancel:
 * what is left is as exact as the terms are. Where it is less than this part of them, errors are measured in that part of the terms.
 */
static const double least_of_terms = 0.1;

static double least_normal(enum vkring_type type)
{
    return type == VKRING_TYPE_F16 ? 0x1p-14 : 0x1p-126;
}

/* Gradients of sinks are f32, but sums of products with the output. */
static enum vkring_type type_of_terms(const struct attention_case *c, enum case_tensor tensor)
{
    return tensor == SINK_GRAD ? c->params.type : case_tensor_type(c, tensor);
}

static bool measure_gradients(const struct attention_case *c, const struct case_data *data, const struct case_result *result,
                              struct case_errors *out_errors)
{
    for (int g = 0; g < GRADIENTS; g++) {
        enum case_tensor tensor = QUERY_GRAD + (enum case_tensor)g;
        out_errors->gradients[g] = (struct error_measure){.finite = true};
        if (!case_has(c, tensor))
            continue;
        double *reference = reference_slice(c, result, tensor, data->gradients[g]);
        if (!reference)
            return false;
        double least = fmax(least_of_terms * data->gradient_sizes[g], least_normal(type_of_terms(c, tensor)));
        out_errors->gradients[g] = error_measure_above(result->gradients[g], reference, case_slice_count(c, &result->info, tensor), least);
        free(reference);
    }
    return true;
}

bool case_measure(const struct attention_case *c, const struct case_data *data, const struct case_result *result,
                  struct case_errors *out_errors)
{
    double *output = reference_slice(c, result, OUTPUT, data->output);
    double *lse = reference_slice(c, result, LSE, data->lse);
    bool measured = output && lse && (!c->params.backward || measure_gradients(c, data, result, out_errors));
    if (measured) {
        out_errors->output = error_measure_above(result->output, output, case_output_count(c, result), least_normal(c->params.type));
        out_errors->lse = c->no_lse ? 0 : lse_error(result->lse, lse, case_lse_count(c, result));
    }
    free(output);
    free(lse);
    return measured || case_complain(c, "no memory");
}

/* Of the whole sequence, the rank's row `row`. */
static uint64_t query_row_of(const struct case_result *result, uint64_t row)
{
    const struct vkring_span *span = result->info.rows.query_spans;
    for (; row >= span->rows; span++)
        row -= span->rows;
    return span->first + row * span->stride;
}

/* Of the rank's rows; of all where gradients are sums over them. */
static double largest_lse(const struct attention_case *c, const struct case_data *data, const struct case_result *result)
{
    double largest = 0;
    const uint64_t rows = c->params.backward ? c->params.q_len : result->info.rows.query_rows;
    for (uint64_t b = 0; b < c->params.batch * c->params.heads; b++)
        for (uint64_t i = 0; i < rows; i++) {
            double lse = data->lse[b * c->params.q_len + (c->params.backward ? i : query_row_of(result, i))];
            largest = isfinite(lse) ? fmax(largest, fabs(lse)) : largest;
        }
    return largest;
}

/* What ALiBi takes from a row that lies beyond all keys, at most: its sink is moved by as much. */
static double farthest_sink(const struct attention_case *c, const struct case_data *data)
{
    const double offset = (double)case_query_offset(c), last = offset + (double)c->params.q_len;
    double slope = 0;
    if (!c->params.alibi || !c->params.sinks)
        return 0;
    for (uint64_t h = 0; h < c->params.heads; h++)
        slope = fmax(slope, fabs((double)data->alibi_slopes[h]));
    return slope * fmax(fabs(offset), fabs(last));
}

/* The root of the squares of the products that a score is the sum of, times what softcap leaves of its rounding: the most of any pair. */
static double largest_sum(const struct attention_case *c, const struct case_data *data)
{
    const struct vkring_plan_params *p = &c->params;
    const uint64_t dim = p->head_dim, kv_heads = case_kv_heads(c), group = p->heads / kv_heads;
    const double scale = fabs(case_scale(c));
    double largest = 0;
    for (uint64_t row = 0; row < p->batch * p->q_len * p->heads; row++) {
        const uint64_t b = row / p->heads / p->q_len, head = row % p->heads / group;
        const float *query = data->query + row * dim;
        for (uint64_t j = 0; j < p->kv_len; j++) {
            const float *key = data->key + ((b * p->kv_len + j) * kv_heads + head) * dim;
            double dot = 0, squares = 0;
            for (uint64_t d = 0; d < dim; d++) {
                const double product = (double)query[d] * (double)key[d];
                dot += product;
                squares += product * product;
            }
            const double kept = p->softcap > 0 ? pow(cosh(scale * dot / p->softcap), -2) : 1;
            largest = fmax(largest, scale * sqrt(squares) * kept);
        }
    }
    return largest;
}

static bool has_extreme_inputs(const struct attention_case *c)
{
    return c->inputs != INPUTS_NORMAL && c->inputs != INPUTS_ONE_HOT && c->inputs != INPUTS_VALUES_ONE;
}

/* The most of such roots where lse does not show them: softcap hides what a sum was, and ALiBi may take as much. */
static double hidden_sum(const struct attention_case *c, const struct case_data *data)
{
    return has_extreme_inputs(c) && (c->params.softcap > 0 || c->params.alibi) ? largest_sum(c, data) : 0;
}

/*
 * The magnitude S of scores where it is extreme, else 0: they are f32 sums, off by about S · 2^-24 and their weights by as much, whatever
 * computes them. Inputs may be made so, and ALiBi of distant keys is.
 */
static double extreme_score(const struct attention_case *c, const struct case_data *data, const struct case_result *result, double hidden)
{
    static const double usual = 32;
    const double lse = largest_lse(c, data, result), sink = farthest_sink(c, data);
    return fmax(fmax(has_extreme_inputs(c) || (c->params.alibi && lse > usual) ? lse : 0, sink > usual ? sink : 0), hidden);
}

/*
 * What is allowed where every value is 1. Sums of values are then those of weights to the bit, and an output the sum times its reciprocal,
 * which on GPUs is off by less than an ulp (Vulkan lets it be off by 2.5): at most 2^-23, which rounding to 16 bits leaves nothing of.
 * Matrix units multiply values by weights that are rounded to 16 bits, though the sum is of weights that are not: an ulp of the type.
 */
static double room_of_ones(const struct attention_case *c, const struct case_result *result)
{
    const bool on_matrices = strstr(result->info.kernel, "_matrix");
    return !on_matrices || c->params.type == VKRING_TYPE_F32 ? 0x1p-23 : c->params.type == VKRING_TYPE_F16 ? 0x1p-10 : 0x1p-7;
}

/* Of what f32 can tell exactly, which is what the oracle finds but for the rounding of its doubles. */
static bool judge_exact(const struct attention_case *c, const struct case_data *data, const struct case_result *result)
{
    const struct vkring_plan_params *p = &c->params;
    const uint64_t width = p->heads * case_value_dim(c);
    const double allowed = c->inputs == INPUTS_VALUES_ONE ? room_of_ones(c, result) : 0;
    for (uint64_t i = 0; i < case_output_count(c, result); i++) {
        uint64_t row = i / width % result->info.rows.query_rows, b = i / width / result->info.rows.query_rows;
        const float reference = (float)data->output[(b * p->q_len + query_row_of(result, row)) * width + i % width];
        if (!(fabs((double)result->output[i] - (double)reference) <= allowed))
            return case_complain(c, "output element %" PRIu64 " is %.9g, not %.9g", i, (double)result->output[i], (double)reference);
    }
    return true;
}

static bool judge(const struct attention_case *c, enum case_tensor tensor, struct error_gate gate, double room, uint64_t count,
                  const struct error_measure *error)
{
    /* the RMS of a few elements is as good as the largest error of them */
    if (count < 256)
        gate.rms = gate.maximum;
    gate.rms += room;
    gate.maximum += 10 * room;
    if (environment_says("VKRING_TEST_VERBOSE"))
        fprintf(stderr, "%s %s %d: RMS error %.3g, largest %.3g\n", case_tensor_name(tensor), type_names[c->params.type], (int)c->inputs,
                error->rms, error->maximum);
    return gate_passes(&gate, error) ||
           case_complain(c, "%s: RMS error %.3g (gate %.3g), largest %.3g (gate %.3g)%s", case_tensor_name(tensor), error->rms, gate.rms,
                         error->maximum, gate.maximum, error->finite ? "" : ", NaN or infinite");
}

bool case_judge(const struct attention_case *c, const struct case_data *data, const struct case_result *result)
{
    struct case_errors errors;
    const double hidden = hidden_sum(c, data), score = extreme_score(c, data, result, hidden), room = score * 0x1p-21;
    /*
     * a row that keeps few keys may have a small lse from a score that is a small sum of large terms; n of them in turn are off by about
     * sqrt(n) roundings (Higham & Mary 2019, "A New Approach to Probabilistic Rounding Error Analysis")
     */
    const double sums = sqrt((double)c->params.head_dim) * hidden;
    const double lse_gate = LSE_GATE + fmax(fmax(score, farthest_sink(c, data)), sums) * 0x1p-24;
    if (!case_measure(c, data, result, &errors))
        return false;
    if (!judge(c, OUTPUT, forward_gate_of_kernel(c->params.type, result->info.kernel), room, case_output_count(c, result), &errors.output))
        return false;
    if (!(errors.lse <= lse_gate))
        return case_complain(c, "lse: error %.3g (gate %.3g)", errors.lse, lse_gate);
    for (int g = 0; c->params.backward && g < GRADIENTS; g++) {
        enum case_tensor tensor = QUERY_GRAD + (enum case_tensor)g;
        if (!judge(c, tensor, backward_gate(c->params.type), room, case_slice_count(c, &result->info, tensor), &errors.gradients[g]))
            return false;
    }
    if (c->inputs == INPUTS_ONE_HOT || c->inputs == INPUTS_VALUES_ONE)
        return judge_exact(c, data, result);
    return true;
}

bool case_passes(const struct attention_case *c, vkring_device *device, vkring_comm *comm)
{
    struct case_data data = {0};
    struct case_result result = {0};
    const bool ran = case_make_data(c, &data) && case_run(c, device, comm, &data, &result);
    const bool passes = case_all_ran(ran) && case_refer(c, &data, &result.info.rows) && case_judge(c, &data, &result);
    case_free_result(&result);
    case_free_data(&data);
    return passes;
}
