/* SPDX-License-Identifier: MIT */
/**
 * Predicting each byte of a text from what comes before it, by attention alone.
 *
 * Query i and key i are both the embedding of the bytes before byte i; value i is byte i, one-hot. Causal with an offset of -1, query i
 * meets the keys before it only: it attends to earlier places with a like context, and gets what followed there, as a probability for each
 * of 256 bytes.
 */
#ifndef VKRING_EXAMPLES_TEXT_PREDICTION_H
#define VKRING_EXAMPLES_TEXT_PREDICTION_H

#include <stdio.h>

#include "group.h"

/** Text cut into chunks of equal length. A byte is predicted from the bytes of its own chunk before it. */
struct passage {
    const char *title; /**< for the progress line */
    const unsigned char *text;
    uint64_t chunks;
    uint64_t context; /**< bytes of a chunk */
};

struct predictor {
    struct group *group;
    vkring_device *device;
    vkring_comm *comm; /**< null for one rank */
    enum vkring_type type;
    bool check;     /**< compare a sample of rows with float64 */
    FILE *terminal; /**< for progress; null for none */
};

struct prediction {
    double bits;           /**< of all bytes: the sum of -log2 of the probability that each was given */
    double seconds;        /**< of the slowest rank */
    double waited_seconds; /**< the most that a rank's device stood idle for want of a packet */
    double flop;
    double largest_error; /**< of the sample */
};

/** Adds to prediction. Collective over the group. False: the group has said why. */
bool predict(const struct predictor *predictor, const struct passage *passage, struct prediction *prediction);

#endif
