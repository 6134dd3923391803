/* SPDX-License-Identifier: MIT */
#extension GL_EXT_buffer_reference : require
#extension GL_EXT_buffer_reference_uvec2 : require
#extension GL_EXT_scalar_block_layout : require
#extension GL_EXT_control_flow_attributes : require
#ifndef TYPE_F32
#extension GL_EXT_shader_16bit_storage : require
#extension GL_EXT_shader_explicit_arithmetic_types_int16 : enable
#endif
#ifdef MATRIX
#extension GL_KHR_cooperative_matrix : require
#extension GL_KHR_memory_scope_semantics : require
#extension GL_KHR_shader_subgroup_basic : require
#extension GL_KHR_shader_subgroup_vote : require
#extension GL_EXT_shader_explicit_arithmetic_types_float16 : require
#endif
#ifdef MATRIX_OPERATIONS
#extension GL_NV_cooperative_matrix2 : require
#endif
#ifdef UNIFORM_LOADS
#extension GL_EXT_shader_explicit_arithmetic_types_int64 : require
#endif
#ifndef NO_SHUFFLE
#extension GL_KHR_shader_subgroup_shuffle : require
#endif
