/* SPDX-License-Identifier: MIT */
/*
 * Gradient descent through attention: queries, keys and values are learned until the output is what was wanted.
 *
 * The loss is half the mean square of output - target, so the gradient of it by the output is their difference over the number of elements.
 * vkring_backward turns that into gradients of queries, keys and values; each is first compared with what the loss does when its tensor
 * moves.
 */
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <vkring/vkring.h>

enum { ROWS = 48, HEADS = 2, DIM = 16, ELEMENTS = ROWS * HEADS * DIM, STEPS = 400, LEARNED = 3 };
static const char *const names[LEARNED] = {"query", "key", "value"};
static const float rate = 500;

struct learner {
    vkring_device *device;
    vkring_plan *plan;
    struct vkring_backward_io io; /* io.forward is what the forward pass takes */
    float learned[LEARNED][ELEMENTS];
    float gradient[LEARNED][ELEMENTS];
    float target[ELEMENTS];
    double loss;
};

/* Repeats itself: a step of xorshift, spread over [-1, 1). */
static float random_number(void)
{
    static uint32_t state = 2463534242u;
    state ^= state << 13;
    state ^= state >> 17;
    state ^= state << 5;
    return (float)state / 2147483648.0f - 1;
}

static void fill_randomly(float *elements, float size)
{
    for (int i = 0; i < ELEMENTS; i++)
        elements[i] = size * random_number();
}

enum { ROW_TENSORS = 8, TENSORS = 10 };

/* Everything that the two passes read and write: tensors of rows, then those of one number a row and head. */
static void list_tensors(struct learner *learner, struct vkring_tensor *out[TENSORS])
{
    struct vkring_backward_io *io = &learner->io;
    struct vkring_tensor *const tensors[TENSORS] = {&io->forward.query, &io->forward.key,         &io->forward.value, &io->forward.output,
                                                    &io->output_grad,   &io->query_grad,          &io->key_grad,      &io->value_grad,
                                                    &io->forward.lse,   &io->forward.lse_residual};
    memcpy(out, tensors, sizeof(tensors));
}

/* True on failure, as below: vkring_last_error() says why. */
static bool make_buffers(struct learner *learner)
{
    struct vkring_tensor *tensors[TENSORS];
    list_tensors(learner, tensors);
    for (int i = 0; i < TENSORS; i++)
        if (vkring_buffer_create(learner->device, (i < ROW_TENSORS ? ELEMENTS : ROWS * HEADS) * sizeof(float), &tensors[i]->buffer))
            return true;
    return false;
}

static bool start(struct learner *learner)
{
    const struct vkring_plan_params params = {
        .batch = 1, .q_len = ROWS, .kv_len = ROWS, .heads = HEADS, .head_dim = DIM, .causal = true, .softcap = 20, .backward = true};
    for (int i = 0; i < LEARNED; i++)
        fill_randomly(learner->learned[i], 1);
    fill_randomly(learner->target, 0.5f);
    return vkring_device_create(NULL, &learner->device) || vkring_plan_create(learner->device, NULL, &params, &learner->plan) ||
           make_buffers(learner);
}

static void stop(struct learner *learner)
{
    struct vkring_tensor *tensors[TENSORS];
    list_tensors(learner, tensors);
    vkring_plan_destroy(&learner->plan);
    for (int i = 0; i < TENSORS; i++)
        vkring_buffer_destroy(&tensors[i]->buffer);
    vkring_device_destroy(&learner->device);
}

/* The loss of what is learned so far, and its gradient by the output. */
static bool find_loss(struct learner *learner, float *output_gradient)
{
    const struct vkring_forward_io *forward = &learner->io.forward;
    vkring_buffer *const buffers[LEARNED] = {forward->query.buffer, forward->key.buffer, forward->value.buffer};
    float output[ELEMENTS];
    for (int i = 0; i < LEARNED; i++)
        if (vkring_buffer_upload(buffers[i], 0, learner->learned[i], sizeof(learner->learned[i])))
            return true;
    if (vkring_forward(learner->plan, forward) || vkring_buffer_download(forward->output.buffer, 0, output, sizeof(output)))
        return true;
    learner->loss = 0;
    for (int i = 0; i < ELEMENTS; i++) {
        const double difference = (double)output[i] - (double)learner->target[i];
        learner->loss += difference * difference / 2 / ELEMENTS;
        output_gradient[i] = (float)(difference / ELEMENTS);
    }
    return false;
}

static bool find_gradients(struct learner *learner)
{
    const struct vkring_backward_io *io = &learner->io;
    vkring_buffer *const buffers[LEARNED] = {io->query_grad.buffer, io->key_grad.buffer, io->value_grad.buffer};
    float output_gradient[ELEMENTS];
    if (find_loss(learner, output_gradient) || vkring_buffer_upload(io->output_grad.buffer, 0, output_gradient, sizeof(output_gradient)) ||
        vkring_backward(learner->plan, io))
        return true;
    for (int i = 0; i < LEARNED; i++)
        if (vkring_buffer_download(buffers[i], 0, learner->gradient[i], sizeof(learner->gradient[i])))
            return true;
    return false;
}

static void move(struct learner *learner, int which, const float *direction, float distance)
{
    for (int i = 0; i < ELEMENTS; i++)
        learner->learned[which][i] += distance * direction[i];
}

/* Along a random direction the loss must change as the gradient says. */
static bool check_gradient(struct learner *learner, int which, bool *out_right)
{
    const float distance = 0.01f;
    float direction[ELEMENTS], ignored[ELEMENTS], before[ELEMENTS];
    double slope = 0, ahead;
    fill_randomly(direction, 1);
    memcpy(before, learner->learned[which], sizeof(before));
    for (int i = 0; i < ELEMENTS; i++)
        slope += (double)learner->gradient[which][i] * (double)direction[i];
    move(learner, which, direction, distance);
    if (find_loss(learner, ignored))
        return true;
    ahead = learner->loss;
    memcpy(learner->learned[which], before, sizeof(before));
    move(learner, which, direction, -distance);
    if (find_loss(learner, ignored))
        return true;
    memcpy(learner->learned[which], before, sizeof(before));
    const double seen = (ahead - learner->loss) / 2 / (double)distance;
    *out_right = fabs(seen - slope) <= 1e-3 * (fabs(slope) + 1e-3);
    printf("%-5s  slope of the loss %+.6f, by its gradient %+.6f: %s\n", names[which], seen, slope, *out_right ? "right" : "WRONG");
    return false;
}

static bool learn(struct learner *learner, bool *out_good)
{
    bool right[LEARNED];
    if (find_gradients(learner))
        return true;
    const double loss_at_first = learner->loss;
    for (int i = 0; i < LEARNED; i++)
        if (check_gradient(learner, i, &right[i]))
            return true;
    for (int step = 0; step <= STEPS; step++) {
        if (find_gradients(learner))
            return true;
        if (step % 80 == 0)
            printf("step %3d  loss %.6f\n", step, learner->loss);
        for (int i = 0; i < LEARNED; i++)
            move(learner, i, learner->gradient[i], -rate);
    }
    *out_good = right[0] && right[1] && right[2] && learner->loss < loss_at_first / 20;
    return false;
}

int main(void)
{
    static struct learner learner;
    bool good = false;
    const bool failed = start(&learner) || learn(&learner, &good);
    if (failed)
        fprintf(stderr, "descend: %s\n", vkring_last_error()->message);
    else if (!good)
        fprintf(stderr, "descend: a gradient is wrong, or the loss did not fall\n");
    else if (!(good = fflush(stdout) == 0 && !ferror(stdout)))
        fprintf(stderr, "descend: cannot write standard output\n");
    stop(&learner);
    return failed || !good;
}
