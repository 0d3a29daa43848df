/* A mutation driver for LLVMFuzzerTestOneInput where libFuzzer is not available (gcc). It takes the subset of
 * libFuzzer's command line that csrc/Makefile uses:
 *
 *   fuzz_X [-runs=N] [-max_total_time=SECONDS] [-max_len=BYTES] [-seed=N] [-timeout=SECONDS] [-dict=FILE]
 *          [-artifact_prefix=PREFIX] [FILE or DIRECTORY]...
 *
 * With plain files and no limit given, each file is run once: that is how a finding is replayed. Otherwise files and
 * directories are seeds, and mutants of them run until a limit is reached.
 *
 * A child process runs the target and a parent watches it, so that a finding is saved however the child died (a
 * sanitizer's exit, a signal, a hang): the child copies every input to shared memory before it runs it. Mutants that
 * reach new code, told by gcc's -fsanitize-coverage=trace-pc, join the corpus. The same seed, target and seeds give
 * the same sequence of inputs. */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
extern int LLVMFuzzerInitialize(int *argc, char ***argv) __attribute__((weak));

typedef struct input {
    uint8_t *data;
    size_t size;
} input;

typedef struct inputs {
    input *items;
    size_t n, cap;
} inputs;

/* What the child tells the parent, followed by the bytes of the input that runs. */
typedef struct shared {
    volatile uint64_t runs;
    volatile uint64_t corpus;
    volatile uint64_t edges;
    volatile size_t size;
    uint8_t data[];
} shared;

static struct options {
    uint64_t runs, seed;
    double seconds;
    size_t max_len;
    unsigned timeout;
    const char *prefix, *dict;
} opt = {0, 1, 0, 16384, 20, "", NULL};

static inputs corpus, words;

static void die(const char *what, const char *about) {
    fprintf(stderr, "fuzz: %s: %s\n", what, about);
    exit(2);
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

/*==== MARK: Coverage ====*/

#define MAP_SIZE 65536
static uint8_t map[MAP_SIZE];      /* of one run: edge -> hits */
static uint8_t virgin[MAP_SIZE];   /* of all runs: edge -> classes of hit counts seen */
static uintptr_t previous;

void __sanitizer_cov_trace_pc(void);
void __sanitizer_cov_trace_pc(void) {
    /* Relative to the target, so that address space randomisation does not change the order of findings. */
    uintptr_t pc = (uintptr_t)__builtin_return_address(0) - (uintptr_t)&LLVMFuzzerTestOneInput;
    pc = (pc * (uintptr_t)0x9E3779B97F4A7C15u) >> 40;
    uint8_t *hits = &map[(pc ^ previous) % MAP_SIZE];
    if (*hits != 255)
        ++*hits;
    previous = pc >> 1;
}

static uint8_t hit_class(uint8_t hits) {
    return hits < 4 ? hits : hits < 8 ? 4 : hits < 16 ? 8 : hits < 32 ? 16 : hits < 128 ? 32 : 64;
}

/* Number of edges (or hit-count classes of them) that this run was the first to reach; clears the map. */
static unsigned new_coverage(uint64_t *edges) {
    unsigned found = 0;
    for (size_t i = 0; i < MAP_SIZE; i += 8) {
        uint64_t eight;
        memcpy(&eight, map + i, 8);
        if (!eight)
            continue;
        for (size_t j = i; j < i + 8; ++j) {
            uint8_t class = hit_class(map[j]);
            if (class & ~virgin[j]) {
                *edges += !virgin[j];
                virgin[j] |= class;
                ++found;
            }
        }
        memset(map + i, 0, 8);
    }
    previous = 0;
    return found;
}

/*==== MARK: Inputs ====*/

static void add(inputs *list, const uint8_t *data, size_t size) {
    if (list->n == list->cap) {
        list->cap = list->cap ? list->cap * 2 : 64;
        list->items = realloc(list->items, list->cap * sizeof *list->items);
        if (!list->items)
            die("out of memory", "inputs");
    }
    uint8_t *copy = malloc(size ? size : 1);
    if (!copy)
        die("out of memory", "input");
    memcpy(copy, data, size);
    list->items[list->n++] = (input){copy, size};
}

static void add_file(const char *path) {
    FILE *file = fopen(path, "rb");
    if (!file)
        die(path, strerror(errno));
    size_t size = 0, cap = 65536;
    uint8_t *data = malloc(cap);
    for (size_t got; data && (got = fread(data + size, 1, cap - size, file)) > 0;) {
        size += got;
        if (size == cap)
            data = realloc(data, cap *= 2);
    }
    fclose(file);
    if (!data)
        die("out of memory", path);
    add(&corpus, data, size);
    free(data);
}

static int by_name(const struct dirent **a, const struct dirent **b) {
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void add_path(const char *path) {
    struct stat st;
    if (stat(path, &st))
        die(path, strerror(errno));
    if (!S_ISDIR(st.st_mode)) {
        add_file(path);
        return;
    }
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, by_name);
    if (n < 0)
        die(path, strerror(errno));
    for (int i = 0; i < n; ++i) {
        if (entries[i]->d_name[0] != '.') {
            size_t room = strlen(path) + strlen(entries[i]->d_name) + 2;
            char *inner = malloc(room);
            if (!inner)
                die("out of memory", path);
            snprintf(inner, room, "%s/%s", path, entries[i]->d_name);
            add_path(inner);
            free(inner);
        }
        free(entries[i]);
    }
    free(entries);
}

/* libFuzzer's dictionary: lines of "token" or name="token" with \\ \" and \xAB. */
static void read_dictionary(const char *path) {
    FILE *file = fopen(path, "r");
    if (!file)
        die(path, strerror(errno));
    char line[512];
    while (fgets(line, sizeof line, file)) {
        char *begin = strchr(line, '"'), *end = strrchr(line, '"');
        if (line[0] == '#' || !begin || begin == end)
            continue;
        uint8_t word[512];
        size_t n = 0;
        for (char *p = begin + 1; p < end; ++p) {
            unsigned byte;
            if (p[0] == '\\' && p[1] == 'x' && sscanf(p + 2, "%2x", &byte) == 1) {
                word[n++] = (uint8_t)byte;
                p += 3;
            } else {
                if (p[0] == '\\' && p + 1 < end)
                    ++p;
                word[n++] = (uint8_t)*p;
            }
        }
        add(&words, word, n);
    }
    fclose(file);
}

/*==== MARK: Mutation ====*/

static uint64_t state;

static uint64_t rnd(void) { /* xorshift64* */
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    return state * 0x2545F4914F6CDD1Du;
}

static size_t below(size_t n) {
    return n ? (size_t)(rnd() >> 11) % n : 0;
}

/* Mostly short, sometimes anything up to n. */
static size_t length(size_t n) {
    size_t some = below(8) ? 1 + below(16) : 1 + below(n);
    return some < n ? some : n;
}

/* Replace old bytes at `at` by these; nothing happens where that would be too long. `with` may not point into s. */
static void replace(uint8_t *s, size_t *n, size_t at, size_t old, const uint8_t *with, size_t new) {
    if (*n - old + new > opt.max_len)
        return;
    memmove(s + at + new, s + at + old, *n - at - old);
    memcpy(s + at, with, new);
    *n = *n - old + new;
}

static int is_number_byte(uint8_t c) {
    return (c >= '0' && c <= '9') || c == '-' || c == '+' || c == '.' || c == 'e' || c == 'E';
}

/* A run of number bytes becomes another number: random digits, point and exponent, or a word of the dictionary. */
static void mutate_number(uint8_t *s, size_t *n) {
    size_t at = below(*n), end;
    while (at < *n && !(s[at] >= '0' && s[at] <= '9'))
        ++at;
    if (at == *n)
        return;
    for (end = at; end < *n && is_number_byte(s[end]);)
        ++end;
    while (at && is_number_byte(s[at - 1]))
        --at;
    char text[96];
    size_t k = 0, whole = 1 + below(below(4) ? 8 : 32);
    if (!below(4))
        text[k++] = '-';
    for (size_t i = 0; i < whole; ++i)
        text[k++] = (char)('0' + below(10));
    if (below(2)) {
        text[k++] = '.';
        for (size_t i = 0, digits = 1 + below(24); i < digits; ++i)
            text[k++] = (char)('0' + below(10));
    }
    if (!below(6))
        k += (size_t)snprintf(text + k, sizeof text - k, "%s%d", below(2) ? "e" : "E", (int)below(2200) - 1100);
    replace(s, n, at, end - at, (const uint8_t *)text, k);
}

/* The end of the bracketed or quoted piece that begins at s[at], as far as brackets alone can tell. */
static size_t piece_end(const uint8_t *s, size_t n, size_t at) {
    size_t depth = 0;
    for (size_t i = at; i < n; ++i) {
        if (s[i] == '{' || s[i] == '[') {
            ++depth;
        } else if (s[i] == '}' || s[i] == ']') {
            if (depth <= 1)
                return i + 1;
            --depth;
        } else if (!depth && s[i] == ',') {
            return i;
        }
    }
    return n;
}

/* A structural piece (an object, an array, a member) of an input; *size is 0 if there is none. */
static const uint8_t *some_piece(const input *from, size_t *size) {
    size_t at = below(from->size);
    while (at < from->size && !strchr("{[\"", from->data[at]))
        ++at;
    *size = at < from->size ? piece_end(from->data, from->size, at) - at : 0;
    return from->data + at;
}

static size_t mutate(uint8_t *s, size_t n) {
    for (size_t rounds = (size_t)1 << below(5); rounds; --rounds) {
        const input *other = &corpus.items[below(corpus.n)];
        uint8_t bytes[16];
        size_t at = below(n + 1), len, size;
        const uint8_t *piece;
        switch (below(13)) {
        case 0: /* flip a bit */
            if (n)
                s[below(n)] ^= (uint8_t)(1u << below(8));
            break;
        case 1: /* another byte */
            if (n)
                s[below(n)] = (uint8_t)rnd();
            break;
        case 2: /* insert bytes */
            for (len = 0; len < sizeof bytes; ++len)
                bytes[len] = (uint8_t)rnd();
            replace(s, &n, at, 0, bytes, length(sizeof bytes));
            break;
        case 3: /* delete a range */
            if (at < n) {
                len = length(n - at);
                memmove(s + at, s + at + len, n - at - len);
                n -= len;
            }
            break;
        case 4: /* cut off */
            if (!below(4))
                n = at;
            break;
        case 5: /* repeat a range */
            if (at < n) {
                len = length(n - at);
                uint8_t *copy = malloc(len);
                if (copy) {
                    memcpy(copy, s + at, len);
                    replace(s, &n, below(n + 1), 0, copy, len);
                    free(copy);
                }
            }
            break;
        case 6: /* insert or overwrite with a word */
        case 7:
            if (words.n) {
                const input *word = &words.items[below(words.n)];
                size_t room = n - at;
                replace(s, &n, at, below(2) ? 0 : word->size < room ? word->size : room, word->data, word->size);
            }
            break;
        case 8: /* another number */
        case 9:
            mutate_number(s, &n);
            break;
        case 10: /* a piece of another input, inserted before a structural character */
        case 11:
            piece = some_piece(other, &size);
            while (at < n && !strchr("{[,}]\"", s[at]))
                ++at;
            if (size)
                replace(s, &n, at, 0, piece, size);
            break;
        default: /* head of this one, tail of another */
            len = below(other->size);
            if (other->size)
                replace(s, &n, at, n - at, other->data + len, other->size - len);
        }
    }
    return n;
}

/*==== MARK: Running ====*/

/* The target gets an allocation of exactly the input's size, so that AddressSanitizer sees every byte read beyond. */
static void run_one(const uint8_t *data, size_t size, shared *share) {
    memcpy(share->data, data, size);
    share->size = size;
    uint8_t *exact = malloc(size ? size : 1);
    if (!exact)
        die("out of memory", "run");
    memcpy(exact, data, size);
    LLVMFuzzerTestOneInput(size ? exact : exact + 1, size);
    free(exact);
    ++share->runs;
}

static void child(shared *share, int mutants) {
    double end = now() + opt.seconds;
    uint64_t edges = 0;
    size_t seeds = corpus.n;
    memset(map, 0, sizeof map);
    for (size_t i = 0; i < seeds; ++i) {
        run_one(corpus.items[i].data, corpus.items[i].size, share);
        new_coverage(&edges);
    }
    if (!mutants)
        return;
    uint8_t *buffer = malloc(opt.max_len);
    if (!buffer)
        die("out of memory", "buffer");
    for (uint64_t i = 0; !opt.runs || i < opt.runs; ++i) {
        if (opt.seconds > 0 && i % 64 == 0 && now() >= end)
            break;
        /* Half of the time one of the newest inputs: what was reached last leads on. */
        size_t window = corpus.n < 64 || below(2) ? corpus.n : 64;
        const input *parent = &corpus.items[corpus.n - 1 - below(window)];
        size_t size = parent->size < opt.max_len ? parent->size : opt.max_len;
        memcpy(buffer, parent->data, size);
        size = mutate(buffer, size);
        run_one(buffer, size, share);
        if (new_coverage(&edges))
            add(&corpus, buffer, size);
        share->edges = edges;
        share->corpus = corpus.n;
    }
    free(buffer);
}

static void save(const shared *share, const char *what) {
    char path[4096];
    uint64_t hash = 0xcbf29ce484222325u; /* FNV-1a */
    for (size_t i = 0; i < share->size; ++i)
        hash = (hash ^ share->data[i]) * 0x100000001b3u;
    snprintf(path, sizeof path, "%s%s-%016llx", opt.prefix, what, (unsigned long long)hash);
    FILE *file = fopen(path, "wb");
    if (!file || fwrite(share->data, 1, share->size, file) != share->size || fclose(file))
        die(path, strerror(errno));
    fprintf(stderr, "fuzz: %s after %llu runs; input of %zu bytes saved as %s\n", what,
            (unsigned long long)share->runs, share->size, path);
}

/* Returns the exit status: 0, or 1 after a finding. */
static int watch(shared *share, pid_t pid) {
    double begin = now(), moved = begin;
    uint64_t runs = 0;
    int status, hung = 0;
    for (;;) {
        pid_t done = waitpid(pid, &status, WNOHANG);
        if (done == pid)
            break;
        if (done < 0)
            die("waitpid", strerror(errno));
        if (share->runs != runs) {
            runs = share->runs;
            moved = now();
        } else if (now() - moved > opt.timeout && !hung) {
            hung = 1;
            kill(pid, SIGKILL);
        }
        nanosleep(&(struct timespec){0, 20 * 1000 * 1000}, NULL);
    }
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0) {
        double seconds = now() - begin;
        printf("%llu runs in %.1f s (%.0f/s), corpus %llu, edges %llu, seed %llu\n", (unsigned long long)share->runs,
               seconds, (double)share->runs / (seconds > 0 ? seconds : 1), (unsigned long long)share->corpus,
               (unsigned long long)share->edges, (unsigned long long)opt.seed);
        return 0;
    }
    save(share, hung ? "hang" : "crash");
    if (WIFSIGNALED(status) && !hung)
        fprintf(stderr, "fuzz: signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
    return 1;
}

static int option(const char *arg, const char *name, const char **value) {
    size_t n = strlen(name);
    if (strncmp(arg, name, n) || arg[n] != '=')
        return 0;
    *value = arg + n + 1;
    return 1;
}

int main(int argc, char **argv) {
    int directories = 0;
    struct stat st;
    if (LLVMFuzzerInitialize)
        LLVMFuzzerInitialize(&argc, &argv);
    for (int i = 1; i < argc; ++i) {
        const char *v;
        if (option(argv[i], "-runs", &v)) opt.runs = strtoull(v, NULL, 10);
        else if (option(argv[i], "-max_total_time", &v)) opt.seconds = strtod(v, NULL);
        else if (option(argv[i], "-max_len", &v)) opt.max_len = strtoull(v, NULL, 10);
        else if (option(argv[i], "-seed", &v)) opt.seed = strtoull(v, NULL, 10);
        else if (option(argv[i], "-timeout", &v)) opt.timeout = (unsigned)strtoul(v, NULL, 10);
        else if (option(argv[i], "-dict", &v)) opt.dict = v;
        else if (option(argv[i], "-artifact_prefix", &v)) opt.prefix = v;
        else if (argv[i][0] == '-') die("unknown option", argv[i]);
        else {
            directories |= !stat(argv[i], &st) && S_ISDIR(st.st_mode);
            add_path(argv[i]);
        }
    }
    int mutants = opt.runs || opt.seconds > 0 || directories || !corpus.n;
    if (!corpus.n)
        add(&corpus, (const uint8_t *)"{}", 2);
    if (opt.dict)
        read_dictionary(opt.dict);
    if (!opt.max_len)
        opt.max_len = 1;
    state = opt.seed * 0x9E3779B97F4A7C15u + 1;
    if (!state)
        state = 1;

    size_t largest = opt.max_len;
    for (size_t i = 0; i < corpus.n; ++i)
        if (corpus.items[i].size > largest)
            largest = corpus.items[i].size;
    shared *share = mmap(NULL, sizeof *share + largest, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (share == MAP_FAILED)
        die("mmap", strerror(errno));
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0)
        die("fork", strerror(errno));
    if (pid == 0) {
        child(share, mutants);
        exit(0); /* runs the leak check */
    }
    int status = watch(share, pid);
    munmap(share, sizeof *share + largest);
    for (size_t i = 0; i < corpus.n; ++i)
        free(corpus.items[i].data);
    for (size_t i = 0; i < words.n; ++i)
        free(words.items[i].data);
    free(corpus.items);
    free(words.items);
    return status;
}
