/* follow.c without any instructions of one kind of machine. */
#define EW_SET scalar
#include "follow.c"
