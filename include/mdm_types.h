/* Words shared by all modules. Includes APR headers only. */
#ifndef MDM_TYPES_H
#define MDM_TYPES_H

#include <apr.h>

#define MDM_VERSION "0.1.0"

/* The channel a source record speaks for (spec 00). */
typedef enum { MDM_KIND_MDM = 1, MDM_KIND_AGENT = 2, MDM_KIND_EAS = 3, MDM_KIND_ADE = 4 } mdm_kind_e;

/* device.state; domain/mdm_devload.c knows the words of the database and the API. */
typedef enum {
    MDM_DEV_PENDING = 1, /* enrolment begun, not finished */
    MDM_DEV_ACTIVE = 2,
    MDM_DEV_WIPE_PENDING = 3,
    MDM_DEV_RETIRED = 4,
    MDM_DEV_BLOCKED = 5,
    MDM_DEV_REMOVED = 6 /* left by itself (CheckOut): object and history stay */
} mdm_device_state_e;

/* Answers of the device cache: bits of mdm_devrec_t.flags. */
#define MDM_DEVF_QUEUED 0x01u   /* a command waits: ask the database */
#define MDM_DEVF_LEAVING 0x02u  /* being unenrolled: may fetch its removal or wipe, nothing else */
#define MDM_DEVF_EXPELLED 0x04u /* an administrator decided: 403 com.apple.unrecognized.device */
#define MDM_DEVF_REVOKED 0x08u  /* the certificate is revoked */
#define MDM_DEVF_ENROLLED 0x10u /* first TokenUpdate was seen */
#define MDM_DEVF_LOST 0x20u     /* flagged lost: the next contact clears it */
#define MDM_DEVF_LINKED 0x40u   /* the certificate is bound to an enrolment id (else: issued, Authenticate awaited) */
#define MDM_DEVF_SERVER_ONLY 0x100u /* mail: policies and wipe, nothing of the mailbox (spec 03) */
#define MDM_DEVF_POLICY 0x200u   /* mail: policies ask something of the mail app */
#define MDM_DEVF_KEY_OLD 0x400u  /* mail: policy_key stands for a policy that is not asked any more */
#define MDM_DEVF_STUCK 0x800u    /* mail: told to provision again and again, or it said that it doesn't obey */
#define MDM_DEVF_LAX 0x1000u     /* mail: and its policy gives such ones their mail */
#define MDM_DEVF_ACCOUNT 0x2000u /* mail: its wipe is of the account only */
#define MDM_DEVF_MAIL_ALLOW 0x4000u /* mail: an administrator's exception lets it through (GATE-03) … */
#define MDM_DEVF_MAIL_BLOCK 0x8000u /* … or keeps it out */
#define MDM_DEVF_BEARER 0x10000u  /* Apple: its requests have to show an access token as well (IOS-08) */
#define MDM_DEVF_NEXT 0x80u     /* asked by a renewed certificate that was not used before: not kept in the cache */

/* 128-bit key of an identity that a request can bring; all zero = none. See domain/mdm_devcache.h. */
typedef struct mdm_devkey_t {
    apr_uint64_t hi, lo;
} mdm_devkey_t;

#define MDM_DEVKEYS 4
enum { MDM_DK_DEVICE = 0, MDM_DK_CERT = 1, MDM_DK_CERT_NEXT = 2, MDM_DK_NATIVE = 3 /* UDID, or EAS user+DeviceId */ };

/* What the cache knows of one source record: copied out, never pointed to. No names, tokens or secrets. */
typedef struct mdm_devrec_t {
    mdm_devkey_t keys[MDM_DEVKEYS];
    unsigned char device[16]; /* uuid of the device object; zero while there is none */
    unsigned char record[16]; /* uuid of the source record */
    unsigned char kind;       /* mdm_kind_e */
    unsigned char state;      /* mdm_device_state_e */
    apr_uint16_t key_version; /* mail: the protocol version that policy_key was given to */
    apr_uint32_t flags;       /* MDM_DEVF_* */
    apr_uint32_t policy_key;  /* mail: what its requests have to carry; 0: none yet. With MDM_DEVF_BEARER: … */
    apr_uint32_t back_key;    /* mail: what requests to its server carry instead; 0: none. … the token's hash, its first 64 bits */
    apr_int64_t loaded_ms;    /* when the database said so */
} mdm_devrec_t;

/* A verified log-in of a mail client, as the credential cache keeps it (USR-09). */
typedef struct mdm_mail_login_t {
    char person_id[37], source_id[37];
    char login[132], mail[256]; /* of the person, cut to fit; "" if unknown */
    char server_id[37];         /* that has the person's mail; "": not known yet */
    char refused;               /* no linked mail server accepts the person */
} mdm_mail_login_t;

#endif
