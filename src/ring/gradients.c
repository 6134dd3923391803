/* SPDX-License-Identifier: MIT */
#include "gradients.h"

#include "../base/checked.h"
#include "schedule.h"

static struct tensor_shape part_shape(const struct problem *problem, enum key_part part, uint64_t keys)
{
    struct tensor_shape shape = key_part_shape(problem, part, keys);
    shape.element_bytes = sizeof(float);
    return shape;
}

static bool is_kept(bool travel, int part)
{
    return part == KEY_PART_BIAS || (travel && (part == KEY_PART_KEY || part == KEY_PART_VALUE));
}

struct packet_shape gradient_shape_of(const struct problem *problem, bool travel, uint64_t keys)
{
    struct packet_shape shape = {.rows = keys};
    for (int part = 0; part < KEY_PARTS; part++) {
        const struct tensor_shape tensor = part_shape(problem, (enum key_part)part, keys);
        if (is_kept(travel, part))
            packet_shape_add(&shape, part, &tensor);
    }
    return shape;
}

struct packet_shape gradient_shape_at(const struct problem *problem, const struct layout *layout, uint32_t steps, uint32_t step)
{
    const uint32_t owner = schedule_gradient_owner(layout, layout->rank, steps, step);
    return gradient_shape_of(problem, steps > 1, layout_key_rows(layout, owner));
}

enum vkring_status gradients_measure(vkring_device *device, const struct problem *problem, const struct gradients_params *params,
                                     struct vkring_plan_memory *memory)
{
    enum vkring_status status;
    const struct packet_shape shape = gradient_shape_of(problem, params->travel, params->most_keys);
    const struct packet_shape own = gradient_shape_of(problem, params->travel, params->own_keys_apart);
    uint64_t partial, slot;
    bool counts_as_host;
    TRY(vk_buffer_measure(device, VK_MEMORY_DEVICE, shape.bytes, &partial, &counts_as_host), fail);
    memory->device_bytes += partial;
    TRY(vk_buffer_measure(device, VK_MEMORY_DEVICE, own.bytes, &partial, &counts_as_host), fail);
    memory->device_bytes += partial;
    if (params->travel) {
        TRY(vk_buffer_measure(device, VK_MEMORY_HOST, shape.bytes, &slot, &counts_as_host), fail);
        *(counts_as_host ? &memory->host_bytes : &memory->device_bytes) += GRADIENT_SLOTS * slot;
    }
    return VKRING_OK;
fail:
    return status;
}

enum vkring_status gradients_create(vkring_device *device, const struct problem *problem, const struct gradients_params *params,
                                    struct gradients *out_gradients)
{
    enum vkring_status status;
    const bool travel = params->travel;
    const struct packet_shape shape = gradient_shape_of(problem, travel, params->most_keys);
    const struct packet_shape own = gradient_shape_of(problem, travel, params->own_keys_apart);
    struct gradients gradients = {.device = device, .problem = problem, .travel = travel};
    TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, shape.bytes, &gradients.partial), fail);
    if (own.bytes > 0)
        TRY(vk_buffer_create(device, VK_MEMORY_DEVICE, own.bytes, &gradients.own_partial), fail);
    for (uint32_t slot = 0; travel && slot < GRADIENT_SLOTS; slot++)
        TRY(vk_buffer_create(device, VK_MEMORY_HOST, shape.bytes, &gradients.slots[slot]), fail);
    TRY(add_kernel_create(device, VKRING_TYPE_F32, &gradients.add_f32), fail);
    if (problem->type != VKRING_TYPE_F32)
        TRY(add_kernel_create(device, problem->type, &gradients.add), fail);
    *out_gradients = gradients;
    return VKRING_OK;
fail:
    gradients_destroy(&gradients);
    return status;
}

void gradients_quarantine(struct gradients *gradients)
{
    for (uint32_t slot = 0; slot < GRADIENT_SLOTS; slot++)
        vk_buffer_quarantine(gradients->slots[slot]);
}

void gradients_destroy(struct gradients *gradients)
{
    if (!gradients->device)
        return;
    rows_kernel_destroy(gradients->device, &gradients->add_f32);
    rows_kernel_destroy(gradients->device, &gradients->add);
    vkring_buffer_destroy(&gradients->partial);
    vkring_buffer_destroy(&gradients->own_partial);
    for (uint32_t slot = 0; slot < GRADIENT_SLOTS; slot++)
        vkring_buffer_destroy(&gradients->slots[slot]);
    *gradients = (struct gradients){0};
}

struct packet_memory gradients_memory(const struct gradients *gradients, uint32_t slot, const struct packet_shape *shape)
{
    return packet_shape_memory(shape, gradients->slots[slot]->mapped);
}

static struct tensor_view *gradient_view(struct key_tensors *keys, int part)
{
    struct tensor_view *views[KEY_PARTS] = {&keys->key_grad, &keys->value_grad, &keys->bias_grad};
    return views[part];
}

static struct tensor_view view_in(const struct gradients *gradients, vkring_buffer *buffer, const struct packet_shape *shape, int part)
{
    const struct tensor_shape tensor = part_shape(gradients->problem, (enum key_part)part, shape->rows);
    return tensors_packed_part(gradients->problem, (enum key_part)part, &tensor, buffer, shape->part_offset[part]);
}

static vkring_buffer *partial_of(const struct gradients *gradients, bool own)
{
    return own && gradients->own_partial ? gradients->own_partial : gradients->partial;
}

void gradients_place(const struct gradients *gradients, const struct packet_shape *shape, bool own, struct key_tensors *keys)
{
    for (int part = 0; part < KEY_PARTS; part++)
        if (shape->part_bytes[part] > 0)
            *gradient_view(keys, part) = view_in(gradients, partial_of(gradients, own), shape, part);
}

const struct rows_kernel *gradients_adder(const struct gradients *gradients, enum vkring_type type)
{
    return type == VKRING_TYPE_F32 ? &gradients->add_f32 : &gradients->add;
}

/* One part of partial + slot. */
static void record_part(const struct gradients *gradients, const struct vk_commands *commands, const struct packet_shape *shape, int part,
                        const struct gradient_sum *sum, const struct rows_kernel *kernel, const struct tensor_view *to)
{
    const struct tensor_shape tensor = part_shape(gradients->problem, (enum key_part)part, shape->rows);
    struct tensor_view partial = {0}, slot = {0};
    if (sum->has_partial)
        partial = view_in(gradients, partial_of(gradients, sum->own), shape, part);
    if (sum->has_slot)
        slot = view_in(gradients, gradients->slots[sum->slot], shape, part);
    add_record(gradients->device, commands, kernel, &tensor, &partial, &slot, to);
}

void gradients_record_add(const struct gradients *gradients, const struct vk_commands *commands, const struct packet_shape *shape,
                          const struct gradient_sum *sum)
{
    for (int part = 0; part < KEY_PARTS; part++) {
        if (shape->part_bytes[part] == 0)
            continue;
        const struct tensor_view to = view_in(gradients, gradients->slots[sum->slot], shape, part);
        record_part(gradients, commands, shape, part, sum, &gradients->add_f32, &to);
    }
}

void gradients_record_home(const struct gradients *gradients, const struct vk_commands *commands, const struct packet_shape *shape,
                           const struct gradient_sum *sum, struct key_tensors *keys)
{
    const struct problem *problem = gradients->problem;
    for (int part = 0; part < KEY_PARTS; part++) {
        const enum vkring_type type = part == KEY_PART_BIAS ? problem->bias.type : problem->type;
        if (shape->part_bytes[part] > 0 && gradient_view(keys, part)->buffer)
            record_part(gradients, commands, shape, part, sum, gradients_adder(gradients, type), gradient_view(keys, part));
    }
}
