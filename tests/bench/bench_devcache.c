/* PRF-07: a million devices with three keys each in at most 256 MB; time of a look-up in one process, and what a second
 * process beside it adds (2.0 = twice the look-ups). Prints one JSON line. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>
#include "domain/mdm_devcache.h"

#define DEVICES 1000000u
#define LOOKUPS 3000000u
#define SIZE (256ull << 20)

static double now_s(void)
{
    struct timespec t;

    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

/* Random devices by certificate hash, key computed each time as a request does. Seconds taken; adds what was not found. */
static double run(mdm_devcache_t *c, unsigned seed, apr_uint64_t *missing)
{
    unsigned char id[32] = {0};
    double start = now_s();
    mdm_devrec_t rec;
    unsigned i;

    for (i = 0; i < LOOKUPS; i++) {
        unsigned n;
        mdm_devkey_t k;

        seed = seed * 1664525u + 1013904223u;
        n = (unsigned)(((apr_uint64_t)seed * DEVICES) >> 32);
        memcpy(id, &n, sizeof(n));
        k = mdm_devcache_key(c, 'c', id, sizeof(id));
        *missing += mdm_devcache_get(c, &k, &rec) != APR_SUCCESS;
    }
    return now_s() - start;
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
    apr_uint64_t missing = 0;
    double one, two, start;
    mdm_devcache_t *c;
    pid_t p[2];
    int i, status, bad = 0;

    if (mem == MAP_FAILED || mdm_devcache_init(mem, SIZE, seed, &c) != APR_SUCCESS) {
        fprintf(stderr, "no memory\n");
        return 1;
    }
    fill(c);
    run(c, 1, &missing); /* warm up */
    one = run(c, 2, &missing);
    start = now_s();
    for (i = 0; i < 2; i++) {
        p[i] = fork();
        if (p[i] == 0) {
            apr_uint64_t lost = 0;

            run(c, 3u + (unsigned)i, &lost);
            _exit(lost != 0);
        }
    }
    for (i = 0; i < 2; i++) {
        waitpid(p[i], &status, 0);
        bad |= status;
    }
    two = now_s() - start;
    printf("{\"id\":\"PRF-07\",\"name\":\"device cache look-up\",\"value\":%.0f,\"unit\":\"ns\",\"mb\":%llu,\"devices\":%u,"
           "\"missing\":%llu,\"scale_2\":%.2f}\n",
           one / LOOKUPS * 1e9, (unsigned long long)(SIZE >> 20), DEVICES, (unsigned long long)missing, 2 * one / two);
    return missing || bad || one / LOOKUPS > 1e-6;
}
