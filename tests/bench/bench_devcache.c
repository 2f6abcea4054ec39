/* PRF-07: a million devices with three keys each in at most 256 MB. CPU time of a look-up by certificate hash, median of some
 * rounds, beside a floor: one read of a random cache line of the same memory, where the next address hangs on what was read.
 * scale_2: what two processes do together at one time, by CPU time (2 = twice as much), so that a busy machine does not
 * spoil it; floor_scale_2: the same of the floor, which shares nothing but the memory bus. Prints one JSON line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "domain/mdm_devcache.h"

#define DEVICES 1000000u
#define LOOKUPS 1000000u
#define ROUNDS 5
#define SIZE (256ull << 20)

typedef double (*work_fn)(mdm_devcache_t *c, unsigned seed, apr_uint64_t *missing);

static double cpu_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static unsigned next(unsigned seed)
{
    return seed * 1664525u + 1013904223u;
}

/* Random devices, key computed each time as a request does. Seconds taken; adds what was not found. */
static double look_up(mdm_devcache_t *c, unsigned seed, apr_uint64_t *missing)
{
    unsigned char id[32] = {0};
    double start = cpu_s();
    mdm_devrec_t rec;
    unsigned i;

    for (i = 0; i < LOOKUPS; i++) {
        unsigned n;
        mdm_devkey_t k;

        seed = next(seed);
        n = (unsigned)(((apr_uint64_t)seed * DEVICES) >> 32);
        memcpy(id, &n, sizeof(n));
        k = mdm_devcache_key(c, 'c', id, sizeof(id));
        *missing += mdm_devcache_get(c, &k, &rec) != APR_SUCCESS;
    }
    return cpu_s() - start;
}

static double read_lines(mdm_devcache_t *c, unsigned seed, apr_uint64_t *sum)
{
    double start = cpu_s();
    unsigned i, got = 0;

    for (i = 0; i < LOOKUPS; i++) {
        seed = next(seed + got);
        got = *(volatile unsigned char *)((char *)c + (((apr_uint64_t)seed * (SIZE / 64)) >> 32) * 64) & 1;
    }
    *sum += got & 0;
    return cpu_s() - start;
}

/* CPU seconds of each of two processes that do the same at once, on the average; negative: something was not found. */
static double beside(mdm_devcache_t *c, work_fn work, double *shared)
{
    int i, status, bad = 0;
    pid_t p[2];

    for (i = 0; i < 2; i++) {
        p[i] = fork();
        if (p[i] == 0) {
            apr_uint64_t lost = 0;

            shared[i] = work(c, 3u + (unsigned)i, &lost);
            _exit(lost != 0);
        }
    }
    for (i = 0; i < 2; i++) {
        waitpid(p[i], &status, 0);
        bad |= status;
    }
    return bad ? -1 : (shared[0] + shared[1]) / 2;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;

    return x < y ? -1 : x > y;
}

/* Medians: alone in ns, and the scale of two. */
static int measure(mdm_devcache_t *c, work_fn work, double *shared, double *ns, double *scale)
{
    double alone[ROUNDS], ratio[ROUNDS];
    apr_uint64_t missing = 0;
    int i, bad = 0;

    work(c, 1, &missing); /* warm up */
    for (i = 0; i < ROUNDS; i++) {
        double two;

        alone[i] = work(c, 2, &missing);
        two = beside(c, work, shared);
        bad |= two < 0;
        ratio[i] = 2 * alone[i] / two;
    }
    qsort(alone, ROUNDS, sizeof(*alone), by_value);
    qsort(ratio, ROUNDS, sizeof(*ratio), by_value);
    *ns = alone[ROUNDS / 2] / LOOKUPS * 1e9;
    *scale = ratio[ROUNDS / 2];
    return bad || missing;
}

static void fill(mdm_devcache_t *c)
{
    unsigned char id[32] = {0};
    unsigned i;

    for (i = 0; i < DEVICES; i++) {
        mdm_devrec_t r = {.kind = MDM_KIND_MDM, .state = MDM_DEV_ACTIVE};

        memcpy(id, &i, sizeof(i));
        memcpy(r.record, &i, sizeof(i));
        r.keys[MDM_DK_DEVICE] = mdm_devcache_key(c, 'd', id, 16);
        r.keys[MDM_DK_CERT] = mdm_devcache_key(c, 'c', id, sizeof(id));
        r.keys[MDM_DK_NATIVE] = mdm_devcache_key(c, 'u', id, 25);
        mdm_devcache_put(c, &r, &r.keys[MDM_DK_CERT], mdm_devcache_ticket(c, &r.keys[MDM_DK_CERT]));
    }
}

int main(void)
{
    static const unsigned char seed[16] = "bench-bench-benc";
    void *mem = mmap(NULL, SIZE, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double *shared = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    double ns, floor_ns, scale, floor_scale;
    mdm_devcache_t *c;
    int missing;

    if (mem == MAP_FAILED || shared == MAP_FAILED || mdm_devcache_init(mem, SIZE, seed, &c) != APR_SUCCESS) {
        fprintf(stderr, "no memory\n");
        return 1;
    }
    fill(c);
    measure(c, read_lines, shared, &floor_ns, &floor_scale);
    missing = measure(c, look_up, shared, &ns, &scale);
    printf("{\"value\":%.0f,\"reference\":%.0f,\"mb\":%llu,\"devices\":%u,\"missing\":%d,\"scale_2\":%.2f,\"floor_scale_2\":%.2f}\n",
           ns, floor_ns, (unsigned long long)(SIZE >> 20), DEVICES, missing, scale, floor_scale);
    return missing;
}
