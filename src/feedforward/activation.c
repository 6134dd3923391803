/* SPDX-License-Identifier: MIT */
#include <stddef.h>

#include <vkring/feedforward.h>

const char *vkring_activation_string(enum vkring_activation activation)
{
    switch (activation) {
    case VKRING_ACTIVATION_NONE:
        return "none";
    case VKRING_ACTIVATION_RELU:
        return "relu";
    case VKRING_ACTIVATION_GELU:
        return "gelu";
    case VKRING_ACTIVATION_GELU_TANH:
        return "gelu-tanh";
    case VKRING_ACTIVATION_SILU:
        return "silu";
    }
    return NULL;
}
