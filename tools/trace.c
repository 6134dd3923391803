/* SPDX-License-Identifier: MIT */
/*
 * Ranks are processes of the trace and kinds of work are threads of them. A rank turns its events into text by itself; then all tell each
 * other how long their texts are, and each writes to its place in the file.
 */
#include "trace.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "json_text.h"
#include "shared_clock.h"
#include "verdict.h"

#define MICROSECONDS 1e6
#define JSON_FLAGS (JSON_COMPACT | JSON_PRESERVE_ORDER | JSON_REAL_PRECISION(12))

bool trace_take(struct trace *trace, enum trace_pass pass, const vkring_plan *plan, struct failure *failure)
{
    uint64_t count, dropped;
    vkring_plan_get_events(plan, 0, NULL, &count, &dropped);
    trace->events[pass] = calloc(count + 1, sizeof(struct vkring_event));
    if (!trace->events[pass])
        return fail_memory(failure);
    vkring_plan_get_events(plan, count, trace->events[pass], &trace->counts[pass], &dropped);
    trace->dropped += dropped;
    return true;
}

void trace_free(struct trace *trace)
{
    for (int pass = 0; pass < TRACE_PASSES; pass++)
        free(trace->events[pass]);
    *trace = (struct trace){0};
}

/* Text ----------------------------------------------------------------------------------------------------------------------- */

enum track {
    TRACK_COMPUTE = 1,
    TRACK_READBACK,
    TRACK_UPLOAD,
    TRACK_SEND,
    TRACK_RECEIVE,
    TRACK_SEND_GRADIENTS,
    TRACK_RECEIVE_GRADIENTS,
    TRACK_GATHER,
    TRACK_WAIT,
    TRACKS
};

static const char *const track_names[TRACKS] = {
    [TRACK_COMPUTE] = "compute",
    [TRACK_READBACK] = "readback",
    [TRACK_UPLOAD] = "upload",
    [TRACK_SEND] = "network send",
    [TRACK_RECEIVE] = "network receive",
    [TRACK_SEND_GRADIENTS] = "network send, gradients",
    [TRACK_RECEIVE_GRADIENTS] = "network receive, gradients",
    [TRACK_GATHER] = "sum over ranks",
    [TRACK_WAIT] = "exposed wait",
};

static enum track track_of(enum vkring_event_kind kind)
{
    switch (kind) {
    case VKRING_EVENT_READBACK:
        return TRACK_READBACK;
    case VKRING_EVENT_UPLOAD:
        return TRACK_UPLOAD;
    case VKRING_EVENT_SEND:
        return TRACK_SEND;
    case VKRING_EVENT_RECEIVE:
        return TRACK_RECEIVE;
    case VKRING_EVENT_SEND_GRADIENTS:
        return TRACK_SEND_GRADIENTS;
    case VKRING_EVENT_RECEIVE_GRADIENTS:
        return TRACK_RECEIVE_GRADIENTS;
    case VKRING_EVENT_GATHER:
        return TRACK_GATHER;
    case VKRING_EVENT_WAIT:
        return TRACK_WAIT;
    default:
        return TRACK_COMPUTE;
    }
}

/* What a rank writes, and what it tells the others of it. */
struct part {
    struct ranks *ranks;
    FILE *file;
    char *text;
    size_t bytes;
    double zero_seconds; /* of this rank's clock, where the trace begins */
    bool good;
};

struct part_record {
    struct shared_clock clock;
    double first_seconds; /* the earliest event, by rank 0's clock; infinite without events */
    uint64_t dropped;
    uint64_t bytes;
};

static void put(struct part *part, json_t *json)
{
    const bool first = ftell(part->file) == 0 && part->ranks->rank == 0;
    part->good = part->good && json && fputs(first ? "" : ",\n", part->file) >= 0 && json_dumpf(json, part->file, JSON_FLAGS) == 0;
    json_decref(json);
}

static void put_name(struct part *part, const char *what, int track, const char *name)
{
    put(part, json_pack("{s:s, s:s, s:i, s:i, s:{s:o}}", "name", what, "ph", "M", "pid", (int)part->ranks->rank, "tid", track, "args",
                        "name", json_text(name)));
}

static void put_order(struct part *part, const char *what, int track, int order)
{
    put(part, json_pack("{s:s, s:s, s:i, s:i, s:{s:i}}", "name", what, "ph", "M", "pid", (int)part->ranks->rank, "tid", track, "args",
                        "sort_index", order));
}

static void put_names(struct part *part, const char *name)
{
    put_name(part, "process_name", 0, name);
    put_order(part, "process_sort_index", 0, (int)part->ranks->rank);
    for (int track = 1; track < TRACKS; track++) {
        put_name(part, "thread_name", track, track_names[track]);
        put_order(part, "thread_sort_index", track, track);
    }
}

static json_t *arguments_json(const struct vkring_event *event, enum trace_pass pass)
{
    json_t *json = json_pack("{s:s, s:I}", "pass", pass == TRACE_BACKWARD ? "backward" : "forward", "step", (json_int_t)event->step);
    if (json && event->peer != VKRING_NONE)
        json_object_set_new(json, "peer", json_integer(event->peer));
    if (json && event->bytes > 0)
        json_object_set_new(json, "bytes", json_size(event->bytes));
    if (json && event->device_seconds > 0)
        json_object_set_new(json, "device_us", json_measure(event->device_seconds * MICROSECONDS));
    return json;
}

static void put_event(struct part *part, const struct vkring_event *event, enum trace_pass pass)
{
    const enum track track = track_of(event->kind);
    put(part, json_pack("{s:s, s:s, s:s, s:i, s:i, s:o, s:o, s:o}", "name", vkring_event_kind_string(event->kind), "cat",
                        track_names[track], "ph", "X", "pid", (int)part->ranks->rank, "tid", (int)track, "ts",
                        json_measure((event->begin_seconds - part->zero_seconds) * MICROSECONDS), "dur",
                        json_measure((event->end_seconds - event->begin_seconds) * MICROSECONDS), "args", arguments_json(event, pass)));
}

static bool make_text(struct part *part, const struct trace *trace, const char *name, struct failure *failure)
{
    part->good = (part->file = open_memstream(&part->text, &part->bytes)) != NULL;
    if (!part->good)
        return fail_memory(failure);
    put_names(part, name);
    for (enum trace_pass pass = 0; pass < TRACE_PASSES; pass++)
        for (uint64_t i = 0; part->good && i < trace->counts[pass]; i++)
            put_event(part, &trace->events[pass][i], pass);
    part->good = fclose(part->file) == 0 && part->good;
    return part->good ? true : fail_memory(failure);
}

/* The file ------------------------------------------------------------------------------------------------------------------- */

static double earliest(const struct trace *trace)
{
    double first = INFINITY;
    for (int pass = 0; pass < TRACE_PASSES; pass++)
        for (uint64_t i = 0; i < trace->counts[pass]; i++)
            first = fmin(first, trace->events[pass][i].begin_seconds);
    return first;
}

static json_t *ranks_json(const struct part_record *records, uint32_t size)
{
    json_t *json = json_array();
    for (uint32_t rank = 0; rank < size; rank++)
        json_array_append_new(json, json_pack("{s:I, s:o, s:o, s:o}", "rank", (json_int_t)rank, "clock_offset_seconds",
                                              json_measure(records[rank].clock.offset_seconds), "clock_uncertainty_seconds",
                                              json_measure(records[rank].clock.uncertainty_seconds), "dropped_events",
                                              json_size(records[rank].dropped)));
    return json;
}

/* All but the events, up to where they begin. */
static char *head_text(const struct part_record *records, uint32_t size)
{
    json_t *json = json_pack("{s:s, s:{s:s, s:o}}", "displayTimeUnit", "ms", "otherData", "vkring", vkring_version(), "ranks",
                             ranks_json(records, size));
    char *head = json ? json_dumps(json, JSON_FLAGS) : NULL;
    char *text = NULL;
    if (head && asprintf(&text, "%.*s,\"traceEvents\":[\n", (int)strlen(head) - 1, head) < 0)
        text = NULL;
    free(head);
    json_decref(json);
    return text;
}

static bool write_at(int fd, const char *text, size_t bytes, uint64_t offset)
{
    while (bytes > 0) {
        const ssize_t written = pwrite(fd, text, bytes, (off_t)offset);
        if (written <= 0)
            return false;
        text += written;
        bytes -= (size_t)written;
        offset += (uint64_t)written;
    }
    return true;
}

/* The head is rank 0's to write, and the end the last rank's; all know how long the head is. */
static bool write_part(const struct part *part, const struct part_record *records, int fd)
{
    static const char tail[] = "\n]}\n";
    const struct ranks *ranks = part->ranks;
    char *head = head_text(records, ranks->size);
    bool good = head != NULL;
    uint64_t offset = head ? strlen(head) : 0;
    for (uint32_t rank = 0; rank < ranks->rank; rank++)
        offset += records[rank].bytes;
    if (good && ranks->rank == 0)
        good = write_at(fd, head, strlen(head), 0);
    good = good && write_at(fd, part->text, part->bytes, offset);
    if (good && ranks->rank + 1 == ranks->size)
        good = write_at(fd, tail, strlen(tail), offset + part->bytes);
    free(head);
    return good;
}

static double trace_zero(const struct part_record *records, uint32_t size)
{
    double zero = INFINITY;
    for (uint32_t rank = 0; rank < size; rank++)
        zero = fmin(zero, records[rank].first_seconds);
    return isfinite(zero) ? zero : 0;
}

static bool exchange_parts(struct part *part, const struct trace *trace, const char *name, struct part_record *records,
                           struct failure *failure)
{
    struct ranks *ranks = part->ranks;
    struct part_record mine = {.dropped = trace->dropped};
    shared_clock_measure(ranks, &mine.clock);
    mine.first_seconds = earliest(trace) + mine.clock.offset_seconds;
    if (!verdict_gather(ranks, &mine, sizeof(mine), records, failure))
        return false;
    part->zero_seconds = trace_zero(records, ranks->size) - mine.clock.offset_seconds;
    if (!make_text(part, trace, name, failure))
        return false;
    mine.bytes = part->bytes;
    return verdict_gather(ranks, &mine, sizeof(mine), records, failure);
}

bool trace_write(struct ranks *ranks, const struct trace *trace, const char *name, int fd, const char *path, struct failure *failure)
{
    struct part part = {.ranks = ranks};
    struct part_record *records = calloc(ranks->size, sizeof(*records));
    bool good = records ? exchange_parts(&part, trace, name, records, failure) : fail_memory(failure);
    if (good && !write_part(&part, records, fd))
        good = fail_file(failure, "write", path);
    free(part.text);
    free(records);
    return good;
}
