/* follow.c for x86-64-v2. */
#if defined(__x86_64__)
#define EW_SET sse4
#define EW_SET_SSE4
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("ssse3,sse4.1"))), apply_to = function)
#else
#pragma GCC target("ssse3,sse4.1")
#endif
#include "follow.c"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int ew_follow_sse4_is_for_x86; /* a file must not be empty */
#endif
