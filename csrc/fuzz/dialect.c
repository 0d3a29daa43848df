/* Dialect tables: whatever they say, they compile or are refused with a line number. What compiles decodes: the part
 * of the input behind a NUL byte, if there is one, and a few payloads that venues of this kind send. */
#include "execwire.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const payloads[] = {
        "{\"e\":\"executionReport\",\"E\":1700000000123,\"s\":\"ABC\",\"p\":\"1.50\",\"S\":\"BUY\"}",
        "{\"stream\":\"k\",\"data\":{\"e\":\"ACCOUNT_UPDATE\",\"a\":{\"m\":\"ORDER\",\"B\":[{\"a\":\"X\",\"wb\":\"1\"}],\"P\":[{}]}}}",
        "{\"arg\":{\"channel\":\"orders\",\"topic\":\"account\"},\"data\":[{\"coin\":[{\"coin\":\"X\"}],\"feeDetail\":[{\"fee\":\"1\"}]}]}",
        "[{},{\"event\":\"error\",\"code\":30001,\"msg\":\"x\"}]",
        "pong",
    };
    const uint8_t *nul = memchr(data, 0, size);
    const size_t n = nul ? (size_t)(nul - data) : size;
    char *table = malloc(n ? n : 1);
    ew_error error;
    if (!table)
        abort();
    memcpy(table, data, n);
    ew_dialect *d = ew_dialect_parse(table, n, 1, &error);
    free(table);
    if (!d) {
        if (error.status == EW_OK || !error.message || error.position < 1 || error.position > n + 2)
            abort();
        return 0;
    }
    ew_decoder *k = ew_decoder_new(d);
    if (!k || error.status || !*ew_dialect_name(d) || *ew_event_name(d, 0))
        abort();
    ew_rehearse(k);
    if (ew_decoder_stats(k)->messages || ew_last_error(k)->status)
        abort();
    for (size_t i = 0; i < sizeof payloads / sizeof *payloads + (nul != NULL); i++) {
        const bool own = i == sizeof payloads / sizeof *payloads;
        const uint8_t *s = own ? nul + 1 : (const uint8_t *)payloads[i];
        const size_t len = own ? size - n - 1 : strlen(payloads[i]);
        size_t n_records;
        for (int again = 0; again < 3; again++)
            if (ew_decode(k, s, len, 0, &n_records) != EW_OK && n_records)
                abort();
    }
    ew_decoder_free(k);
    ew_dialect_free(d);
    return 0;
}
