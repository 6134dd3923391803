/* SPDX-License-Identifier: MIT */
/* 64-bit device addresses as (low, high) words, so that no shader needs 64-bit integers. */

uvec2 address_add(uvec2 address, uint bytes)
{
    uint carry;
    uint low = uaddCarry(address.x, bytes, carry);
    return uvec2(low, address.y + carry);
}

/* address + stride · count, with a 64-bit stride in bytes */
uvec2 address_advance(uvec2 address, uvec2 stride, uint count)
{
    uint high, low;
    umulExtended(stride.x, count, high, low);
    uvec2 sum = address_add(address, low);
    return uvec2(sum.x, sum.y + high + stride.y * count);
}
