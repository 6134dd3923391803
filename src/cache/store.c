/* SPDX-License-Identifier: MIT */
#include "store.h"

#include "../base/checked.h"
#include "cache_store_bf16.spv.h"
#include "cache_store_f16.spv.h"
#include "cache_store_f32.spv.h"
#include "memory_wish.h"

/* As in the shader. */
struct store_push {
    uint64_t from, to, scales, table;
    uint64_t from_row_stride, from_head_stride;
    uint64_t to_head_stride, scale_head_stride;
    uint32_t to_row_bytes;
    uint32_t dim;
};

static const struct {
    const uint32_t *code;
    uint64_t bytes;
} modules[] = {
    [VKRING_TYPE_F32] = {cache_store_f32_code, sizeof(cache_store_f32_code)},
    [VKRING_TYPE_F16] = {cache_store_f16_code, sizeof(cache_store_f16_code)},
    [VKRING_TYPE_BF16] = {cache_store_bf16_code, sizeof(cache_store_bf16_code)},
};

/* Memory ------------------------------------------------------------------------------------------------------------------ */

static uint64_t key_bytes(const struct store_size *size)
{
    return size->kv_heads * size->head_dim * vkring_type_bytes(size->type);
}

uint64_t store_row_bytes(const struct store_size *size)
{
    return key_bytes(size) + size->kv_heads * size->value_dim * vkring_type_bytes(size->type);
}

struct row_parts store_row_parts(const struct store_size *size)
{
    return (struct row_parts){{[STORE_PART_ROW] = store_row_bytes(size), [STORE_PART_ID] = size->segment_ids ? sizeof(int32_t) : 0}};
}

static bool gathers(const struct store_size *size)
{
    return size->packed_rows > 0;
}

enum { STORE_BUFFERS = 3 };

static void list_memory(const struct store_size *size, struct memory_wish wishes[STORE_BUFFERS])
{
    const struct row_parts parts = store_row_parts(size);
    wishes[0] = (struct memory_wish){VK_MEMORY_ARGUMENTS, (size->segment_ids ? 2 : 1) * size->rows * sizeof(uint64_t)};
    wishes[1] = (struct memory_wish){VK_MEMORY_HOST, gathers(size) ? row_parts_end(&parts, size->rows) : 0};
    wishes[2] = (struct memory_wish){VK_MEMORY_HOST, row_parts_end(&parts, size->packed_rows)};
}

enum vkring_status store_measure(vkring_device *device, const struct store_size *size, struct vkring_cache_memory *memory)
{
    struct memory_wish wishes[STORE_BUFFERS];
    list_memory(size, wishes);
    return memory_wish_measure(device, wishes, STORE_BUFFERS, memory);
}

/* Kernels ----------------------------------------------------------------------------------------------------------------- */

/* A lane for each quad of the wider head. */
static uint32_t workgroup_size(const struct store_size *size)
{
    const uint64_t quads = divide_up(max_u64(size->head_dim, size->value_dim), 4);
    uint32_t lanes = 1;
    while (lanes < quads)
        lanes *= 2;
    return lanes;
}

static enum vkring_status acquire(vkring_device *device, enum vkring_type type, const uint32_t constants[3],
                                  const struct vk_pipeline **pipeline)
{
    const struct vk_pipeline_params params = {
        .code = modules[type].code,
        .code_bytes = modules[type].bytes,
        .push_bytes = sizeof(struct store_push),
        .constants = constants,
        .constant_count = 3,
    };
    return *pipeline ? VKRING_OK : pipeline_pool_acquire(device, &params, pipeline);
}

static enum vkring_status prepare(struct store *store, vkring_device *device, bool aligned)
{
    const uint32_t constants[3] = {workgroup_size(&store->size), aligned, store->size.storage == VKRING_CACHE_INT8};
    return acquire(device, store->size.type, constants, aligned ? &store->aligned : &store->general);
}

static bool is_aligned(const struct store *store, const struct tensor_view *view, uint64_t dim)
{
    return dim % 4 == 0 && tensor_aligned(view, 4 * vkring_type_bytes(store->size.type));
}

enum vkring_status store_prepare(struct store *store, vkring_device *device, const struct store_rows *rows)
{
    enum vkring_status status;
    TRY(prepare(store, device, is_aligned(store, &rows->key, store->size.head_dim)), fail);
    TRY(prepare(store, device, is_aligned(store, &rows->value, store->size.value_dim)), fail);
    return VKRING_OK;
fail:
    return status;
}

static enum vkring_status take(struct store *store, vkring_device *device)
{
    enum vkring_status status;
    const struct store_size *size = &store->size;
    struct memory_wish wishes[STORE_BUFFERS];
    vkring_buffer **const buffers[STORE_BUFFERS] = {&store->table, &store->rows, &store->packed};
    list_memory(size, wishes);
    TRY(memory_wish_take(device, wishes, STORE_BUFFERS, buffers), fail);
    const struct store_rows rows = store_packed_rows(store, store->rows, size->rows);
    TRY(store_prepare(store, device, &rows), fail);
    if (gathers(size))
        TRY(pack_kernel_create(device, vkring_type_bytes(size->type), &store->pack), fail);
    if (size->segment_ids)
        TRY(acquire(device, VKRING_TYPE_F32, (const uint32_t[3]){1, false, false}, &store->words), fail);
    if (size->segment_ids && gathers(size))
        TRY(pack_kernel_create(device, sizeof(int32_t), &store->pack_ids), fail);
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status store_create(vkring_device *device, const struct store_size *size, struct store *out_store)
{
    enum vkring_status status;
    struct store store = {.size = *size};
    TRY(take(&store, device), fail);
    *out_store = store;
    return VKRING_OK;
fail:
    store_destroy(&store, device);
    return status;
}

void store_destroy(struct store *store, vkring_device *device)
{
    vkring_buffer_destroy(&store->table);
    vkring_buffer_destroy(&store->rows);
    vkring_buffer_destroy(&store->packed);
    rows_kernel_destroy(device, &store->pack);
    rows_kernel_destroy(device, &store->pack_ids);
    pipeline_pool_release(device, &store->aligned);
    pipeline_pool_release(device, &store->general);
    pipeline_pool_release(device, &store->words);
}

/* Rows -------------------------------------------------------------------------------------------------------------------- */

static struct tensor_view view_from(const struct tensor_view *view, uint64_t first)
{
    struct tensor_view moved = *view;
    moved.offset_bytes += first * view->row_stride;
    moved.address += first * view->row_stride;
    return moved;
}

struct store_rows store_rows_from(const struct store_rows *rows, uint64_t first)
{
    return (struct store_rows){view_from(&rows->key, first), view_from(&rows->value, first), view_from(&rows->ids, first)};
}

struct store_rows store_packed_rows(const struct store *store, vkring_buffer *buffer, uint64_t rows)
{
    const struct store_size *size = &store->size;
    const struct row_parts parts = store_row_parts(size);
    const uint64_t element_bytes = vkring_type_bytes(size->type), value_offset = key_bytes(size);
    const uint64_t ids_offset = row_parts_offset(&parts, STORE_PART_ID, rows);
    return (struct store_rows){
        .key = {.buffer = buffer,
                .address = buffer->address,
                .row_stride = store_row_bytes(size),
                .head_stride = size->head_dim * element_bytes},
        .value = {.buffer = buffer,
                  .offset_bytes = value_offset,
                  .address = buffer->address + value_offset,
                  .row_stride = store_row_bytes(size),
                  .head_stride = size->value_dim * element_bytes},
        .ids = {.buffer = buffer,
                .offset_bytes = ids_offset,
                .address = buffer->address + ids_offset,
                .row_stride = sizeof(int32_t),
                .head_stride = sizeof(int32_t)},
    };
}

/* Work -------------------------------------------------------------------------------------------------------------------- */

/* Cut into dispatches that the device takes. */
static void record(const struct store *store, const struct device_work *work, const struct tensor_view *from, const struct shard *shard,
                   uint64_t dim)
{
    const struct store_size *size = &store->size;
    const uint32_t *most = work->device->limits.max_workgroup_count;
    const struct vk_pipeline *pipeline = is_aligned(store, from, dim) ? store->aligned : store->general;
    for (uint64_t head = 0; head < size->kv_heads; head += most[0])
        for (uint64_t row = 0; row < store->count; row += most[1]) {
            const struct store_push push = {
                .from = from->address + row * from->row_stride + head * from->head_stride,
                .to = shard->elements->address + head * shard->head_bytes,
                .scales = shard->scales->address + head * shard->slots * sizeof(float),
                .table = store->table->address + row * sizeof(uint64_t),
                .from_row_stride = from->row_stride,
                .from_head_stride = from->head_stride,
                .to_head_stride = shard->head_bytes,
                .scale_head_stride = shard->slots * sizeof(float),
                .to_row_bytes = (uint32_t)shard->row_bytes,
                .dim = (uint32_t)dim,
            };
            const uint32_t workgroups[3] = {
                (uint32_t)min_u64(most[0], size->kv_heads - head),
                (uint32_t)min_u64(most[1], store->count - row),
                1,
            };
            vk_commands_dispatch(work->device, &work->commands, pipeline, &push, workgroups);
        }
}

/* A row of one head with one element, which is moved as it is. */
static void record_ids(const struct store *store, const struct device_work *work, const struct tensor_view *from, const vkring_buffer *ids)
{
    const uint32_t most = work->device->limits.max_workgroup_count[1];
    for (uint64_t row = 0; row < store->count; row += most) {
        const struct store_push push = {
            .from = from->address + row * from->row_stride,
            .to = ids->address,
            .table = store->table->address + (store->size.rows + row) * sizeof(uint64_t),
            .from_row_stride = from->row_stride,
            .to_row_bytes = sizeof(int32_t),
            .dim = 1,
        };
        const uint32_t workgroups[3] = {1, (uint32_t)min_u64(most, store->count - row), 1};
        vk_commands_dispatch(work->device, &work->commands, store->words, &push, workgroups);
    }
}

void store_enter(struct store *store, uint64_t shard_row, uint64_t id_row)
{
    uint64_t *table = store->table->mapped;
    table[store->count] = shard_row;
    if (store->size.segment_ids)
        table[store->size.rows + store->count] = id_row;
    store->count++;
}

enum vkring_status store_run(struct store *store, struct device_work *work, const struct store_rows *rows, const struct shard *key,
                             const struct shard *value, const vkring_buffer *ids)
{
    enum vkring_status status;
    if (store->count == 0)
        return VKRING_OK;
    TRY(vk_buffer_flush(store->rows, 0, store->rows->size_bytes), fail);
    TRY(device_work_begin(work), fail);
    record(store, work, &rows->key, key, store->size.head_dim);
    record(store, work, &rows->value, value, store->size.value_dim);
    if (store->size.segment_ids)
        record_ids(store, work, &rows->ids, ids);
    TRY(device_work_run(work), fail);
    store->count = 0;
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status store_pack(struct store *store, struct device_work *work, const struct store_rows *rows, uint64_t count)
{
    enum vkring_status status;
    const struct store_size *size = &store->size;
    const struct row_parts parts = store_row_parts(size);
    const uint64_t element_bytes = vkring_type_bytes(size->type);
    const struct store_rows to = store_packed_rows(store, store->packed, count);
    const struct tensor_shape key = {"key", element_bytes, 1, count, size->kv_heads, size->head_dim};
    const struct tensor_shape value = {"value", element_bytes, 1, count, size->kv_heads, size->value_dim};
    const struct tensor_shape ids = {"segment_ids", sizeof(int32_t), 1, 1, 1, count};
    if (count == 0)
        return VKRING_OK;
    TRY(device_work_begin(work), fail);
    pack_record(work->device, &work->commands, &store->pack, &key, &rows->key, &to.key);
    pack_record(work->device, &work->commands, &store->pack, &value, &rows->value, &to.value);
    if (size->segment_ids)
        pack_record(work->device, &work->commands, &store->pack_ids, &ids, &rows->ids, &to.ids);
    TRY(device_work_run(work), fail);
    TRY(vk_buffer_invalidate(store->packed, 0, row_parts_end(&parts, count)), fail);
    return VKRING_OK;
fail:
    return status;
}
