/* SPDX-License-Identifier: MIT */
/** 16-bit floating point, rounding to nearest even; NaN stays NaN, overflow gives infinity, subnormals are kept. */
#ifndef VKRING_BASE_HALF_H
#define VKRING_BASE_HALF_H

#include <stdint.h>

uint16_t f16_from_f32(float value);
float f32_from_f16(uint16_t bits);
uint16_t bf16_from_f32(float value);
float f32_from_bf16(uint16_t bits);

#endif
