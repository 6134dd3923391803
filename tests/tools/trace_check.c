/* SPDX-License-Identifier: MIT */
/*
 * Whether a trace and a report tell of one run: trace-check TRACE REPORT. Says what is wrong on standard output, with exit status 1.
 */
#include <jansson.h>
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TRACKS = 9, MOST_RANKS = 16, PASSES = 2, COMPUTE = 1, SEND = 4, RECEIVE = 5, EXPOSED_WAIT = 9 };

static bool complain(const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vprintf(format, arguments);
    va_end(arguments);
    putchar('\n');
    return false;
}

struct interval {
    int rank, track, pass, step, peer;
    double begin, end, device, bytes; /* seconds */
};

struct trace {
    struct interval *intervals;
    size_t count;
    bool named[MOST_RANKS][TRACKS + 1]; /* 0: the rank */
    double uncertainty[MOST_RANKS];
    int ranks;
};

static double number(const json_t *object, const char *key)
{
    return json_number_value(json_object_get(object, key));
}

static int whole(const json_t *object, const char *key)
{
    const json_t *value = json_object_get(object, key);
    return json_is_integer(value) ? (int)json_integer_value(value) : -1;
}

static bool take_name(struct trace *trace, const json_t *event, int rank, int track)
{
    const char *what = json_string_value(json_object_get(event, "name"));
    const char *name = json_string_value(json_object_get(json_object_get(event, "args"), "name"));
    if (what && name && name[0] && (strcmp(what, "process_name") == 0 || strcmp(what, "thread_name") == 0))
        trace->named[rank][track] = true;
    return true;
}

static bool take_interval(struct trace *trace, const json_t *event, int rank, int track)
{
    const json_t *arguments = json_object_get(event, "args");
    const char *pass = json_string_value(json_object_get(arguments, "pass"));
    struct interval *interval = &trace->intervals[trace->count++];
    if (!pass || !json_string_value(json_object_get(event, "name")) || !json_is_number(json_object_get(event, "ts")))
        return complain("an event lacks its name, pass or time");
    *interval = (struct interval){
        .rank = rank,
        .track = track,
        .pass = strcmp(pass, "backward") == 0,
        .step = whole(arguments, "step"),
        .peer = whole(arguments, "peer"),
        .begin = number(event, "ts") * 1e-6,
        .end = (number(event, "ts") + number(event, "dur")) * 1e-6,
        .device = number(arguments, "device_us") * 1e-6,
        .bytes = number(arguments, "bytes"),
    };
    if (interval->begin < 0 || interval->end < interval->begin || interval->step < 0)
        return complain("an event from %g to %g s, of step %d", interval->begin, interval->end, interval->step);
    return true;
}

static bool take_event(struct trace *trace, const json_t *event)
{
    const char *phase = json_string_value(json_object_get(event, "ph"));
    const int rank = whole(event, "pid"), track = whole(event, "tid");
    if (!phase || rank < 0 || rank >= trace->ranks || track < 0 || track > TRACKS)
        return complain("an event of rank %d, track %d", rank, track);
    return strcmp(phase, "M") == 0 ? take_name(trace, event, rank, track) : take_interval(trace, event, rank, track);
}

static bool take_clocks(struct trace *trace, const json_t *root)
{
    const json_t *ranks = json_object_get(json_object_get(root, "otherData"), "ranks");
    trace->ranks = (int)json_array_size(ranks);
    if (trace->ranks < 1 || trace->ranks > MOST_RANKS)
        return complain("metadata of %d ranks", trace->ranks);
    for (int rank = 0; rank < trace->ranks; rank++) {
        const json_t *of_rank = json_array_get(ranks, (size_t)rank);
        trace->uncertainty[rank] = number(of_rank, "clock_uncertainty_seconds");
        if (!json_is_number(json_object_get(of_rank, "clock_offset_seconds")) || trace->uncertainty[rank] > 0.1)
            return complain("the clock of rank %d is off by %g s", rank, trace->uncertainty[rank]);
        if (whole(of_rank, "dropped_events") != 0)
            return complain("rank %d dropped events", rank);
    }
    return true;
}

static bool take_trace(struct trace *trace, const json_t *root)
{
    const json_t *events = json_object_get(root, "traceEvents");
    bool good = take_clocks(trace, root);
    trace->intervals = calloc(json_array_size(events) + 1, sizeof(*trace->intervals));
    if (!trace->intervals)
        return complain("no memory");
    for (size_t i = 0; good && i < json_array_size(events); i++)
        good = take_event(trace, json_array_get(events, i));
    for (int rank = 0; good && rank < trace->ranks; rank++)
        for (int track = 0; good && track <= TRACKS; track++)
            good = trace->named[rank][track] || complain("track %d of rank %d has no name", track, rank);
    return good && (trace->count > 0 || complain("no events"));
}

static int by_begin(const void *a, const void *b)
{
    const struct interval *x = a, *y = b;
    return (x->begin > y->begin) - (x->begin < y->begin);
}

/* What one rank did in one pass. */
struct account {
    double begin, end;       /* of all events */
    double idle;             /* of the device between them */
    double waited, computed; /* as events say */
    double sent, received;
};

static bool add_interval(struct account *account, const struct interval *interval, double *track_end)
{
    const double rounding = 1e-8;
    if (interval->begin < track_end[interval->track] - rounding)
        return complain("rank %d, track %d: events overlap at %g s", interval->rank, interval->track, interval->begin);
    if (interval->track == COMPUTE)
        account->idle += fmax(interval->begin - fmax(track_end[COMPUTE], account->begin), 0);
    track_end[interval->track] = interval->end;
    account->waited += interval->track == EXPOSED_WAIT ? interval->end - interval->begin : 0;
    account->computed += interval->device;
    account->sent += interval->track == SEND ? interval->bytes : 0;
    account->received += interval->track == RECEIVE ? interval->bytes : 0;
    account->end = fmax(account->end, interval->end);
    return true;
}

static bool make_account(const struct trace *trace, int rank, int pass, struct account *account)
{
    double track_end[TRACKS + 1] = {0};
    bool good = true, first = true;
    *account = (struct account){0};
    for (size_t i = 0; good && i < trace->count; i++) {
        const struct interval *interval = &trace->intervals[i];
        if (interval->rank != rank || interval->pass != pass)
            continue;
        if (first)
            account->begin = interval->begin;
        first = false;
        good = add_interval(account, interval, track_end);
    }
    return good;
}

static bool is_near(double a, double b, double tolerance)
{
    return fabs(a - b) <= tolerance;
}

/* Between two pieces of work the host takes a moment, which is no wait, and a busy machine longer: the device may be idle for that long
 * too. */
static bool check_seconds(const struct account *account, const json_t *seconds, int rank)
{
    const double exposed = number(seconds, "exposed_wait"), compute = number(seconds, "compute");
    const double host = 0.2 * (account->end - account->begin) + 0.2;
    if (!is_near(account->waited, exposed, 1e-5))
        return complain("rank %d: %g s of waiting in the trace, %g s in the report", rank, account->waited, exposed);
    if (exposed > account->idle + 1e-5 || account->idle > exposed + host)
        return complain("rank %d: the device was idle for %g s, exposed wait is %g s", rank, account->idle, exposed);
    if (!is_near(account->computed, compute, 1e-4 * compute + 1e-5))
        return complain("rank %d: %g s of kernels in the trace, %g s in the report", rank, account->computed, compute);
    return true;
}

static bool check_rank(const struct trace *trace, const json_t *report, int rank)
{
    const json_t *of_rank = json_array_get(json_object_get(report, "ranks"), (size_t)rank);
    const json_t *bytes = json_object_get(of_rank, "bytes"), *backward = json_object_get(of_rank, "backward");
    struct account account;
    if (!make_account(trace, rank, 0, &account) || !check_seconds(&account, json_object_get(of_rank, "seconds"), rank))
        return false;
    if (account.sent != number(bytes, "sent") || account.received != number(bytes, "received"))
        return complain("rank %d: %g and %g bytes moved in the trace, %g and %g in the report", rank, account.sent, account.received,
                        number(bytes, "sent"), number(bytes, "received"));
    if (json_is_null(backward))
        return true;
    return make_account(trace, rank, 1, &account) && check_seconds(&account, json_object_get(backward, "seconds"), rank);
}

/* On one clock nothing comes before it was sent. */
static bool check_order(const struct trace *trace, const struct interval *came)
{
    for (size_t i = 0; came->track == RECEIVE && i < trace->count; i++) {
        const struct interval *sent = &trace->intervals[i];
        if (sent->track != SEND || sent->pass != came->pass || sent->rank != came->peer || sent->peer != came->rank ||
            sent->step + 1 != came->step)
            continue;
        if (came->end < sent->begin - trace->uncertainty[came->rank] - trace->uncertainty[sent->rank])
            return complain("rank %d got at %g s what rank %d sent at %g s", came->rank, came->end, sent->rank, sent->begin);
        return true;
    }
    return came->track != RECEIVE || complain("rank %d got what nobody sent", came->rank);
}

static bool check(struct trace *trace, const json_t *root, const json_t *report)
{
    if (!take_trace(trace, root))
        return false;
    if ((size_t)trace->ranks != json_array_size(json_object_get(report, "ranks")))
        return complain("%d ranks in the trace", trace->ranks);
    qsort(trace->intervals, trace->count, sizeof(*trace->intervals), by_begin);
    bool good = true;
    for (int rank = 0; good && rank < trace->ranks; rank++)
        good = check_rank(trace, report, rank);
    for (size_t i = 0; good && i < trace->count; i++)
        good = check_order(trace, &trace->intervals[i]);
    return good;
}

int main(int argc, char **argv)
{
    struct trace trace = {0};
    if (argc != 3)
        return 2;
    json_t *root = json_load_file(argv[1], 0, NULL), *report = json_load_file(argv[2], 0, NULL);
    const bool good = (root && report) ? check(&trace, root, report) : complain("no JSON");
    json_decref(root);
    json_decref(report);
    free(trace.intervals);
    return good ? 0 : 1;
}
