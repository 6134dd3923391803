/* SPDX-License-Identifier: MIT */
/* The oracle of the feed-forward layer: values known by hand, and gradients against differences of its forward pass. */
#include <math.h>
#include <ref/random_input.h>
#include <ref/reference_feedforward.h>

#include "../harness/suite.h"

enum { ROWS = 3, MODEL = 4, HIDDEN = 5, OUTPUT = 2, TENSORS = 7, MOST = 32 };
enum { ACTIVATIONS = VKRING_ACTIVATION_SILU + 1 };

static const uint64_t counts[TENSORS] = {ROWS * MODEL, MODEL *HIDDEN, MODEL *HIDDEN, HIDDEN *OUTPUT, HIDDEN, HIDDEN, OUTPUT};
static float tensors[TENSORS][MOST], output_grad[ROWS * OUTPUT];

/* Inputs are multiples of 2^-10, so that steps of differences are exact. */
static void fill(uint64_t seed, uint64_t count, float *to)
{
    random_fill(seed, RANDOM_NORMAL, 1, 0, count, to);
    for (uint64_t i = 0; i < count; i++)
        to[i] = rintf(to[i] * 1024) / 1024 + 0x1p-11f;
}

static struct reference_feedforward layer_of(enum vkring_activation activation, bool gated, bool biased)
{
    for (int i = 0; i < TENSORS; i++)
        fill((uint64_t)i + 1, counts[i], tensors[i]);
    fill(TENSORS + 1, ROWS * OUTPUT, output_grad);
    return (struct reference_feedforward){
        .rows = ROWS,
        .model_dim = MODEL,
        .hidden_dim = HIDDEN,
        .output_dim = OUTPUT,
        .activation = activation,
        .input = tensors[0],
        .hidden_weight = tensors[1],
        .gate_weight = gated ? tensors[2] : NULL,
        .output_weight = tensors[3],
        .hidden_bias = biased ? tensors[4] : NULL,
        .gate_bias = biased && gated ? tensors[5] : NULL,
        .output_bias = biased ? tensors[6] : NULL,
    };
}

static double loss_at(const struct reference_feedforward *layer, float *element, float value)
{
    const float kept = *element;
    double output[ROWS * OUTPUT], sum = 0;
    *element = value;
    ck_assert(reference_feedforward(layer, output));
    *element = kept;
    for (int i = 0; i < ROWS * OUTPUT; i++)
        sum += output[i] * (double)output_grad[i];
    return sum;
}

/* Central difference of fourth order. */
static double difference(const struct reference_feedforward *layer, float *element)
{
    const float x = *element, step = 0x1p-12f;
    const double near = loss_at(layer, element, x + step) - loss_at(layer, element, x - step);
    const double far = loss_at(layer, element, x + 2 * step) - loss_at(layer, element, x - 2 * step);
    return (8 * near - far) / (12 * (double)step);
}

START_TEST(gradients_are_what_differences_are)
{
    const enum vkring_activation activation = (enum vkring_activation)(_i % ACTIVATIONS);
    const bool gated = _i / ACTIVATIONS % 2, biased = _i / ACTIVATIONS / 2;
    const struct reference_feedforward layer = layer_of(activation, gated, biased);
    double grads[TENSORS][MOST];
    const struct reference_feedforward_gradients all = {grads[0], grads[1], grads[2], grads[3], grads[4], grads[5], grads[6]};
    ck_assert(reference_feedforward_backward(&layer, output_grad, &all));
    for (int tensor = 0; tensor < TENSORS; tensor++) {
        const bool absent = ((tensor == 2 || tensor == 5) && !gated) || (tensor >= 4 && !biased);
        for (uint64_t i = 0; i < counts[tensor] && !absent; i++) {
            const double expected = difference(&layer, &tensors[tensor][i]);
            ck_assert_msg(fabs(grads[tensor][i] - expected) <= 1e-8 * fmax(1, fabs(expected)),
                          "gradient %d of tensor %d is %.12g, not %.12g", (int)i, tensor, grads[tensor][i], expected);
        }
    }
}
END_TEST

START_TEST(activations_are_what_tables_say)
{
    static const double at_one[ACTIVATIONS] = {1, 1, 0.8413447460685429, 0.8411919906082768, 0.7310585786300049};
    static const double at_minus_one[ACTIVATIONS] = {-1, 0, -0.1586552539314571, -0.1588080093917232, -0.2689414213699951};
    const enum vkring_activation activation = (enum vkring_activation)_i;
    ck_assert_double_eq_tol(reference_activation(activation, 1), at_one[_i], 1e-14);
    ck_assert_double_eq_tol(reference_activation(activation, -1), at_minus_one[_i], 1e-14);
    ck_assert_double_eq(reference_activation(activation, 0), 0);
    ck_assert_ptr_nonnull(vkring_activation_string(activation));
}
END_TEST

/* x = (1, 2), hidden weights (1 3; -1 1), relu, output weights (1; 10), biases 1 */
START_TEST(a_layer_by_hand)
{
    const float input[] = {1, 2}, hidden[] = {1, 3, -1, 1}, weight[] = {1, 10}, ones[] = {1, 1};
    struct reference_feedforward layer = {.rows = 1,
                                          .model_dim = 2,
                                          .hidden_dim = 2,
                                          .output_dim = 1,
                                          .activation = VKRING_ACTIVATION_RELU,
                                          .input = input,
                                          .hidden_weight = hidden,
                                          .output_weight = weight};
    double output;
    ck_assert(reference_feedforward(&layer, &output));
    ck_assert_double_eq(output, 50); /* relu(-1), relu(5) */
    layer.hidden_bias = layer.output_bias = ones;
    ck_assert(reference_feedforward(&layer, &output));
    ck_assert_double_eq(output, 61);
    layer.gate_weight = hidden;
    ck_assert(reference_feedforward(&layer, &output));
    ck_assert_double_eq(output, 1 + 10 * 5 * 6);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("oracle of feed-forward");
    TCase *tcase = tcase_create("all");
    tcase_add_loop_test(tcase, gradients_are_what_differences_are, 0, 4 * ACTIVATIONS);
    tcase_add_loop_test(tcase, activations_are_what_tables_say, 0, ACTIVATIONS);
    suite_add_tcase(suite, tcase);
    suite_add(suite, "by hand", a_layer_by_hand);
    return suite_run(suite);
}
