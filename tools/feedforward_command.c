/* SPDX-License-Identifier: MIT */
/* vkring feedforward: files in, the feed-forward layer and its gradients, files out. What can be refused is refused before any device is
 * touched. */
#include <jansson.h>
#include <stdlib.h>

#include "cleanup.h"
#include "commands.h"
#include "feedforward_files.h"
#include "host_devices.h"
#include "json_text.h"
#include "now.h"
#include "run_report.h"
#include "verdict.h"

struct feedforward {
    struct feedforward_options options;
    struct feedforward_files files;
    struct vkring_feedforward_params params;
    struct progress progress;
    vkring_device *device;
    vkring_feedforward *layer;
    vkring_buffer *buffers[FEEDFORWARD_FILES]; /* null for what has no elements */
    struct vkring_feedforward_io io;
    struct vkring_feedforward_gradients gradients;
    double forward_seconds, backward_seconds;
};

static struct vkring_feedforward_params params_of(const struct feedforward *command)
{
    const struct feedforward_options *options = &command->options;
    const struct feedforward_files *files = &command->files;
    return (struct vkring_feedforward_params){
        .type = element_library_type(files->type),
        .rows = files->rows,
        .model_dim = files->model_dim,
        .hidden_dim = files->hidden_dim,
        .output_dim = files->output_dim,
        .activation = options->activation,
        .gated = options->files[FEEDFORWARD_WG] != NULL,
        .hidden_bias = options->files[FEEDFORWARD_B1] != NULL,
        .gate_bias = options->files[FEEDFORWARD_BG] != NULL,
        .output_bias = options->files[FEEDFORWARD_B2] != NULL,
        .backward = options->files[FEEDFORWARD_OUTPUT_GRAD] != NULL,
        .chunk_rows = options->chunk_rows,
        .timeout_seconds = options->attend.timeout_seconds,
    };
}

static struct vkring_matrix *matrix_of(struct feedforward *command, enum feedforward_file file)
{
    struct vkring_feedforward_io *io = &command->io;
    struct vkring_feedforward_gradients *gradients = &command->gradients;
    struct vkring_matrix *const all[FEEDFORWARD_FILES] = {
        [FEEDFORWARD_X] = &io->input,
        [FEEDFORWARD_W1] = &io->hidden_weight,
        [FEEDFORWARD_WG] = &io->gate_weight,
        [FEEDFORWARD_W2] = &io->output_weight,
        [FEEDFORWARD_B1] = &io->hidden_bias,
        [FEEDFORWARD_BG] = &io->gate_bias,
        [FEEDFORWARD_B2] = &io->output_bias,
        [FEEDFORWARD_OUTPUT_GRAD] = &gradients->output_grad,
        [FEEDFORWARD_X_GRAD] = &gradients->input_grad,
        [FEEDFORWARD_W1_GRAD] = &gradients->hidden_weight_grad,
        [FEEDFORWARD_WG_GRAD] = &gradients->gate_weight_grad,
        [FEEDFORWARD_W2_GRAD] = &gradients->output_weight_grad,
        [FEEDFORWARD_B1_GRAD] = &gradients->hidden_bias_grad,
        [FEEDFORWARD_BG_GRAD] = &gradients->gate_bias_grad,
        [FEEDFORWARD_B2_GRAD] = &gradients->output_bias_grad,
        [FEEDFORWARD_OUTPUT] = &io->output,
    };
    return all[file];
}

static bool prepare(struct feedforward *command, struct failure *failure)
{
    const struct attend_options *options = &command->options.attend;
    struct vkring_device_params device_params = {0};
    progress_phase(&command->progress, "preparing", 0);
    if (!host_devices_choose(0, options->has_device ? &options->device : NULL, 0, &device_params.index, failure))
        return false;
    if (vkring_device_create(&device_params, &command->device) != VKRING_OK)
        return fail_library(failure, 0);
    for (enum feedforward_file file = 0; file < FEEDFORWARD_FILES; file++) {
        const uint64_t bytes = feedforward_files_bytes(&command->files, file);
        if (bytes == 0)
            continue;
        if (vkring_buffer_create(command->device, bytes, &command->buffers[file]) != VKRING_OK)
            return fail_library(failure, 0);
        matrix_of(command, file)->buffer = command->buffers[file];
    }
    return vkring_feedforward_create(command->device, &command->params, &command->layer) == VKRING_OK || fail_library(failure, 0);
}

static bool compute(struct feedforward *command, struct failure *failure)
{
    const double start = now_seconds();
    progress_phase(&command->progress, "forward", 0);
    if (vkring_feedforward_forward(command->layer, &command->io) != VKRING_OK)
        return fail_library(failure, 0);
    command->forward_seconds = now_seconds() - start;
    if (!command->params.backward)
        return true;
    progress_phase(&command->progress, "backward", 0);
    if (vkring_feedforward_backward(command->layer, &command->io, &command->gradients) != VKRING_OK)
        return fail_library(failure, 0);
    command->backward_seconds = now_seconds() - start - command->forward_seconds;
    return true;
}

/* The report --------------------------------------------------------------------------------------------------------------- */

static json_t *device_json(const struct feedforward *command)
{
    struct vkring_device_info info;
    vkring_device_get_info(command->device, &info);
    return json_pack("{s:o, s:o, s:s}", "name", json_text(info.name), "driver", json_text(info.driver), "kind",
                     device_kind_text(info.kind));
}

static json_t *problem_json(const struct feedforward *command, const struct vkring_feedforward_info *info)
{
    const struct vkring_feedforward_params *params = &command->params;
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:s, s:b, s:o, s:b, s:b}", "dtype", element_text(command->files.type), "rows",
                     json_size(params->rows), "model_dim", json_size(params->model_dim), "hidden_dim", json_size(params->hidden_dim),
                     "output_dim", json_size(params->output_dim), "activation", vkring_activation_string(params->activation), "gated",
                     params->gated, "chunk_rows", json_size(info->chunk_rows), "matrix_units", info->matrix_units, "matrix_operations",
                     info->matrix_operations);
}

static json_t *pass_json(double seconds, double flop)
{
    return json_pack("{s:o, s:o, s:o}", "seconds", json_measure(seconds), "flop", json_measure(flop), "gflop_per_second",
                     json_measure(flop / seconds * 1e-9));
}

static json_t *report_json(const struct feedforward *command)
{
    struct vkring_feedforward_info info;
    struct vkring_memory_use use;
    vkring_feedforward_get_info(command->layer, &info);
    vkring_device_get_memory_use(command->device, &use);
    return json_pack("{s:s, s:o, s:o, s:o, s:o, s:{s:o, s:o}}", "vkring", vkring_version(), "device", device_json(command), "problem",
                     problem_json(command, &info), "forward", pass_json(command->forward_seconds, info.forward_flop), "backward",
                     command->params.backward ? pass_json(command->backward_seconds, info.backward_flop) : json_null(), "memory",
                     "planned_device_bytes", json_size(info.device_bytes), "peak_device_bytes", json_size(use.device_peak_bytes));
}

static bool write_report(const struct feedforward *command, struct failure *failure)
{
    const struct output_file *file = &command->files.outputs[FEEDFORWARD_REPORT];
    if (!file->path)
        return true;
    return run_report_put(report_json(command), file->fd, file->name, failure);
}

/* The command -------------------------------------------------------------------------------------------------------------- */

static bool run(struct feedforward *command, struct ranks *ranks, struct failure *failure)
{
    struct feedforward_files *files = &command->files;
    if (ranks->size > 1)
        return fail_usage(failure, "vkring feedforward is for one process, not %u: rows are independent of each other", ranks->size);
    if (!feedforward_files_open(files, &command->options, failure))
        return false;
    command->params = params_of(command);
    cleanup_on_signals(ranks);
    progress_start(&command->progress, ranks, command->options.attend.quiet);
    return feedforward_files_create(files, failure) && feedforward_files_check(files, &command->progress, failure) &&
           prepare(command, failure) && feedforward_files_load(files, command->buffers, &command->progress, failure) &&
           compute(command, failure) && feedforward_files_store(files, command->buffers, &command->progress, failure) &&
           write_report(command, failure) && feedforward_files_commit(files, failure);
}

static void close_device(struct feedforward *command)
{
    vkring_feedforward_destroy(&command->layer);
    for (int file = 0; file < FEEDFORWARD_FILES; file++)
        vkring_buffer_destroy(&command->buffers[file]);
    vkring_device_destroy(&command->device);
}

enum exit_status feedforward_command(struct ranks *ranks, int argc, char **argv)
{
    struct feedforward command = {0};
    struct failure failure = {0};
    feedforward_files_init(&command.files);
    if (feedforward_options_parse(&command.options, argc, argv, &failure)) {
        if (command.options.attend.help)
            command_print(ranks, feedforward_help, &failure);
        else
            run(&command, ranks, &failure);
    }
    const bool draws = command.progress.draws;
    progress_stop(&command.progress);
    const enum exit_status status = verdict_agree(ranks, &failure, draws);
    if (status == EXIT_STATUS_DONE)
        cleanup_forget();
    close_device(&command);
    feedforward_files_free(&command.files);
    return status;
}
