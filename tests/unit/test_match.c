/* MAT-01, MAT-02, MAT-09: what belongs together, one rule at a time. How good it is altogether: test_match_corpus.c. */
#include "ctxtest.h"

#include <stdlib.h>
#include <string.h>
#include <apr_strings.h>
#include "domain/mdm_match.h"

#define DAY_MS (24 * 3600 * 1000LL)

static apr_array_header_t *list;
static mdm_match_mode_e mode;

static int begin(void **state)
{
    setup(state);
    list = apr_array_make(pool, 4, sizeof(mdm_match_record_t));
    mode = MDM_MATCH_STANDARD;
    return 0;
}

static void put(mdm_match_said_t said)
{
    mdm_match_read(pool, &said, apr_array_push(list));
}

static const char *name(int i)
{
    return i < 0 ? "-" : APR_ARRAY_IDX(list, i, mdm_match_record_t).id;
}

/* "e1=m1 exact easid; e2 no_candidate" */
static const char *decide(const mdm_match_split_t *splits, int n)
{
    apr_array_header_t *out = mdm_match_decide(pool, list, splits, n, mode);
    const char *text = "";
    int i;

    for (i = 0; i < out->nelts; i++) {
        const mdm_match_found_t *f = &APR_ARRAY_IDX(out, i, mdm_match_found_t);

        text = apr_pstrcat(pool, text, *text ? "; " : "", name(f->mail), f->tier ? "=" : " ",
                           f->tier ? apr_psprintf(pool, "%s %s %s", name(f->managed), f->tier, f->rule) : f->code, NULL);
    }
    return text;
}

static const mdm_match_said_t iphone = {.id = "m1", .device_id = "d1", .platform = "ios", .product = "iPhone12,8", .serial = "F17TR2ABHG7K",
                                        .build = "19F77", .imei = "35 672211 012345 1", .os_version = "15.5"};
static const mdm_match_said_t galaxy = {.id = "m1", .device_id = "d1", .platform = "android", .model = "SM-A515F", .serial = "R58N12ABCDE",
                                        .imei = "354422050248226", .os_version = "12"};

static mdm_match_said_t mail(const char *id, const char *eas_id, const char *type, const char *agent)
{
    return (mdm_match_said_t){.id = id, .device_id = id, .class = "native", .eas_id = eas_id, .device_type = type, .user_agent = agent};
}

/* ---------------------------------------------------------------- one form for what is said */

static void mat01_imei(void **state)
{
    static const struct {
        const char *said, *key;
    } rows[] = {{"354422050248226", "35442205024822"}, {"35-442205-024822-6", "35442205024822"}, {"35 442205 024822 6", "35442205024822"},
                {"35442205024822", "35442205024822"},  {"3544220502482207", "35442205024822"}, {"354422050248220", "35442205024822"},
                {"354422050248221", NULL},             {"35442*****8226", NULL},              {"35xxxxxxxxxxx26", NULL},
                {"000000000000000", NULL},             {"11111111111111", NULL},              {"123456789012347", NULL},
                {"004999010640000", NULL},             {"3544220502482", NULL},               {"35442205024822078", NULL},
                {"", NULL},                            {NULL, NULL},                          {"IMEI354422050248226", NULL}};
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        const char *key = mdm_match_imei(pool, rows[i].said);

        if (rows[i].key) {
            assert_string_equal(key, rows[i].key);
        } else {
            assert_null(key);
        }
    }
}

static const mdm_match_record_t *read_one(mdm_match_said_t said)
{
    put(said);
    return &APR_ARRAY_IDX(list, list->nelts - 1, mdm_match_record_t);
}

/* Pairs of IMEI and DeviceId that were seen together in public (facts 7.2). */
static void mat01_ids_made_of_an_imei(void **state)
{
    assert_string_equal(read_one(galaxy)->from_imei[0][0], "SEC17CD1A3E9E3F2");
    assert_string_equal(read_one((mdm_match_said_t){.imei = "866695021086319", .platform = "android"})->from_imei[0][1], "ANDROIDC195792594");
    assert_string_equal(read_one((mdm_match_said_t){.imei = "359656041148939", .platform = "android"})->from_imei[0][2],
                        "SAMSUNG1359656041148939");
    assert_string_equal(read_one((mdm_match_said_t){.platform = "ios", .serial = "87837l1xy7h"})->from_serial, "APPL87837L1XY7H");
    assert_string_equal(read_one((mdm_match_said_t){.platform = "android", .serial = "87837L1XY7H"})->from_serial, "");
}

static void mat02_what_phones_say(void **state)
{
    const mdm_match_record_t *r = read_one(mail("e", "SEC17CD1A3E9E3F2", "SAMSUNGSMA515F", ""));

    assert_string_equal(r->model, "SMA515F");
    assert_string_equal(r->maker, "SAMSUNG");
    assert_string_equal(r->type, "phone");
    r = read_one(mail("e", "ApplDLXN12ABCDEF", "iPad", "Apple-iPad11C6/1906.77"));
    assert_string_equal(r->model, "IPAD11,6");
    assert_string_equal(r->build, "19F77");
    assert_string_equal(r->type, "tablet");
    r = read_one(mail("e", "androidc195792594", "Android", "Android-Mail/2023.11.01.Release"));
    assert_string_equal(r->model, "");
    assert_string_equal(r->maker, "");
    assert_string_equal(r->platform, "android");
    r = read_one((mdm_match_said_t){.maker = "HUAWEI TECHNOLOGIES CO., LTD", .model = "ELE-L29", .phone = "+49 (171) 234 5678", .meid = "a1000049d16d1c",
                                    .serial = "unknown"});
    assert_string_equal(r->maker, "HUAWEI");
    assert_string_equal(r->phone, "712345678");
    assert_string_equal(r->meid, "A1000049D16D1C");
    assert_string_equal(r->serial, "");
}

/* ---------------------------------------------------------------- certain keys */

static void mat01_certain_keys(void **state)
{
    static const struct {
        const char *eas_id, *imei, *rule;
    } rows[] = {{"ApplF17TR2ABHG7K", NULL, "serial"}, {"NINE4383AF346860", "356722110123451", "imei"}, {"NINE4383AF346860", "356722110123-45", "imei"}};
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        mdm_match_said_t e = mail("e1", rows[i].eas_id, "iPhone", "");

        e.imei = rows[i].imei;
        apr_array_clear(list);
        put(iphone);
        put(e);
        assert_string_equal(decide(NULL, 0), apr_pstrcat(pool, "e1=m1 exact ", rows[i].rule, NULL));
    }
    apr_array_clear(list);
    put(galaxy);
    put(mail("e1", "SEC17CD1A3E9E3F2", "Android", ""));
    assert_string_equal(decide(NULL, 0), "e1=m1 exact imei_id");
}

/* A phone that was erased tells another DeviceId: what it tells stands above what its serial number would make. */
static void mat01_what_the_device_tells_wins(void **state)
{
    mdm_match_said_t m = iphone;

    m.eas_id = "LEDDJVC7GT7886JH9N4T9LR1Q0";
    put(m);
    put(mail("e1", "ApplF17TR2ABHG7K", "iPhone", "Apple-iPhone12C8/1906.77"));
    put(mail("e2", "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", ""));
    assert_string_equal(decide(NULL, 0), "e1 no_candidate; e2=m1 exact easid");
}

static void mat09_two_certain_ones_are_none(void **state)
{
    mdm_match_said_t twin = galaxy, e = mail("e1", "SEC17CD1A3E9E3F2", "Android", "");

    twin.id = "m2";
    twin.device_id = "d2";
    put(galaxy);
    put(twin);
    put(e);
    assert_string_equal(decide(NULL, 0), "e1 multiple_exact");
    apr_array_clear(list);
    e.id = "e2";
    e.eas_id = "NINE4383AF346860";
    e.imei = galaxy.imei;
    put(galaxy);
    put(mail("e1", "SEC17CD1A3E9E3F2", "Android", ""));
    put(e);
    assert_string_equal(decide(NULL, 0), "e1 slot_taken; e2 slot_taken");
}

/* ---------------------------------------------------------------- places, splits, contradictions */

static void mat09_one_living_client_of_a_class(void **state)
{
    mdm_match_said_t there = mail("e0", "androidc100200300", "Android", ""), app = mail("e2", "00112233445566778899aabbccddeeff", "Outlook", "");

    there.device_id = "d1";
    there.linked = MDM_MATCH_FIRM;
    put(galaxy);
    put(there);
    put(mail("e1", "SEC17CD1A3E9E3F2", "Android", ""));
    assert_string_equal(decide(NULL, 0), "e1 slot_taken");
    app.class = "outlook:ios-android"; /* it has a place of its own, but nothing is known of its phone */
    put(app);
    assert_string_equal(decide(NULL, 0), "e1 slot_taken; e2 ambiguous");
}

/* EAS-05: what only a mail server has told of is in nobody's way, and takes what is left. */
static void eas05_the_told_one_stands_back(void **state)
{
    mdm_match_said_t e1 = mail("e1", "AAAAAAAAAA", "iPhone", "Apple-iPhone12C8/1906.77"), e2 = e1;

    e2.id = e2.device_id = "e2";
    e2.eas_id = "BBBBBBBBBB";
    e2.told = 1;
    put(iphone);
    put(e2);
    assert_string_equal(decide(NULL, 0), "e2=m1 attr strong");
    put(e1);
    assert_string_equal(decide(NULL, 0), "e1=m1 attr strong; e2 ambiguous");
    APR_ARRAY_IDX(list, 1, mdm_match_record_t).linked = 1; /* e2 stands there by now */
    APR_ARRAY_IDX(list, 1, mdm_match_record_t).device_id = "d1";
    assert_string_equal(decide(NULL, 0), "e1=m1 attr strong");
    APR_ARRAY_IDX(list, 0, mdm_match_record_t).linked = 1;
    APR_ARRAY_IDX(list, 0, mdm_match_record_t).device_id = "d1";
    APR_ARRAY_IDX(list, 1, mdm_match_record_t).linked = 0;
    assert_string_equal(decide(NULL, 0), "e2 no_candidate");
}

/* MAT-09: somebody else has the DeviceId, too: only certain keys count. A short one tells nobody apart. */
static void mat09_a_shared_id_is_never_guessed(void **state)
{
    mdm_match_said_t e = mail("e1", "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", "Apple-iPhone12C8/1906.77"), m = iphone;

    e.whose = MDM_MATCH_SHARED;
    put(iphone);
    put(e);
    assert_string_equal(decide(NULL, 0), "e1 owner_conflict");
    apr_array_clear(list);
    m.eas_id = e.eas_id;
    put(m);
    put(e);
    assert_string_equal(decide(NULL, 0), "e1=m1 exact easid");
    apr_array_clear(list);
    e.eas_id = "AB-12";
    put(iphone);
    put(e);
    assert_string_equal(decide(NULL, 0), "e1=m1 attr strong");
}

static void mat03_a_split_pair_is_never_matched(void **state)
{
    const mdm_match_split_t split = {"m1", "e1"};

    put(galaxy);
    put(mail("e1", "SEC17CD1A3E9E3F2", "Android", "Android-SAMSUNG-SM-A515F/101.10"));
    assert_string_equal(decide(&split, 1), "e1 no_candidate");
}

static void mat02_a_contradiction_excludes(void **state)
{
    mdm_match_said_t e = mail("e1", "androidc100200300", "Android", "Android-SAMSUNG-SM-A515F/101.10");

    put(galaxy);
    put(e);
    assert_string_equal(decide(NULL, 0), "e1=m1 attr strong");
    apr_array_clear(list);
    put(galaxy);
    e.imei = "866695021086319";
    put(e);
    assert_string_equal(decide(NULL, 0), "e1 no_candidate");
    apr_array_clear(list);
    put(iphone);
    e.imei = iphone.imei; /* the same number, another platform */
    put(e);
    assert_string_equal(decide(NULL, 0), "e1 no_candidate");
}

/* ---------------------------------------------------------------- likeness */

static void mat02_one_that_fits_and_no_other(void **state)
{
    mdm_match_said_t twin = iphone, e = mail("e1", "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", "Apple-iPhone12C8/1906.77");

    put(iphone);
    put(e);
    assert_string_equal(decide(NULL, 0), "e1=m1 attr strong");
    twin.id = "m2";
    twin.device_id = "d2";
    put(twin);
    assert_string_equal(decide(NULL, 0), "e1 ambiguous");
    apr_array_clear(list);
    twin.build = "21A5"; /* another version of the system, long apart: behind */
    put(iphone);
    put(twin);
    put(e);
    assert_string_equal(decide(NULL, 0), "e1=m1 attr strong");
}

static void mat02_time_neighbourhood(void **state)
{
    mdm_match_said_t twin = iphone, m = iphone, e = mail("e1", "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", "Apple-iPhone12C8/1906.77");

    e.first_ms = 1700000000000LL;
    m.first_ms = e.first_ms - DAY_MS;
    twin.id = "m2";
    twin.device_id = "d2";
    twin.first_ms = e.first_ms - 200 * DAY_MS;
    put(m);
    put(twin);
    put(e);
    assert_string_equal(decide(NULL, 0), "e1=m1 attr strong");
}

/* Facts 7.4, modes: each takes more than the one before. */
static void mat02_modes(void **state)
{
    static const char *const outlook[] = {"e1 ambiguous", "e1 ambiguous", "e1=m1 attr outlook_sole"};
    mdm_match_said_t plain = mail("e1", "LEDDJVC7GT7886JH9N4T9LR1Q0", "iPhone", "Apple-iPhone/"), two = iphone;
    mdm_match_said_t e = {.id = "e1", .device_id = "e1", .class = "outlook:ios-android", .eas_id = "0123456789ABCDEF", .device_type = "Outlook",
                          .user_agent = "Outlook-iOS-Android/1.0"};

    put(iphone);
    put(plain);
    for (mode = MDM_MATCH_STRICT; mode <= MDM_MATCH_OUTLOOK_SOLE; mode++) {
        assert_string_equal(decide(NULL, 0), mode == MDM_MATCH_STRICT ? "e1 ambiguous" : "e1=m1 attr sole");
    }
    apr_array_clear(list);
    put(iphone);
    put(e);
    for (mode = MDM_MATCH_STRICT; mode <= MDM_MATCH_OUTLOOK_SOLE; mode++) {
        assert_string_equal(decide(NULL, 0), outlook[mode]);
    }
    mode = MDM_MATCH_OUTLOOK_SOLE;
    e.id = "e2";
    put(e); /* two of them */
    assert_string_equal(decide(NULL, 0), "e1 ambiguous; e2 ambiguous");
    apr_array_clear(list);
    e.id = "e1";
    two.id = two.device_id = "m2";
    two.product = "iPhone14,5";
    put(iphone);
    put(two);
    put(e);
    assert_string_equal(decide(NULL, 0), "e1 ambiguous");
    apr_array_clear(list);
    e.platform = "android";
    put(iphone);
    put(e);
    assert_string_equal(decide(NULL, 0), "e1 no_candidate");
}

/* The order in which records come never matters. */
static void mat02_order_never_matters(void **state)
{
    unsigned seed = 20261121;
    int round, i;

    for (round = 0; round < 300; round++) {
        const char *first;

        apr_array_clear(list);
        for (i = 0; i < 6; i++) {
            int a = rand_r(&seed) % 2, b = rand_r(&seed) % 3;
            mdm_match_said_t m = a ? iphone : galaxy, e = a ? mail(NULL, "ApplF17TR2ABHG7K", "iPhone", "Apple-iPhone12C8/1906.77")
                                                           : mail(NULL, "SEC17CD1A3E9E3F2", "Android", "Android-SAMSUNG-SM-A515F/101.10");

            m.id = apr_psprintf(pool, "m%d", i);
            m.device_id = apr_psprintf(pool, "d%d", i);
            m.serial = b ? apr_psprintf(pool, "SERIAL%d%d", i, b) : m.serial;
            m.imei = b ? NULL : m.imei;
            e.id = apr_psprintf(pool, "e%d", i);
            e.eas_id = b ? apr_psprintf(pool, "androidc10020030%d", i) : e.eas_id;
            put(i & 1 ? m : e);
        }
        first = decide(NULL, 0);
        for (i = list->nelts - 1; i > 0; i--) {
            int k = rand_r(&seed) % (i + 1);
            mdm_match_record_t t = APR_ARRAY_IDX(list, i, mdm_match_record_t);

            APR_ARRAY_IDX(list, i, mdm_match_record_t) = APR_ARRAY_IDX(list, k, mdm_match_record_t);
            APR_ARRAY_IDX(list, k, mdm_match_record_t) = t;
        }
        assert_string_equal(decide(NULL, 0), first);
    }
}

/* Whatever a client says of itself: nothing breaks, and what can't be known stays unknown. */
/* Facts 7.11, extra cases: fifty phones with one placeholder as serial number, and IMEIs that are none, are fifty strangers. */
static void mat09_placeholders_join_nobody(void **state)
{
    static const char *const none[] = {"unknown", "0123456789ABCDEF", "N/A", "000000000000", "0"};
    mdm_match_said_t m = galaxy, e = mail("e1", "androidc100200300", "Android", "Android-Mail/2023");
    int i;

    m.imei = "000000000000000";
    for (i = 0; i < 50; i++) {
        m.id = m.device_id = apr_psprintf(pool, "m%02d", i);
        m.serial = none[i % 5];
        put(m);
    }
    e.serial = "unknown";
    e.imei = "000000000000000";
    put(e);
    assert_string_equal(decide(NULL, 0), "e1 ambiguous");
}

static void mat01_hostile_values(void **state)
{
    char *longest = apr_palloc(pool, 4097);
    mdm_match_said_t e = mail("e1", "", "", "");

    memset(longest, 'A', 4096);
    longest[4096] = '\0';
    e.model = e.maker = e.serial = e.imei = e.meid = e.phone = e.build = e.os_version = e.eas_id = e.device_type = e.user_agent = longest;
    put(galaxy);
    put(e);
    put(mail("e2", "\xff\xfe\x01", "\n", "Apple-iPhone"));
    put(mail("e3", "validate", "Android-SAMSUNG-/", "SAMSUNG-/"));
    assert_string_equal(decide(NULL, 0), "e1 no_candidate; e2 no_candidate; e3 no_candidate");
}

#define T(f) cmocka_unit_test_setup_teardown(f, begin, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(mat01_imei), T(mat01_ids_made_of_an_imei), T(mat02_what_phones_say), T(mat01_certain_keys), T(mat01_what_the_device_tells_wins),
        T(mat09_two_certain_ones_are_none), T(mat09_one_living_client_of_a_class), T(eas05_the_told_one_stands_back), T(mat09_a_shared_id_is_never_guessed),
        T(mat03_a_split_pair_is_never_matched),
        T(mat02_a_contradiction_excludes), T(mat02_one_that_fits_and_no_other), T(mat02_modes), T(mat02_time_neighbourhood), T(mat02_order_never_matters), T(mat09_placeholders_join_nobody),
        T(mat01_hostile_values)};
    int rc;

    apr_initialize();
    rc = cmocka_run_group_tests(tests, NULL, NULL);
    apr_terminate();
    return rc;
}
