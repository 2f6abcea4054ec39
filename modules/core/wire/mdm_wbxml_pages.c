/* Names of tags, sorted by number as the table is. */
#include "wire/mdm_wbxml.h"

typedef struct row_t {
    int tag;
    const char *name;
} row_t;

static const row_t tags[] = {
#define P(page, shortname, space)
#define T(shortname, page, token, name) {(page) << 8 | (token), #name},
#include "wire/mdm_wbxml_pages.def"
#undef P
#undef T
};

static const row_t pages[] = {
#define P(page, shortname, space) {page, space},
#define T(shortname, page, token, name)
#include "wire/mdm_wbxml_pages.def"
#undef P
#undef T
};

static const char *find(const row_t *rows, unsigned count, int tag)
{
    unsigned low = 0, high = count;

    while (low < high) {
        unsigned mid = (low + high) / 2;

        if (rows[mid].tag == tag)
            return rows[mid].name;
        if (rows[mid].tag < tag)
            low = mid + 1;
        else
            high = mid;
    }
    return NULL;
}

const char *mdm_wbxml_name(int tag)
{
    return find(tags, sizeof(tags) / sizeof(tags[0]), tag);
}

const char *mdm_wbxml_space(int tag)
{
    return find(pages, sizeof(pages) / sizeof(pages[0]), tag >> 8);
}
