/* SPDX-License-Identifier: MIT */
/*
 * Causal attention around a ring of MPI ranks: a query of zeros meets its own key and those before it alike, so that row i gets the mean of
 * 0 ... i, which is i / 2, on whichever rank it lies.
 */
#include <math.h>
#include <mpi.h>
#include <stdio.h>
#include <stdlib.h>
#include <vkring/mpi.h>

enum { ROWS = 10000, DIM = 64 };
typedef float row[DIM];

/* Without one rank the others would wait: all end. */
static void need(enum vkring_status status)
{
    if (status == VKRING_OK)
        return;
    fprintf(stderr, "ring: %s\n", vkring_last_error()->message);
    MPI_Abort(MPI_COMM_WORLD, 1);
}

/* Ranks of a host take its devices in turn. */
static void open_device(vkring_device **device)
{
    struct vkring_device_params params = {0};
    uint32_t devices;
    MPI_Comm host;
    int rank_on_host;
    MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, 0, MPI_INFO_NULL, &host);
    MPI_Comm_rank(host, &rank_on_host);
    MPI_Comm_free(&host);
    need(vkring_devices_list(NULL, 0, &devices));
    params.index = devices ? (uint32_t)rank_on_host % devices : 0;
    need(vkring_device_create(&params, device));
}

static void place(vkring_device *device, const row *rows, uint64_t count, struct vkring_tensor *tensor)
{
    need(vkring_buffer_create(device, count * sizeof(row), &tensor->buffer));
    need(vkring_buffer_upload(tensor->buffer, 0, rows, count * sizeof(row)));
}

/* Of keys: the position of each in the sequence, whatever rows this rank holds. */
static void count_up(const struct vkring_rank_rows *mine, row *values)
{
    for (int i = 0; i < VKRING_SPANS; i++)
        for (uint64_t j = 0; j < mine->key_spans[i].rows; j++)
            (*values++)[0] = (float)(mine->key_spans[i].first + j * mine->key_spans[i].stride);
}

static double largest_error(const struct vkring_rank_rows *mine, const row *outputs)
{
    double error = 0, largest;
    for (int i = 0; i < VKRING_SPANS; i++)
        for (uint64_t j = 0; j < mine->query_spans[i].rows; j++)
            error = fmax(error, fabs((*outputs++)[0] - (double)(mine->query_spans[i].first + j * mine->query_spans[i].stride) / 2));
    MPI_Allreduce(&error, &largest, 1, MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD);
    return largest;
}

int main(int argc, char **argv)
{
    const struct vkring_plan_params params = {
        .batch = 1, .q_len = ROWS, .kv_len = ROWS, .heads = 1, .head_dim = DIM, .causal = true, .layout = VKRING_LAYOUT_AUTO};
    struct vkring_forward_io io = {0};
    struct vkring_rank_rows mine;
    vkring_device *device = NULL;
    vkring_comm *comm = NULL;
    vkring_plan *plan = NULL;

    MPI_Init(&argc, &argv);
    need(vkring_comm_create_mpi(MPI_COMM_WORLD, &comm));
    const uint32_t rank = vkring_comm_rank(comm), ranks = vkring_comm_size(comm);
    open_device(&device);
    need(vkring_rows_of_rank(&params, ranks, rank, &mine));
    need(vkring_plan_create(device, comm, &params, &plan));

    row *zeros = calloc(mine.query_rows + mine.key_rows + 1, sizeof(row));
    row *values = calloc(mine.key_rows + 1, sizeof(row)), *outputs = calloc(mine.query_rows + 1, sizeof(row));
    if (!zeros || !values || !outputs)
        MPI_Abort(MPI_COMM_WORLD, 1);
    count_up(&mine, values);
    place(device, zeros, mine.query_rows, &io.query);
    place(device, zeros, mine.key_rows, &io.key);
    place(device, values, mine.key_rows, &io.value);
    place(device, outputs, mine.query_rows, &io.output);
    need(vkring_forward(plan, &io));
    need(vkring_buffer_download(io.output.buffer, 0, outputs, mine.query_rows * sizeof(row)));

    const double largest = largest_error(&mine, outputs);
    if (rank == 0 && (printf("%d rows on %u ranks: each the mean of those up to it, wrong by %.3f at most\n", ROWS, ranks, largest) < 0 ||
                      fflush(stdout) != 0)) {
        perror("ring: cannot write standard output");
        MPI_Abort(MPI_COMM_WORLD, 1);
    }

    free(zeros);
    free(values);
    free(outputs);
    vkring_plan_destroy(&plan);
    vkring_buffer_destroy(&io.query.buffer);
    vkring_buffer_destroy(&io.key.buffer);
    vkring_buffer_destroy(&io.value.buffer);
    vkring_buffer_destroy(&io.output.buffer);
    vkring_device_destroy(&device);
    vkring_comm_destroy(&comm);
    MPI_Finalize();
    return 0;
}
