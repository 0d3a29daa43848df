/* What a decoder is: for those who parse (decode.c) and those who keep it (decoder.c). */
#ifndef EW_DECODER_H
#define EW_DECODER_H

#include "paths.h"

typedef struct row {
    uint32_t token;
    uint8_t emit; /* from 1 */
} row;

/* The slots of one object the dialect knows, filled by a walk over it. They keep what a flat object had for the next:
 * one with the same keys in the same order needs no walk. */
typedef struct slots {
    uint32_t token[EW_MAX_SLOTS];
    uint32_t counted[EW_MAX_SLOTS]; /* how many of the leaves are in a slot's value, if it is a container */
    uint32_t leaves; /* values that are no containers, or empty ones */
    uint16_t node; /* 0 if the object was not flat: scalars only, each under another known key */
    uint32_t object, n_names;
    uint16_t names[2 * EW_MAX_SLOTS]; /* of the tokens in the object */
} slots;

/* What a record is made from. */
typedef struct place {
    uint32_t row, event, frame; /* tokens */
    const slots *row_slots, *event_slots;
} place;

struct ew_decoder {
    /* What every message needs lies together. */
    const uint8_t *payload;
    size_t n_payload;
    ew_follow *along; /* follows learned paths with the machine's best instructions */
    ew_paths *paths;
    ew_sink sink; /* the records, and when and how the payload came */
    ew_stats stats; /* of all messages */
    ew_error error;
    uint32_t credit, price; /* of learning */

    const ew_dialect *dialect;
    ew_tape tape;
    row *rows;
    size_t n_rows, cap_rows;
    uint8_t *scratch;
    size_t cap_scratch;
    ew_buffer rendering; /* of an SBE frame as JSON */
    uint8_t *homework;   /* null unless lessons wait for ew_study: the payload to learn from, if it has a length */
    size_t n_homework;
    ew_origin *origins; /* as many as records, while explaining */
    bool explaining;
    ew_stats counts; /* of this message */
    uint32_t n_events;
    place last;             /* of this message's last event, and */
    const ew_event *known;  /* which it is */
    slots event_slots, row_slots;
};

/* The items, moved where that was needed to have room for one more than n; null, with the error, if there can be no
 * more. */
void *ew_room(ew_decoder *k, void *items, size_t n, size_t *cap, size_t size);
/* Decode the payload into the sink without looking at what was learned, or set the error. */
void ew_parse(ew_decoder *k);

#endif
