/* SPDX-License-Identifier: MIT */
/*
 * Predicts each byte of a text from all before it, by attention alone, and tells how many bits per byte that leaves: the fewer, the better.
 *
 * The text is predicted several times, cut into chunks of 1024 bytes, of 4096 and so on, at last in one piece. Always all of its bytes are
 * predicted, each from the bytes of its own chunk before it, so that only the length of the context differs.
 */
#include <getopt.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "progress_line.h"
#include "sample_check.h"
#include "text_file.h"
#include "text_prediction.h"

#define DEFAULT_FILE "/usr/share/common-licenses/GPL-3"
#define SHORTEST_CONTEXT 1024u
#define FEW_BYTES 256u

static const char help[] = "usage: [mpirun -n N] next-byte [options] [FILE]\n"
                           "\n"
                           "Predicts each byte of FILE from those before it by attention alone.\n"
                           "FILE defaults to " DEFAULT_FILE ".\n"
                           "\n"
                           "      --bytes N       only the first N bytes\n"
                           "      --check         compare a sample of rows with float64\n"
                           "      --device I      as vkring devices counts them; otherwise the ranks of a host take turns\n"
                           "      --seconds N     leave out longer contexts once one would take longer than that\n"
                           "      --type f32|f16  of the tensors; f16 where every device has it\n"
                           "  -h, --help          this text\n"
                           "\n"
                           "Exit status: 0 done; 1 failed; 2 wrong usage.\n";

struct options {
    const char *file;
    uint64_t bytes;
    double context_seconds;
    bool has_device, has_type, check, help;
    uint32_t device;
    enum vkring_type type;
};

/* Options ---------------------------------------------------------------------------------------------------------------- */

static bool parse_number(struct group *group, const char *name, unsigned long long most, unsigned long long *out_number)
{
    char *end;
    *out_number = strtoull(optarg, &end, 10);
    if (optarg[0] < '0' || optarg[0] > '9' || *end || *out_number > most)
        return group_fail(group, "--%s takes a number of at most %llu, not '%s'", name, most, optarg);
    return true;
}

static bool parse_type(struct group *group, struct options *options)
{
    options->has_type = true;
    options->type = strcmp(optarg, "f16") == 0 ? VKRING_TYPE_F16 : VKRING_TYPE_F32;
    if (strcmp(optarg, "f16") != 0 && strcmp(optarg, "f32") != 0)
        return group_fail(group, "--type is f32 or f16, not '%s'", optarg);
    return true;
}

static bool parse_option(struct group *group, int option, const char *word, struct options *options)
{
    unsigned long long number = 0;
    switch (option) {
    case 'b':
        if (!parse_number(group, "bytes", INT64_MAX, &number))
            return false;
        options->bytes = number;
        return true;
    case 'd':
        options->has_device = parse_number(group, "device", UINT32_MAX, &number);
        options->device = (uint32_t)number;
        return options->has_device;
    case 's':
        if (!parse_number(group, "seconds", UINT32_MAX, &number))
            return false;
        options->context_seconds = (double)number;
        return true;
    case 't':
        return parse_type(group, options);
    case 'c':
        return options->check = true;
    case 'h':
        return options->help = true;
    case ':':
        return group_fail(group, "%s needs a value; see next-byte --help", word);
    default:
        return group_fail(group, "unknown option %s; see next-byte --help", word);
    }
}

static bool parse(struct group *group, int argc, char **argv, struct options *options)
{
    static const struct option names[] = {{"bytes", required_argument, NULL, 'b'},
                                          {"check", no_argument, NULL, 'c'},
                                          {"device", required_argument, NULL, 'd'},
                                          {"seconds", required_argument, NULL, 's'},
                                          {"type", required_argument, NULL, 't'},
                                          {"help", no_argument, NULL, 'h'},
                                          {0}};
    int option;
    *options = (struct options){.file = DEFAULT_FILE, .bytes = INT64_MAX, .context_seconds = INFINITY};
    while ((option = getopt_long(argc, argv, ":h", names, NULL)) != -1) {
        if (!parse_option(group, option, argv[optind - 1], options))
            return false;
    }
    if (argc - optind > 1)
        return group_fail(group, "one file at a time; see next-byte --help");
    if (optind < argc)
        options->file = argv[optind];
    return true;
}

/* Device ----------------------------------------------------------------------------------------------------------------- */

static bool open_device(struct predictor *predictor, const struct options *options)
{
    struct group *group = predictor->group;
    const struct vkring_device_params params = {.index = options->has_device ? options->device : group_choose_device(group)};
    struct vkring_device_info info = {0};
    if (vkring_device_create(&params, &predictor->device) == VKRING_OK)
        vkring_device_get_info(predictor->device, &info);
    else
        group_fail_vkring(group);
    if (!group_agree(group))
        return false;
    const bool all_have_f16 = -group_most(group, -(double)info.f16) > 0;
    predictor->type = options->has_type ? options->type : all_have_f16 ? VKRING_TYPE_F16 : VKRING_TYPE_F32;
    if (group_make_comm(group, &predictor->comm) != VKRING_OK)
        group_fail_vkring(group);
    return group_agree(group);
}

/* What is shown ---------------------------------------------------------------------------------------------------------- */

static void show_head(const struct predictor *predictor, const struct options *options, const struct text *text)
{
    struct vkring_device_info info;
    vkring_device_get_info(predictor->device, &info);
    if (predictor->group->rank > 0)
        return;
    printf("%s: each of %llu bytes predicted from those before it, within chunks as long as the context.\n", options->file,
           (unsigned long long)text->length);
    printf("8 bits per byte is guessing. %u rank%s, %s, rank 0 on %s.\n\n", predictor->group->size, predictor->group->size > 1 ? "s" : "",
           predictor->type == VKRING_TYPE_F16 ? "f16" : "f32", info.name);
    printf("   context  bits per byte   seconds   GFLOP/s   exposed wait%s\n", predictor->check ? "   largest error" : "");
    fflush(stdout);
}

static void show_row(const struct predictor *predictor, const struct text *text, uint64_t context, const struct prediction *prediction)
{
    if (predictor->group->rank > 0)
        return;
    printf("%10llu %14.4f %9.2f %9.1f %12.2f s", (unsigned long long)context, prediction->bits / (double)text->length, prediction->seconds,
           1e-9 * prediction->flop / prediction->seconds, prediction->waited_seconds);
    if (predictor->check)
        printf("        %8.1e", prediction->largest_error);
    printf("\n");
    fflush(stdout);
}

static void show_gain(const struct predictor *predictor, const struct text *text, const struct prediction *first,
                      const struct prediction *last)
{
    if (predictor->group->rank == 0)
        printf("\nFrom the shortest context to the longest: %.4f bits per byte less.\n", (first->bits - last->bits) / (double)text->length);
}

static void show_left_out(const struct predictor *predictor, uint64_t context, double seconds)
{
    if (predictor->group->rank == 0)
        printf("\nA context of %llu bytes would take about %.0f seconds here: left out.\n", (unsigned long long)context, seconds);
}

/* The text --------------------------------------------------------------------------------------------------------------- */

/* Drivers may compile a kernel when it first runs, which is no part of the times that are shown. */
static bool warm_up(const struct predictor *predictor, const struct text *text)
{
    const struct passage few = {"Compiling", text->bytes, 1, text->length < FEW_BYTES ? text->length : FEW_BYTES};
    struct prediction prediction = {0};
    return predict(predictor, &few, &prediction);
}

/* Whole chunks first, then what is left of the text. */
static bool predict_text(const struct predictor *predictor, const struct text *text, uint64_t context, struct prediction *prediction)
{
    char title[64];
    const struct passage whole = {title, text->bytes, text->length / context, context};
    const struct passage rest = {title, text->bytes + whole.chunks * context, 1, text->length % context};
    snprintf(title, sizeof(title), "Context of %llu bytes", (unsigned long long)context);
    *prediction = (struct prediction){0};
    if (!predict(predictor, &whole, prediction) || (rest.context > 0 && !predict(predictor, &rest, prediction)))
        return false;
    if (!isfinite(prediction->bits))
        group_fail(predictor->group, "with a context of %llu bytes a probability is not a number", (unsigned long long)context);
    else if (prediction->largest_error > sample_error_allowed(predictor->type))
        group_fail(predictor->group, "with a context of %llu bytes a probability is wrong by %g", (unsigned long long)context,
                   prediction->largest_error);
    return group_agree(predictor->group);
}

/* The same on one rank, which is to give the same. */
static bool predict_alone(const struct predictor *predictor, const struct text *text, uint64_t context, double together)
{
    struct group one = {.size = 1};
    struct predictor alone = *predictor;
    struct prediction prediction;
    alone.group = &one;
    alone.comm = NULL;
    if (predictor->group->rank == 0 && predict_text(&alone, text, context, &prediction))
        printf("Rank 0 alone, with a context of %llu: %.4f bits per byte; the %u ranks together gave %.4f.\n", (unsigned long long)context,
               prediction.bits / (double)text->length, predictor->group->size, together / (double)text->length);
    return group_most(predictor->group, one.failure[0] != '\0') == 0;
}

/* Four times the context takes four times as long. */
static bool predict_contexts(const struct predictor *predictor, const struct options *options, const struct text *text)
{
    const uint64_t shortest = text->length < SHORTEST_CONTEXT ? text->length : SHORTEST_CONTEXT;
    uint64_t context = shortest;
    struct prediction first, last;
    if (!predict_text(predictor, text, shortest, &first))
        return false;
    show_row(predictor, text, shortest, &first);
    last = first;
    while (context < text->length) {
        const uint64_t next = context < text->length / 4 ? 4 * context : text->length;
        const double seconds = group_most(predictor->group, last.seconds) * (double)next / (double)context;
        if (seconds > options->context_seconds) {
            show_left_out(predictor, next, seconds);
            break;
        }
        context = next;
        if (!predict_text(predictor, text, context, &last))
            return false;
        show_row(predictor, text, context, &last);
    }
    if (context > shortest)
        show_gain(predictor, text, &first, &last);
    return predictor->group->size == 1 || predict_alone(predictor, text, shortest, first.bits);
}

static bool predict_file(struct group *group, const struct options *options, struct text *text)
{
    struct predictor predictor = {.group = group, .check = options->check};
    predictor.terminal = group->rank == 0 ? progress_terminal(group->launched) : NULL;
    bool good = text_read(text, options->file, options->bytes, group) && open_device(&predictor, options);
    if (good) {
        show_head(&predictor, options, text);
        good = warm_up(&predictor, text) && predict_contexts(&predictor, options, text);
    }
    vkring_comm_destroy(&predictor.comm);
    vkring_device_destroy(&predictor.device);
    return good;
}

int main(int argc, char **argv)
{
    struct group group;
    struct options options;
    struct text text = {0};
    int status = 2;
    group_join(&group, "next-byte", &argc, &argv);
    parse(&group, argc, argv, &options);
    if (group_agree(&group)) {
        options.help = group_most(&group, options.help) > 0;
        if (options.help && group.rank == 0)
            fputs(help, stdout);
        status = (options.help || predict_file(&group, &options, &text)) && group_wrote(&group) ? 0 : 1;
    }
    text_free(&text);
    group_leave(&group);
    return status;
}
