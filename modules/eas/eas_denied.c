/* Who was told lately that he may not have the device that he brings. A small table of each child, lossy when crowded: whoever is not in it is
 * asked for in the database again. */
#include <string.h>

#include <apr_strings.h>
#include <apr_thread_mutex.h>

#include "eas.h"

#define PLACES 4096u
#define FOR_MS 60000

/* The words are mdm_eas_first_contact()'s. */
static const char *const words[] = {"", "policy", "limit", "unfinished", "kind"};
#define WORDS (sizeof(words) / sizeof(words[0]))

typedef struct place_t {
    unsigned char key[24]; /* of a SHA-256 */
    unsigned word;
    apr_int64_t until_ms;
} place_t;

static struct {
    apr_thread_mutex_t *lock;
    place_t *places;
} denied;

apr_status_t eas_denied_child(apr_pool_t *p)
{
    denied.places = apr_pcalloc(p, PLACES * sizeof(*denied.places));
    return apr_thread_mutex_create(&denied.lock, APR_THREAD_MUTEX_DEFAULT, p);
}

apr_status_t eas_denied_forget(mdm_ctx_t *ctx)
{
    apr_thread_mutex_lock(denied.lock);
    memset(denied.places, 0, PLACES * sizeof(*denied.places));
    apr_thread_mutex_unlock(denied.lock);
    return APR_SUCCESS;
}

static place_t *place_of(eas_call_t *c, unsigned char hash[32])
{
    const char *both = apr_pstrcat(c->r->pool, c->who.person_id, "|", c->query->device_id, NULL);
    apr_uint32_t n;

    mdm_sha256(both, strlen(both), hash);
    memcpy(&n, hash + 24, sizeof(n));
    return &denied.places[n % PLACES];
}

const char *eas_denied_known(eas_call_t *c)
{
    unsigned char hash[32];
    const place_t *place = place_of(c, hash);
    const char *word = NULL;

    apr_thread_mutex_lock(denied.lock);
    if (place->until_ms > mdm_now_ms(c->ctx) && memcmp(place->key, hash, sizeof(place->key)) == 0) {
        word = words[place->word];
    }
    apr_thread_mutex_unlock(denied.lock);
    return word;
}

void eas_denied_note(eas_call_t *c, const char *word)
{
    unsigned char hash[32];
    place_t *place = place_of(c, hash);
    unsigned i = WORDS - 1;

    while (i > 0 && strcmp(words[i], word) != 0) {
        i--;
    }
    apr_thread_mutex_lock(denied.lock);
    memcpy(place->key, hash, sizeof(place->key));
    place->word = i;
    place->until_ms = mdm_now_ms(c->ctx) + FOR_MS;
    apr_thread_mutex_unlock(denied.lock);
}
