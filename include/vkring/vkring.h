/* SPDX-License-Identifier: MIT */
/**
 * vkring: exact attention over sequences longer than one GPU holds.
 *
 * A process opens a device, makes a plan for one attention problem on it (and, with several processes, on a communicator)
 * and runs the plan as often as it likes:
 *
 *     vkring_device -> vkring_buffer ...
 *                   -> vkring_plan (device, communicator, problem) -> vkring_forward
 *
 * In every parameter structure zero means the default, so initialise it with { 0 } and set what differs.
 * Outputs come last and are written only on success, unless a function says otherwise. Pointers are null only where it says that they may be.
 * Nothing here exits, aborts, prints, or waits without a deadline.
 */
#ifndef VKRING_VKRING_H
#define VKRING_VKRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#if defined(__GNUC__)
#define VKRING_API __attribute__((visibility("default")))
#else
#define VKRING_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

/** The version of this header. 0.1: first release. */
#define VKRING_VERSION_MAJOR 0
#define VKRING_VERSION_MINOR 1
#define VKRING_VERSION_PATCH 0

/** The version of the library in use, as "major.minor.patch". */
VKRING_API const char *vkring_version(void);

/* Status and errors ------------------------------------------------------------------------------------------------- */

enum vkring_status {
    VKRING_OK = 0,
    VKRING_ERROR_INVALID_ARGUMENT = -1,    /**< a parameter is out of range, or contradicts another */
    VKRING_ERROR_OUT_OF_HOST_MEMORY = -2,
    VKRING_ERROR_OUT_OF_DEVICE_MEMORY = -3,
    VKRING_ERROR_NO_DEVICE = -4,           /**< no Vulkan loader, no device, or no such device */
    VKRING_ERROR_UNSUPPORTED = -5,         /**< the device or the build lacks what was asked for */
    VKRING_ERROR_DEVICE = -6,              /**< a Vulkan call failed */
    VKRING_ERROR_DEVICE_LOST = -7,
    VKRING_ERROR_SELF_TEST = -8,           /**< the device gave a wrong answer to a known question */
    VKRING_ERROR_COMM = -9,                /**< the communicator failed */
    VKRING_ERROR_MISMATCH = -10,           /**< ranks called with different parameters */
    VKRING_ERROR_PEER = -11,               /**< another rank failed, or sent what was not expected */
    VKRING_ERROR_TIMEOUT = -12,            /**< no progress within the deadline */
    VKRING_ERROR_CACHE_FULL = -13,         /**< a sequence would be longer than its cache holds */
};

/** A short name such as "timeout". Never null. */
VKRING_API const char *vkring_status_string(enum vkring_status status);

/** No rank, peer or step is involved. */
#define VKRING_NONE UINT32_MAX

/** What the last call that failed on this thread knows about its failure. */
struct vkring_error {
    enum vkring_status status;
    uint32_t rank;     /**< the rank where it went wrong, or VKRING_NONE */
    uint32_t step;     /**< the ring step, one past the last where all was submitted; or VKRING_NONE */
    char message[480]; /**< one line, no full stop, no newline */
};

/**
 * The last failure on the calling thread; status is VKRING_OK before the first. The pointer stays valid for the life of the thread; its contents
 * until the next failure on it, which may be one that a call overcame that succeeds in the end.
 */
VKRING_API const struct vkring_error *vkring_last_error(void);

enum vkring_log_level {
    VKRING_LOG_ERROR = 1,
    VKRING_LOG_WARNING = 2,
    VKRING_LOG_INFO = 3,
    VKRING_LOG_DEBUG = 4,
    VKRING_LOG_VALIDATION = 5, /**< a message of the Vulkan validation layer: always a defect, here or in the application */
};

/** Gets one line without a newline. Called from any thread that is inside a call of the library; must not call back into it. */
typedef void (*vkring_log_callback)(void *user, enum vkring_log_level level, const char *message);

/* Types of elements ------------------------------------------------------------------------------------------------- */

enum vkring_type {
    VKRING_TYPE_F32 = 0,
    VKRING_TYPE_F16 = 1,  /**< IEEE 754 binary16 */
    VKRING_TYPE_BF16 = 2, /**< the upper half of binary32 */
};

/** Bytes per element: 4, 2, 2; 0 for an unknown type. */
VKRING_API uint64_t vkring_type_bytes(enum vkring_type type);

/** Rounds to nearest even. from and to hold count elements and do not overlap. VKRING_ERROR_INVALID_ARGUMENT: unknown type. */
VKRING_API enum vkring_status vkring_convert_from_f32(enum vkring_type type, const float *from, uint64_t count, void *to);
/** Exact. */
VKRING_API enum vkring_status vkring_convert_to_f32(enum vkring_type type, const void *from, uint64_t count, float *to);

/* Devices ----------------------------------------------------------------------------------------------------------- */

enum vkring_device_kind {
    VKRING_DEVICE_OTHER = 0,
    VKRING_DEVICE_DISCRETE = 1,
    VKRING_DEVICE_INTEGRATED = 2,
    VKRING_DEVICE_VIRTUAL = 3,
    VKRING_DEVICE_CPU = 4,
};

/** A product that a device's matrix units do at once: m rows times n columns, k products for each. */
struct vkring_matrix_shape {
    uint32_t m, n, k;
};

#define VKRING_MOST_MATRIX_SHAPES 8

struct vkring_device_info {
    char name[256];
    char driver[512];           /**< driver name and version text */
    enum vkring_device_kind kind;
    uint32_t vendor_id;
    uint32_t device_id;
    uint32_t vulkan_version[3]; /**< major, minor, patch */
    uint64_t memory_bytes;      /**< sum of the device-local heaps */
    uint32_t subgroup_size;
    uint32_t min_subgroup_size; /**< the least that kernels can ask for; subgroup_size where they can't */
    uint32_t lane_registers;    /**< of 32 bits, that kernels of GPUs are chosen for: by vendor, since Vulkan does not tell */
    uint32_t shared_memory_bytes;
    bool f16;                   /**< f16 and bf16 tensors: 16-bit storage */
    /** of f16, summed in f32, in VK_KHR_cooperative_matrix; 0: the device has none, or the driver does not tell */
    uint32_t matrix_shape_count;
    struct vkring_matrix_shape matrix_shapes[VKRING_MOST_MATRIX_SHAPES];
    bool unified_memory;        /**< all memory is visible to the host and cached: packets are read in place */
    bool transfer_queue;        /**< copies have a queue of their own */
    bool supported;             /**< vkring can use it */
    char reason[128];           /**< why not, when it is not supported; else empty */
};

/**
 * Lists this host's Vulkan devices, best first: supported before not, then discrete, integrated, virtual, CPU; in the loader's order among equals.
 *
 * Writes at most capacity entries to infos (may be null when capacity is 0) and how many there are to out_count.
 * Drivers without a device give VKRING_OK with a count of 0; VKRING_ERROR_NO_DEVICE: there is no Vulkan loader, or no driver.
 */
VKRING_API enum vkring_status vkring_devices_list(struct vkring_device_info *infos, uint32_t capacity, uint32_t *out_count);

/** A Vulkan device. Any thread may use it; create and destroy it from one. Must outlive its buffers and plans. */
typedef struct vkring_device vkring_device;

struct vkring_device_params {
    uint32_t index;               /**< place in vkring_devices_list(); 0 is the best */
    vkring_log_callback log;
    void *log_user;
    const char *cache_folder;     /**< where compiled pipelines are kept; null for $XDG_CACHE_HOME/vkring or ~/.cache/vkring; "" for nowhere */
    bool validation;              /**< load VK_LAYER_KHRONOS_validation with synchronization validation; needs log */
};

/**
 * Opens a device, gives it a small known problem and checks the answer. params may be null.
 *
 * VKRING_ERROR_NO_DEVICE: none, or index past the last. _UNSUPPORTED: it lacks a needed feature; the message names it.
 * _SELF_TEST: the driver computes wrong results.
 */
VKRING_API enum vkring_status vkring_device_create(const struct vkring_device_params *params, vkring_device **out_device);

/**
 * Accepts a pointer to null; writes null. Buffers and plans of the device must be gone. After a run failed, with messages that may still
 * reach memory of the device, its memory stays until the process ends.
 */
VKRING_API void vkring_device_destroy(vkring_device **device);

VKRING_API void vkring_device_get_info(const vkring_device *device, struct vkring_device_info *out_info);

struct vkring_memory_use {
    uint64_t device_bytes;      /**< allocated now in device memory (all of it where memory is unified) */
    uint64_t device_peak_bytes; /**< the most there was since the device was created or the peak was last reset */
    uint64_t host_bytes;        /**< allocated now in pinned host memory */
    uint64_t host_peak_bytes;
};

VKRING_API void vkring_device_get_memory_use(const vkring_device *device, struct vkring_memory_use *out_use);
/** Makes the present use the peak. */
VKRING_API void vkring_device_reset_memory_peak(vkring_device *device);

/* Buffers ----------------------------------------------------------------------------------------------------------- */

/** Memory on a device. Contents are undefined until written. Not to be used by two calls at once. */
typedef struct vkring_buffer vkring_buffer;

/** size_bytes may be 0. VKRING_ERROR_OUT_OF_DEVICE_MEMORY: more than the device has or allows. */
VKRING_API enum vkring_status vkring_buffer_create(vkring_device *device, uint64_t size_bytes, vkring_buffer **out_buffer);

/**
 * Accepts a pointer to null; writes null. No run may be using it. Memory that messages of a failed run may still read is not freed, nor is
 * any where the device still works on a failed run when its plan, layer or cache is destroyed: they go before buffers.
 */
VKRING_API void vkring_buffer_destroy(vkring_buffer **buffer);

VKRING_API uint64_t vkring_buffer_size(const vkring_buffer *buffer);

/**
 * Copies between host memory and [offset_bytes, offset_bytes + size_bytes) of the buffer; returns when done.
 * VKRING_ERROR_INVALID_ARGUMENT: the range leaves the buffer. The buffer's undefined if a device error interrupts an upload.
 */
VKRING_API enum vkring_status vkring_buffer_upload(vkring_buffer *buffer, uint64_t offset_bytes, const void *from, uint64_t size_bytes);
VKRING_API enum vkring_status vkring_buffer_download(vkring_buffer *buffer, uint64_t offset_bytes, void *to, uint64_t size_bytes);

/* Communicators ----------------------------------------------------------------------------------------------------- */

/**
 * Messages between ranks. mpi.h makes one from an MPI communicator; an application with another transport brings a table.
 *
 * Messages with one (sender, receiver, tag) arrive in the order they were started, and never at a communicator made after or beside the
 * one they were sent with. All functions return without waiting.
 * They are called from one thread at a time. What send, receive or test returns but VKRING_OK becomes the status of the call that needed it, best
 * VKRING_ERROR_COMM, and other ranks are told as far as messages still go.
 */
struct vkring_comm_functions {
    void *context;
    uint32_t rank;
    uint32_t size;
    /** Starts a message; data stays untouched until the request is done. */
    enum vkring_status (*send)(void *context, const void *data, uint64_t size_bytes, uint32_t peer, uint32_t tag, void **out_request);
    /** Starts to receive a message of at most size_bytes. */
    enum vkring_status (*receive)(void *context, void *data, uint64_t size_bytes, uint32_t peer, uint32_t tag, void **out_request);
    /** When the request is done, writes true, frees it and writes null to *request, and for a receive the bytes that came; drives progress. */
    enum vkring_status (*test)(void *context, void **request, bool *out_done, uint64_t *out_size_bytes);
    /** Gives up a request that is not done; writes null. The memory behind it may still be written to until destroy. */
    void (*abandon)(void *context, void **request);
    /** May be null. Does not wait for other ranks. */
    void (*destroy)(void *context);
};

/** A group of ranks 0 … size - 1. Must outlive its plans. One thread at a time. */
typedef struct vkring_comm vkring_comm;

/** Not collective. Takes the table; on success its destroy is called by vkring_comm_destroy. */
VKRING_API enum vkring_status vkring_comm_create(const struct vkring_comm_functions *functions, vkring_comm **out_comm);
/** Accepts a pointer to null; writes null. Not collective. */
VKRING_API void vkring_comm_destroy(vkring_comm **comm);
VKRING_API uint32_t vkring_comm_rank(const vkring_comm *comm);
VKRING_API uint32_t vkring_comm_size(const vkring_comm *comm);

/* Plans ------------------------------------------------------------------------------------------------------------- */

/**
 * Cuts rows into one contiguous share for each rank: rank r gets the rows from floor(rows · W_r / W) to floor(rows · W_(r+1) / W),
 * where W_r is the sum of the shares before r and W of all. Null shares are equal ones.
 * VKRING_ERROR_INVALID_ARGUMENT: a share negative or not finite, or none above 0.
 */
VKRING_API enum vkring_status vkring_cut_rows(uint64_t rows, uint32_t ranks, const double *shares, uint64_t *out_rows_of_rank);

/**
 * How a sequence is cut over the ranks. A rank's tensors hold its rows in the order of their positions; rank r has rows_of_rank[r] of them.
 * On one rank all are the same.
 */
enum vkring_layout {
    VKRING_LAYOUT_CONTIGUOUS, /**< rank r holds the rows that follow those of ranks before it */
    /**
     * 2 · ranks runs of rows: rank r holds run r and run 2 · ranks - 1 - r, the first of them with the odd row if its number is odd. Causal
     * attention then costs every rank the same at every step (Llama 3 herd of models, Dubey et al. 2024, section 3.3.2).
     */
    VKRING_LAYOUT_ZIGZAG,
    /**
     * Row i on rank i mod ranks where the cut is equal. Else rows are dealt in rounds, each of one row to every rank that has not yet all of
     * its own, in rank order. If ranks have VKRING_SPANS different numbers of rows above 0 or more, rounds end when the ranks with the
     * lowest VKRING_SPANS - 1 of these have all of theirs, and what each other still has to get is one run (Striped Attention, Brandon et al.
     * 2023).
     */
    VKRING_LAYOUT_STRIPED,
    VKRING_LAYOUT_AUTO /**< zigzag if causal without a window to the left; else contiguous */
};

/** Rows first, first + stride, … of the sequence. */
struct vkring_span {
    uint64_t first;
    uint64_t rows;
    uint64_t stride; /**< 1 unless the layout is striped */
};

/** A rank's rows lie in the sequence in so many spans at most, one after the other in its tensors. */
#define VKRING_SPANS 16

/** How a bias repeats: it has length 1 along a dimension that is not per_..., and kv_len along the keys always. */
struct vkring_bias_params {
    bool present;
    enum vkring_type type; /**< of the bias and its gradient: f32, or that of the plan */
    bool per_batch;
    bool per_head;
    bool per_query;
};

/**
 * One attention problem, whole: the lengths are those of the sequence over all ranks.
 *
 * For batch entry b, query head h (reading key/value head h / (heads / kv_heads)), query i at position p_i = i + query_offset, key j at position j:
 *
 *     s_ij   = scale · dot(q_i, k_j)
 *     s_ij   = softcap · tanh(s_ij / softcap)    if softcap > 0 (Gemma 2, Riviere et al. 2024)
 *     s_ij   = s_ij - slope_h · |p_i - j|        if alibi (Press, Smith & Lewis 2022)
 *     s_ij   = s_ij + bias[b, h, i, j]           if bias.present; -inf: the pair is not kept
 *     kept     if not causal or floor(p_i / causal_block) >= floor(j / causal_block),
 *              and p_i - j <= window_left and j - p_i <= window_right,
 *              and, with segment_ids, query_segment[b, i] = key_segment[b, j]
 *     lse_i  = log(sum_j exp(s_ij) + exp(sink_h))    over the kept j; the sink if sinks; natural logarithm
 *     P_ij   = exp(s_ij - lse_i) if kept, else 0
 *     o_i    = sum_j P_ij · d_ij / (1 - dropout) v_j
 *
 * d_ij is 0 for a dropped pair and 1 for others: dropped if word j & 3 of Philox4x32-10 (Salmon et al. 2011) with key (seed, seed >> 32) and
 * counter (j >> 2, p_i, h, b), each modulo 2^32, is below floor(dropout · 2^32). It depends on no tile and no rank.
 *
 * A row with nothing kept has o = 0 and lse = -inf, or the sink. Sums, maxima and the running output are f32 whatever the type and the number of
 * ranks; rounding to the type happens once (online softmax: Milakov & Gimelshein 2018; Ring Attention: Liu, Zaharia & Abbeel 2023).
 */
struct vkring_plan_params {
    enum vkring_type type;     /**< of query, key, value and output */
    uint64_t batch;            /**< 0 is an empty batch; as the next two at most 2^60 */
    uint64_t q_len;
    uint64_t kv_len;
    uint64_t heads;            /**< 1 … 2^32 - 1 */
    uint64_t kv_heads;         /**< divides heads; 0 for heads */
    uint64_t head_dim;         /**< 1 … 256 */
    uint64_t value_dim;        /**< 1 … 256; 0 for head_dim */
    bool causal;
    bool has_window;           /**< else both sides are unlimited */
    bool has_query_offset;     /**< else kv_len - q_len: the last query meets the last key */
    bool has_scale;            /**< else 1/sqrt(head_dim) */
    bool segment_ids;          /**< a run brings query_segment_ids and key_segment_ids */
    bool alibi;                /**< a run brings alibi_slopes */
    bool sinks;                /**< a run brings sinks */
    bool backward;             /**< vkring_backward is wanted too */
    bool has_key_layout;       /**< else keys are cut by layout too */
    uint64_t causal_block;     /**< 0 for 1; else needs causal */
    int64_t window_left;       /**< -1 for unlimited; so is window_right. Both 0 without has_window */
    int64_t window_right;
    int64_t query_offset;
    double scale;              /**< finite as f32; beyond 2^127 as 2^127, either way */
    double softcap;            /**< finite as f32; 0 for none; above 2^100 as 2^100 */
    double dropout;            /**< the probability that a pair is dropped: 0 <= dropout < 1 */
    struct vkring_bias_params bias;
    enum vkring_layout layout;
    enum vkring_layout key_layout; /**< auto: as layout is chosen */
    /**
     * How many rows of the sequence each rank holds, in rank order; which, the layout says.
     * One entry a rank, adding up to q_len and kv_len; null for an equal cut. Any may be 0. Borrowed during the call.
     */
    const uint64_t *query_rows_of_rank;
    const uint64_t *key_rows_of_rank;
    double timeout_seconds;    /**< how long to wait for a peer or the device that makes no progress; 0 for 300. More than a step takes on the
                                    slowest rank. May differ between ranks */
    uint64_t chunk_bytes;      /**< size of one message of a packet; 0 for 256 KiB; at most 2^30 */
    double dispatch_seconds;   /**< how long one piece of device work should take at most; 0 for 0.1. May differ between ranks */
    uint64_t events;           /**< how many events of a run to keep for vkring_plan_get_events, of about 64 bytes each; 0 for 256; at most 2^24.
                                    May differ between ranks */
    const char *kernels;       /**< choices of kernels, in the words of vkring/tune.h; null: what was tuned, else by kind of device. Borrowed
                                    during the call. May differ between ranks */
};

/** Which rows of the sequence a rank holds: spans say it for keys too, whatever their layout. */
struct vkring_rank_rows {
    enum vkring_layout layout; /**< of queries, as chosen, never auto */
    /** In the order of the rank's tensors; spans that are not used have no rows, and come last. */
    struct vkring_span query_spans[VKRING_SPANS];
    struct vkring_span key_spans[VKRING_SPANS];
    uint64_t query_rows; /**< of all spans */
    uint64_t key_rows;
};

/** Which rows a rank of so many will hold. Needs no device and no communicator; other params than of lengths, mask and layout do not count. */
VKRING_API enum vkring_status vkring_rows_of_rank(const struct vkring_plan_params *params, uint32_t ranks, uint32_t rank,
                                                  struct vkring_rank_rows *out_rows);

/**
 * Query rows for ranks of unlike speed, in pairs of query and key per second or anything in proportion: as many as make all ranks end
 * together, where rows cost what the mask keeps of them.
 * most_rows_of_rank: what a rank's memory holds; null: no limit. A speed of 0 gives no rows. Other params than of lengths, mask and layout do
 * not count, and neither do rows of ranks. Keys are cut equally however fast ranks are.
 * VKRING_ERROR_INVALID_ARGUMENT: a speed is negative or not finite, or none above 0. _OUT_OF_DEVICE_MEMORY: no memory for all rows.
 */
VKRING_API enum vkring_status vkring_shares_cut(const struct vkring_plan_params *params, uint32_t ranks, const double *speeds,
                                                const uint64_t *most_rows_of_rank, uint64_t *out_query_rows_of_rank);

/**
 * vkring_shares_cut by measured speed: each rank times its device for about a second, by the problem's kernels on a small piece of it, while
 * all other ranks do, since ranks of a host may share it; limited by what each device's memory holds beside what it holds now, in equal parts
 * where several ranks live off the same memory (of a host whose devices have none of their own, or of one device).
 *
 * Collective over comm (null: one rank), params as for vkring_plan_create. out_speeds [ranks], FLOP/s that the whole problem should run at,
 * of flop of vkring_run_stats, forward and backward together if the problem has it; may be null. All ranks get the same. Errors as of
 * vkring_plan_create and vkring_shares_cut.
 */
VKRING_API enum vkring_status vkring_shares_measure(vkring_device *device, vkring_comm *comm, const struct vkring_plan_params *params,
                                                    uint64_t *out_query_rows_of_rank, double *out_speeds);

/**
 * A problem made ready on a device: pipelines compiled, memory taken, ranks agreed. One call at a time, but for vkring_plan_get_progress, and
 * one run at a time, also of all plans on one communicator.
 */
typedef struct vkring_plan vkring_plan;

/** What a plan takes on this rank, beside the tensors. */
struct vkring_plan_memory {
    uint64_t device_bytes; /**< running state, packets on the device, arguments */
    uint64_t host_bytes;   /**< packets in pinned host memory; 0 where memory is unified */
};

/** What vkring_plan_create would take. Not collective; takes nothing. comm null: one rank. */
VKRING_API enum vkring_status vkring_plan_measure(vkring_device *device, vkring_comm *comm, const struct vkring_plan_params *params,
                                                  struct vkring_plan_memory *out_memory);

/**
 * Collective over comm (null: one rank). Every rank passes the same params but for what says that it may differ; so may devices and kernels.
 *
 * VKRING_ERROR_MISMATCH on every rank: the message names the field and the rank. If one rank fails, the others get VKRING_ERROR_PEER, which names it.
 * VKRING_ERROR_INVALID_ARGUMENT: also while a run is under way on comm.
 */
VKRING_API enum vkring_status vkring_plan_create(vkring_device *device, vkring_comm *comm, const struct vkring_plan_params *params,
                                                 vkring_plan **out_plan);

/**
 * Accepts a pointer to null; writes null. Not collective, and never waits for a peer. What the network or the device may still touch after a run
 * that broke off is not freed. A run that is under way is broken off: its output is undefined, its communicator can only be destroyed, and peers
 * run into their deadlines. That waits for work that is on the device, some seconds at most; tensors are then the caller's again.
 */
VKRING_API void vkring_plan_destroy(vkring_plan **plan);

struct vkring_plan_info {
    uint32_t rank;
    uint32_t ranks;
    struct vkring_rank_rows rows;
    uint64_t packet_bytes;    /**< the largest packet that travels the ring: keys and values of one rank; 0 if none does */
    struct vkring_plan_memory memory;
    char kernel[192];         /**< which kernel, with its choices */
};

VKRING_API void vkring_plan_get_info(const vkring_plan *plan, struct vkring_plan_info *out_info);

/** What the last run did on this rank. */
struct vkring_run_stats {
    double total_seconds;        /**< from its start to its end */
    double compute_seconds;      /**< device time in attention kernels; on a CPU by the host's clock, whoever else uses it */
    double transfer_seconds;     /**< time during which a packet was on its way, in or out */
    double exposed_wait_seconds; /**< time in which the device had nothing to do because a packet was not there, or nobody looked for it */
    uint64_t sent_bytes;
    uint64_t received_bytes;
    uint32_t steps;              /**< of the ring, the own keys being the first: a window needs only the packets within its reach */
    double flop;                 /**< 4 · batch · heads · kept (query, key) pairs · (head_dim + value_dim) / 2, of this rank's rows */
    /**
     * The same of all pairs that kernels go through for what was asked for, whole tiles along the edge of a mask, with what rows take beside
     * their pairs and, on a CPU, what elements take that are only moved, as in sums of gradients: what compute_seconds are in proportion to.
     * Pairs that only segment ids or a bias mask are counted.
     */
    double computed_flop;
};

VKRING_API void vkring_plan_get_stats(const vkring_plan *plan, struct vkring_run_stats *out_stats);

enum vkring_event_kind {
    /* work of the device's compute queue, one after the other */
    VKRING_EVENT_FORWARD = 1,
    VKRING_EVENT_ROW_STATS,         /**< what backward keeps of each row */
    VKRING_EVENT_QUERY_GRADIENT,
    VKRING_EVENT_KEY_GRADIENT,      /**< and that of values */
    VKRING_EVENT_BIAS_GRADIENT,
    VKRING_EVENT_SINK_GRADIENT,
    VKRING_EVENT_SUM,               /**< gradients of this rank added to those that came round */
    VKRING_EVENT_PACK,              /**< the own keys or values packed in host memory by a kernel */
    VKRING_EVENT_APPLICATION,       /**< waits for the application's semaphores; may pack keys too */
    /* of its transfer queue */
    VKRING_EVENT_READBACK,          /**< a piece of the own keys or values copied to host memory */
    VKRING_EVENT_UPLOAD,            /**< a piece of a packet copied to the device */
    /* messages of a packet: its chunks, and the header that closes it */
    VKRING_EVENT_SEND,
    VKRING_EVENT_RECEIVE,
    VKRING_EVENT_SEND_GRADIENTS,
    VKRING_EVENT_RECEIVE_GRADIENTS,
    VKRING_EVENT_GATHER,            /**< gradients of sinks of all ranks */
    /* nothing on the compute queue, while there was work left: exposed_wait_seconds is the sum of these */
    VKRING_EVENT_WAIT,
};

/** A short name such as "upload". Never null. */
VKRING_API const char *vkring_event_kind_string(enum vkring_event_kind kind);

/**
 * Something that a run did. Seconds are of the host's monotonic clock (CLOCK_MONOTONIC), as seen by the thread that drove the run. Events of a
 * kind do not overlap: what was queued behind another begins when that one ends.
 */
struct vkring_event {
    enum vkring_event_kind kind;
    bool finished;         /**< else it was under way when the run broke off */
    uint32_t step;         /**< of the ring, on this rank: the own keys are step 0, and gradients that come home are one past the last */
    uint32_t peer;         /**< whom a message came from or went to; else VKRING_NONE */
    uint64_t bytes;        /**< moved; 0 for kernels */
    double begin_seconds;
    double end_seconds;
    double device_seconds; /**< of kernels, by the device's clock, or the host's where that is a CPU's */
};

/**
 * The latest events of the last run, in the order in which they ended, those that were under way last: also after it failed.
 *
 * Writes the latest capacity of them at most (events may be null when capacity is 0), how many there are to out_count, and how many older ones
 * of the run were not kept to out_dropped.
 */
VKRING_API void vkring_plan_get_events(const vkring_plan *plan, uint64_t capacity, struct vkring_event *events, uint64_t *out_count,
                                       uint64_t *out_dropped);

/** How far the run is: done of total, in arbitrary units. Any thread, any time while the plan exists. */
VKRING_API void vkring_plan_get_progress(const vkring_plan *plan, uint64_t *out_done, uint64_t *out_total);

/**
 * A tensor in a buffer: shape [batch][rows][heads][dim], dim contiguous. Strides in elements; 0 for packed.
 * Those of shape [batch][heads][rows] (lse, lse_residual), [batch][rows] (segment ids) and [heads] (slopes, sinks) are contiguous along the last
 * dimension; a bias [batch][heads][queries][keys] along the keys, and sequence_stride is that of queries. Strides of absent dimensions are not used.
 * VKRING_ERROR_UNSUPPORTED: rows lie more than 128 MiB apart; or, of what forward reads and writes of few query rows, heads do.
 */
struct vkring_tensor {
    vkring_buffer *buffer;    /**< on the device of the plan or cache */
    uint64_t offset_bytes;    /**< a multiple of the element's size */
    uint64_t batch_stride;
    uint64_t sequence_stride;
    uint64_t head_stride;
};

struct vkring_forward_io {
    struct vkring_tensor query;  /**< [batch][query_rows][heads][head_dim] */
    struct vkring_tensor key;    /**< [batch][key_rows][kv_heads][head_dim] */
    struct vkring_tensor value;  /**< [batch][key_rows][kv_heads][value_dim] */
    struct vkring_tensor output; /**< [batch][query_rows][heads][value_dim] */
    struct vkring_tensor lse;    /**< [batch][heads][query_rows], f32; buffer null if not wanted */
    /** As lse: what it lost when it was rounded to f32, in base 2, for vkring_backward to take back. Buffer null if not wanted. */
    struct vkring_tensor lse_residual;
    /** As output: what it lost when it was rounded, likewise. Not used by f32. Buffer null if not wanted. */
    struct vkring_tensor output_residual;
    /* read only if the plan has them */
    struct vkring_tensor query_segment_ids; /**< [batch][query_rows], int32_t */
    struct vkring_tensor key_segment_ids;   /**< [batch][key_rows], int32_t */
    /** per_query: [batch or 1][heads or 1][query_rows][kv_len], with the keys of all ranks; else [batch or 1][heads or 1][1][key_rows]. */
    struct vkring_tensor bias;
    struct vkring_tensor alibi_slopes;      /**< [heads], f32 */
    struct vkring_tensor sinks;             /**< [heads], f32 */
    uint64_t seed;                          /**< of dropout; the same on every rank */
};

/**
 * Attends this rank's queries to the keys and values of every rank.
 *
 * Collective over the plan's communicator. Buffers are borrowed until it returns; output and lse alias no input and not each other.
 * A tensor without elements may have a null buffer.
 * VKRING_ERROR_INVALID_ARGUMENT: a tensor leaves its buffer, that buffer is of another device than the plan, or strides overlap rows of the
 * output; nothing was started on this rank. Where keys travel the other ranks get _PEER at once, and all can only destroy the plan.
 * VKRING_ERROR_TIMEOUT, _PEER, _COMM, _DEVICE, _DEVICE_LOST: output and lse are undefined and the plan can only be destroyed, and so, where keys
 * travel, can its communicator: what is asked of others of its plans fails with _COMM. The last error names rank and step; the device's log gets
 * it as an error, and the run's latest events as information; the network may read key and value until the communicator is destroyed. Same bits
 * every run with the same ranks, devices and shapes.
 * A rank that fails tells the others: they get _PEER, which names the rank that failed first, or that it found silent. Of ranks that find one
 * silent, only those beside it need wait for their deadlines; one that others hold up waits up to 0.6 s longer to learn by whom. A rank
 * that was found silent itself learns that, and its last error says for whom it waited.
 */
VKRING_API enum vkring_status vkring_forward(vkring_plan *plan, const struct vkring_forward_io *io);

/** The tensors of vkring_backward. */
struct vkring_backward_io {
    /**
     * As the forward pass had them, with its results: here output, lse and their residuals are read. Without lse_residual (buffer null) gradients
     * are only as good as |lse| · 6e-8 lets them be; without output_residual, in 16 bits, those of rows that keep few keys as its rounding does.
     */
    struct vkring_forward_io forward;
    struct vkring_tensor output_grad; /**< as output */
    /* what is wanted: as the tensors they belong to; buffer null if not wanted */
    struct vkring_tensor query_grad;
    struct vkring_tensor key_grad;
    struct vkring_tensor value_grad;
    struct vkring_tensor bias_grad;   /**< packed or strided as it says; in the bias's type, summed over what the bias repeats over */
    struct vkring_tensor sink_grad;   /**< [heads], f32 */
};

/**
 * The gradients of a loss whose gradient by the output is output_grad.
 *
 * With delta_i = dot(output_grad_i, o_i) and g_ij = P_ij · (dot(output_grad_i, v_j) · d_ij / (1 - dropout) - delta_i), t_ij the derivative of softcap:
 *
 *     value_grad_j = sum_i P_ij · d_ij / (1 - dropout) output_grad_i        query_grad_i = sum_j g_ij · t_ij · scale k_j
 *     key_grad_j   = sum_i g_ij · t_ij · scale q_i                          bias_grad_ij = g_ij
 *     sink_grad_h  = -sum_bi exp(sink_h - lse_i) · delta_i
 *
 * Keys and values also sum over the query heads of their group. Nothing of size q_len · kv_len is stored; no atomics: the same bits every run.
 * (Dao, Fu, Ermon, Rudra & Re 2022.) The plan needs backward. Errors, lifetimes and threads as for vkring_forward; gradients alias nothing.
 */
VKRING_API enum vkring_status vkring_backward(vkring_plan *plan, const struct vkring_backward_io *io);

/* Beside the application's own work ----------------------------------------------------------------------------------- */

/**
 * Start what vkring_forward and vkring_backward do and return at once, with first work on the device: these are a start and vkring_plan_wait.
 * (The first run with tensors of another alignment may compile kernels.)
 *
 * A run that was started goes on in calls of vkring_plan_test and vkring_plan_wait and nowhere else: no thread of the library's does it. So
 * call test every few milliseconds; meanwhile the device does what it has, packets may wait, and neighbours with them. Tensors are borrowed
 * until the run ends, io until start returns. Plans on different communicators may have runs under way at once, driven from one thread or more.
 *
 * VKRING_ERROR_INVALID_ARGUMENT: also if a run is under way, of the plan or on its communicator; that one is not touched. After any other
 * error nothing is under way.
 */
VKRING_API enum vkring_status vkring_forward_start(vkring_plan *plan, const struct vkring_forward_io *io);
VKRING_API enum vkring_status vkring_backward_start(vkring_plan *plan, const struct vkring_backward_io *io);

/**
 * Does what there is to do now, without waiting; out_done: no run is under way any more. Errors are those of the run, which has then ended;
 * finding one may take a second, for what is on the device.
 *
 * The deadline, timeout_seconds, is for time without progress, as seen by calls of test and wait: the time between two of them counts whole
 * where it is less than a tenth of the deadline, else as that tenth. So an application that was busy elsewhere for long blames no peer for it;
 * but its peers' deadlines go on.
 */
VKRING_API enum vkring_status vkring_plan_test(vkring_plan *plan, bool *out_done);

/** Waits for the end of the run, if one is under way, without taking up a core. Errors as of vkring_plan_test. */
VKRING_API enum vkring_status vkring_plan_wait(vkring_plan *plan);

#ifdef __cplusplus
}
#endif

#endif
