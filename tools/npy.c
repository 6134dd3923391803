/* SPDX-License-Identifier: MIT */
#include "npy.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const char magic[6] = {'\x93', 'N', 'U', 'M', 'P', 'Y'};
#define PREAMBLE_MAX 12 /* magic, version, length of the dictionary in 2 bytes or 4 */
#define ALIGNMENT 64

bool npy_data_bytes(const struct npy_header *header, uint64_t *out_bytes)
{
    uint64_t bytes = element_bytes(header->type);
    bool empty = false;
    bool fits = true;
    for (uint32_t i = 0; i < header->dims; i++) {
        empty = empty || header->shape[i] == 0;
        fits = fits && (header->shape[i] == 0 || bytes <= INT64_MAX / header->shape[i]);
        if (fits)
            bytes *= header->shape[i];
    }
    if (!fits && !empty)
        return false;
    *out_bytes = empty ? 0 : bytes;
    return true;
}

/* The dictionary: {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), } ---------------------------------------- */

struct reader {
    const char *at;
    const char *end;
    const char *path;
    unsigned types; /* that are good */
    struct failure *failure;
};

static bool broken(struct reader *reader, const char *what)
{
    return fail_usage(reader->failure, "%s: malformed .npy header: %s", reader->path, what);
}

static char peek(struct reader *reader)
{
    while (reader->at < reader->end && (*reader->at == ' ' || *reader->at == '\t' || *reader->at == '\n' || *reader->at == '\r'))
        reader->at++;
    return reader->at < reader->end ? *reader->at : '\0';
}

static bool take(struct reader *reader, char wanted)
{
    if (peek(reader) != wanted)
        return false;
    reader->at++;
    return true;
}

static bool take_word(struct reader *reader, const char *word)
{
    size_t length = strlen(word);
    peek(reader);
    if ((size_t)(reader->end - reader->at) < length || memcmp(reader->at, word, length) != 0)
        return false;
    reader->at += length;
    return true;
}

/* A string in quotes, without escapes: none that is valid here has any. */
static bool take_string(struct reader *reader, char *text, size_t size)
{
    char quote = peek(reader);
    size_t length = 0;
    if (quote != '\'' && quote != '"')
        return false;
    const char *start = reader->at + 1;
    while (start + length < reader->end && start[length] != quote && start[length] != '\\' && start[length] != '\0')
        length++;
    if (start + length >= reader->end || start[length] != quote || length >= size)
        return false;
    memcpy(text, start, length);
    text[length] = '\0';
    reader->at = start + length + 1;
    return true;
}

static bool refuse_type(struct reader *reader, const char *found)
{
    char wanted[64] = "";
    size_t length = 0;
    for (enum element_type type = 0; type < ELEMENT_TYPES; type++)
        if (reader->types & NPY_TYPE(type))
            length += (size_t)snprintf(wanted + length, sizeof(wanted) - length, "%s%s", length ? " or " : "", element_npy_text(type));
    if (!found)
        return fail_usage(reader->failure, "%s: its elements are not of type %s", reader->path, wanted);
    return fail_usage(reader->failure, "%s: its elements are of type %s, not %s", reader->path, found, wanted);
}

static bool read_type(struct reader *reader, struct npy_header *header)
{
    char text[64];
    if (!take_string(reader, text, sizeof(text)))
        return refuse_type(reader, NULL);
    for (enum element_type type = 0; type < ELEMENT_TYPES; type++) {
        if ((reader->types & NPY_TYPE(type)) && strcmp(text, element_npy_text(type)) == 0) {
            header->type = type;
            return true;
        }
    }
    return refuse_type(reader, text);
}

static bool read_order(struct reader *reader)
{
    if (take_word(reader, "True"))
        return fail_usage(reader->failure, "%s: it is in Fortran order, not in C order", reader->path);
    return take_word(reader, "False") ? true : broken(reader, "fortran_order is neither True nor False");
}

static bool read_length(struct reader *reader, uint64_t *out_length)
{
    uint64_t length = 0;
    if (!isdigit((unsigned char)peek(reader)))
        return broken(reader, "shape is not a tuple of integers >= 0");
    for (; reader->at < reader->end && isdigit((unsigned char)*reader->at); reader->at++) {
        uint64_t digit = (uint64_t)(*reader->at - '0');
        if (length > (INT64_MAX - digit) / 10)
            return broken(reader, "a length in shape is 2^63 or more");
        length = 10 * length + digit;
    }
    *out_length = length;
    return true;
}

static bool read_shape(struct reader *reader, struct npy_header *header)
{
    bool comma = true;
    if (!take(reader, '('))
        return broken(reader, "shape is not a tuple");
    while (!take(reader, ')')) {
        if (!comma)
            return broken(reader, "shape lacks a comma");
        if (header->dims == NPY_DIMS_MAX)
            return broken(reader, "shape has too many dimensions");
        if (!read_length(reader, &header->shape[header->dims]))
            return false;
        header->dims++;
        comma = take(reader, ',');
    }
    return header->dims != 1 || comma ? true : broken(reader, "shape is not a tuple");
}

enum key { KEY_DESCR = 1, KEY_ORDER = 2, KEY_SHAPE = 4 };

static bool read_item(struct reader *reader, struct npy_header *header, unsigned *seen)
{
    char name[32];
    if (!take_string(reader, name, sizeof(name)) || !take(reader, ':'))
        return broken(reader, "not a dictionary of descr, fortran_order and shape");
    unsigned key = strcmp(name, "descr") == 0           ? KEY_DESCR
                   : strcmp(name, "fortran_order") == 0 ? KEY_ORDER
                   : strcmp(name, "shape") == 0         ? KEY_SHAPE
                                                        : 0;
    if (!key || (*seen & key))
        return broken(reader, key ? "a key is there twice" : "a key is not descr, fortran_order or shape");
    *seen |= key;
    return key == KEY_DESCR ? read_type(reader, header) : key == KEY_ORDER ? read_order(reader) : read_shape(reader, header);
}

static bool read_dictionary(struct reader *reader, struct npy_header *header)
{
    unsigned seen = 0;
    bool comma = true;
    if (!take(reader, '{'))
        return broken(reader, "no dictionary");
    while (!take(reader, '}')) {
        if (!comma)
            return broken(reader, "the dictionary lacks a comma");
        if (!read_item(reader, header, &seen))
            return false;
        comma = take(reader, ',');
    }
    if (seen != (KEY_DESCR | KEY_ORDER | KEY_SHAPE))
        return broken(reader, "descr, fortran_order or shape is missing");
    peek(reader);
    return reader->at == reader->end ? true : broken(reader, "something follows the dictionary");
}

/* The file ----------------------------------------------------------------------------------------------------------- */

static bool read_at(int fd, const char *path, uint64_t offset, void *to, size_t bytes, struct failure *failure)
{
    char *next = to;
    while (bytes > 0) {
        ssize_t got = pread(fd, next, bytes, (off_t)offset);
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return fail_file(failure, "read", path);
        if (got == 0)
            return fail_usage(failure, "%s: truncated in its .npy header", path);
        next += got;
        offset += (uint64_t)got;
        bytes -= (size_t)got;
    }
    return true;
}

static uint64_t little_endian(const unsigned char *bytes, size_t count)
{
    uint64_t value = 0;
    for (size_t i = count; i-- > 0;)
        value = value << 8 | bytes[i];
    return value;
}

/* Where the dictionary is. */
static bool read_preamble(int fd, const char *path, uint64_t *out_offset, uint64_t *out_bytes, struct failure *failure)
{
    unsigned char preamble[PREAMBLE_MAX];
    if (!read_at(fd, path, 0, preamble, sizeof(magic), failure))
        return false;
    if (memcmp(preamble, magic, sizeof(magic)) != 0)
        return fail_usage(failure, "%s: not an .npy file", path);
    if (!read_at(fd, path, sizeof(magic), preamble + sizeof(magic), 2, failure))
        return false;
    unsigned major = preamble[6], minor = preamble[7];
    if (major < 1 || major > 3 || minor != 0)
        return fail_usage(failure, "%s: .npy format %u.%u, not 1.0 to 3.0", path, major, minor);
    size_t length_bytes = major == 1 ? 2 : 4;
    if (!read_at(fd, path, 8, preamble + 8, length_bytes, failure))
        return false;
    *out_offset = 8 + length_bytes;
    *out_bytes = little_endian(preamble + 8, length_bytes);
    if (*out_bytes > NPY_HEADER_MAX)
        return fail_usage(failure, "%s: malformed .npy header: %" PRIu64 " bytes long", path, *out_bytes);
    return true;
}

static bool check_length(int fd, const char *path, const struct npy_header *header, struct failure *failure)
{
    struct stat status;
    uint64_t bytes;
    if (fstat(fd, &status) != 0)
        return fail_file(failure, "read", path);
    if (!npy_data_bytes(header, &bytes) || bytes > INT64_MAX - header->data_offset)
        return fail_usage(failure, "%s: its header claims more bytes than a file can have", path);
    uint64_t there = (uint64_t)status.st_size, wanted = header->data_offset + bytes;
    if (there < wanted)
        return fail_usage(failure, "%s: truncated: %" PRIu64 " bytes of %" PRIu64, path, there, wanted);
    if (there > wanted)
        return fail_usage(failure, "%s: %" PRIu64 " bytes follow the tensor", path, there - wanted);
    return true;
}

bool npy_read(int fd, const char *path, unsigned types, struct npy_header *out_header, struct failure *failure)
{
    struct npy_header header = {0};
    uint64_t offset = 0, bytes = 0;
    if (!read_preamble(fd, path, &offset, &bytes, failure))
        return false;
    char *text = malloc(bytes + 1);
    if (!text)
        return fail_memory(failure);
    struct reader reader = {text, text + bytes, path, types, failure};
    header.data_offset = offset + bytes;
    bool good =
        read_at(fd, path, offset, text, bytes, failure) && read_dictionary(&reader, &header) && check_length(fd, path, &header, failure);
    free(text);
    if (good)
        *out_header = header;
    return good;
}

void npy_write(struct npy_header *header, char *to)
{
    char shape[128] = "";
    size_t length = 0;
    for (uint32_t i = 0; i < header->dims; i++)
        length += (size_t)snprintf(shape + length, sizeof(shape) - length, "%" PRIu64 "%s", header->shape[i],
                                   i + 1 < header->dims || header->dims == 1 ? ", " : "");
    int used = snprintf(to + 10, NPY_WRITTEN_MAX - 10, "{'descr': '%s', 'fortran_order': False, 'shape': (%s), }",
                        element_npy_text(header->type), shape);
    size_t total = (10 + (size_t)used + 1 + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    memcpy(to, magic, sizeof(magic));
    to[6] = 1;
    to[7] = 0;
    to[8] = (char)((total - 10) & 0xff);
    to[9] = (char)((total - 10) >> 8);
    memset(to + 10 + used, ' ', total - 10 - (size_t)used);
    to[total - 1] = '\n';
    header->data_offset = total;
}
