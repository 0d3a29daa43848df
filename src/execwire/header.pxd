# cython: language_level=3
"""csrc/execwire.h as Cython sees it: the structs of records, then the functions.

The functions are linked into execwire's own modules and nowhere else. Other modules use the structs, and what
core.pxd offers.
"""
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t


cdef extern from "execwire.h" nogil:
    enum:
        EW_ABI

    ctypedef enum ew_status:
        EW_OK
        EW_ERR_TRUNCATED
        EW_ERR_SYNTAX
        EW_ERR_UTF8
        EW_ERR_DEPTH
        EW_ERR_LIMIT
        EW_ERR_GZIP
        EW_ERR_SBE
        EW_ERR_TABLE
        EW_ERR_MEMORY

    ctypedef struct ew_error:
        ew_status status
        const char *message
        size_t position

    ctypedef enum ew_dec_state:
        EW_DEC_ABSENT
        EW_DEC_NULL
        EW_DEC_EMPTY
        EW_DEC_VALUE
        EW_DEC_UNREPRESENTABLE

    enum:
        EW_DEC_NEGATIVE_ZERO
        EW_DEC_TEXT

    ctypedef struct ew_dec:
        uint64_t lo
        int32_t hi
        int16_t exponent
        uint8_t state
        uint8_t flags

    ctypedef struct ew_text16:
        char s[15]
        uint8_t len

    ctypedef struct ew_text32:
        char s[31]
        uint8_t len

    ctypedef struct ew_text128:
        char s[127]
        uint8_t len

    ctypedef struct ew_id:
        uint64_t number
        char s[38]
        uint8_t len
        uint8_t is_number

    ctypedef enum ew_side:
        EW_SIDE_UNKNOWN
        EW_SIDE_BUY
        EW_SIDE_SELL

    ctypedef enum ew_position_side:
        EW_POSITION_SIDE_UNKNOWN
        EW_POSITION_SIDE_BOTH
        EW_POSITION_SIDE_LONG
        EW_POSITION_SIDE_SHORT

    ctypedef enum ew_order_type:
        EW_ORDER_TYPE_UNKNOWN
        EW_ORDER_TYPE_MARKET
        EW_ORDER_TYPE_LIMIT
        EW_ORDER_TYPE_LIMIT_MAKER
        EW_ORDER_TYPE_STOP_MARKET
        EW_ORDER_TYPE_STOP_LIMIT
        EW_ORDER_TYPE_TAKE_PROFIT_MARKET
        EW_ORDER_TYPE_TAKE_PROFIT_LIMIT
        EW_ORDER_TYPE_TRAILING_STOP_MARKET
        EW_ORDER_TYPE_LIQUIDATION

    ctypedef enum ew_time_in_force:
        EW_TIME_IN_FORCE_UNKNOWN
        EW_TIME_IN_FORCE_GTC
        EW_TIME_IN_FORCE_IOC
        EW_TIME_IN_FORCE_FOK
        EW_TIME_IN_FORCE_POST_ONLY
        EW_TIME_IN_FORCE_GTD
        EW_TIME_IN_FORCE_GTE_GTC
        EW_TIME_IN_FORCE_RPI

    ctypedef enum ew_order_status:
        EW_STATUS_UNKNOWN
        EW_STATUS_PENDING_NEW
        EW_STATUS_NEW
        EW_STATUS_PARTIALLY_FILLED
        EW_STATUS_FILLED
        EW_STATUS_PENDING_CANCEL
        EW_STATUS_CANCELED
        EW_STATUS_REJECTED
        EW_STATUS_EXPIRED
        EW_STATUS_EXPIRED_IN_MATCH
        EW_STATUS_TRIGGERING
        EW_STATUS_TRIGGERED
        EW_STATUS_FINISHED
        EW_STATUS_NEW_INSURANCE
        EW_STATUS_NEW_ADL

    ctypedef enum ew_exec_type:
        EW_EXEC_TYPE_UNKNOWN
        EW_EXEC_TYPE_NEW
        EW_EXEC_TYPE_CANCELED
        EW_EXEC_TYPE_REPLACED
        EW_EXEC_TYPE_REJECTED
        EW_EXEC_TYPE_TRADE
        EW_EXEC_TYPE_EXPIRED
        EW_EXEC_TYPE_TRADE_PREVENTION
        EW_EXEC_TYPE_CALCULATED
        EW_EXEC_TYPE_STATUS

    ctypedef enum ew_stp_mode:
        EW_STP_MODE_UNKNOWN
        EW_STP_MODE_NONE
        EW_STP_MODE_EXPIRE_TAKER
        EW_STP_MODE_EXPIRE_MAKER
        EW_STP_MODE_EXPIRE_BOTH
        EW_STP_MODE_DECREMENT
        EW_STP_MODE_TRANSFER

    ctypedef enum ew_margin_mode:
        EW_MARGIN_MODE_UNKNOWN
        EW_MARGIN_MODE_CROSS
        EW_MARGIN_MODE_ISOLATED

    ctypedef enum ew_notice_code:
        EW_NOTICE_UNKNOWN
        EW_NOTICE_UNKNOWN_EVENT
        EW_NOTICE_EMPTY
        EW_NOTICE_WELCOME
        EW_NOTICE_LOGIN_OK
        EW_NOTICE_SUBSCRIBED
        EW_NOTICE_UNSUBSCRIBED
        EW_NOTICE_RESPONSE
        EW_NOTICE_REQUEST
        EW_NOTICE_ERROR
        EW_NOTICE_PING
        EW_NOTICE_PONG
        EW_NOTICE_LISTEN_KEY
        EW_NOTICE_LISTEN_KEY_EXPIRED
        EW_NOTICE_STREAM_TERMINATED
        EW_NOTICE_SERVER_SHUTDOWN
        EW_NOTICE_SYSTEM_CLOSE
        EW_NOTICE_ORDER_LIST
        EW_NOTICE_CONDITIONAL_REJECT
        EW_NOTICE_MARGIN_CALL
        EW_NOTICE_RISK_LEVEL
        EW_NOTICE_LIABILITY
        EW_NOTICE_ACCOUNT_CONFIG
        EW_NOTICE_ACCOUNT_SUMMARY
        EW_NOTICE_STRATEGY
        EW_NOTICE_ADL
        EW_NOTICE_CONNECTED
        EW_NOTICE_DISCONNECTED
        EW_NOTICE_RECONNECTED
        EW_NOTICE_GAP

    ctypedef enum ew_kind:
        EW_NONE
        EW_ORDER
        EW_FILL
        EW_BALANCE
        EW_POSITION
        EW_NOTICE
        EW_KINDS

    const int64_t EW_TIME_NULL
    const int64_t EW_TIME_EMPTY
    enum:
        EW_CODE_NULL
        EW_CODE_EMPTY

    enum:
        EW_EXTRA
        EW_LONG_TEXT
        EW_UNKNOWN_ENUM
        EW_UNREPRESENTABLE

    ctypedef struct ew_header:
        uint64_t present, missing
        int64_t ts_event
        int64_t ts_transact
        int64_t ts_recv
        uint32_t begin, end
        uint16_t event
        uint16_t venue
        uint16_t subscription_id
        uint8_t kind
        uint8_t flags

    ctypedef struct ew_order:
        ew_header h
        ew_dec price, stop_price, avg_price
        ew_dec orig_qty, orig_quote_qty, iceberg_qty
        ew_dec last_price, last_qty, last_quote
        ew_dec cum_qty, cum_quote, remaining_qty
        ew_dec fee, realized_pnl
        int64_t ts_created, ts_working
        uint8_t side, position_side, order_type, time_in_force, status, exec_type, stp_mode
        uint8_t is_maker, is_working, reduce_only
        ew_text32 symbol
        ew_text16 fee_asset
        ew_id order_id, client_order_id, orig_client_order_id, order_list_id, trade_id
        ew_text32 reject_reason

    ctypedef struct ew_fill:
        ew_header h
        ew_dec price, qty, quote_qty
        ew_dec fee, realized_pnl
        uint8_t side, position_side, is_maker
        int64_t ts_created
        ew_text32 symbol
        ew_text16 fee_asset
        ew_id trade_id, order_id, client_order_id

    ctypedef struct ew_balance:
        ew_header h
        ew_dec free, locked, total
        ew_dec cross_wallet
        ew_dec delta
        ew_text16 asset
        ew_text32 reason

    ctypedef struct ew_position:
        ew_header h
        ew_dec qty, available
        ew_dec entry_price, break_even_price, mark_price, liquidation_price
        ew_dec leverage, margin, unrealized_pnl, realized_pnl
        int64_t ts_created
        uint8_t side, margin_mode
        ew_text32 symbol
        ew_text16 asset

    ctypedef struct ew_notice:
        ew_header h
        uint8_t code
        ew_id error_code
        ew_id request_id
        ew_text32 about
        ew_text128 message

    ctypedef union ew_record:
        ew_header h
        ew_order order
        ew_fill fill
        ew_balance balance
        ew_position position
        ew_notice notice


# ---- MARK: Functions ----

cdef extern from "execwire.h" nogil:
    ctypedef enum ew_type:
        EW_TYPE_DEC
        EW_TYPE_TIME
        EW_TYPE_U16
        EW_TYPE_BOOL
        EW_TYPE_ENUM
        EW_TYPE_ID
        EW_TYPE_TEXT

    ctypedef struct ew_field:
        const char *name
        const char *unit
        const char *vocabulary
        const char *const *words
        uint16_t offset
        uint16_t size
        uint8_t type
        uint8_t n_words

    const char *ew_kind_name(unsigned kind)
    size_t ew_kind_size(unsigned kind)
    const ew_field *ew_fields(unsigned kind, size_t *n)

    ctypedef struct ew_dialect:
        pass
    ew_dialect *ew_dialect_parse(const char *table, size_t n, uint16_t venue, ew_error *error)
    void ew_dialect_free(ew_dialect *dialect)
    const char *ew_dialect_name(const ew_dialect *dialect)
    const char *ew_event_name(const ew_dialect *dialect, unsigned event)

    ctypedef struct ew_decoder:
        pass
    ctypedef struct ew_stats:
        uint64_t messages
        uint64_t records
        uint64_t errors
        uint64_t unknown_events
        uint64_t unknown_keys
        uint64_t unknown_enums
        uint64_t unrepresentable
    const size_t EW_MAX_PAYLOAD
    ew_decoder *ew_decoder_new(const ew_dialect *dialect)
    void ew_decoder_free(ew_decoder *decoder)
    const ew_stats *ew_decoder_stats(const ew_decoder *decoder)
    ew_status ew_decode(ew_decoder *decoder, const uint8_t *payload, size_t n, int64_t ts_recv, size_t *n_records)
    enum:
        EW_PADDING
    ew_status ew_decode_padded(ew_decoder *decoder, const uint8_t *payload, size_t n, int64_t ts_recv,
                               size_t *n_records)
    ew_status ew_train(ew_decoder *decoder, const uint8_t *payload, size_t n)
    void ew_rehearse(ew_decoder *decoder)
    void ew_defer(ew_decoder *decoder)
    bint ew_study(ew_decoder *decoder)
    const ew_error *ew_last_error(const ew_decoder *decoder)
    const ew_record *ew_get(const ew_decoder *decoder, size_t i)
    const uint8_t *ew_payload(const ew_decoder *decoder, size_t *n)

    ctypedef enum ew_token_type:
        EW_TOK_STRING
        EW_TOK_NUMBER
        EW_TOK_OBJECT
        EW_TOK_ARRAY
        EW_TOK_TRUE
        EW_TOK_FALSE
        EW_TOK_NULL
    enum:
        EW_TOK_ESCAPED
        EW_TOK_TAKEN
        EW_TOK_NEW_KEY
        EW_TOK_ODD
        EW_TOK_ROW
    ctypedef struct ew_token:
        uint32_t begin
        uint32_t end
        uint32_t next
        uint8_t type
        uint8_t flags
        uint16_t depth
    ew_status ew_explain(ew_decoder *decoder, const uint8_t *payload, size_t n, size_t *n_records,
                         const ew_token **tokens, size_t *n_tokens)
    const uint32_t EW_NO_TOKEN
    ctypedef struct ew_origin:
        uint32_t row
        uint32_t event
        uint32_t frame
        uint32_t field[64]
    const ew_origin *ew_get_origin(const ew_decoder *decoder, size_t i)
    size_t ew_unescape(const uint8_t *s, size_t n, uint8_t *out)

    double ew_dec_double(ew_dec d)
    int ew_dec_scaled(ew_dec d, int scale, int64_t *out)
    size_t ew_dec_text(ew_dec d, char *out)
