/* SPDX-License-Identifier: MIT */
/*
 * Trains a small transformer to predict the next byte of a text, on one rank or a mesh of them: ranks share the sequence, and with
 * --heads-over also the heads and hidden units of each layer. The losses are the same, to rounding, however ranks share the work.
 *
 * Attention, projections and feed-forward layers run on the device, forward and backward; the embedding, normalisation and the loss on the
 * host. Positions enter as ALiBi's distances.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "block_layer.h"
#include "block_math.h"
#include "text_file.h"

#define DEFAULT_FILE "/usr/share/common-licenses/GPL-3"

static const char help[] =
    "usage: [mpirun -n N] transformer-block [options] [FILE]\n"
    "\n"
    "Trains a small transformer on the bytes of FILE and prints the loss of each step, and what memory a layer takes.\n"
    "FILE defaults to " DEFAULT_FILE ".\n"
    "\n"
    "      --check         first compare each gradient with what the loss does when its weight moves\n"
    "      --context N     bytes that are predicted in a step (512), one sequence over all ranks\n"
    "      --heads-over P  so many ranks share heads and hidden units, 1, 2 or 4; the others the sequence (1)\n"
    "      --layers N      (2)\n"
    "      --rate X        of descent (0.1)\n"
    "      --steps N       (10)\n"
    "  -h, --help          this text\n"
    "\n"
    "Exit status: 0 done; 1 failed; 2 wrong usage.\n";

struct options {
    const char *file;
    uint64_t context, heads_over, layers, steps;
    double rate;
    bool check, help;
};

struct trainer {
    struct mesh mesh;
    const struct options *options;
    const struct text *text;
    struct weights weights;
    struct block block;
    vkring_feedforward *last; /* to logits */
    vkring_buffer *logits, *logits_grad;
    uint64_t bytes_before; /* on the device, without what layers are computed in */
    uint64_t *positions;   /* [rows] */
    float **kept;          /* [layers + 1][rows][MODEL]: what each layer is given, and what the last gives */
    float *grad, *scores;  /* [rows][MODEL], [rows][BYTES] */
};

/* Options ---------------------------------------------------------------------------------------------------------------- */

static bool parse_number(struct group *group, const char *name, uint64_t most, uint64_t *out_number)
{
    char *end;
    *out_number = strtoull(optarg, &end, 10);
    if (optarg[0] < '1' || optarg[0] > '9' || *end || *out_number > most)
        return group_fail(group, "--%s takes a number from 1 to %llu, not '%s'", name, (unsigned long long)most, optarg);
    return true;
}

static bool parse_rate(struct group *group, struct options *options)
{
    char *end;
    options->rate = strtod(optarg, &end);
    if (end == optarg || *end || !(options->rate > 0) || options->rate > 100)
        return group_fail(group, "--rate takes a number above 0, at most 100, not '%s'", optarg);
    return true;
}

static bool parse_option(struct group *group, int option, const char *word, struct options *options)
{
    switch (option) {
    case 'c':
        return parse_number(group, "context", 1 << 24, &options->context);
    case 'o':
        return parse_number(group, "heads-over", HEADS, &options->heads_over);
    case 'l':
        return parse_number(group, "layers", 1000, &options->layers);
    case 's':
        return parse_number(group, "steps", 1 << 24, &options->steps);
    case 'r':
        return parse_rate(group, options);
    case 'k':
        return options->check = true;
    case 'h':
        return options->help = true;
    case ':':
        return group_fail(group, "%s needs a value; see transformer-block --help", word);
    default:
        return group_fail(group, "unknown option %s; see transformer-block --help", word);
    }
}

static bool check(struct group *group, const struct options *options)
{
    if (HEADS % options->heads_over != 0 || group->size % options->heads_over != 0)
        return group_fail(group, "%u ranks and %d heads cannot be shared out over %llu", group->size, HEADS,
                          (unsigned long long)options->heads_over);
    if (options->context < 2 * group->size)
        return group_fail(group, "a context of %llu is too short for %u ranks", (unsigned long long)options->context, group->size);
    return true;
}

static bool parse(struct group *group, int argc, char **argv, struct options *options)
{
    static const struct option names[] = {{"check", no_argument, NULL, 'k'},
                                          {"context", required_argument, NULL, 'c'},
                                          {"heads-over", required_argument, NULL, 'o'},
                                          {"layers", required_argument, NULL, 'l'},
                                          {"rate", required_argument, NULL, 'r'},
                                          {"steps", required_argument, NULL, 's'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int option;
    *options = (struct options){.file = DEFAULT_FILE, .context = 512, .heads_over = 1, .layers = 2, .steps = 10, .rate = 0.1};
    while ((option = getopt_long(argc, argv, ":h", names, NULL)) != -1)
        if (!parse_option(group, option, argv[optind - 1], options))
            return false;
    if (argc - optind > 1)
        return group_fail(group, "one file at a time; see transformer-block --help");
    if (optind < argc)
        options->file = argv[optind];
    return check(group, options);
}

/* Made ready --------------------------------------------------------------------------------------------------------------- */

static bool agree(struct trainer *trainer, bool good)
{
    if (!good)
        group_fail_vkring(trainer->mesh.group);
    return group_agree(trainer->mesh.group);
}

/* Ranks side by side share the heads. */
static bool make_mesh(struct trainer *trainer)
{
    struct mesh *mesh = &trainer->mesh;
    const struct vkring_device_params params = {.index = group_choose_device(mesh->group)};
    mesh->parts = (uint32_t)trainer->options->heads_over;
    mesh->part = mesh->group->rank % mesh->parts;
    return agree(trainer, !vkring_device_create(&params, &mesh->device)) &&
           agree(trainer, !group_make_part(mesh->group, mesh->part, &mesh->sequence)) &&
           agree(trainer, !group_make_part(mesh->group, mesh->group->rank / mesh->parts, &mesh->heads));
}

static uint64_t device_bytes(const struct trainer *trainer, bool peak)
{
    struct vkring_memory_use use;
    vkring_device_get_memory_use(trainer->mesh.device, &use);
    return peak ? use.device_peak_bytes + use.host_peak_bytes : use.device_bytes + use.host_bytes;
}

static bool list_positions(struct trainer *trainer)
{
    struct vkring_plan_info info;
    uint64_t row = 0;
    vkring_plan_get_info(trainer->block.plan, &info);
    trainer->positions = calloc(info.rows.query_rows + 1, sizeof(*trainer->positions));
    for (int i = 0; trainer->positions && i < VKRING_SPANS; i++) {
        const struct vkring_span *span = &info.rows.query_spans[i];
        for (uint64_t j = 0; j < span->rows; j++)
            trainer->positions[row++] = span->first + j * span->stride;
    }
    return trainer->positions;
}

static bool make_rows(struct trainer *trainer)
{
    const uint64_t rows = trainer->block.rows, layers = trainer->options->layers;
    trainer->kept = calloc(layers + 1, sizeof(*trainer->kept));
    trainer->grad = calloc(rows * MODEL + 1, sizeof(float));
    trainer->scores = calloc(rows * BYTES + 1, sizeof(float));
    bool good = trainer->kept && trainer->grad && trainer->scores && list_positions(trainer);
    for (uint64_t i = 0; good && i <= layers; i++)
        good = (trainer->kept[i] = calloc(rows * MODEL + 1, sizeof(float)));
    return good;
}

static bool make_last(struct trainer *trainer)
{
    const uint64_t rows = trainer->block.rows, bytes = rows * BYTES * sizeof(float);
    const struct vkring_feedforward_params params = {.rows = rows, .model_dim = MODEL, .output_dim = BYTES, .backward = true};
    return !vkring_feedforward_create(trainer->mesh.device, &params, &trainer->last) &&
           !vkring_buffer_create(trainer->mesh.device, bytes, &trainer->logits) &&
           !vkring_buffer_create(trainer->mesh.device, bytes, &trainer->logits_grad);
}

static bool make_block(struct trainer *trainer)
{
    trainer->bytes_before = device_bytes(trainer, false);
    return block_create(&trainer->block, &trainer->mesh, trainer->options->context);
}

static bool start(struct trainer *trainer)
{
    struct group *group = trainer->mesh.group;
    if (!make_mesh(trainer) || !agree(trainer, weights_create(&trainer->weights, &trainer->mesh, (uint32_t)trainer->options->layers)) ||
        !agree(trainer, make_block(trainer)))
        return false;
    if (!make_rows(trainer))
        group_fail(group, "no memory for %llu rows", (unsigned long long)trainer->block.rows);
    return group_agree(group) && agree(trainer, make_last(trainer));
}

static void stop(struct trainer *trainer)
{
    for (uint64_t i = 0; trainer->kept && i <= trainer->options->layers; i++)
        free(trainer->kept[i]);
    free(trainer->kept);
    free(trainer->grad);
    free(trainer->scores);
    free(trainer->positions);
    vkring_feedforward_destroy(&trainer->last);
    vkring_buffer_destroy(&trainer->logits);
    vkring_buffer_destroy(&trainer->logits_grad);
    block_destroy(&trainer->block);
    weights_destroy(&trainer->weights);
    vkring_comm_destroy(&trainer->mesh.heads);
    vkring_comm_destroy(&trainer->mesh.sequence);
    vkring_device_destroy(&trainer->mesh.device);
}

/* A step ------------------------------------------------------------------------------------------------------------------- */

/* Steps read the text stretch by stretch, and from its start again. */
static uint64_t byte_at(const struct trainer *trainer, uint64_t step, uint64_t position)
{
    return trainer->text->bytes[(step * trainer->options->context + position) % trainer->text->length];
}

static void embed(struct trainer *trainer, uint64_t step)
{
    const struct weight *embedding = weight_of_none(&trainer->weights, EMBEDDING);
    for (uint64_t r = 0; r < trainer->block.rows; r++)
        memcpy(trainer->kept[0] + r * MODEL, embedding->value + byte_at(trainer, step, trainer->positions[r]) * MODEL,
               MODEL * sizeof(float));
}

static void add_embedding_gradient(struct trainer *trainer, uint64_t step)
{
    const struct weight *embedding = weight_of_none(&trainer->weights, EMBEDDING);
    for (uint64_t r = 0; r < trainer->block.rows; r++)
        rows_add(trainer->grad + r * MODEL, MODEL, embedding->gradient + byte_at(trainer, step, trainer->positions[r]) * MODEL);
}

/* Scores become gradients. Returns the sum of the losses of this rank's rows, in bits. */
static double find_losses(struct trainer *trainer, uint64_t step)
{
    double bits = 0;
    for (uint64_t r = 0; r < trainer->block.rows; r++)
        bits += row_loss(trainer->scores + r * BYTES, BYTES, byte_at(trainer, step, trainer->positions[r] + 1),
                         1 / (double)trainer->options->context);
    return bits;
}

static struct vkring_feedforward_io last_io(const struct trainer *trainer)
{
    return (struct vkring_feedforward_io){.input = {.buffer = trainer->block.at[ROWS_IN]},
                                          .output_weight = weight_matrix(weight_of_none(&trainer->weights, LOGITS)),
                                          .output = {.buffer = trainer->logits}};
}

static uint64_t row_bytes(const struct trainer *trainer)
{
    return trainer->block.rows * MODEL * sizeof(float);
}

/* From the last layer's output to the loss. */
static bool find_loss(struct trainer *trainer, uint64_t step, double *out_bits)
{
    const struct block *block = &trainer->block;
    const struct weight *gain = weight_of_none(&trainer->weights, LAST_GAIN);
    const struct vkring_feedforward_io io = last_io(trainer);
    rows_normalise(trainer->kept[trainer->options->layers], gain->value, block->rows, MODEL, block->normal);
    if (vkring_buffer_upload(block->at[ROWS_IN], 0, block->normal, row_bytes(trainer)) || vkring_feedforward_forward(trainer->last, &io) ||
        vkring_buffer_download(trainer->logits, 0, trainer->scores, vkring_buffer_size(trainer->logits)))
        return false;
    *out_bits = find_losses(trainer, step);
    return true;
}

/* And back to the gradient by that output. */
static bool start_gradient(struct trainer *trainer)
{
    const struct block *block = &trainer->block;
    struct weight *gain = weight_of_none(&trainer->weights, LAST_GAIN);
    const struct vkring_feedforward_io io = last_io(trainer);
    const struct vkring_feedforward_gradients gradients = {.output_grad = {.buffer = trainer->logits_grad},
                                                           .input_grad = {.buffer = block->grad_at[ROWS_IN]},
                                                           .output_weight_grad =
                                                               weight_gradient_matrix(weight_of_none(&trainer->weights, LOGITS))};
    if (vkring_buffer_upload(trainer->logits_grad, 0, trainer->scores, vkring_buffer_size(trainer->logits_grad)) ||
        vkring_feedforward_backward(trainer->last, &io, &gradients) ||
        vkring_buffer_download(block->grad_at[ROWS_IN], 0, block->change, row_bytes(trainer)))
        return false;
    memset(trainer->grad, 0, row_bytes(trainer));
    rows_normalise_backward(trainer->kept[trainer->options->layers], gain->value, block->change, block->rows, MODEL, trainer->grad,
                            gain->gradient);
    return true;
}

static bool forward(struct trainer *trainer, uint64_t step, double *out_bits)
{
    embed(trainer, step);
    for (uint32_t layer = 0; layer < trainer->weights.layers; layer++) {
        memcpy(trainer->kept[layer + 1], trainer->kept[layer], row_bytes(trainer));
        if (!block_forward(&trainer->block, &trainer->weights, layer, trainer->kept[layer + 1]))
            return false;
    }
    return find_loss(trainer, step, out_bits);
}

/* After forward. */
static bool backward(struct trainer *trainer, uint64_t step)
{
    weights_clear_gradients(&trainer->weights);
    if (!start_gradient(trainer))
        return false;
    for (uint32_t layer = trainer->weights.layers; layer-- > 0;)
        if (!block_backward(&trainer->block, &trainer->weights, layer, trainer->kept[layer], trainer->grad))
            return false;
    add_embedding_gradient(trainer, step);
    return weights_sum_gradients(&trainer->weights);
}

/* Over all rows of the sequence; each part of the layer has the losses of all of them. */
static double mean_of(const struct trainer *trainer, double bits)
{
    return group_sum(trainer->mesh.group, bits) / (double)trainer->mesh.parts / (double)trainer->options->context;
}

/* Gradients put to the test ------------------------------------------------------------------------------------------------- */

/* The loss, in nats, after a weight went so far along its gradient. */
static bool loss_at(struct trainer *trainer, uint64_t index, double distance, double *out_loss)
{
    double bits = 0;
    const bool good =
        weight_move(&trainer->weights, index, distance) && forward(trainer, 0, &bits) && weight_move(&trainer->weights, index, -distance);
    *out_loss = log(2) * mean_of(trainer, bits);
    return agree(trainer, good);
}

/* Along its gradient the loss changes as fast as that is long. */
static bool check_gradient(struct trainer *trainer, uint64_t index)
{
    const double slope = weight_slope(&trainer->weights, index), length = 0.02;
    double ahead, behind;
    if (!loss_at(trainer, index, length / slope, &ahead) || !loss_at(trainer, index, -length / slope, &behind))
        return false;
    const double seen = (ahead - behind) / (2 * length);
    const bool right = fabs(seen - slope) <= 0.01 * slope;
    if (trainer->mesh.group->rank == 0)
        printf("%21s  slope of the loss %.5f, by its gradient %.5f: %s\n", weight_name(&trainer->weights, index), seen, slope,
               right ? "right" : "WRONG");
    if (!right)
        group_fail(trainer->mesh.group, "a gradient is wrong");
    return group_agree(trainer->mesh.group);
}

static bool check_gradients(struct trainer *trainer)
{
    double bits;
    if (!agree(trainer, forward(trainer, 0, &bits) && backward(trainer, 0)))
        return false;
    for (uint64_t i = 0; i < trainer->weights.count; i++)
        if (!check_gradient(trainer, i))
            return false;
    return true;
}

/* What is shown ------------------------------------------------------------------------------------------------------------ */

static void show_device(const struct trainer *trainer)
{
    struct vkring_device_info info;
    vkring_device_get_info(trainer->mesh.device, &info);
    if (trainer->mesh.group->rank > 0)
        return;
    printf("Sequence over %u ranks, heads over %u; layers: %llu of width %d, %d heads, %d hidden units; rank 0 on %s.\n",
           trainer->mesh.group->size / trainer->mesh.parts, trainer->mesh.parts, (unsigned long long)trainer->options->layers, MODEL, HEADS,
           HIDDEN, info.name);
    fflush(stdout);
}

static void show_bytes(const struct trainer *trainer, uint64_t bytes, const char *what)
{
    const double unit = (double)trainer->block.rows * MODEL;
    printf("%12llu bytes %6.1f bch  %s\n", (unsigned long long)bytes, (double)bytes / unit, what);
}

static void show_memory(const struct trainer *trainer)
{
    const struct block *block = &trainer->block;
    const uint64_t unit = block->rows * MODEL;
    const uint64_t peak = device_bytes(trainer, true) - trainer->bytes_before - 2 * vkring_buffer_size(trainer->logits);
    struct vkring_plan_info info;
    struct vkring_feedforward_info hidden;
    char of_tensors[100];
    uint64_t tensors = 0;
    vkring_plan_get_info(block->plan, &info);
    vkring_feedforward_get_info(block->hidden, &hidden);
    for (int i = 0; i < ROW_MATRICES; i++)
        tensors += vkring_buffer_size(block->at[i]);
    if (trainer->mesh.group->rank > 0)
        return;
    printf("\nMemory of rank 0 for a layer, beside weights; b = 1, c = %llu rows, h = %d, elements of 4 bytes:\n",
           (unsigned long long)block->rows, MODEL);
    snprintf(of_tensors, sizeof(of_tensors), "tensors of forward, %.1f blocks of c x h; Ring Attention counts 6",
             (double)tensors / (double)(unit * sizeof(float)));
    show_bytes(trainer, 6 * unit, "Ring Attention's table, forward in bf16");
    show_bytes(trainer, tensors, of_tensors);
    show_bytes(trainer, block->forward_memory.device_bytes + block->forward_memory.host_bytes, "a plan of attention for forward alone");
    show_bytes(trainer, info.packet_bytes, "of that each packet of keys and values");
    show_bytes(trainer, info.memory.device_bytes + info.memory.host_bytes, "the plan of attention, forward and backward");
    show_bytes(trainer, hidden.device_bytes, "chunks of hidden rows, which do not grow with c");
    show_bytes(trainer, peak, "at most, forward and backward, for all layers together");
    show_bytes(trainer, 4 * unit, "and kept of each layer for backward, on the host");
}

static bool train(struct trainer *trainer)
{
    double bits = 0;
    if (trainer->mesh.group->rank == 0)
        printf("\n  step  bits per byte\n");
    for (uint64_t step = 0; step < trainer->options->steps; step++) {
        const bool good =
            forward(trainer, step, &bits) && backward(trainer, step) && weights_descend(&trainer->weights, (float)trainer->options->rate);
        if (!agree(trainer, good))
            return false;
        const double mean = mean_of(trainer, bits);
        if (trainer->mesh.group->rank == 0)
            printf("%6llu  %13.5f\n", (unsigned long long)step, mean);
        fflush(stdout);
    }
    return true;
}

static bool run(struct trainer *trainer)
{
    show_device(trainer);
    if ((trainer->options->check && !check_gradients(trainer)) || !train(trainer))
        return false;
    show_memory(trainer);
    return true;
}

static bool train_on_file(struct group *group, const struct options *options, struct text *text)
{
    struct trainer trainer = {.mesh = {.group = group}, .options = options, .text = text};
    const bool good = text_read(text, options->file, INT64_MAX, group) && start(&trainer) && run(&trainer);
    stop(&trainer);
    return good;
}

int main(int argc, char **argv)
{
    struct group group;
    struct options options;
    struct text text = {0};
    int status = 2;
    group_join(&group, "transformer-block", &argc, &argv);
    parse(&group, argc, argv, &options);
    if (group_agree(&group)) {
        options.help = group_most(&group, options.help) > 0;
        if (options.help && group.rank == 0)
            fputs(help, stdout);
        status = (options.help || train_on_file(&group, &options, &text)) && group_wrote(&group) ? 0 : 1;
    }
    text_free(&text);
    group_leave(&group);
    return status;
}
