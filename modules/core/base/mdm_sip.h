/* SipHash-2-4 with 128 bits of result: the keyed hash of the tables in shared memory. A few hundred instructions; asking OpenSSL for a
 * keyed hash costs twenty thousand, each time. */
#ifndef MDM_SIP_H
#define MDM_SIP_H

#include <apr.h>

/* Hash of the message first | data under key. */
void mdm_sip(const apr_uint64_t key[2], unsigned char first, const void *data, apr_size_t len, apr_uint64_t out[2]);

#endif
