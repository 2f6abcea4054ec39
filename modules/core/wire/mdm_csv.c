/* Rows of CSV. */
#include "wire/mdm_csv.h"

#include <string.h>

/* Room for the worst case: each byte doubled, two quotes, an apostrophe, a comma. */
static apr_size_t room(const char *s)
{
    return s ? strlen(s) * 2 + 4 : 1;
}

static char *put(char *o, const char *s)
{
    if (!s || !*s)
        return o;
    *o++ = '"';
    if (strchr("=+-@\t\r\n", *s))
        *o++ = '\'';
    for (; *s; s++) {
        if (*s == '"')
            *o++ = '"';
        *o++ = (unsigned char)*s < ' ' || *s == 0x7f ? ' ' : *s;
    }
    *o++ = '"';
    return o;
}

char *mdm_csv_row(apr_pool_t *p, const char *const *cells, int n)
{
    apr_size_t size = 3;
    char *row, *o;
    int i;

    for (i = 0; i < n; i++)
        size += room(cells[i]);
    row = o = apr_palloc(p, size);
    for (i = 0; i < n; i++) {
        if (i)
            *o++ = ',';
        o = put(o, cells[i]);
    }
    memcpy(o, "\r\n", 3);
    return row;
}
