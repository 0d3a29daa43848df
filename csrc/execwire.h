/* execwire: private exchange streams, from bytes to exact records.
 *
 * This header is the contract. The Python dtypes, stubs and column schemas are derived from it or held to it by tests.
 * The library needs C11 and libc, never allocates while it decodes (except to grow for a message larger than any
 * before), keeps no global state, and names no exchange: a venue is a table of text (see ew_dialect_parse).
 */
#ifndef EXECWIRE_H
#define EXECWIRE_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define EW_ABI 1 /* changes whenever a struct below changes */

/*==== MARK: Status ====*/

typedef enum ew_status {
    EW_OK = 0,
    EW_ERR_TRUNCATED, /* the payload ends inside a value */
    EW_ERR_SYNTAX,    /* not JSON, not a known text prompt */
    EW_ERR_UTF8,      /* a byte sequence or escape that is not Unicode */
    EW_ERR_DEPTH,     /* nested deeper than EW_MAX_DEPTH */
    EW_ERR_LIMIT,     /* more bytes, values or records than the limits below */
    EW_ERR_GZIP,      /* corrupt or truncated gzip frame */
    EW_ERR_SBE,       /* malformed SBE frame, or of an unknown schema */
    EW_ERR_TABLE,     /* a dialect table that does not compile */
    EW_ERR_MEMORY
} ew_status;

/* Where and why something failed. `message` is constant and never null; `position` is a byte offset into the payload
 * (for gzip and SBE frames: into the frame; for dialect tables: a line number, from 1). */
typedef struct ew_error {
    ew_status status;
    const char *message;
    size_t position;
} ew_error;

#define EW_MAX_DEPTH 128
#define EW_MAX_PAYLOAD ((size_t)256 << 20) /* bytes, after inflation */
#define EW_MAX_VALUES ((size_t)4 << 20)    /* keys and values in one payload */
#define EW_MAX_RECORDS ((size_t)1 << 20)   /* records from one payload */

/*==== MARK: Values ====*/

typedef enum ew_dec_state {
    EW_DEC_ABSENT = 0,
    EW_DEC_NULL,           /* JSON null */
    EW_DEC_EMPTY,          /* the empty string, which several venues use for "none" */
    EW_DEC_VALUE,
    EW_DEC_UNREPRESENTABLE /* a text that is no decimal, or one that does not fit; the payload still has it */
} ew_dec_state;

#define EW_DEC_NEGATIVE_ZERO 1 /* flag: the text was -0, -0.00, ... */
#define EW_DEC_MAX_EXPONENT 999

/* An exact decimal: mantissa * 10^exponent. The mantissa is a signed 96-bit integer, hi * 2^64 + lo, so that 28
 * significant digits always fit. Trailing zeros of the text are kept: "1.50" is 150 * 10^-2. */
typedef struct ew_dec {
    uint64_t lo;
    int32_t hi;
    int16_t exponent;
    uint8_t state; /* ew_dec_state; meaningful only if the record's `present` or `missing` bit of the field is set */
    uint8_t flags;
} ew_dec;

/* Texts are UTF-8 of `len` bytes, escapes already resolved, and zeros up to the end of the slot. A text longer than
 * its slot keeps the longest prefix of whole characters, sets EW_LONG_TEXT in the record's flags, and is whole in the
 * payload (ew_explain). */
typedef struct ew_text16 { char s[15]; uint8_t len; } ew_text16;
typedef struct ew_text32 { char s[31]; uint8_t len; } ew_text32;
typedef struct ew_text128 { char s[127]; uint8_t len; } ew_text128;

/* An identifier: exact text, and its value where the text is a plain unsigned integer below 2^64 without leading
 * zeros (`is_number`). Ids of 20 digits fit; -1, "t-1" and UUIDs are text only. */
typedef struct ew_id {
    uint64_t number;
    char s[38];
    uint8_t len;
    uint8_t is_number;
} ew_id;

/*==== MARK: Vocabulary ====*/
/* One vocabulary for all venues; a venue's texts are mapped onto it by its dialect. A text that no dialect maps gives
 * UNKNOWN (0): the record is delivered, flagged EW_UNKNOWN_ENUM, and the raw text stays available (ew_explain). */

typedef enum ew_side { EW_SIDE_UNKNOWN, EW_SIDE_BUY, EW_SIDE_SELL } ew_side;

typedef enum ew_position_side {
    EW_POSITION_SIDE_UNKNOWN,
    EW_POSITION_SIDE_BOTH, /* one-way mode, "net" */
    EW_POSITION_SIDE_LONG,
    EW_POSITION_SIDE_SHORT
} ew_position_side;

typedef enum ew_order_type {
    EW_ORDER_TYPE_UNKNOWN,
    EW_ORDER_TYPE_MARKET,
    EW_ORDER_TYPE_LIMIT,
    EW_ORDER_TYPE_LIMIT_MAKER,
    EW_ORDER_TYPE_STOP_MARKET,
    EW_ORDER_TYPE_STOP_LIMIT,
    EW_ORDER_TYPE_TAKE_PROFIT_MARKET,
    EW_ORDER_TYPE_TAKE_PROFIT_LIMIT,
    EW_ORDER_TYPE_TRAILING_STOP_MARKET,
    EW_ORDER_TYPE_LIQUIDATION
} ew_order_type;

typedef enum ew_time_in_force {
    EW_TIME_IN_FORCE_UNKNOWN,
    EW_TIME_IN_FORCE_GTC,
    EW_TIME_IN_FORCE_IOC,
    EW_TIME_IN_FORCE_FOK,
    EW_TIME_IN_FORCE_POST_ONLY, /* GTX */
    EW_TIME_IN_FORCE_GTD,
    EW_TIME_IN_FORCE_GTE_GTC, /* good till the position is closed, else till cancelled */
    EW_TIME_IN_FORCE_RPI      /* retail price improvement */
} ew_time_in_force;

typedef enum ew_order_status {
    EW_STATUS_UNKNOWN,
    EW_STATUS_PENDING_NEW,
    EW_STATUS_NEW,
    EW_STATUS_PARTIALLY_FILLED,
    EW_STATUS_FILLED,
    EW_STATUS_PENDING_CANCEL,
    EW_STATUS_CANCELED,
    EW_STATUS_REJECTED,
    EW_STATUS_EXPIRED,
    EW_STATUS_EXPIRED_IN_MATCH,
    EW_STATUS_TRIGGERING, /* a conditional order whose condition was met */
    EW_STATUS_TRIGGERED,
    EW_STATUS_FINISHED,
    EW_STATUS_NEW_INSURANCE, /* liquidation taken over by the insurance fund */
    EW_STATUS_NEW_ADL        /* auto-deleveraging */
} ew_order_status;

typedef enum ew_exec_type {
    EW_EXEC_TYPE_UNKNOWN,
    EW_EXEC_TYPE_NEW,
    EW_EXEC_TYPE_CANCELED,
    EW_EXEC_TYPE_REPLACED,
    EW_EXEC_TYPE_REJECTED,
    EW_EXEC_TYPE_TRADE,
    EW_EXEC_TYPE_EXPIRED,
    EW_EXEC_TYPE_TRADE_PREVENTION,
    EW_EXEC_TYPE_CALCULATED, /* liquidation or auto-deleveraging */
    EW_EXEC_TYPE_STATUS      /* a report of the state, not of a change */
} ew_exec_type;

typedef enum ew_stp_mode {
    EW_STP_MODE_UNKNOWN,
    EW_STP_MODE_NONE,
    EW_STP_MODE_EXPIRE_TAKER,
    EW_STP_MODE_EXPIRE_MAKER,
    EW_STP_MODE_EXPIRE_BOTH,
    EW_STP_MODE_DECREMENT,
    EW_STP_MODE_TRANSFER
} ew_stp_mode;

typedef enum ew_margin_mode { EW_MARGIN_MODE_UNKNOWN, EW_MARGIN_MODE_CROSS, EW_MARGIN_MODE_ISOLATED } ew_margin_mode;

typedef enum ew_notice_code {
    EW_NOTICE_UNKNOWN,
    EW_NOTICE_UNKNOWN_EVENT, /* `message` is the event's name as far as it could be told */
    EW_NOTICE_EMPTY,         /* a known event without a row, such as "no open positions" */
    EW_NOTICE_WELCOME,
    EW_NOTICE_LOGIN_OK,
    EW_NOTICE_SUBSCRIBED,
    EW_NOTICE_UNSUBSCRIBED,
    EW_NOTICE_RESPONSE, /* any other successful answer */
    EW_NOTICE_REQUEST,  /* a client's own frame, as captures hold them */
    EW_NOTICE_ERROR,
    EW_NOTICE_PING,
    EW_NOTICE_PONG,
    EW_NOTICE_LISTEN_KEY,
    EW_NOTICE_LISTEN_KEY_EXPIRED,
    EW_NOTICE_STREAM_TERMINATED,
    EW_NOTICE_SERVER_SHUTDOWN,
    EW_NOTICE_SYSTEM_CLOSE,
    EW_NOTICE_ORDER_LIST,
    EW_NOTICE_CONDITIONAL_REJECT,
    EW_NOTICE_MARGIN_CALL,
    EW_NOTICE_RISK_LEVEL,
    EW_NOTICE_LIABILITY,
    EW_NOTICE_ACCOUNT_CONFIG,
    EW_NOTICE_ACCOUNT_SUMMARY,
    EW_NOTICE_STRATEGY,
    EW_NOTICE_ADL,
    EW_NOTICE_CONNECTED, /* from here on: made by a session, not by a venue */
    EW_NOTICE_DISCONNECTED,
    EW_NOTICE_RECONNECTED,
    EW_NOTICE_GAP
} ew_notice_code;

/*==== MARK: Records ====*/
/* Plain structs without pointers, the same from every venue. Every field has a bit, which is its place in
 * ew_fields(kind). `present` says that the message gave the field a value, `missing` that it gave the key without
 * one (null, or "" for anything but texts and ids); neither means that the key was not there, or that the value had
 * a type the field cannot take. A field with neither bit holds whatever an earlier message left there.
 * Where `missing` is set the slot tells null from "": decimals by their state, times EW_TIME_NULL or EW_TIME_EMPTY,
 * enums and bools EW_CODE_NULL or EW_CODE_EMPTY. Times are nanoseconds since 1970-01-01 UTC. */
#define EW_TIME_NULL INT64_MIN
#define EW_TIME_EMPTY (INT64_MIN + 1)
#define EW_CODE_NULL 0
#define EW_CODE_EMPTY 255

typedef enum ew_kind { EW_NONE, EW_ORDER, EW_FILL, EW_BALANCE, EW_POSITION, EW_NOTICE, EW_KINDS } ew_kind;

/* ew_header.flags */
#define EW_EXTRA 1          /* the payload has keys for this record that no field took */
#define EW_LONG_TEXT 2      /* a text was longer than its slot */
#define EW_UNKNOWN_ENUM 4   /* an enum text that the dialect does not map */
#define EW_UNREPRESENTABLE 8 /* a value that its field cannot hold: it counts as one of the extra keys */

typedef struct ew_header {
    uint64_t present, missing; /* bit sets over the fields of the kind */
    int64_t ts_event;          /* ns; when the venue sent the event */
    int64_t ts_transact;       /* ns; when what the record tells happened */
    int64_t ts_recv;           /* ns; when it was received: from the capture or the socket, else 0 */
    uint32_t begin, end;       /* the record's own object: payload bytes [begin, end) */
    uint16_t event;            /* the venue's event: ew_event_name(dialect, event); 0 if the dialect does not know it */
    uint16_t venue;            /* number of the dialect, given when it was loaded */
    uint16_t subscription_id;
    uint8_t kind; /* ew_kind */
    uint8_t flags;
} ew_header;

typedef struct ew_order {
    ew_header h;
    ew_dec price, stop_price, avg_price;
    ew_dec orig_qty, orig_quote_qty, iceberg_qty;
    ew_dec last_price, last_qty, last_quote; /* of the fill this event reports, if it reports one */
    ew_dec cum_qty, cum_quote, remaining_qty;
    ew_dec fee, realized_pnl; /* of the fill; signs as the venue sends them */
    int64_t ts_created, ts_working;
    uint8_t side, position_side, order_type, time_in_force, status, exec_type, stp_mode;
    uint8_t is_maker, is_working, reduce_only; /* 0 or 1 */
    uint8_t reserved[6];
    ew_text32 symbol;
    ew_text16 fee_asset;
    ew_id order_id, client_order_id, orig_client_order_id, order_list_id, trade_id;
    ew_text32 reject_reason;
} ew_order;

typedef struct ew_fill {
    ew_header h;
    ew_dec price, qty, quote_qty;
    ew_dec fee, realized_pnl; /* signs as the venue sends them */
    uint8_t side, position_side, is_maker;
    uint8_t reserved[5];
    int64_t ts_created;
    ew_text32 symbol;
    ew_text16 fee_asset;
    ew_id trade_id, order_id, client_order_id;
} ew_fill;

typedef struct ew_balance {
    ew_header h;
    ew_dec free, locked, total;
    ew_dec cross_wallet; /* the part of a wallet that backs cross-margined positions */
    ew_dec delta;        /* signed change */
    ew_text16 asset;
    ew_text32 reason;
} ew_balance;

typedef struct ew_position {
    ew_header h;
    ew_dec qty, available; /* contracts or base units, as the venue counts; signed where the venue signs */
    ew_dec entry_price, break_even_price, mark_price, liquidation_price;
    ew_dec leverage, margin, unrealized_pnl, realized_pnl;
    int64_t ts_created;
    uint8_t side, margin_mode; /* ew_position_side, ew_margin_mode */
    uint8_t reserved[6];
    ew_text32 symbol;
    ew_text16 asset; /* margin asset */
} ew_position;

typedef struct ew_notice {
    ew_header h;
    uint8_t code; /* ew_notice_code */
    uint8_t reserved[7];
    ew_id error_code; /* the venue's own number */
    ew_id request_id;
    ew_text32 about; /* channel, method or symbol */
    ew_text128 message;
} ew_notice;

typedef union ew_record {
    ew_header h;
    ew_order order;
    ew_fill fill;
    ew_balance balance;
    ew_position position;
    ew_notice notice;
} ew_record;

/* What a field holds. */
typedef enum ew_type {
    EW_TYPE_DEC,  /* ew_dec */
    EW_TYPE_TIME, /* int64_t, ns */
    EW_TYPE_U16,
    EW_TYPE_BOOL, /* uint8_t, 0 or 1 */
    EW_TYPE_ENUM, /* uint8_t, a code of its vocabulary */
    EW_TYPE_ID,   /* ew_id */
    EW_TYPE_TEXT  /* ew_text16, ew_text32 or ew_text128, told by `size` */
} ew_type;

typedef struct ew_field {
    const char *name;
    const char *unit;      /* "ns", "quote per base", ... or "" */
    const char *vocabulary;   /* of enums and bools: the name dialects map texts under, else "" */
    const char *const *words; /* of enums and bools: the words, by code; else null */
    uint16_t offset, size; /* within the record */
    uint8_t type;          /* ew_type */
    uint8_t n_words;
} ew_field;

const char *ew_kind_name(unsigned kind);              /* "order", ...; null beyond EW_KINDS */
size_t ew_kind_size(unsigned kind);                   /* bytes of the struct */
const ew_field *ew_fields(unsigned kind, size_t *n);  /* in order of their bits; the header's four first */
const ew_field *ew_find_field(unsigned kind, const char *name, size_t len);

/*==== MARK: Dialects ====*/

typedef struct ew_dialect ew_dialect;

/* Compile a dialect from its table text (lines of tab-separated words; csrc/dialect.c describes them). The loader of
 * the Python package writes such tables from TOML, `execwire venues NAME --table` prints one. Free with
 * ew_dialect_free. Null on error, with the line number in error->position. Immutable, so threads may share one. */
ew_dialect *ew_dialect_parse(const char *table, size_t n, uint16_t venue, ew_error *error);
void ew_dialect_free(ew_dialect *dialect);
const char *ew_dialect_name(const ew_dialect *dialect);
const char *ew_event_name(const ew_dialect *dialect, unsigned event); /* "" if there is no such event */

/*==== MARK: Decoding ====*/

typedef struct ew_decoder ew_decoder;

typedef struct ew_stats {
    uint64_t messages, records, errors;
    uint64_t unknown_events, unknown_keys, unknown_enums, unrepresentable;
} ew_stats;

/* A decoder belongs to one thread at a time. It keeps a pointer to the dialect, which must outlive it. It has learned
 * nothing yet: see ew_rehearse. */
ew_decoder *ew_decoder_new(const ew_dialect *dialect);
void ew_decoder_free(ew_decoder *decoder);
const ew_stats *ew_decoder_stats(const ew_decoder *decoder);

/* The instruction sets that the hot path is compiled for and this machine has, best first; null beyond the last. They
 * all give the same records. A decoder uses the best one unless told otherwise; EW_ERR_LIMIT if it is not there. */
const char *ew_instruction_set(size_t i);
ew_status ew_decoder_use(ew_decoder *decoder, const char *instruction_set);

/* Decode one payload: JSON, an SBE frame of the dialect's schema, or a text prompt. All of its records or none:
 * EW_OK and `*n_records` records, or a status and no record. Reads payload[0, n) and nothing else. The records stay
 * valid until the next call; read them with ew_get. `ts_recv` goes into every record (0 if not known). */
ew_status ew_decode(ew_decoder *decoder, const uint8_t *payload, size_t n, int64_t ts_recv, size_t *n_records);
/* The same, a little faster, where another EW_PADDING bytes can be read behind the payload, whatever they hold. */
#define EW_PADDING 256
ew_status ew_decode_padded(ew_decoder *decoder, const uint8_t *payload, size_t n, int64_t ts_recv, size_t *n_records);
/* Decode a payload, and learn from it now: a decoder that has seen some messages of each kind is at its best from the
 * first live one on. Records and statistics as from ew_decode. Never needed: decoders learn from what they decode. */
ew_status ew_train(ew_decoder *decoder, const uint8_t *payload, size_t n);
/* Train a new decoder with the dialect's samples, so that it is at its best from the first message on. Takes about as
 * long as decoding a few thousand messages. Samples that do not decode teach nothing. */
void ew_rehearse(ew_decoder *decoder);
/* A message that teaches something takes as long as a hundred others. From ew_defer on it does not: what it teaches
 * waits for ew_study, to be called where nothing else does; but messages of more than 16 KiB teach at once. ew_study
 * ends the last message's records; 1 if there was something to learn from, else 0. */
void ew_defer(ew_decoder *decoder);
int ew_study(ew_decoder *decoder);
const ew_error *ew_last_error(const ew_decoder *decoder);
const ew_record *ew_get(const ew_decoder *decoder, size_t i);

/* The bytes that the records' spans point into: the payload given to ew_decode, or, for an SBE frame, the decoder's
 * own rendering of it as JSON, valid until the next call. */
const uint8_t *ew_payload(const ew_decoder *decoder, size_t *n);

/*==== MARK: Looking closer (slow path) ====*/
/* What the fields of a record leave behind can be looked up afterwards, from the same payload. */

/* A JSON value of a payload, in document order. Members of an object are pairs of tokens: key (a string), value. */
typedef enum ew_token_type {
    EW_TOK_STRING, EW_TOK_NUMBER, EW_TOK_OBJECT, EW_TOK_ARRAY, EW_TOK_TRUE, EW_TOK_FALSE, EW_TOK_NULL
} ew_token_type;

#define EW_TOK_ESCAPED 1 /* a string with backslashes */
#define EW_TOK_TAKEN 2   /* a field of a record holds exactly this value */
#define EW_TOK_NEW_KEY 4 /* a key that the dialect does not know */
#define EW_TOK_ODD 8     /* a value that its field could not hold: unknown enum text, unrepresentable */
#define EW_TOK_ROW 16    /* the own object of a record */

typedef struct ew_token {
    uint32_t begin, end; /* bytes; strings without their quotes */
    uint32_t next;       /* index of the token after this one and everything in it */
    uint8_t type, flags;
    uint16_t depth;
} ew_token;

/* Decode once more, slowly, keeping the parse: same records, and the payload's tokens with the flags above. For texts
 * that are no JSON (prompts), n_tokens is 0. The tokens stay valid until the next call on this decoder. */
ew_status ew_explain(ew_decoder *decoder, const uint8_t *payload, size_t n, size_t *n_records,
                     const ew_token **tokens, size_t *n_tokens);

/* After ew_explain, for record i: the token of its own object, of its event and of the whole frame (they coincide for
 * a bare event), and per field bit the token whose value the field took, or EW_NO_TOKEN. */
#define EW_NO_TOKEN UINT32_MAX
typedef struct ew_origin {
    uint32_t row, event, frame;
    uint32_t field[64];
} ew_origin;
const ew_origin *ew_get_origin(const ew_decoder *decoder, size_t i);

/* Resolve the escapes of a string token's bytes into out (room for end - begin bytes); returns the length. */
size_t ew_unescape(const uint8_t *s, size_t n, uint8_t *out);

/*==== MARK: Exact numbers ====*/

/* Parse a decimal as JSON writes numbers. Anything else, and what does not fit, is EW_DEC_UNREPRESENTABLE. */
ew_dec ew_dec_parse(const uint8_t *s, size_t n);
/* Correctly rounded; NaN unless the state is EW_DEC_VALUE. */
double ew_dec_double(ew_dec d);
/* d * 10^scale as an integer; 0 on success, -1 if that is not a whole number or does not fit (or is no value). */
int ew_dec_scaled(ew_dec d, int scale, int64_t *out);
/* Plain notation ("0.00700000"), or "12E+3" where the exponent is positive or below -39; writes at most EW_DEC_TEXT
 * bytes, no terminator, returns the length, 0 unless the state is EW_DEC_VALUE. */
#define EW_DEC_TEXT 64
size_t ew_dec_text(ew_dec d, char *out);

/*==== MARK: Captures: blocks to lines ====*/
/* A capture of lines, one payload each, is read block by block: ask for room, fill it, take the lines. The buffer holds
 * one block and the line that the block before it left unfinished. */

typedef struct ew_lines ew_lines;

/* One line's payload: without its stamp, its line end and, on the first line, a byte order mark. */
typedef struct ew_span {
    const uint8_t *payload; /* valid until the next call of ew_lines_room; EW_PADDING bytes can be read behind it */
    size_t n;
    int64_t ts_recv; /* ns; 0 if the line has no stamp */
    uint64_t line;   /* from 1 */
    uint64_t offset; /* of the payload in the capture, bytes */
    uint8_t stamped;
    uint8_t ended;   /* the line's end was there */
    uint8_t foreign; /* it has no stamp, where all messages have one */
} ew_span;

/* With `stamped`, lines may begin with the time of receipt and a space (or a colon and a space): an epoch of 10 (s),
 * 13 (ms), 16 (us) or 19 (ns) digits, with or without a fraction, or ISO 8601 in UTC; fewer digits with a fraction are
 * the seconds of some other clock, and give no time. A line without a stamp is its payload; with `stamped` above 1 it is
 * no message, but something else that the recorder wrote. */
ew_lines *ew_lines_new(int stamped);
void ew_lines_free(ew_lines *lines);
/* Room for n more bytes of the capture; null if there is no memory. Ends all spans. */
uint8_t *ew_lines_room(ew_lines *lines, size_t n);
/* n bytes were written there. `last`: the capture ends with them, in the middle of a line or not. */
void ew_lines_filled(ew_lines *lines, size_t n, int last);
/* The next line that is not blank; 0 if the block has no more whole lines. Of a line longer than EW_MAX_PAYLOAD the
 * first EW_MAX_PAYLOAD + 1 bytes are given, which no decoder takes. */
int ew_lines_next(ew_lines *lines, ew_span *span);
/* Blank lines so far, in which some recorders write that they were disconnected. */
uint64_t ew_lines_blank(const ew_lines *lines);

/* The stamp at the beginning of a text: its length with what separates it from the rest, 0 if there is none. */
size_t ew_stamp(const uint8_t *s, size_t n, int64_t *ts_recv);

/* Lines may be JSON objects with the payload under one key, as it is or as a string, and the time of receipt under
 * another (an epoch or ISO 8601, see above; what is none gives no time). Replaces the span's payload, valid until the
 * next call, its offset and its time. */
typedef struct ew_unwrapper ew_unwrapper;
ew_unwrapper *ew_unwrapper_new(void);
void ew_unwrapper_free(ew_unwrapper *unwrapper);
ew_status ew_unwrap(ew_unwrapper *unwrapper, const char *ts_key, const char *payload_key, ew_span *span);
const ew_error *ew_unwrapper_error(const ew_unwrapper *unwrapper);

/*==== MARK: Columns ====*/
/* Records of many messages, field by field. Batches of one kind are filled row by row; a field that no message has
 * takes no memory, and one that some have takes a few bytes a row:
 *
 *   decimals   8: the mantissa. What they have in common (see ew_tail) is kept once, unless it differs: then 16
 *   times, ids 8     ids: the number, or where the text is, in `heap`: offset in the low, length in the high 32 bits
 *   texts      4: number in the dictionary of the field. Texts with the largest slot are in `heap`, like ids
 *   enums, bools, u16   as in the records
 *
 * null, "" and what is not there are all null here, and so are decimals that do not fit (the flags tell). Values of
 * rows without one are zeros. */

/* Of an ew_dec, all but the low half of the mantissa. */
typedef struct ew_tail {
    int32_t hi;
    int16_t exponent;
    uint8_t state, flags;
} ew_tail;

typedef struct ew_column {
    void *values;      /* null: the field is null in all rows */
    ew_tail *tails;    /* of decimals; null if they have... */
    ew_tail tail;      /* ...this in common, apart from `hi`, which is then the sign of the int64 in `values` */
    uint64_t *valid;   /* bit i % 64 of word i / 64: row i has a value; null if all rows have */
    uint64_t *numeric; /* of ids: row i is a number; null if no row is */
    size_t n_valid;
} ew_column;

typedef struct ew_batch {
    size_t n; /* rows */
    uint8_t kind;
    uint8_t *flags;   /* per row, as in the header */
    uint32_t *events; /* per row: venue << 16 | event */
    uint8_t *heap;
    size_t n_heap;
    void *memory; /* where all that is */
    ew_column columns[64]; /* by the fields' bits */
} ew_batch;

void ew_batch_free(ew_batch *batch);

typedef struct ew_columns ew_columns;

/* Batches have at most `rows` rows. */
ew_columns *ew_columns_new(size_t rows);
void ew_columns_free(ew_columns *columns);

/* Add the records that the decoder has just made of a payload. `closer`, another decoder of the same dialect, fetches
 * texts that are longer than their slots from the payload. EW_ERR_MEMORY: the message is not there, or not whole. */
ew_status ew_columns_append(ew_columns *columns, const ew_decoder *decoder, size_t n_records, ew_decoder *closer,
                            const uint8_t *payload, size_t n);

/* Decode the lines of a block and add their records. Stops where somebody else must decide, and goes on with the next
 * line when it is called again. */
typedef enum ew_fed {
    EW_FED_ALL,    /* no whole line is left in the block */
    EW_FED_ERROR,  /* *span cannot be decoded: ew_last_error(decoder) */
    EW_FED_OTHER,  /* *span is not the venue's: a line of the recorder itself (see `foreign`), or bytes in a disguise */
    EW_FED_UNSURE, /* *span gave records of a shape that was not accepted (ew_columns_accept) */
    EW_FED_MEMORY
} ew_fed;
ew_fed ew_columns_feed(ew_columns *columns, ew_decoder *decoder, ew_decoder *closer, ew_lines *lines, ew_span *span);

/* The shape of the records that a decoder has just made: which fields of which events, and how much was unknown since
 * `before`. Only messages of the accepted shapes are added by ew_columns_feed; of any shape while none is. 0 on
 * success, -1 without memory. */
uint64_t ew_columns_shape(const ew_decoder *decoder, size_t n_records, const ew_stats *before);
int ew_columns_accept(ew_columns *columns, uint64_t shape);

/* What the decoders counted for the messages that ew_columns_feed added or could not decode, and what was added to that
 * for others: with ew_columns_count, what a decoder has counted since `before`. */
const ew_stats *ew_columns_stats(const ew_columns *columns);
void ew_columns_count(ew_columns *columns, const ew_decoder *decoder, const ew_stats *before);

/* Rows of a kind that were ever added. */
uint64_t ew_columns_rows(const ew_columns *columns, unsigned kind);

/* The oldest batch that is full, or with `all` the oldest one that has rows; null if there is none. It is the caller's
 * then. */
ew_batch *ew_columns_take(ew_columns *columns, int all);

/* Text i of a field's dictionary, which grows with the batches; null beyond its end. */
const char *ew_columns_text(const ew_columns *columns, unsigned kind, unsigned field, size_t i, size_t *n);

/* What becomes of columns elsewhere. Rows without a value give 0, NaN, or no text. */
/* The most decimal places of any value; with `least`, trailing zeros not counted. */
int ew_column_scale(const ew_column *column, size_t n, int least);
/* Integers of 128 bits, value * 10^scale, low half first, of at most 38 digits. Returns n, or the first row whose value
 * is not such a number. */
size_t ew_column_int128(const ew_column *column, size_t n, int scale, uint64_t *out);
void ew_column_double(const ew_column *column, size_t n, double *out);
/* Ids and long texts: offsets[n + 1], and the bytes, ew_column_text_room of them at most. */
size_t ew_column_text_room(const ew_column *column, size_t n);
void ew_column_text(const ew_column *column, const uint8_t *heap, size_t n, int32_t *offsets, uint8_t *out);

#ifdef __cplusplus
}
#endif
#endif
