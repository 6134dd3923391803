/* SPDX-License-Identifier: MIT */
#include "philox.h"

enum { ROUNDS = 10 };

static void philox_round(uint32_t words[4], const uint32_t key[2])
{
    const uint64_t first = (uint64_t)0xd2511f53 * words[0];
    const uint64_t second = (uint64_t)0xcd9e8d57 * words[2];
    words[0] = (uint32_t)(second >> 32) ^ words[1] ^ key[0];
    words[1] = (uint32_t)second;
    words[2] = (uint32_t)(first >> 32) ^ words[3] ^ key[1];
    words[3] = (uint32_t)first;
}

void philox4x32_10(const uint32_t counter[4], const uint32_t key[2], uint32_t out_words[4])
{
    uint32_t round_key[2] = {key[0], key[1]};
    for (int i = 0; i < 4; i++)
        out_words[i] = counter[i];
    for (int round = 0; round < ROUNDS; round++) {
        philox_round(out_words, round_key);
        round_key[0] += 0x9e3779b9;
        round_key[1] += 0xbb67ae85;
    }
}
