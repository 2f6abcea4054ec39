/* Notices over time, by an injected clock: a mail server that is down for a day, what ends soon, reminders of enrolments, what is taken back (MAIL-01,
 * MAIL-02, PEN-05, REL-01). MDM_TEST_DB chooses the engine. */
#include "apple_test.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>

#include "domain/mdm_ca.h"
#include "domain/mdm_expiry.h"
#include "domain/mdm_job.h"
#include "domain/mdm_notice.h"
#include "domain/mdm_otp.h"

#define DAY_MS (86400 * 1000LL)
#define NOTICES 45

static zone_t *z;

static int setup(void **state)
{
    z = zone_make();
    z->t->env.outbound_local = 1;
    sql(z, "INSERT INTO role (id, name, rights) VALUES ('r1', 'Mail', '{}')");
    sql(z, "INSERT INTO admin (id, login, login_key, name, mail, kind, role_id, alerts, disabled, created_ms) VALUES "
           "('a1', 'a1', 'a1', 'Root', 'root@example.org', 'local', 'r1', 1, 0, 0)");
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

static void later(apr_int64_t ms)
{
    z->t->now += apr_time_from_msec(ms);
}

/* ---------------------------------------------------------------- a mail server that takes all */

typedef struct mta_t {
    int listener, port;
    pthread_t thread;
    char ids[2 * NOTICES][40]; /* of Message-IDs, as they came */
    int taken;
} mta_t;

static int open_port(int port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((unsigned short)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int on = 1, s = socket(AF_INET, SOCK_STREAM, 0);

    assert_true(s >= 0);
    setsockopt(s, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    assert_int_equal(bind(s, (struct sockaddr *)&a, sizeof(a)), 0);
    return s;
}

static void talk(mta_t *m, FILE *f)
{
    char line[2000];
    int in_data = 0;

    fputs("220 here\r\n", f);
    while (fflush(f) == 0 && fgets(line, sizeof(line), f)) {
        if (in_data) {
            if (!strncmp(line, "Message-ID: <", 13)) {
                apr_cpystrn(m->ids[m->taken], line + 13, 37);
            }
            in_data = strcmp(line, ".\r\n") != 0;
            if (!in_data) {
                m->taken++;
                fputs("250 taken\r\n", f);
            }
            continue;
        }
        in_data = !strncmp(line, "DATA", 4);
        fputs(in_data ? "354 go\r\n" : !strncmp(line, "QUIT", 4) ? "221 bye\r\n" : "250 ok\r\n", f);
    }
}

static void *serve(void *arg)
{
    mta_t *m = arg;
    int s;

    while ((s = accept(m->listener, NULL, NULL)) >= 0) {
        FILE *f = fdopen(s, "r+");

        talk(m, f);
        fclose(f);
    }
    return NULL;
}

static void mta_start(mta_t *m)
{
    m->listener = open_port(m->port);
    assert_int_equal(listen(m->listener, 5), 0);
    assert_int_equal(pthread_create(&m->thread, NULL, serve, m), 0);
}

static void mta_stop(mta_t *m)
{
    shutdown(m->listener, SHUT_RDWR);
    pthread_join(m->thread, NULL);
    close(m->listener);
}

/* A port that nobody listens on. */
static int free_port(void)
{
    struct sockaddr_in a;
    socklen_t len = sizeof(a);
    int s = open_port(0), port;

    assert_int_equal(getsockname(s, (struct sockaddr *)&a, &len), 0);
    port = ntohs(a.sin_port);
    close(s);
    return port;
}

/* ---------------------------------------------------------------- the job */

/* One run of the job `mail`, as the job runner does it; when it wants to run again. */
static apr_int64_t run_mail(void)
{
    const mdm_notice_run_t how = {.public_url = "https://mdm.example.org", .lease_s = 180};
    const mdm_job_add_t add = {.kind = MDM_NOTICE_JOB, .unique_key = MDM_NOTICE_JOB};
    mdm_ctx_t *sub = mdm_ctx_sub(z->t->ctx);
    apr_int64_t again;
    mdm_job_t *job;
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(sub, &db), APR_SUCCESS);
    assert_int_equal(mdm_job_add(db, &add, NULL), APR_SUCCESS);
    assert_int_equal(mdm_job_claim(db, MDM_NOTICE_JOB, "unit", 180, &job), APR_SUCCESS);
    mdm_db_close(db);
    assert_int_equal(mdm_notice_run(sub, job, &how), APR_SUCCESS);
    again = job->again_ms;
    job->again_ms = 0;
    assert_int_equal(mdm_db_open(sub, &db), APR_SUCCESS);
    assert_int_equal(mdm_job_finish(db, job, APR_SUCCESS, ""), APR_SUCCESS);
    mdm_db_close(db);
    apr_pool_destroy(sub->pool);
    return again;
}

static mdm_db_t *begun(void)
{
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_db_begin(db), APR_SUCCESS);
    return db;
}

static apr_status_t ended(mdm_db_t *db, apr_status_t rv)
{
    rv = mdm_db_end(db, rv);
    mdm_db_close(db);
    return rv;
}

static void write_notice(int n)
{
    const mdm_notice_t told = {.event = "email_none", .key = apr_psprintf(z->t->pool, "n%03d", n), .person_id = z->person->id};
    mdm_db_t *db = begun();

    assert_int_equal(ended(db, mdm_notice_add(db, &told)), APR_SUCCESS);
}

static void use_server(int port)
{
    json_t *body = mdm_json_own(z->t->ctx, json_pack("{s:s, s:i, s:s, s:s}", "host", "127.0.0.1", "port", port, "tls", "none", "from", "mdm@example.org"));
    mdm_db_t *db = begun();

    assert_int_equal(ended(db, mdm_notice_conf_edit(db, body)), APR_SUCCESS);
}

/* SMTP down for a day: nothing is lost, nothing counts as tried, the server is asked ever more seldom; afterwards each arrives once, in order. */
static void mail01_down_for_a_day(void **state)
{
    mta_t m = {.port = free_port()};
    apr_int64_t begin = mdm_now_ms(z->t->ctx), end = begin + DAY_MS, next, last = begin, longest = 0;
    int tries = 0, n = 0;

    use_server(m.port);
    for (; n < NOTICES / 3; n++) {
        write_notice(n);
    }
    while (mdm_now_ms(z->t->ctx) < end) {
        next = run_mail();
        tries++;
        assert_true(next > mdm_now_ms(z->t->ctx));
        longest = next - last > longest ? next - last : longest;
        last = next;
        later(next - mdm_now_ms(z->t->ctx));
        for (int k = 0; k < 2 && n < NOTICES; k++, n++) { /* others are written meanwhile, and call the job: the server is left alone */
            later(1);
            write_notice(n);
        }
    }
    assert_int_equal(n, NOTICES);
    assert_in_range(tries, 40, 90);
    assert_true(longest <= 38 * 60000); /* half an hour, and a quarter of it */
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM notice WHERE state = 'waiting' AND attempts = 0"), apr_itoa(z->t->pool, NOTICES));
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM message WHERE code = 'mail.away'"), "1");
    mta_start(&m);
    for (int i = 0; i < 5 && atoi(ask(z, "SELECT COUNT(*) FROM notice WHERE state = 'waiting'")); i++) {
        run_mail();
        later(3600000);
    }
    mta_stop(&m);
    assert_int_equal(m.taken, NOTICES);
    for (int i = 0; i < NOTICES; i++) {
        assert_string_equal(ask(z, "SELECT state FROM notice WHERE key = 'n%03d'", i), "sent");
        assert_string_equal(ask(z, "SELECT COUNT(*) FROM notice WHERE id = '%s'", m.ids[i]), "1");
        for (int k = 0; k < i; k++) {
            assert_string_not_equal(m.ids[i], m.ids[k]);
            assert_true(atoll(ask(z, "SELECT created_ms FROM notice WHERE id = '%s'", m.ids[k])) <= atoll(ask(z, "SELECT created_ms FROM notice WHERE id = '%s'", m.ids[i])));
        }
    }
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM message WHERE code = 'mail.away' AND ack_ms IS NULL"), "0");
}

/* It is over after a week: who could not be told then is listed as failed, with the reason. */
static void mail01_away_for_a_week(void **state)
{
    use_server(free_port());
    write_notice(1);
    run_mail();
    later(8 * DAY_MS);
    run_mail();
    assert_string_equal(ask(z, "SELECT state FROM notice"), "failed");
    assert_string_equal(ask(z, "SELECT error FROM notice"), "The mail server was away for too long.");
}

/* What waits can be taken back, and sent after all; the job leaves it alone. */
static void pen05_taken_back(void **state)
{
    mta_t m = {.port = free_port()};
    const char *id;
    mdm_db_t *db;

    write_notice(1);
    id = ask(z, "SELECT id FROM notice");
    db = begun();
    assert_int_equal(ended(db, mdm_notice_cancel(db, id)), APR_SUCCESS);
    db = begun();
    assert_int_equal(ended(db, mdm_notice_cancel(db, id)), MDM_ECONFLICT);
    db = begun();
    assert_int_equal(ended(db, mdm_notice_cancel(db, "00000000-0000-4000-8000-000000000000")), APR_NOTFOUND);
    mta_start(&m);
    use_server(m.port);
    run_mail();
    assert_int_equal(m.taken, 0);
    assert_string_equal(ask(z, "SELECT state FROM notice"), "cancelled");
    db = begun();
    assert_int_equal(ended(db, mdm_notice_retry(db, id)), APR_SUCCESS);
    run_mail();
    mta_stop(&m);
    assert_int_equal(m.taken, 1);
    db = begun();
    assert_int_equal(ended(db, mdm_notice_cancel(db, id)), MDM_ECONFLICT);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM audit WHERE action = 'notice.cancel'"), "1");
}

/* ---------------------------------------------------------------- what ends some day */

static void watch(void)
{
    const mdm_expiry_t what = {.public_url = ""};
    mdm_ctx_t *sub = mdm_ctx_sub(z->t->ctx);

    assert_int_equal(mdm_expiry_run(sub, NULL, &what), APR_SUCCESS);
    apr_pool_destroy(sub->pool);
}

static mdm_ca_t *authority(void)
{
    mdm_db_t *db;
    mdm_ca_t *ca;

    assert_int_equal(mdm_ca_ensure(z->t->ctx, "Example", MDM_KEY_P256), APR_SUCCESS);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_ca_load(db, z->t->pool, &ca), APR_SUCCESS);
    mdm_db_close(db);
    return ca;
}

/* The authority: 30, 7 and 1 days before its end and after it, once each; nothing is said of its helpers, which end elsewhere. */
static void mail02_authority_ends(void **state)
{
    static const struct {
        int days; /* left */
        const char *told;
    } steps[] = {{40, "0"}, {31, "0"}, {30, "1"}, {29, "1"}, {14, "1"}, {8, "1"}, {7, "2"}, {2, "2"}, {1, "3"}, {-1, "4"}, {-9, "4"}};
    mdm_certinfo_t info;
    mdm_ca_t *ca = authority();

    assert_int_equal(mdm_cert_info(z->t->ctx, ca->ca, &info), APR_SUCCESS);
    for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
        z->t->now = apr_time_from_msec(info.not_after_ms - steps[i].days * DAY_MS);
        watch();
        watch();
        assert_string_equal(ask(z, "SELECT COUNT(*) FROM audit WHERE action = 'certificate.expiring' AND object_id = 'ca'"), steps[i].told);
        sql(z, "UPDATE message SET ack_ms = 1");
    }
    assert_string_equal(ask(z, "SELECT mail FROM notice WHERE key LIKE 'certificate_expiring:ca:%%'"), "root@example.org");
    assert_non_null(strstr(ask(z, "SELECT vars FROM notice WHERE key LIKE 'certificate_expiring:ca:%%'"), "Example"));
}

/* One that was replaced in time settles what was said of the old one, and is told of anew when its own time comes. */
static void mail02_replaced_in_time(void **state)
{
    mdm_certinfo_t info;
    mdm_ca_t *ca = authority();

    assert_int_equal(mdm_cert_info(z->t->ctx, ca->ra, &info), APR_SUCCESS);
    z->t->now = apr_time_from_msec(info.not_after_ms - 20 * DAY_MS);
    watch();
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM message WHERE object_id = 'ra' AND ack_ms IS NULL"), "1");
    assert_int_equal(mdm_ca_ensure(z->t->ctx, "Example", MDM_KEY_P256), APR_SUCCESS);
    watch();
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM message WHERE object_id = 'ra' AND ack_ms IS NULL"), "0");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM zone_setting WHERE name = 'ra.warned'"), "0");
}

/* ---------------------------------------------------------------- enrolments that end soon */

static const char *provision(const char *notify, apr_int64_t life_ms)
{
    const mdm_provision_t how = {.origin = "single", .notify = notify, .otp_life_ms = life_ms, .phone = "+4915112345678"};
    mdm_pending_t *pending;
    const char *token;
    mdm_db_t *db = begun();
    int made;

    assert_int_equal(ended(db, mdm_pending_provision(db, z->person, &how, &pending, &token, &made)), APR_SUCCESS);
    return pending->id;
}

static int reminders(const char *id)
{
    return atoi(ask(z, "SELECT COUNT(*) FROM notice WHERE event = 'enroll_expiring' AND pending_id = '%s'", id));
}

/* Once, within the last day, of what was to be open for two at least, and by the ways by which its person was told of it. */
static void mail02_enrolment_ends(void **state)
{
    const char *both = provision("both", 5 * DAY_MS), *quiet = provision("", 5 * DAY_MS), *brief = provision("mail", DAY_MS + DAY_MS / 2);

    later(4 * DAY_MS - 60000);
    watch();
    assert_int_equal(reminders(both) + reminders(quiet) + reminders(brief), 0);
    later(120000);
    watch();
    watch();
    assert_int_equal(reminders(both), 2);
    assert_int_equal(reminders(quiet) + reminders(brief), 0);
    assert_string_equal(ask(z, "SELECT phone FROM notice WHERE event = 'enroll_expiring' AND channel = 'sms'"), "+4915112345678");
    later(DAY_MS);
    watch();
    assert_int_equal(reminders(both), 2);
}

/* A new password is told by the ways by which the enrolment was, or by those that are asked for; nobody is told of one that he does not want. */
static void mail02_new_password(void **state)
{
    static const struct {
        const char *notify, *channels;
    } rows[] = {{NULL, "2"}, {"", "0"}, {"sms", "1"}};
    const char *id = provision("both", 5 * DAY_MS);

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        mdm_db_t *db = begun();

        assert_int_equal(ended(db, mdm_otp_reset(db, id, rows[i].notify)), APR_SUCCESS);
        assert_string_equal(ask(z, "SELECT COUNT(*) FROM notice WHERE event = 'enroll_otp' AND pending_id = '%s'", id), rows[i].channels);
        sql(z, "DELETE FROM notice");
    }
}

/* The state of what people were told goes with the enrolment. */
static void pen05_state_is_told(void **state)
{
    const char *id = provision("both", 5 * DAY_MS);
    json_t *told, *list;
    mdm_db_t *db;

    sql(z, "UPDATE notice SET state = 'failed', error = 'no such number', done_ms = 5 WHERE channel = 'sms'");
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_notice_told(db, mdm_json_own(z->t->ctx, json_pack("[s, s]", id, "other")), &told), APR_SUCCESS);
    mdm_db_close(db);
    mdm_json_own(z->t->ctx, told);
    assert_int_equal(json_object_size(told), 1);
    list = json_object_get(told, id);
    assert_int_equal(json_array_size(list), 2);
    for (size_t i = 0; i < 2; i++) {
        json_t *n = json_array_get(list, i);
        int sms = !strcmp(json_string_value(json_object_get(n, "channel")), "sms");

        assert_string_equal(json_string_value(json_object_get(n, "state")), sms ? "failed" : "waiting");
        assert_string_equal(json_string_value(json_object_get(n, "error")), sms ? "no such number" : "");
        assert_int_equal(json_is_string(json_object_get(n, "next_at")), !sms);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(mail01_down_for_a_day, setup, teardown), cmocka_unit_test_setup_teardown(mail01_away_for_a_week, setup, teardown),
        cmocka_unit_test_setup_teardown(pen05_taken_back, setup, teardown), cmocka_unit_test_setup_teardown(mail02_authority_ends, setup, teardown),
        cmocka_unit_test_setup_teardown(mail02_replaced_in_time, setup, teardown),
        cmocka_unit_test_setup_teardown(mail02_enrolment_ends, setup, teardown), cmocka_unit_test_setup_teardown(mail02_new_password, setup, teardown),
        cmocka_unit_test_setup_teardown(pen05_state_is_told, setup, teardown)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
