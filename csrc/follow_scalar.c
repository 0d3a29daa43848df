/* follow.c without SIMD: for machines without any that it knows, and to compare the others with. */
#define EW_SET scalar
#define EW_SET_SCALAR
#include "follow.c"
