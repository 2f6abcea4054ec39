/* MAT-11: how good the matcher is, on people made up with the noise of the field (facts 7.11): what each record says is drawn, what it is is known. */
#include "ctxtest.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>
#include "domain/mdm_eas.h"
#include "domain/mdm_match.h"

#define PAIRS 10000
#define MODES (MDM_MATCH_OUTLOOK_SOLE + 1)
#define DAY_MS (24 * 3600 * 1000LL)

static apr_uint64_t dice;
static apr_pool_t *tmp; /* of one person */

static unsigned draw(unsigned n)
{
    dice = dice * 6364136223846793005ULL + 1442695040888963407ULL;
    return (unsigned)(dice >> 33) % n;
}

static int chance(unsigned percent)
{
    return draw(100) < percent;
}

static const char *digits(int n)
{
    char *s = apr_palloc(tmp, (apr_size_t)n + 1);
    int i;

    for (i = 0; i < n; i++) {
        s[i] = (char)('0' + draw(10));
    }
    s[n] = '\0';
    return s;
}

static const char *of(const char *letters, int n)
{
    char *s = apr_palloc(tmp, (apr_size_t)n + 1);
    int i;

    for (i = 0; i < n; i++) {
        s[i] = letters[draw((unsigned)strlen(letters))];
    }
    s[n] = '\0';
    return s;
}

/* ---------------------------------------------------------------- phones */

typedef struct model_t {
    const char *name, *maker;
    int weight, wifi_only;
} model_t;

static const model_t ios[] = {{"iPhone11,8", "Apple", 6, 0},  {"iPhone12,1", "Apple", 10, 0}, {"iPhone12,8", "Apple", 8, 0},  {"iPhone13,2", "Apple", 12, 0},
                              {"iPhone13,3", "Apple", 5, 0},  {"iPhone14,2", "Apple", 6, 0},  {"iPhone14,5", "Apple", 14, 0}, {"iPhone14,6", "Apple", 8, 0},
                              {"iPhone14,7", "Apple", 10, 0}, {"iPhone15,2", "Apple", 6, 0},  {"iPhone15,4", "Apple", 8, 0},  {"iPhone16,1", "Apple", 5, 0},
                              {"iPad7,11", "Apple", 4, 1},    {"iPad11,6", "Apple", 5, 1},    {"iPad13,1", "Apple", 3, 0}};
static const model_t android[] = {{"SM-A515F", "samsung", 10, 0}, {"SM-A525F", "samsung", 9, 0},  {"SM-A536B", "samsung", 10, 0}, {"SM-G781B", "samsung", 8, 0},
                                  {"SM-G991B", "samsung", 9, 0},  {"SM-S901B", "samsung", 8, 0},  {"SM-S911B", "samsung", 7, 0},  {"SM-T500", "samsung", 4, 1},
                                  {"SM-X200", "samsung", 3, 1},   {"Pixel 6a", "Google", 6, 0},   {"Pixel 7", "Google", 6, 0},    {"CPH2161", "OPPO", 4, 0},
                                  {"RMX3085", "realme", 3, 0},    {"XQ-BT52", "Sony", 3, 0},      {"TC57", "Zebra", 5, 0},        {"motorola edge 20", "motorola", 5, 0}};

typedef struct phone_t {
    int is_ios, major;
    const model_t *model;
    const char *serial, *imei, *build, *number;
    apr_int64_t enrolled_ms;
} phone_t;

static const model_t *pick(const model_t *list, int n)
{
    int i, sum = 0, at;

    for (i = 0; i < n; i++) {
        sum += list[i].weight;
    }
    at = (int)draw((unsigned)sum);
    for (i = 0; (at -= list[i].weight) >= 0; i++)
        ;
    return &list[i];
}

static char check_digit(const char *d)
{
    int i, sum = 0;

    for (i = 0; i < 14; i++) {
        int v = (d[i] - '0') * (i & 1 ? 2 : 1);

        sum += v / 10 + v % 10;
    }
    return (char)('0' + (10 - sum % 10) % 10);
}

static phone_t phone_make(const phone_t *before, int alike)
{
    phone_t x = {.is_ios = chance(47)};
    const char *body;

    if (before && chance((unsigned)alike)) {
        x.is_ios = before->is_ios;
        x.model = before->model;
    } else {
        x.model = x.is_ios ? pick(ios, sizeof(ios) / sizeof(ios[0])) : pick(android, sizeof(android) / sizeof(android[0]));
    }
    x.major = x.is_ios ? 15 + (int)draw(4) : 9 + (int)draw(6);
    x.build = apr_psprintf(tmp, "%d%c%u", x.major + 4, 'A' + draw(8), 10 + draw(400));
    x.serial = of("ABCDEFGHJKLMNPQRSTUVWXYZ0123456789", x.is_ios ? 12 : 11);
    if (!x.model->wifi_only) {
        body = apr_psprintf(tmp, "35%06u%s", (unsigned)(x.model->weight * 7919 + x.model->name[3] * 131) % 1000000, digits(6));
        x.imei = apr_psprintf(tmp, "%s%c", body, check_digit(body));
        x.number = apr_psprintf(tmp, "+4917%s", digits(8));
    }
    x.enrolled_ms = 1700000000000LL + (apr_int64_t)draw(700) * DAY_MS;
    return x;
}

/* ---------------------------------------------------------------- what its records say */

static const char *android_imei(const phone_t *x)
{
    unsigned at = draw(100);

    return !x->imei ? NULL
           : at < 60 ? x->imei
           : at < 66 ? apr_pstrmemdup(tmp, x->imei, 14)
           : at < 72 ? apr_pstrcat(tmp, apr_pstrmemdup(tmp, x->imei, 14), "07", NULL)
           : at < 80 ? apr_pstrcat(tmp, "35*********", x->imei + 11, NULL)
           : at < 84 ? "000000000000000"
                     : NULL;
}

static const char *spaced(const char *imei)
{
    return apr_psprintf(tmp, "%.2s %.6s %.6s %s", imei, imei + 2, imei + 8, imei + 14);
}

static mdm_match_said_t managed_says(const phone_t *x, const char *eas_id)
{
    mdm_match_said_t m = {.platform = x->is_ios ? "ios" : "android", .first_ms = x->enrolled_ms};

    m.os_version = apr_psprintf(tmp, "%d.%u", x->major, draw(5));
    m.phone = x->number && chance(50) ? x->number : NULL;
    if (x->is_ios) {
        m.product = x->model->name;
        m.maker = "Apple";
        m.serial = x->serial;
        m.build = x->build;
        m.imei = x->imei && chance(90) ? chance(70) ? spaced(x->imei) : x->imei : NULL;
        m.eas_id = chance(86) ? eas_id : NULL;
    } else {
        m.model = x->model->name;
        m.maker = chance(50) ? NULL : x->model->maker;
        m.serial = chance(20) ? NULL : chance(2) ? "unknown" : x->serial;
        m.imei = android_imei(x);
    }
    return m;
}

/* The DeviceId that the phone's client makes of its IMEI, by the code that is tested by real ones in test_match.c. */
static const char *derived(const phone_t *x, int kind)
{
    mdm_match_said_t said = {.id = "", .imei = x->imei, .platform = "android"};
    mdm_match_record_t r;

    mdm_match_read(tmp, &said, &r);
    return r.from_imei[0][kind];
}

static const char *native_id(const phone_t *x, int samsung_mail)
{
    if (x->is_ios) {
        return chance(4) ? apr_pstrcat(tmp, "Appl", x->serial, NULL) : of("0123456789ABCDEFGHIJKLMNOPQRSTUV", 26);
    }
    if (chance(10)) {
        return apr_pstrcat(tmp, "MDM", of("0123456789ABCDEF", 24), NULL); /* set by us: the managed record knows it */
    }
    if (samsung_mail) {
        return x->imei && chance(50) ? derived(x, 0) : apr_pstrcat(tmp, "SEC1", of("0123456789ABCDEF", 12), NULL);
    }
    if (x->imei && (x->major < 10 || chance(15))) {
        return apr_pstrcat(tmp, "androidc", derived(x, 1) + 8, NULL);
    }
    return chance(50) ? apr_pstrcat(tmp, "androidc", digits(9), NULL) : apr_pstrcat(tmp, "android16", digits(11), NULL);
}

/* "iPhone12,8" and "19F77" as a mail client of Apple says them. */
static const char *apple_agent(const phone_t *x)
{
    const char *build = chance(15) ? apr_psprintf(tmp, "%d%c%u", x->major + 4, 'A' + draw(8), 10 + draw(400)) : x->build;
    char *product = apr_pstrdup(tmp, x->model->name);

    *strchr(product, ',') = 'C';
    return apr_psprintf(tmp, "Apple-%s/%d%02d.%s", product, atoi(build), build[2] - 'A' + 1, build + 3);
}

static apr_int64_t first_seen(const phone_t *x)
{
    return chance(85) ? x->enrolled_ms + (apr_int64_t)draw(7 * 24) * 3600000 : 1700000000000LL + (apr_int64_t)draw(700) * DAY_MS;
}

static mdm_match_said_t native_says(const phone_t *x, const char *id, int samsung_mail)
{
    mdm_match_said_t e = {.class = "native", .eas_id = id, .user_agent = ""};

    e.imei = x->imei && chance(10) ? x->imei : NULL;
    e.phone = x->number && chance(10) ? x->number : NULL;
    if (x->is_ios) {
        e.device_type = strncmp(x->model->name, "iPad", 4) ? "iPhone" : "iPad";
        e.user_agent = chance(2) ? "" : chance(20) ? "Apple-iPhone/" : apple_agent(x);
    } else {
        e.device_type = samsung_mail && chance(60) ? apr_pstrcat(tmp, "SAMSUNG", apr_pstrmemdup(tmp, x->model->name, 2), x->model->name + 3, NULL)
                                                    : "Android";
        e.user_agent = samsung_mail ? apr_psprintf(tmp, "Android-SAMSUNG-%s/101.%u", x->model->name, draw(90)) : "Android-Mail/2023.11.01.Release";
        e.model = chance(10) ? NULL : x->model->name; /* by DeviceInformation */
        e.user_agent = chance(2) ? "" : e.user_agent;
        e.os_version = chance(70) ? apr_psprintf(tmp, "Android %d", x->major) : NULL;
    }
    return e;
}

static mdm_match_said_t outlook_says(const phone_t *x)
{
    return (mdm_match_said_t){.class = "outlook:ios-android", .eas_id = of("0123456789abcdef", 32), .device_type = "Outlook",
                              .user_agent = "Outlook-iOS-Android/1.0"};
}

/* ---------------------------------------------------------------- one person */

/* Per cent of what is drawn; the rest are people for themselves. */
#define MAILBOXES 1 /* a mailbox, and the two to five people who read it on their phones: 3.5 per cent of all people */
#define RENAMED 3   /* had another log-in and mail address when the phone was enrolled: half of them were made anew, so that they are two people here; of the
                     * others somebody else has the old name by now, and a mail server still tells of their phones by it */
#define TEAM 7

typedef struct tally_t {
    int native_pairs, native_linked, pairs, linked, links, wrong, exact, exact_wrong, in_list, asked, others, strayed;
} tally_t;

typedef struct person_t {
    apr_array_header_t *records; /* of mdm_match_record_t; id "<phone>:<m|n|o|b|s>": managed; native, Outlook; a mailbox's, a stale one, of someone else's phone */
} person_t;

/* Those whose records may be taken for each other's. */
typedef struct team_t {
    person_t who[TEAM];
    int n, phones;
    phone_t last;
} team_t;

static mdm_match_record_t *at(const person_t *who, int i)
{
    return &APR_ARRAY_IDX(who->records, i, mdm_match_record_t);
}

static void put(person_t *who, mdm_match_said_t said, int phone, char part, int times)
{
    said.id = apr_psprintf(tmp, "%d:%c", phone, part);
    said.first_ms = times ? said.first_ms : 0;
    mdm_match_read(tmp, &said, apr_array_push(who->records));
}

static person_t *person_new(team_t *team)
{
    person_t *who = &team->who[team->n++];

    who->records = apr_array_make(tmp, 8, sizeof(mdm_match_record_t));
    return who;
}

/* One more phone with its records. alike: per cent that it is of the model of the one before. */
static void phone_add(team_t *team, person_t *who, int times, int alike)
{
    unsigned there = draw(100), client = draw(100);
    const phone_t x = phone_make(alike ? &team->last : NULL, alike);
    int i = team->phones++, is_managed = there < 80, has_mail = there < 60 || there >= 80;
    int samsung_mail = !strcmp(x.model->maker, "samsung") && chance(75);
    const char *id = native_id(&x, samsung_mail);
    mdm_match_said_t e;

    team->last = x;
    if (is_managed) {
        mdm_match_said_t m = managed_says(&x, id);

        m.eas_id = !x.is_ios && !strncmp(id, "MDM", 3) ? id : x.is_ios && strncmp(id, "Appl", 4) ? m.eas_id : NULL;
        put(who, m, i, 'm', times);
    }
    if (has_mail && (client < 82 || client >= 94)) {
        e = native_says(&x, id, samsung_mail);
        e.first_ms = first_seen(&x);
        put(who, e, i, 'n', times);
    }
    if (has_mail && client >= 82) {
        e = outlook_says(&x);
        e.first_ms = first_seen(&x);
        put(who, e, i, 'o', times);
    }
}

static person_t *person_make(team_t *team, int times)
{
    unsigned many = draw(100);
    int i, n = many < 62 ? 1 : many < 89 ? 2 : many < 97 ? 3 : 4;
    person_t *who = person_new(team);

    for (i = 0; i < n; i++) {
        phone_add(team, who, times, i ? 12 : 0);
    }
    return who;
}

/* A native mail app of one person stands with another one as well. */
static void again(person_t *to, const mdm_match_record_t *e, char part, int told)
{
    mdm_match_record_t *copy = apr_array_push(to->records);

    *copy = *e;
    copy->id = apr_psprintf(tmp, "%d:%c", atoi(e->id), part);
    copy->told = told;
    copy->first_ms += copy->first_ms ? (apr_int64_t)draw(200) * DAY_MS : 0;
}

static int is_native(const mdm_match_record_t *r)
{
    return strchr(r->id, 'n') != NULL;
}

/* Half of the mailboxes have a phone that is the mailbox's own, often of the same model. */
static void mailbox_make(team_t *team, int times)
{
    int i, k, readers = 2 + (int)draw(4);
    person_t *box;

    for (i = 0; i < readers; i++) {
        person_make(team, times);
    }
    box = person_new(team);
    for (i = 0; i < readers; i++) {
        for (k = 0; k < team->who[i].records->nelts; k++) {
            if (is_native(at(&team->who[i], k)) && chance(70)) {
                again(box, at(&team->who[i], k), 'b', 0);
            }
        }
    }
    if (chance(50)) {
        phone_add(team, box, times, 50);
    }
}

static void renamed_make(team_t *team, int times)
{
    person_t *who = person_make(team, times), *other = person_new(team), had = *who;
    int i, anew = chance(50);

    phone_add(team, other, times, 50);
    if (anew) {
        who->records = apr_array_make(tmp, 8, sizeof(mdm_match_record_t));
    }
    for (i = 0; i < had.records->nelts; i++) {
        const mdm_match_record_t *r = at(&had, i);

        if (anew) {
            APR_ARRAY_PUSH((r->mail ? other : who)->records, mdm_match_record_t) = *r;
        } else if (is_native(r) && chance(50)) {
            again(other, r, 's', 1);
        }
    }
}

/* A mail record of anybody but these two has this DeviceId. */
static int has_third(const team_t *team, int a, int b, const char *eas_id)
{
    int i, k;

    for (i = 0; i < team->n; i++) {
        for (k = 0; i != a && i != b && k < team->who[i].records->nelts; k++) {
            if (at(&team->who[i], k)->mail && !strcmp(at(&team->who[i], k)->eas_id, eas_id)) {
                return 1;
            }
        }
    }
    return 0;
}

/* As query match_records finds it. */
static int whose(const team_t *team, int person, const char *eas_id)
{
    int i, k, found = MDM_MATCH_OURS;

    for (i = 0; i < team->n; i++) {
        int has = 0, is_box = 0;

        for (k = 0; i != person && k < team->who[i].records->nelts; k++) {
            const mdm_match_record_t *o = at(&team->who[i], k);
            int same = !strcmp(o->eas_id, eas_id);

            if (same && !o->mail) {
                return MDM_MATCH_THEIRS;
            }
            has |= same;
            is_box |= !same && o->mail && has_third(team, person, i, o->eas_id);
        }
        found = has && !is_box ? MDM_MATCH_SHARED : found;
    }
    return found;
}

static team_t *team_make(int times)
{
    team_t *team = apr_pcalloc(tmp, sizeof(*team));
    unsigned kind = draw(100);
    int i, k;

    if (kind < MAILBOXES) {
        mailbox_make(team, times);
    } else if (kind < MAILBOXES + RENAMED) {
        renamed_make(team, times);
    } else {
        person_make(team, times);
    }
    for (i = 0; i < team->n; i++) {
        for (k = 0; k < team->who[i].records->nelts; k++) {
            mdm_match_record_t *r = at(&team->who[i], k);

            r->whose = r->mail && *r->eas_id ? whose(team, i, r->eas_id) : MDM_MATCH_OURS;
        }
    }
    return team;
}

static int has_partner(const person_t *who, const mdm_match_record_t *e)
{
    int i;

    for (i = 0; i < who->records->nelts; i++) {
        if (!at(who, i)->mail && atoi(at(who, i)->id) == atoi(e->id)) {
            return 1;
        }
    }
    return 0;
}

static void judge(const person_t *who, mdm_match_mode_e mode, tally_t *t)
{
    apr_array_header_t *out = mdm_match_decide(tmp, who->records, NULL, 0, mode);
    int i, c;

    for (i = 0; i < out->nelts; i++) {
        const mdm_match_found_t *f = &APR_ARRAY_IDX(out, i, mdm_match_found_t);
        const mdm_match_record_t *e = at(who, f->mail);
        int paired = has_partner(who, e), others = strpbrk(e->id, "bs") != NULL, right;

        assert_true((f->tier != NULL) == (f->code == NULL));
        t->pairs += paired;
        t->native_pairs += paired && is_native(e);
        t->others += others;
        if (!f->tier) {
            for (c = 0; paired && c < f->candidates->nelts; c++) {
                const mdm_match_candidate_t *m = &APR_ARRAY_IDX(f->candidates, c, mdm_match_candidate_t);

                t->in_list += atoi(at(who, m->managed)->id) == atoi(e->id) && (!m->excluded || !strcmp(m->excluded, "person"));
            }
            t->asked += paired;
            continue;
        }
        right = atoi(at(who, f->managed)->id) == atoi(e->id);
        t->links++;
        t->wrong += !right;
        t->linked += right;
        t->native_linked += right && is_native(e);
        t->exact += !strcmp(f->tier, "exact");
        t->exact_wrong += !right && !strcmp(f->tier, "exact");
        t->strayed += !right && others;
    }
}

/* "3n=3m exact; 4o ambiguous" */
static const char *decided(const apr_array_header_t *records)
{
    apr_array_header_t *out = mdm_match_decide(tmp, records, NULL, 0, MDM_MATCH_STANDARD);
    const char *text = "";
    int i;

    for (i = 0; i < out->nelts; i++) {
        const mdm_match_found_t *f = &APR_ARRAY_IDX(out, i, mdm_match_found_t);
        const char *to = f->tier ? APR_ARRAY_IDX(records, f->managed, mdm_match_record_t).id : f->code;

        text = apr_pstrcat(tmp, text, APR_ARRAY_IDX(records, f->mail, mdm_match_record_t).id, "=", to, " ", f->tier ? f->tier : "", ";", NULL);
    }
    return text;
}

/* Facts 7.11, I3: five shuffles of one person's records, one result. */
static void shuffled(const person_t *who)
{
    const char *first = decided(apr_array_copy(tmp, who->records));
    int turn, i;

    for (turn = 0; turn < 5; turn++) {
        apr_array_header_t *copy = apr_array_copy(tmp, who->records);

        for (i = copy->nelts - 1; i > 0; i--) {
            int k = (int)draw((unsigned)i + 1);
            mdm_match_record_t swap = APR_ARRAY_IDX(copy, i, mdm_match_record_t);

            APR_ARRAY_IDX(copy, i, mdm_match_record_t) = APR_ARRAY_IDX(copy, k, mdm_match_record_t);
            APR_ARRAY_IDX(copy, k, mdm_match_record_t) = swap;
        }
        assert_string_equal(decided(copy), first);
    }
}

static double precision(const tally_t *t)
{
    return 1 - (double)t->wrong / t->links;
}

static void report(const tally_t *t, unsigned seed, int times, mdm_match_mode_e mode)
{
    printf("# corpus %u%s, %s: precision %.4f, recall native %.4f, all %.4f; exact %d of %d links, wrong %d; true device in the list %d of %d; "
           "of other people's phones %d, strayed %d\n", seed, times ? " with times" : "", mdm_match_modes[mode], precision(t),
           (double)t->native_linked / t->native_pairs, (double)t->linked / t->pairs, t->exact, t->links, t->exact_wrong, t->in_list, t->asked, t->others,
           t->strayed);
}

/* The same people in each mode. */
static void corpus(unsigned seed, int times, tally_t t[MODES])
{
    int mode;

    memset(t, 0, MODES * sizeof(*t));
    dice = seed * 0x9E3779B97F4A7C15ULL;
    while (t->pairs < PAIRS) {
        team_t *team;
        int i;

        apr_pool_create(&tmp, pool);
        team = team_make(times);
        for (i = 0; i < team->n; i++) {
            for (mode = 0; mode < MODES; mode++) {
                judge(&team->who[i], (mdm_match_mode_e)mode, &t[mode]);
            }
        }
        apr_pool_destroy(tmp);
    }
    for (mode = 0; mode < MODES; mode++) {
        report(&t[mode], seed, times, (mdm_match_mode_e)mode);
        assert_int_equal(t[mode].exact_wrong, 0);
        assert_true(t[mode].others > 100);
        assert_int_equal(t[mode].strayed, 0); /* MAT-09 */
        assert_int_equal(t[mode].in_list, t[mode].asked);
    }
    assert_true(precision(&t[MDM_MATCH_OUTLOOK_SOLE]) >= 0.98);
    assert_true(t[MDM_MATCH_STRICT].linked < t[MDM_MATCH_STANDARD].linked && t[MDM_MATCH_STANDARD].linked < t[MDM_MATCH_OUTLOOK_SOLE].linked);
}

static void mat11_precision_and_recall(void **state)
{
    tally_t t[MODES];
    const tally_t *standard = &t[MDM_MATCH_STANDARD];
    unsigned seed;

    for (seed = 1; seed <= 3; seed++) {
        corpus(seed, 0, t);
        assert_true(precision(standard) >= 0.993);
        assert_true(standard->native_linked >= 0.97 * standard->native_pairs);
        assert_true(standard->linked >= 0.80 * standard->pairs);
    }
}

static void mat11_no_order_matters(void **state)
{
    int i;

    dice = 4 * 0x9E3779B97F4A7C15ULL;
    for (i = 0; i < 2000; i++) {
        team_t *team;
        int k;

        apr_pool_create(&tmp, pool);
        team = team_make(i & 1);
        for (k = 0; k < team->n; k++) {
            shuffled(&team->who[k]);
        }
        apr_pool_destroy(tmp);
    }
}

static void mat11_with_times(void **state)
{
    tally_t t[MODES];
    unsigned seed;

    for (seed = 1; seed <= 3; seed++) {
        corpus(seed, 1, t);
        assert_true(precision(&t[MDM_MATCH_STANDARD]) >= 0.997);
        assert_true(t[MDM_MATCH_STANDARD].native_linked >= 0.96 * t[MDM_MATCH_STANDARD].native_pairs);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mat11_precision_and_recall, setup, teardown),
        cmocka_unit_test_setup_teardown(mat11_no_order_matters, setup, teardown),
        cmocka_unit_test_setup_teardown(mat11_with_times, setup, teardown)};
    int rc;

    apr_initialize();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rc;
}
