/* follow.c for aarch64. */
#if defined(__aarch64__)
#define EW_SET neon
#define EW_SET_NEON
#include "follow.c"
#else
typedef int ew_follow_neon_is_for_arm; /* a file must not be empty */
#endif
