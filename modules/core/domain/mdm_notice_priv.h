/* What the files of notices share: one run that sends, over one of the ways out. */
#ifndef MDM_NOTICE_PRIV_H
#define MDM_NOTICE_PRIV_H

#include "domain/mdm_notice.h"
#include "mdm_sql_gen.h"
#include "wire/mdm_smtp.h"

#define MDM_NOTICE_SETTING "smtp"

typedef enum {
    MDM_NOTICE_SENT,    /* the other side has taken it */
    MDM_NOTICE_REFUSED, /* it never will: this recipient, or this message */
    MDM_NOTICE_LATER,   /* not now: this recipient, or this message */
    MDM_NOTICE_AWAY     /* nothing is wrong with the message: the other side can't be reached, or takes nothing from us */
} mdm_notice_result_e;

/* A notice on its way. */
typedef struct mdm_notice_try_t {
    const mdm_q_notice_rows_t *row;
    const char *to, *name; /* where it goes: address or number, not checked; whom it is for */
    mdm_notice_text_t text; /* filled in */
    const char *qr;         /* what the QR code in its HTML says; NULL: none is in it */
    /* results; the default is MDM_NOTICE_REFUSED with `words` */
    mdm_notice_result_e result;
    int touched;         /* MDM_NOTICE_AWAY, and this message may be why: it is put off itself as well */
    const char *step;    /* where it ended, for people who look after the server */
    const char *words;   /* what the other side said, or what went wrong; clean, never NULL */
    const char *ref;     /* MDM_NOTICE_SENT: what the other side calls it; never NULL */
    apr_int64_t wait_ms; /* MDM_NOTICE_AWAY: not before this time has passed; 0: we decide */
} mdm_notice_try_t;

typedef struct mdm_notice_way_t mdm_notice_way_t;

#define MDM_NOTICE_TEXTS_MAX 64

typedef struct mdm_notice_sending_t {
    mdm_ctx_t *ctx;
    mdm_job_t *job;
    const mdm_notice_run_t *how;
    const mdm_notice_way_t *way;
    void *conf;               /* the way's settings; NULL: none */
    void *link;               /* the way's connection */
    json_t *away;             /* NULL: the other side is not known to be away */
    const mdm_notice_zone_t *zone;
    mdm_notice_text_t *texts[MDM_NOTICE_LANGUAGES][MDM_NOTICE_TEXTS_MAX]; /* as they were needed, in the order of mdm_notice_kinds */
    const char *mail_host;    /* that mail apps are given */
    const char *base;         /* that links for people begin with */
    apr_int64_t again_ms;     /* not before; 0: by what waits */
    int gone;                 /* the other side took nothing: the run is over */
    int sent, failed, later;
} mdm_notice_sending_t;

/* A way out. One job of its own sends over it, so that one that hangs stops no other. */
struct mdm_notice_way_t {
    const char *channel;       /* of the rows */
    const char *job;
    const char *away;          /* the setting {"since", "next", "tries", "why"} while the other side takes nothing */
    const char *object;        /* of messages to administrators, with this code and word */
    const char *code, *said;
    const char *name;          /* in logs */
    const char *unset, *lost;  /* why a notice fails that has waited too long: nothing is set; the other side was away */
    apr_status_t (*open)(mdm_notice_sending_t *r, mdm_db_t *db); /* reads the settings; APR_NOTFOUND: there are none */
    /* Hands one over. No connection to the database is held. Anything but APR_SUCCESS is our own trouble, and no result. */
    apr_status_t (*send)(mdm_notice_sending_t *r, mdm_ctx_t *ctx, mdm_notice_try_t *t);
    void (*close)(mdm_notice_sending_t *r); /* NULL: it goes with the run's pool */
};
extern const mdm_notice_way_t mdm_notice_mail_way, mdm_notice_sms_way;

/* The job runs as soon as somebody looks. */
apr_status_t mdm_notice_hasten(mdm_db_t *db, const char *job);
/* The other side counts as there again: what waits is due. */
apr_status_t mdm_notice_back(mdm_db_t *db, const mdm_notice_way_t *way);
/* {"waiting", "failed", "away_since", "next_try", "trouble"} of a way, into a JSON object. */
apr_status_t mdm_notice_state_json(mdm_db_t *db, const mdm_notice_way_t *way, json_t *out);
/* Text and values of a notice, filled in; t->row and t->name are set. MDM_EINPUT: what it was to tell is not there any more. */
apr_status_t mdm_notice_fill(mdm_notice_sending_t *r, mdm_ctx_t *ctx, mdm_notice_try_t *t);
/* A client for this server, in ctx's pool. peer may be NULL. */
apr_status_t mdm_notice_smtp(mdm_ctx_t *ctx, const mdm_notice_conf_t *conf, const char *ca_file, mdm_blob_t *peer, mdm_smtp_t **out);

#endif
