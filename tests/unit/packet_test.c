/* SPDX-License-Identifier: MIT */
/* The header that closes a packet: the right one passes, anything else is an error that names sender, step, field and values. */
#include <string.h>
#include <sys/mman.h>

#include <base/crc32c.h>
#include <ring/packet.h>

#include "../harness/suite.h"

enum { SENDER = 6, PAYLOAD_CRC = 0x1234abcd };

static const struct packet_identity identity = {.call = 7, .step = 2, .origin = 4, .part_bytes = {1000, 500, 40, 20, 8, 6}, .seed = 9};

static struct packet_header good_header(void)
{
    struct packet_header header;
    packet_header_make(&identity, PAYLOAD_CRC, &header);
    return header;
}

static enum vkring_status check(const struct packet_header *header)
{
    return packet_header_check(header, sizeof(*header), &identity, PAYLOAD_CRC, SENDER);
}

static void assert_peer_error(enum vkring_status status, const char *field, const char *got, const char *expected)
{
    const struct vkring_error *error = vkring_last_error();
    ck_assert_int_eq(status, VKRING_ERROR_PEER);
    ck_assert_int_eq(error->status, VKRING_ERROR_PEER);
    ck_assert_uint_eq(error->rank, SENDER);
    ck_assert_uint_eq(error->step, identity.step);
    ck_assert_ptr_nonnull(strstr(error->message, "rank 6"));
    ck_assert_msg(strstr(error->message, field) && strstr(error->message, got) && strstr(error->message, expected), "%s", error->message);
}

START_TEST(checksum_gives_the_known_answers)
{
    /* RFC 3720, B.4, and the check value of the CRC catalogue */
    unsigned char bytes[32];
    ck_assert_uint_eq(crc32c(0, "123456789", 9), 0xe3069283);
    memset(bytes, 0, sizeof(bytes));
    ck_assert_uint_eq(crc32c(0, bytes, sizeof(bytes)), 0x8a9136aa);
    memset(bytes, 0xff, sizeof(bytes));
    ck_assert_uint_eq(crc32c(0, bytes, sizeof(bytes)), 0x62a8ab43);
    for (unsigned char i = 0; i < 32; i++)
        bytes[i] = i;
    ck_assert_uint_eq(crc32c(0, bytes, sizeof(bytes)), 0x46dd794e);
}
END_TEST

START_TEST(checksum_of_pieces_is_that_of_the_whole)
{
    unsigned char bytes[1000];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (unsigned char)(i * 37 + i / 251);
    uint32_t whole = crc32c(0, bytes, sizeof(bytes));
    for (size_t cut = 0; cut <= sizeof(bytes); cut++)
        ck_assert_uint_eq(crc32c(crc32c(0, bytes, cut), bytes + cut, sizeof(bytes) - cut), whole);
    ck_assert_uint_eq(crc32c(0, NULL, 0), 0);
}
END_TEST

START_TEST(checksum_of_more_bytes_than_32_bits_count)
{
    /* pages that are only read cost no memory */
    const uint64_t half = (UINT64_C(1) << 31) + 123456;
    unsigned char *bytes = mmap(NULL, 2 * half, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    ck_assert(bytes != MAP_FAILED);
    uint32_t whole = crc32c(0, bytes, 2 * half);
    ck_assert_uint_eq(whole, crc32c(crc32c(0, bytes, half), bytes + half, half));
    munmap(bytes, 2 * half);
}
END_TEST

START_TEST(right_header_passes)
{
    struct packet_header header = good_header();
    ck_assert_int_eq(check(&header), VKRING_OK);
    ck_assert_uint_eq(sizeof(header), 88);
}
END_TEST

START_TEST(each_field_of_another_packet_is_named)
{
    const struct {
        struct packet_identity identity;
        const char *field, *got, *expected;
    } cases[] = {
        {{8, 2, 4, {1000, 500, 40, 20, 8, 6}, 9}, "call", " 8,", "not 7"},
        {{7, 3, 4, {1000, 500, 40, 20, 8, 6}, 9}, "step", " 3,", "not 2"},
        {{7, 2, 5, {1000, 500, 40, 20, 8, 6}, 9}, "origin", " 5,", "not 4"},
        {{7, 2, 4, {UINT64_MAX, 500, 40, 20, 8, 6}, 9}, "key_bytes", "18446744073709551615", "not 1000"},
        {{7, 2, 4, {1000, 0, 40, 20, 8, 6}, 9}, "value_bytes", " 0,", "not 500"},
        {{7, 2, 4, {1000, 500, 0, 20, 8, 6}, 9}, "bias_bytes", " 0,", "not 40"},
        {{7, 2, 4, {1000, 500, 40, 0, 8, 6}, 9}, "segment_bytes", " 0,", "not 20"},
        {{7, 2, 4, {1000, 500, 40, 20, 0, 6}, 9}, "key_scale_bytes", " 0,", "not 8"},
        {{7, 2, 4, {1000, 500, 40, 20, 8, 0}, 9}, "value_scale_bytes", " 0,", "not 6"},
        {{7, 2, 4, {1000, 500, 40, 20, 8, 6}, 8}, "seed", " 8,", "not 9"},
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct packet_header header;
        packet_header_make(&cases[i].identity, PAYLOAD_CRC, &header);
        assert_peer_error(check(&header), cases[i].field, cases[i].got, cases[i].expected);
    }
}
END_TEST

START_TEST(damaged_payload_is_told)
{
    struct packet_header header = good_header();
    enum vkring_status status = packet_header_check(&header, sizeof(header), &identity, PAYLOAD_CRC ^ 1, SENDER);
    assert_peer_error(status, "payload CRC", "0x1234abcd", "0x1234abcc");
}
END_TEST

START_TEST(any_flipped_bit_of_the_header_is_found)
{
    for (size_t bit = 0; bit < 8 * sizeof(struct packet_header); bit++) {
        struct packet_header header = good_header();
        unsigned char *bytes = (unsigned char *)&header;
        bytes[bit / 8] ^= (unsigned char)(1u << (bit % 8));
        assert_peer_error(check(&header), "packet", "", "");
    }
}
END_TEST

START_TEST(short_header_is_told)
{
    struct packet_header header = good_header();
    assert_peer_error(packet_header_check(&header, 71, &identity, PAYLOAD_CRC, SENDER), "header of", "71", "not 88");
    assert_peer_error(packet_header_check(&header, 0, &identity, PAYLOAD_CRC, SENDER), "header of", " 0 ", "not 88");
}
END_TEST

START_TEST(other_byte_order_is_told)
{
    struct packet_header header = good_header();
    header.magic = __builtin_bswap32(header.magic);
    assert_peer_error(check(&header), "magic", "0x52494e47", "0x474e4952");
}
END_TEST

START_TEST(notices_are_told_from_headers)
{
    struct packet_header header = good_header();
    const struct packet_wait wait = {.call = 7, .microseconds = 1500000, .step = 3, .gradient_step = 2, .waits_for = 4};
    ck_assert_int_eq(packet_notice_of(&header, sizeof(header)), PACKET_NO_NOTICE);
    packet_waiting_make(&wait, &header);
    ck_assert_int_eq(packet_notice_of(&header, sizeof(header)), PACKET_WAITING);
    const struct packet_wait said = packet_wait_of(&header);
    ck_assert_uint_eq(said.call, wait.call);
    ck_assert_uint_eq(said.microseconds, wait.microseconds);
    ck_assert_uint_eq(said.step, wait.step);
    ck_assert_uint_eq(said.gradient_step, wait.gradient_step);
    ck_assert_uint_eq(said.waits_for, wait.waits_for);
    ck_assert_int_eq(packet_notice_of(&header, sizeof(header) - 1), PACKET_NO_NOTICE);
    header.identity.step ^= 1;
    ck_assert_int_eq(packet_notice_of(&header, sizeof(header)), PACKET_NO_NOTICE);

    packet_given_up_make(VKRING_ERROR_TIMEOUT, 5, 2, &header);
    ck_assert_int_eq(packet_notice_of(&header, sizeof(header)), PACKET_GIVEN_UP);
    ck_assert_int_eq(packet_given_up_fail(&header, 6), VKRING_ERROR_PEER);
    ck_assert_int_eq(packet_given_up_reason(&header), VKRING_ERROR_TIMEOUT);
    ck_assert_uint_eq(vkring_last_error()->rank, 5);
    ck_assert_uint_eq(vkring_last_error()->step, 2);
    ck_assert_str_eq(vkring_last_error()->message, "rank 5 was silent at step 2 (timeout), as rank 6 says");
    assert_peer_error(check(&header), "magic", "", "");
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("packet");
    suite_add(suite, "checksum", checksum_gives_the_known_answers);
    suite_add(suite, "checksum", checksum_of_pieces_is_that_of_the_whole);
    suite_add(suite, "checksum", checksum_of_more_bytes_than_32_bits_count);
    suite_add(suite, "header", right_header_passes);
    suite_add(suite, "header", each_field_of_another_packet_is_named);
    suite_add(suite, "header", damaged_payload_is_told);
    suite_add(suite, "header", any_flipped_bit_of_the_header_is_found);
    suite_add(suite, "header", short_header_is_told);
    suite_add(suite, "header", other_byte_order_is_told);
    suite_add(suite, "notice", notices_are_told_from_headers);
    return suite_run(suite);
}
