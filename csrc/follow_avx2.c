/* follow.c for x86-64-v3. */
#if defined(__x86_64__)
#define EW_SET avx2
#define EW_SET_AVX2
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,bmi,bmi2,lzcnt,popcnt"))), apply_to = function)
#else
#pragma GCC target("avx2,bmi,bmi2,lzcnt,popcnt")
#endif
#include "follow.c"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#else
typedef int ew_follow_avx2_is_for_x86; /* a file must not be empty */
#endif
