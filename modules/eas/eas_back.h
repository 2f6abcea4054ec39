/* One request to a back end over a connection of mod_proxy's pools: connect, write, read the answer strictly. What is asked and what is
 * done with the answer is the caller's. */
#ifndef EAS_BACK_H
#define EAS_BACK_H

#include "eas.h"

/* ---- what is written (eas_out.c) */
typedef struct eas_out_t {
    const mdm_eas_server_t *server;
    const mdm_eas_query_t *query;
    int has_key; /* a policy key goes with it */
    apr_uint32_t key;
    int own;     /* a request of ours: of the client's headers only those that say who it is */
} eas_out_t;
/* Request line and headers; end: the last of them, which say where the body ends, and the empty line. *out is to be freed. */
apr_status_t eas_out_head(eas_call_t *c, const eas_out_t *o, const char *end, char **out);
/* Those headers of an answer that a phone may see. */
apr_table_t *eas_out_kept(apr_pool_t *p, const mdm_eas_server_t *server, const apr_table_t *headers);

/* ---- the connection (eas_back.c) */
typedef struct eas_back_t eas_back_t;

/* Of a back end's answer. */
typedef struct eas_head_t {
    int status;
    apr_table_t *headers; /* all, each line an entry; in the pool of the request */
    int bare;             /* there is no body */
} eas_head_t;

apr_status_t eas_back_child(apr_pool_t *p);
void eas_back_register(void);

/* A connection, new or kept from earlier. MDM_EUNAVAIL: none; mod_proxy has said why. The server's strings must outlive it. */
apr_status_t eas_back_open(request_rec *r, const mdm_eas_server_t *server, eas_back_t **out);
/* True if it was used before: then it may turn out to be dead. */
int eas_back_used(const eas_back_t *b);
/* Puts it to what the next flush sends; the data must live until then. All in one: what httpd has to keep for later takes a pool of its own. */
void eas_back_write(eas_back_t *b, const char *data, apr_size_t len);
/* Passes on what a brigade of the client's holds; the brigade is empty afterwards. framed: as a chunk. */
apr_status_t eas_back_pass(eas_back_t *b, apr_bucket_brigade *bb, int framed);
apr_status_t eas_back_flush(eas_back_t *b);
/* Readable when there may be something of the answer. */
int eas_back_fd(const eas_back_t *b);
/* It will be waited for, for long perhaps: memory that its connection keeps for later goes back. */
void eas_back_rest(eas_back_t *b);
/* APR_SUCCESS: the answer has begun. APR_EAGAIN: nothing yet. Else: it is over. Does not wait. */
apr_status_t eas_back_peek(eas_back_t *b);
/* Waits for status line and headers. MDM_EINPUT: this is no HTTP; APR_EOF and others: the connection broke. */
apr_status_t eas_back_head(eas_back_t *b, eas_head_t *out);
/* The next part of the body into bb, whose buckets live as long as nothing else is read. An EOS bucket ends it. APR_INCOMPLETE and others:
 * it broke off, or its framing is wrong. block 0: APR_EAGAIN if there is nothing yet. */
apr_status_t eas_back_read(eas_back_t *b, apr_bucket_brigade *bb, int block);
/* Gives the connection back; it is kept only if its answer was read to the end. Once; b may be NULL. */
void eas_back_close(eas_back_t *b);

/* ---- settings that waiting requests need, looked at when the server starts (eas_check.c): of one virtual host, of the whole server */
/* The arguments of the last such directive (value: with these; NULL: any) that stands anywhere for s: at the top, or in its virtual host. NULL: there is none.
 * While the configuration is read only. */
const char *eas_directive(const server_rec *s, const char *name, const char *value);
void eas_check_place(server_rec *s);
void eas_check_server(server_rec *s);

#endif
