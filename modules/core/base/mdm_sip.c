/* SipHash. See the header. */
#include "base/mdm_sip.h"

#include <endian.h>
#include <string.h>

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))

static inline void turn(apr_uint64_t v[4])
{
    v[0] += v[1];
    v[1] = ROTL(v[1], 13) ^ v[0];
    v[0] = ROTL(v[0], 32);
    v[2] += v[3];
    v[3] = ROTL(v[3], 16) ^ v[2];
    v[0] += v[3];
    v[3] = ROTL(v[3], 21) ^ v[0];
    v[2] += v[1];
    v[1] = ROTL(v[1], 17) ^ v[2];
    v[2] = ROTL(v[2], 32);
}

static inline void word(apr_uint64_t v[4], apr_uint64_t m)
{
    v[3] ^= m;
    turn(v);
    turn(v);
    v[0] ^= m;
}

static apr_uint64_t end(apr_uint64_t v[4])
{
    turn(v);
    turn(v);
    turn(v);
    turn(v);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}

/* Up to eight bytes as a number, the first one lowest. */
static inline apr_uint64_t number(const unsigned char *d, apr_size_t n)
{
    apr_uint64_t m = 0;

    memcpy(&m, d, n);
    return le64toh(m);
}

void mdm_sip(const apr_uint64_t key[2], unsigned char first, const void *data, apr_size_t len, apr_uint64_t out[2])
{
    apr_uint64_t v[4] = {key[0] ^ 0x736f6d6570736575ULL, key[1] ^ 0x646f72616e646f6dULL ^ 0xee, key[0] ^ 0x6c7967656e657261ULL,
                         key[1] ^ 0x7465646279746573ULL};
    apr_uint64_t last = (apr_uint64_t)((len + 1) & 0xff) << 56;
    const unsigned char *d = data;

    if (len < 7) {
        last |= first | number(d, len) << 8;
    } else {
        apr_size_t at = 7;

        word(v, first | number(d, 7) << 8);
        for (; len - at >= 8; at += 8) {
            word(v, number(d + at, 8));
        }
        last |= number(d + at, len - at);
    }
    word(v, last);
    v[2] ^= 0xee;
    out[0] = end(v);
    v[1] ^= 0xdd;
    out[1] = end(v);
}
