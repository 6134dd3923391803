/* SPDX-License-Identifier: MIT */
/* The known answers of Random123 (kat_vectors), and that every bit of counter and key matters. */
#include <string.h>

#include <ref/philox.h>

#include "../harness/suite.h"

static const struct {
    uint32_t counter[4], key[2], words[4];
} answers[] = {
    {{0}, {0}, {0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}},
    {{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}, {0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}},
    {{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}, {0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}},
};

START_TEST(known_answers)
{
    uint32_t words[4];
    philox4x32_10(answers[_i].counter, answers[_i].key, words);
    ck_assert_mem_eq(words, answers[_i].words, sizeof(words));
}
END_TEST

START_TEST(every_bit_matters)
{
    uint32_t input[6], words[4], others[4];
    memcpy(input, answers[2].counter, sizeof(answers[2].counter));
    memcpy(input + 4, answers[2].key, sizeof(answers[2].key));
    philox4x32_10(input, input + 4, words);
    for (int bit = 0; bit < 192; bit++) {
        input[bit / 32] ^= UINT32_C(1) << bit % 32;
        philox4x32_10(input, input + 4, others);
        input[bit / 32] ^= UINT32_C(1) << bit % 32;
        for (int i = 0; i < 4; i++)
            ck_assert_uint_ne(words[i], others[i]);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("philox");
    TCase *known = tcase_create("known");
    tcase_add_loop_test(known, known_answers, 0, sizeof(answers) / sizeof(answers[0]));
    suite_add_tcase(suite, known);
    suite_add(suite, "bits", every_bit_matters);
    return suite_run(suite);
}
