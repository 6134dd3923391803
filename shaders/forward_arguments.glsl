/* SPDX-License-Identifier: MIT */
/* What one dispatch of the forward kernel reads. The host's copy is struct forward_arguments. Addresses and strides in bytes, (low, high). */

layout(buffer_reference, scalar, buffer_reference_align = 16) readonly buffer ForwardArguments {
    uvec2 query;  /* of the dispatch's first batch entry, head and row; output and lse likewise */
    uvec2 key;    /* of its first batch entry and key, and of key/value head 0; value likewise */
    uvec2 value;
    uvec2 outputs;
    uvec2 lse;    /* 0: not wanted */
    uvec2 state;  /* of the dispatch's first workgroup */
    uvec2 query_batch_stride, query_row_stride, query_head_stride;
    uvec2 key_batch_stride, key_row_stride, key_head_stride;
    uvec2 value_batch_stride, value_row_stride, value_head_stride;
    uvec2 output_batch_stride, output_row_stride, output_head_stride;
    uvec2 lse_batch_stride, lse_head_stride;
    uint first_head;
    uint heads_per_kv_head;
    uint rows;
    uint keys;
    int diagonal;    /* causal: row i keeps key j if j <= i + diagonal; within [-rows, keys] */
    float score_scale; /* scale · log2(e) */
    uint first;      /* nonzero: the state starts empty, nothing is read */
    uint last;       /* nonzero: output and lse are written, the state is not */
};

layout(push_constant, scalar) uniform Push {
    ForwardArguments arguments;
};
