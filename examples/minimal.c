/* SPDX-License-Identifier: MIT */
/* A query of zeros meets every key alike, so that attention gives the mean of the values: here of 0 ... 999. */
#include <stdio.h>
#include <vkring/vkring.h>

enum { ROWS = 1000, DIM = 64 };
static float query[ROWS][DIM], key[ROWS][DIM], value[ROWS][DIM], output[ROWS][DIM];

static int place(vkring_device *device, float rows[ROWS][DIM], struct vkring_tensor *tensor)
{
    const uint64_t bytes = sizeof(float[ROWS][DIM]);
    return vkring_buffer_create(device, bytes, &tensor->buffer) || vkring_buffer_upload(tensor->buffer, 0, rows, bytes);
}

int main(void)
{
    const struct vkring_plan_params params = {.batch = 1, .q_len = ROWS, .kv_len = ROWS, .heads = 1, .head_dim = DIM};
    struct vkring_forward_io io = {0};
    vkring_device *device = NULL;
    vkring_plan *plan = NULL;
    for (int row = 0; row < ROWS; row++)
        value[row][0] = (float)row;

    int failed = vkring_device_create(NULL, &device) || vkring_plan_create(device, NULL, &params, &plan) ||
                 place(device, query, &io.query) || place(device, key, &io.key) || place(device, value, &io.value) ||
                 place(device, output, &io.output) || vkring_forward(plan, &io) ||
                 vkring_buffer_download(io.output.buffer, 0, output, sizeof(output));
    if (failed)
        fprintf(stderr, "minimal: %s\n", vkring_last_error()->message);
    else if (printf("mean of 0 ... %d: %.2f\n", ROWS - 1, output[ROWS - 1][0]) < 0 || fflush(stdout) != 0) {
        perror("minimal: cannot write standard output");
        failed = 1;
    }

    vkring_plan_destroy(&plan);
    vkring_buffer_destroy(&io.query.buffer);
    vkring_buffer_destroy(&io.key.buffer);
    vkring_buffer_destroy(&io.value.buffer);
    vkring_buffer_destroy(&io.output.buffer);
    vkring_device_destroy(&device);
    return failed;
}
