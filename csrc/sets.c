/* The instruction sets that the hot path is compiled for, and which of them this machine has. */
#include "paths.h"

#if defined(__x86_64__)
static bool has_sse4(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.1") && __builtin_cpu_supports("ssse3");
}

static bool has_avx2(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi") && __builtin_cpu_supports("bmi2");
}
#endif

static bool always(void) { return true; }

static const struct set {
    const char *name;
    ew_follow *follow;
    bool (*is_here)(void);
} sets[] = {
#if defined(__x86_64__)
    {"avx2", ew_follow_avx2, has_avx2},
    {"sse4", ew_follow_sse4, has_sse4},
#elif defined(__aarch64__)
    {"neon", ew_follow_neon, always},
#endif
    {"scalar", ew_follow_scalar, always},
};

static const struct set *nth(size_t i)
{
    for (size_t k = 0; k < sizeof sets / sizeof *sets; k++)
        if (sets[k].is_here() && i-- == 0)
            return &sets[k];
    return NULL;
}

const char *ew_instruction_set(size_t i)
{
    const struct set *s = nth(i);
    return s ? s->name : NULL;
}

ew_follow *ew_follow_for(const char *name)
{
    const struct set *s = nth(0);
    for (size_t i = 0; name && s && strcmp(s->name, name) != 0; i++)
        s = nth(i);
    return s ? s->follow : NULL;
}
