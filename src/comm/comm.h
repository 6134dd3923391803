/* SPDX-License-Identifier: MIT */
/** Messages between ranks over a table of functions, every wait with a deadline. Knows src/base only. */
#ifndef VKRING_COMM_COMM_H
#define VKRING_COMM_COMM_H

#include "../base/status.h"

struct comm_line;

struct vkring_comm {
    struct vkring_comm_functions fn;
    bool fn_records_errors; /* fn describes its failures in the last error; an application's table cannot */
    bool failed;            /* a message was given up, and could be taken for a later one: only destroy is left */
    bool strays;            /* a message was sent that its receiver may never ask for */
    uint32_t rounds;        /* of what is gathered, ever */
    bool in_run;            /* a plan's run is under way on it: messages of another could not be told from its own */
    void *scratch;          /* of what is gathered or merged; here because requests that it gave up may touch it until destroy */
    uint64_t scratch_bytes;
    uint64_t sent_bytes; /* of all messages that were ever started */
    struct comm_line *lines;
    uint64_t runs; /* that ended well, of all plans in which messages go */
};

/** Tags. Messages of one tag between two ranks arrive in order. */
enum comm_tag {
    COMM_TAG_AGREE = 1,
    COMM_TAG_HEADER,
    COMM_TAG_PACKET,
    COMM_TAG_GRADIENT_HEADER,
    COMM_TAG_GRADIENT,
    COMM_TAG_WORD,
    COMM_TAG_REDUCE
};

/** VKRING_ERROR_COMM after a request was given up or comm_allgather failed. */
enum vkring_status comm_check_usable(const struct vkring_comm *comm);

/*
 * The functions of the table, with the last error set when they fail. A request that is not null afterwards is still the caller's to
 * abandon. VKRING_ERROR_COMM: the transport failed, or a request was given up before. VKRING_ERROR_PEER: a message longer than the memory
 * for it.
 */
enum vkring_status comm_send(struct vkring_comm *comm, const void *data, uint64_t bytes, uint32_t peer, enum comm_tag tag,
                             void **out_request);
enum vkring_status comm_receive(struct vkring_comm *comm, void *data, uint64_t bytes, uint32_t peer, enum comm_tag tag, void **out_request);
/** peer is that of the request, for the last error. Writes out_bytes for a receive that is done; else it is undefined. */
enum vkring_status comm_test(struct vkring_comm *comm, void **request, uint32_t peer, bool *out_done, uint64_t *out_bytes);
/** Gives up a request, or nothing if it is null. The memory behind it may be touched until the communicator is destroyed. */
void comm_abandon(struct vkring_comm *comm, void **request);
/** The same of a message that nobody has to ask for: the communicator can still be used. */
void comm_leave(struct vkring_comm *comm, void **request);

/**
 * Every rank gives bytes and gets those of all: all is size · bytes long, in rank order, and is written only on success. Collective.
 *
 * VKRING_ERROR_TIMEOUT when nothing arrives for timeout_seconds and 0.5 more at most, in which others may say why: the last error names a
 * silent rank, the same one everywhere if there is only one. VKRING_ERROR_PEER (or _TIMEOUT): a rank gave another number of bytes, its
 * message was damaged or of another round, or it takes no part: the last error names who is to blame for that. A rank that fails tells the
 * others. Never waits longer than that without progress. Backs off when idle: neither spins a core nor sleeps long.
 */
enum vkring_status comm_allgather(struct vkring_comm *comm, const void *mine, uint64_t bytes, void *all, double timeout_seconds);

/**
 * Every rank gives bytes to each, given [size][bytes], and gets what each gave to it: got [size][bytes], in rank order. Else as
 * comm_allgather; neither may be null.
 */
enum vkring_status comm_exchange(struct vkring_comm *comm, const void *given, uint64_t bytes, void *got, double timeout_seconds);
/** Takes all memory that comm_exchange and comm_allgather of so many bytes need. Not collective. */
enum vkring_status comm_exchange_reserve(struct vkring_comm *comm, uint64_t bytes);

/** What goes from rank to rank where each gives each its own. */
struct comm_shares {
    const uint64_t *given; /* [size + 1], where in what is given that of each rank begins, and the end */
    const uint64_t *got;   /* the same of what this rank gets of each, of its own as much as it gives */
    uint64_t most_bytes;   /* of any rank to another; the same on every rank */
};

/** Tells all ranks that this one takes no part in what is gathered next, for error->status and on account of error->rank. Does not wait. */
void comm_refuse(struct vkring_comm *comm, const struct vkring_error *error);

/** In scratch a refusal has its place first: there is room for it always. */
#define COMM_REFUSAL_BYTES 16u
/** Scratch of at least so many bytes, undefined; nothing may be under way in it. After a failure it is as it was. */
enum vkring_status comm_scratch_take(struct vkring_comm *comm, uint64_t bytes);

/** A comm_allgather or an exchange that its caller drives. Its fields are its own; all zeros where none is under way. */
struct comm_gather {
    struct vkring_comm *comm;
    void **sends; /* by rank; null where nothing is under way */
    void **receives;
    unsigned char *blocks;            /* by rank */
    unsigned char *messages;          /* by rank, each behind its seal; the own one is what is sent to all */
    unsigned char *outgoing;          /* by rank; where each gets its own */
    const unsigned char *given;       /* null: all ranks get the same */
    const struct comm_shares *shares; /* null: blocks of all ranks have block_bytes */
    uint64_t block_bytes;             /* the most of any */
    uint64_t offset;                  /* of this round's message in its block */
    uint64_t message_bytes;           /* the most of this round */
    enum vkring_status told;          /* why another takes no part, once it said so */
};

/** Starts as comm_allgather does, without waiting. One at a time on a communicator. */
enum vkring_status comm_gather_start(struct vkring_comm *comm, const void *mine, uint64_t bytes, struct comm_gather *out_gather);
/**
 * The same of what each rank gives to each: as many messages as the most bytes take, of which each carries what its own two ranks have
 * left, or nothing. given and shares are borrowed until it is done.
 */
enum vkring_status comm_exchange_start(struct vkring_comm *comm, const void *given, const struct comm_shares *shares,
                                       struct comm_gather *out_gather);
/** progress is set to true when a message came or went. out_done: all are there. A failure gives it up. */
enum vkring_status comm_gather_poll(struct comm_gather *gather, bool *progress, bool *out_done);
/** Polls until all are there. Errors as of comm_allgather. */
enum vkring_status comm_gather_wait(struct comm_gather *gather, double timeout_seconds);
/** What all ranks gave, rank after rank, once it is done; until the next gather on the communicator. */
const void *comm_gather_blocks(const struct comm_gather *gather);
/** How much longer than to its deadline a rank waits, in which others may say why. */
double comm_gather_excuse_seconds(const struct comm_gather *gather);
/** Records as the last error which rank did nothing for so long. */
enum vkring_status comm_gather_blame(const struct comm_gather *gather, double seconds);
/** The communicator can only be destroyed. */
void comm_gather_abandon(struct comm_gather *gather);

/** Results of each owner, a rank, of which every rank has a part. */
struct comm_reduction {
    uint64_t record_bytes;
    const uint64_t *records; /* [size], of each owner; the same on every rank */
    /** Merges so many records of a rank into those of one before it, counted from their owner on. Aligned to 4 bytes if record_bytes is. */
    void (*merge)(void *context, void *into, const void *from, uint64_t records);
    void *context;
};

/**
 * blocks: this rank's part of the records of owner 0, then of those of owner 1, …. Afterwards those that this rank owns are merged over
 * all ranks, in log2(size) steps, and the others' undefined: parts of the owner and of the ranks after it, two neighbours each, then two
 * neighbouring pairs, and so on, whenever messages come. Collective. One at a time, and none while a gather is under way. Rank by rank as
 * many bytes go as the owners' blocks have, but for the own one, at most.
 *
 * Errors as of comm_allgather: the last error names a silent rank, the same one everywhere if there is only one, also on ranks that wait
 * for it through others. A rank whose part is done and that nobody waits for may have returned before. After a failure all blocks are
 * undefined.
 */
enum vkring_status comm_reduce(struct vkring_comm *comm, const struct comm_reduction *reduction, void *blocks, double timeout_seconds);

#define COMM_WORD_BYTES 88u

enum comm_word_kind { COMM_WORD_WAITING, COMM_WORD_LAST, COMM_WORD_KINDS };

struct comm_word {
    void *request; /* null: none is under way */
    unsigned char bytes[COMM_WORD_BYTES];
};

/**
 * For words to and from a peer beside what it waits for. Nobody has to listen: what is under way stays so until the communicator is
 * destroyed, and neither holds anything up nor makes it unusable.
 */
struct comm_line {
    uint32_t peer;
    struct comm_word heard, said[COMM_WORD_KINDS];
    struct comm_line *next;
};

/** The line to a peer, the same each time; the communicator's. Not collective, and sends nothing. */
enum vkring_status comm_line_find(struct vkring_comm *comm, uint32_t peer, struct comm_line **out_line);
/** word: COMM_WORD_BYTES. Nothing is said while the last word of the kind is under way, or where the transport fails: the last error may
 * be another afterwards. */
void comm_line_say(struct vkring_comm *comm, struct comm_line *line, enum comm_word_kind kind, const void *word);
/** Listens from the first call on. out_word: one of out_bytes that came, until the next call; null if none did. */
enum vkring_status comm_line_hear(struct vkring_comm *comm, struct comm_line *line, const void **out_word, uint64_t *out_bytes);
/** Before the transport is destroyed; their memory goes after it. */
void comm_lines_hang_up(struct vkring_comm *comm);
void comm_lines_free(struct vkring_comm *comm);

/** A pause that starts at nothing and grows to 0.2 ms while nothing happens. Start it with { 0 } and again after each success. */
struct comm_backoff {
    uint32_t idle_rounds;
};
void comm_backoff_pause(struct comm_backoff *backoff);
/** The same for a caller that has something better to sleep on: how long to, in seconds; 0: look again at once. */
double comm_backoff_next(struct comm_backoff *backoff);

#endif
