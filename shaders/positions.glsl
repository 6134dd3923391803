/* SPDX-License-Identifier: MIT */
/* Where rows and keys of a dispatch lie in the sequence, counted from row 0 and key 0. */

int query_place(int row)
{
    return STRIDED ? row * int(arguments.query_stride) : row;
}

int key_place(int key)
{
    return STRIDED ? key * int(arguments.key_stride) : key;
}

/* A key's index among those of a row of bias. */
uint bias_column(uint key)
{
    return BIAS_PER_QUERY ? uint(key_place(int(key))) : key;
}
