/* SPDX-License-Identifier: MIT */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "comm.h"

static struct comm_line *line_of(const struct vkring_comm *comm, uint32_t peer)
{
    struct comm_line *line = comm->lines;
    while (line && line->peer != peer)
        line = line->next;
    return line;
}

enum vkring_status comm_line_find(struct vkring_comm *comm, uint32_t peer, struct comm_line **out_line)
{
    struct comm_line *line = line_of(comm, peer);
    if (!line) {
        line = calloc(1, sizeof(*line));
        if (!line)
            return status_fail(VKRING_ERROR_OUT_OF_HOST_MEMORY, "no memory for words with rank %" PRIu32, peer);
        line->peer = peer;
        line->next = comm->lines;
        comm->lines = line;
    }
    *out_line = line;
    return VKRING_OK;
}

/* Whether the place for a word is free: what was said from there is no longer under way. */
static bool is_free(struct vkring_comm *comm, const struct comm_line *line, struct comm_word *place)
{
    uint64_t ignored;
    bool done = true;
    if (place->request && comm_test(comm, &place->request, line->peer, &done, &ignored) != VKRING_OK)
        return false;
    return done;
}

void comm_line_say(struct vkring_comm *comm, struct comm_line *line, enum comm_word_kind kind, const void *word)
{
    struct comm_word *place = &line->said[kind];
    if (!is_free(comm, line, place))
        return;
    memcpy(place->bytes, word, sizeof(place->bytes));
    comm->strays = true;
    if (comm_send(comm, place->bytes, sizeof(place->bytes), line->peer, COMM_TAG_WORD, &place->request) == VKRING_OK)
        is_free(comm, line, place);
}

enum vkring_status comm_line_hear(struct vkring_comm *comm, struct comm_line *line, const void **out_word, uint64_t *out_bytes)
{
    enum vkring_status status;
    struct comm_word *place = &line->heard;
    bool done;
    *out_word = NULL;
    if (!place->request)
        TRY(comm_receive(comm, place->bytes, sizeof(place->bytes), line->peer, COMM_TAG_WORD, &place->request), fail);
    TRY(comm_test(comm, &place->request, line->peer, &done, out_bytes), fail);
    if (done)
        *out_word = place->bytes;
    return VKRING_OK;
fail:
    return status;
}

void comm_lines_hang_up(struct vkring_comm *comm)
{
    for (struct comm_line *line = comm->lines; line; line = line->next) {
        comm_leave(comm, &line->heard.request);
        for (int kind = 0; kind < COMM_WORD_KINDS; kind++)
            comm_leave(comm, &line->said[kind].request);
    }
}

void comm_lines_free(struct vkring_comm *comm)
{
    while (comm->lines) {
        struct comm_line *line = comm->lines;
        comm->lines = line->next;
        free(line);
    }
}
