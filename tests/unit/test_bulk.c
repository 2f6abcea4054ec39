/* Bulk runs (PEN-06): files as programs write them, the check, the run that is cut and goes on, results. MDM_TEST_DB chooses the engine. */
#include "apple_test.h"

#include "domain/mdm_bulk.h"
#include "domain/mdm_folder.h"
#include "domain/mdm_retention.h"

#define PEOPLE 120

static zone_t *z;
static mdm_dbpool_t direct;
static int left; /* connections that may still be had; negative: as many as are wanted */

static apr_status_t acquire(void *baton, mdm_ctx_t *ctx, mdm_conn_t **out)
{
    if (!left) {
        return MDM_EUNAVAIL;
    }
    left -= left > 0;
    return direct.acquire(direct.baton, ctx, out);
}

static int setup(void **state)
{
    const char *rows = "";
    int i;

    z = zone_make();
    direct = z->t->dbpool;
    z->t->dbpool.acquire = acquire;
    left = -1;
    for (i = 0; i < PEOPLE; i++) {
        rows = apr_psprintf(z->t->pool, "%s%s('00000000-0000-4000-8000-%012d', '%s', 'p%d', 'p%d', 'Person %d', 'p%d@example.org', 'p%d@example.org', 1)", rows,
                            i ? ", " : "", i, z->person->source_id, i, i, i, i, i);
    }
    sql(z, "INSERT INTO person (id, source_id, login, login_key, name, mail, mail_key, created_ms) VALUES %s", rows);
    z->t->ctx->actor.kind = "admin";
    z->t->ctx->actor.name = "root";
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

/* ---------------------------------------------------------------- words */

/* Sends a file in pieces of 7 bytes. */
static apr_status_t upload(const char *data, apr_size_t len, const mdm_bulk_options_t *o, const char **id)
{
    static const mdm_bulk_options_t none = {"list.csv", "", "", "", "", 0};
    mdm_bulk_t *b;
    apr_size_t i;
    apr_status_t rv = mdm_bulk_begin(z->t->ctx, o ? o : &none, &b);

    for (i = 0; rv == APR_SUCCESS && i < len; i += 7) {
        rv = mdm_bulk_feed(b, data + i, len - i < 7 ? len - i : 7);
    }
    rv = rv == APR_SUCCESS ? mdm_bulk_end(b, id) : rv;
    if (rv != APR_SUCCESS) {
        mdm_bulk_abort(b);
    }
    return rv;
}

static const char *sent(const char *text, const mdm_bulk_options_t *o)
{
    const char *id = NULL;

    assert_int_equal(upload(text, strlen(text), o, &id), APR_SUCCESS);
    return id;
}

/* One turn of the run's job, as a node would do it; ends as `rv`. */
static void turn(apr_status_t rv)
{
    mdm_job_t *job;
    mdm_db_t *db;
    int had = left;

    left = -1;
    z->t->now += apr_time_from_sec(60);
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_job_claim(db, MDM_BULK_JOB, "test", 60, &job), APR_SUCCESS);
    mdm_db_close(db);
    left = had;
    assert_int_equal(mdm_bulk_run(z->t->ctx, job, 60), rv);
    left = -1;
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_job_finish(db, job, rv, NULL), APR_SUCCESS);
    mdm_db_close(db);
}

static apr_status_t with(apr_status_t (*fn)(mdm_db_t *db, const char *id), const char *id)
{
    mdm_db_t *db;
    apr_status_t rv;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    rv = mdm_db_begin(db);
    rv = mdm_db_end(db, rv == APR_SUCCESS ? fn(db, id) : rv);
    mdm_db_close(db);
    return rv;
}

static void started(const char *id)
{
    assert_int_equal(with(mdm_bulk_start, id), APR_SUCCESS);
    turn(APR_SUCCESS);
}

static json_t *shown(const char *id)
{
    json_t *out;
    mdm_db_t *db;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_bulk_json(db, id, &out), APR_SUCCESS);
    mdm_db_close(db);
    return mdm_json_own(z->t->ctx, out);
}

/* "state good bad warned made" */
static const char *told(const char *id)
{
    json_t *r = shown(id);

#define N(name) (int)json_integer_value(json_object_get(r, name))
    return apr_psprintf(z->t->pool, "%s %d %d %d %d", json_string_value(json_object_get(r, "state")), N("good"), N("bad"), N("warned"), N("made"));
}

/* "line username field|…" of the bad rows. */
static const char *faults(const char *id)
{
    json_t *items = mdm_json_own(z->t->ctx, json_array()), *e;
    const char *next = NULL, *out = "";
    mdm_page_t page = {.sig = "x", .count = 200, .first = 1, .key = "", .id = ""};
    mdm_db_t *db;
    size_t i;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_bulk_rows(db, id, "bad", &page, items, &next), APR_SUCCESS);
    mdm_db_close(db);
    json_array_foreach(items, i, e) {
        out = apr_psprintf(z->t->pool, "%s%d %s %s|", out, (int)json_integer_value(json_object_get(e, "line")),
                           json_string_value(json_object_get(e, "username")), json_string_value(json_object_get(e, "field")));
    }
    return out;
}

static const char *result(const char *id)
{
    mdm_bulk_result_t *r;
    const char *text, *all;

    assert_int_equal(mdm_bulk_result_begin(z->t->ctx, id, "https://mdm.example.org", &r, &all), APR_SUCCESS);
    while (mdm_bulk_result_next(z->t->ctx, r, &text) == APR_SUCCESS && text) {
        all = apr_pstrcat(z->t->pool, all, text, NULL);
    }
    return all;
}

static int enrolments(void)
{
    return atoi(ask(z, "SELECT COUNT(*) FROM pending_enrollment"));
}

/* n rows, one for each person. */
static const char *people(int n)
{
    const char *csv = "username\n";
    int i;

    for (i = 0; i < n; i++) {
        csv = apr_psprintf(z->t->pool, "%sp%d\n", csv, i);
    }
    return csv;
}

/* ---------------------------------------------------------------- files */

static void pen06_a_file_as_spreadsheets_write_it(void **state)
{
    static const char file[] = "\xef\xbb\xbfUser Name;E-Mail;Mobile;Ownership;Cost centre;Count\r\n"
                               "p1;p1@example.org;'+49 151 2345678;c;\"a \"\"b\"\"; c\";1\r\n"
                               "P2@EXAMPLE.ORG;other@example.org;;;=1+1;2\r\n"
                               "\r\n"
                               "local\\p3;;;P;\"two\r\nlines\";\r\n"
                               "nobody;;;;;\r\n";
    mdm_bulk_options_t o = {"a\nb.csv", "personal", "ios", "", "de", 48};
    const char *id = sent(file, &o), *text;
    json_t *r;

    sql(z, "UPDATE user_source SET simple = 1");
    sql(z, "INSERT INTO user_domain (domain, source_id) SELECT 'local', id FROM user_source");
    assert_string_equal(told(id), "checking 0 0 0 0");
    turn(APR_SUCCESS);
    assert_string_equal(told(id), "checked 3 1 1 0");
    assert_int_equal(enrolments(), 0); /* a dry run */
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM audit WHERE action = 'pending.create'"), "0");
    assert_string_equal(faults(id), "7 nobody username|");
    started(id);
    r = shown(id);
    assert_string_equal(told(id), "done 3 1 1 4");
    assert_string_equal(json_string_value(json_array_get(json_object_get(r, "unknown_columns"), 0)), "Cost centre");
    assert_true(json_is_true(json_object_get(r, "result")));
    assert_string_equal(ask(z, "SELECT phone FROM pending_enrollment WHERE ownership = 'corporate'"), "+491512345678");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM pending_enrollment WHERE platform = 'ios' AND origin = 'bulk' AND created_by = 'root' AND "
                               "authorised_by = 'root' AND expires_ms - created_ms = 172800000 AND language = 'de'"), "4");
    text = result(id);
    assert_non_null(strstr(text, "\"User Name\",\"E-Mail\",\"Mobile\",\"Ownership\",\"Cost centre\",\"Count\",\"line\",\"result\",\"error\",\"token\",\"otp\",\"link\",\"expires\"\r\n"));
    assert_non_null(strstr(text, "\"p1\",\"p1@example.org\",\"'+49 151 2345678\",\"c\",\"a \"\"b\"\"; c\",\"1\",\"2\",\"created\",,\""));
    assert_non_null(strstr(text, "\"'=1+1\",\"2\",\"3\",\"created\",\"The address is not the one"));
    assert_non_null(strstr(text, "\"two  lines\",,\"5\",\"created\",,"));
    assert_non_null(strstr(text, "\"nobody\",,,,,,\"7\",\"failed\",\"username: is nobody who is known here\",,,,\r\n"));
    text = strstr(text, "https://mdm.example.org/enroll/") + 31;
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM pending_enrollment WHERE token_hash = '%s'",
                            mdm_sha256_hex(z->t->pool, text, strcspn(text, "\""))), "1");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM bulk_row WHERE cells LIKE '%%p1%%' AND cells LIKE '%%example%%'"), "0"); /* sealed */
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM audit WHERE action = 'bulk_run.result' AND actor_name = 'root'"), "1");
}

static void pen06_one_time_passwords_stand_in_the_result_alone(void **state)
{
    const char *id = sent("username,otp\np1,\np2,ABC\np3,84736251\n", NULL), *text;

    turn(APR_SUCCESS);
    assert_string_equal(faults(id), "3 p2 otp|");
    started(id);
    text = result(id);
    assert_non_null(strstr(text, "\"p3\",\"84736251\",\"4\",\"created\",,\""));
    assert_non_null(strstr(text, "\",\"84736251\",\"https://"));
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM bulk_row WHERE cells LIKE '%%84736251%%'"), "0");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM audit WHERE detail LIKE '%%84736251%%'"), "0");
    sql(z, "UPDATE pending_enrollment SET state = 'cancelled' WHERE person_id = '00000000-0000-4000-8000-000000000003'");
    assert_null(strstr(result(id), "\",\"84736251\",\"https://"));
}

static apr_status_t folder(const char *parent, const char *name, const char **id)
{
    mdm_db_t *db;
    apr_status_t rv;

    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    rv = mdm_db_begin(db);
    rv = mdm_db_end(db, rv == APR_SUCCESS ? mdm_folder_create(db, parent, name, id) : rv);
    mdm_db_close(db);
    return rv;
}

/* Facts 8.3: a device, a place, a time, a way of enrolling, one person's many; and what can't be one. */
static void pen06_columns_that_say_more(void **state)
{
    const char *from = mdm_time_text(z->t->pool, mdm_now_ms(z->t->ctx) + 10 * 86400000LL), *id, *europe, *berlin, *other, *first;

    assert_int_equal(folder(MDM_FOLDER_ROOT, "Europe", &europe), APR_SUCCESS);
    assert_int_equal(folder(europe, "Berlin", &berlin), APR_SUCCESS);
    assert_int_equal(folder(MDM_FOLDER_ROOT, "America", &other), APR_SUCCESS);
    assert_int_equal(folder(other, "Berlin", &other), APR_SUCCESS);
    first = apr_psprintf(z->t->pool, "p1,%s,mdm,europe / Berlin,84736251,c02-abc 123,35 2099-001761481,de-AT,1\n", from);
    id = sent(apr_pstrcat(z->t->pool, "username,valid_from,Mode,folder,otp,serial,imei,language,count\n", first, "p2,,,,8473 6251,,,,\np3,,,Berlin,,,,,\n"
                          "p4,,,nowhere,,,,,\np5,,,Pending Enrollment,,,,,\np6,tomorrow,,,,,,,\np7,,agent,,,,,,\np8,,mail,,,,352099001761481,,\np9,2020-01-01,,,,,,,\n"
                          "p10,,mail,,73625140,,,,\np11,,,", europe, ",,,,,20\np12,,,,,,352099001761482,,\np13,,,,,,,fr,\np14,2999-01-01,,,,,,,\np15,,,,,UNKNOWN,,,\n", NULL), NULL);
    turn(APR_SUCCESS);
    assert_string_equal(faults(id), "3 p2 otp|4 p3 folder|5 p4 folder|6 p5 folder|7 p6 valid_from|8 p7 mode|9 p8 imei|13 p12 imei|14 p13 language|"
                                    "15 p14 valid_from|16 p15 serial|");
    assert_string_equal(told(id), "checked 4 11 2 0");
    started(id);
    assert_string_equal(told(id), "done 4 11 2 23");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM pending_enrollment WHERE expected_serial = 'C02ABC123' AND expected_imei = '35209900176148' AND language = 'de' "
                               "AND level = 'managed' AND folder_id = '%s' AND valid_from_ms - created_ms > 86400000 AND expires_ms > valid_from_ms", berlin), "1");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM pending_enrollment WHERE level = 'email_only' AND otp IS NULL"), "1");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM pending_enrollment WHERE folder_id = '%s'", europe), "20");
    assert_non_null(strstr(result(id), "\"otp: is that of line 2 too\""));

    id = sent(apr_pstrcat(z->t->pool, "username,otp,count\np1,84736251,1\np11,,1\np1,,19\np1,,1\n", NULL), NULL); /* open ones of other runs count as well */
    turn(APR_SUCCESS);
    assert_string_equal(faults(id), "2 p1 otp|3 p11 |5 p1 |");
    z->t->ctx->actor.limit = "somebody"; /* who may see one of the folders, and knows it by its name then */
    sql(z, "INSERT INTO admin (id, kind, login, login_key, role_id, created_ms) SELECT 'somebody', 'local', 'x', 'x', id, 1 FROM role ORDER BY id LIMIT 1");
    sql(z, "INSERT INTO admin_folder (admin_id, folder_id) VALUES ('somebody', '%s')", berlin);
    id = sent("username,folder\np20,Berlin\np21,Europe\np22,Europe/Berlin\n", NULL);
    turn(APR_SUCCESS);
    assert_string_equal(faults(id), "3 p21 folder|4 p22 folder|");
}

static void pen06_bad_rows_are_told_and_stop_nobody(void **state)
{
    char *big = apr_palloc(z->t->pool, 1100000), *file;
    static const char nul[] = "p2,,,\0,,,,,,,\n";
    static const char *const bad[] = {",,,,,,,,,,", "p1,no address,,,,,,,,,", "p1,,0151 234,,,,,,,,", "p1,,,mine,,,,,,,", "p1,,,,amiga,,,,,,", "p1,,,,,721,,,,,",
                                      "p1,,,,,,pigeon,,,,", "p1,,,,,,,x_y,,,", "p1,,,,,,,,a*b,,", "p1,,,,,,,,,123,", "p1,,,,,,,,,,21", "p1,,,,,,sms,,,,",
                                      "p1,,,,,,,,SERIAL1,,2", "p1,,,,,,,,,,,surplus", "p\"1,,,,,,,,,,", "windows\\p1,,,,,,,,,,", "p1,,,,windows,,,,,,"};
    const char *id, *told_of;
    apr_size_t len;
    int i;

    memset(big, 'x', 1100000);
    memcpy(big, "p3,", 3);
    big[1048576] = '\0';
    file = apr_pstrdup(z->t->pool, "username,email,mobile,ownership,platform,otp_ttl_hours,notify,language,serial,imei,count\np0,,,,,,,,,,\n");
    for (i = 0; i < (int)(sizeof(bad) / sizeof(bad[0])); i++) {
        file = apr_pstrcat(z->t->pool, file, bad[i], "\n", NULL);
    }
    len = strlen(file);
    file = apr_pstrcat(z->t->pool, file, apr_psprintf(z->t->pool, "%*s", (int)sizeof(nul) - 1, ""), big, "\np4,,,,,,,,,,\np5,", NULL);
    memcpy(file + len, nul, sizeof(nul) - 1);
    len += sizeof(nul) - 1 + 1048576 + strlen("\np4,,,,,,,,,,\np5,");
    big[4200] = '\0'; /* a cell of 4 KB and some, in a row that can be read */
    file = apr_pmemdup(z->t->pool, file, len + 5000);
    memcpy(file + len, "\n", 1);
    memcpy(file + len + 1, big, 4200);
    assert_int_equal(upload(file, len + 4201, NULL, &id), APR_SUCCESS);
    turn(APR_SUCCESS);
    told_of = faults(id);
    assert_string_equal(told_of, "3  username|4 p1 email|5 p1 mobile|6 p1 ownership|7 p1 platform|8 p1 otp_ttl_hours|9 p1 notify|10 p1 language|11 p1 serial|"
                                 "12 p1 imei|13 p1 count|14 p1 mobile|15 p1 count|16  |17  |18 windows\\p1 username|19 p1 platform|20  |21  |24  |");
    started(id);
    assert_string_equal(told(id), "done 3 20 0 3");
    assert_non_null(strstr(result(id), ",\"21\",\"failed\",\"the row is too long\",,,,\r\n"));
    assert_non_null(strstr(result(id), ",\"20\",\"failed\",\"the row holds a NUL byte"));
}

static void pen06_files_that_are_none(void **state)
{
    static const char *const bad[] = {"", "login\n", "name\nanna\n", "username,user name\nanna,anna\n", "\xef\xbb\xbf", "user\xff\nanna\n"};
    mdm_bulk_options_t o = {"x", "", "", "pigeon", "", 0};
    const char *id, *row = "p1\n", *many = "username\n";
    char *text;
    int i;

    for (i = 0; i < (int)(sizeof(bad) / sizeof(bad[0])); i++) {
        assert_int_equal(upload(bad[i], strlen(bad[i]), NULL, &id), MDM_EINPUT);
    }
    assert_int_equal(upload("u\0s\0e\0r\0\n\0", 10, NULL, &id), MDM_EINPUT); /* UTF-16 without a mark */
    assert_non_null(strstr(z->t->ctx->fail_text, "save the file as"));
    assert_int_equal(upload("username\nanna\n", 14, &o, &id), MDM_EINPUT);
    assert_string_equal(z->t->ctx->fail_field, "notify");
    text = apr_palloc(z->t->pool, strlen(many) + (MDM_BULK_ROWS + 1) * strlen(row) + 1);
    memcpy(text, many, strlen(many));
    for (i = 0; i <= MDM_BULK_ROWS; i++) {
        memcpy(text + strlen(many) + (apr_size_t)i * strlen(row), row, strlen(row) + 1);
    }
    assert_int_equal(upload(text, strlen(text), NULL, &id), MDM_ETOOBIG);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM bulk_run"), "0");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM bulk_row"), "0");
}

/* ---------------------------------------------------------------- the job */

static void pen06_a_cut_run_goes_on_without_doubles(void **state)
{
    const mdm_bulk_options_t o = {"list.csv", "", "", "email", "", 0};
    const char *id = sent(people(PEOPLE), &o);
    int at;

    left = 2;
    turn(MDM_EUNAVAIL);
    turn(APR_SUCCESS);
    assert_string_equal(told(id), "checked 120 0 0 0");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM notice"), "0");
    assert_int_equal(with(mdm_bulk_start, id), APR_SUCCESS);
    assert_int_equal(with(mdm_bulk_start, id), MDM_ECONFLICT);
    left = 2; /* a batch and its progress */
    turn(MDM_EUNAVAIL);
    at = enrolments();
    assert_true(at > 0 && at < PEOPLE);
    assert_int_equal(atoi(ask(z, "SELECT walked FROM bulk_run")), at);
    turn(APR_SUCCESS);
    assert_string_equal(told(id), "done 120 0 0 120");
    assert_int_equal(enrolments(), PEOPLE);
    assert_string_equal(ask(z, "SELECT COUNT(DISTINCT person_id) FROM pending_enrollment"), "120");
    assert_string_equal(ask(z, "SELECT COUNT(DISTINCT pending_id) FROM notice"), "120");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM notice"), "120");
}

static void pen06_a_row_that_ends_its_transaction_is_bad_alone(void **state)
{
    const char *id = sent(people(60), NULL);

    if (strncmp(z->t->params, "pgsql", 5)) {
        sql(z, "CREATE TRIGGER poison BEFORE INSERT ON pending_enrollment WHEN NEW.person_id = '00000000-0000-4000-8000-000000000007' "
               "BEGIN SELECT RAISE(ABORT, 'poison'); END");
    } else {
        sql(z, "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
               "IF NEW.person_id = '00000000-0000-4000-8000-000000000007' THEN RAISE EXCEPTION 'poison'; END IF; RETURN NEW; END $$; "
               "CREATE TRIGGER poison BEFORE INSERT ON pending_enrollment FOR EACH ROW EXECUTE FUNCTION poison()");
    }
    z->t->ctx->log = NULL; /* the database's complaint is expected */
    turn(APR_SUCCESS);
    assert_string_equal(told(id), "checked 59 1 0 0");
    assert_string_equal(faults(id), "9 p7 |");
    started(id);
    assert_string_equal(told(id), "done 59 1 0 59");
}

static void pen06_cancelled_failed_removed(void **state)
{
    const char *id = sent(people(PEOPLE), NULL), *other;
    mdm_db_t *db;

    turn(APR_SUCCESS);
    assert_int_equal(with(mdm_bulk_start, id), APR_SUCCESS);
    left = 2;
    turn(MDM_EUNAVAIL);
    assert_int_equal(with(mdm_bulk_cancel, id), APR_SUCCESS);
    assert_int_equal(with(mdm_bulk_cancel, id), MDM_ECONFLICT);
    turn(APR_SUCCESS);
    assert_string_equal(told(id), apr_psprintf(z->t->pool, "cancelled %d 0 0 %d", enrolments(), enrolments()));
    assert_non_null(strstr(result(id), "\"p119\",\"121\",\"not run\",,,,,\r\n"));

    other = sent("username\nanna\n", NULL); /* the job is gone: it has failed, and can go on */
    sql(z, "UPDATE job SET state = 'failed', unique_key = NULL WHERE kind = 'bulk.run' AND state = 'waiting'");
    assert_string_equal(told(other), "failed 0 0 0 0");
    started(other);
    assert_string_equal(told(other), "checked 1 0 0 0");

    z->t->ctx->actor.limit = "somebody";
    assert_int_equal(with(mdm_bulk_start, other), APR_NOTFOUND);
    z->t->ctx->actor.limit = "";
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    assert_int_equal(mdm_bulk_remove(db, id, 1), APR_SUCCESS);
    mdm_db_close(db);
    assert_int_equal(with(mdm_bulk_start, id), APR_NOTFOUND);
    turn(APR_SUCCESS);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM bulk_row"), "1");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM pending_enrollment WHERE state <> 'cancelled'"), "0");
}

/* Kept for a week after its last step; that it was is known as long as other history. */
static void pen06_old_runs_go(void **state)
{
    const char *id = sent(people(3), NULL), *never = sent(people(3), NULL);
    mdm_job_t job = {.payload = json_object()};

    turn(APR_SUCCESS);
    turn(APR_SUCCESS);
    started(id);
    z->t->now += apr_time_from_sec(6 * 86400);
    assert_int_equal(mdm_retention_run(z->t->ctx, &job, 0, 60), APR_SUCCESS);
    assert_string_equal(told(id), "done 3 0 0 3");
    z->t->now += apr_time_from_sec(86401);
    assert_int_equal(mdm_retention_run(z->t->ctx, &job, 0, 60), APR_SUCCESS);
    assert_string_equal(told(id), "expired 3 0 0 3");
    assert_string_equal(told(never), "expired 3 0 0 0");
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM bulk_row"), "0");
    z->t->now += apr_time_from_sec(400 * 86400LL);
    assert_int_equal(mdm_retention_run(z->t->ctx, &job, 0, 60), APR_SUCCESS);
    assert_string_equal(ask(z, "SELECT COUNT(*) FROM bulk_run"), "0");
    json_decref(job.payload);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(pen06_a_file_as_spreadsheets_write_it, setup, teardown),
        cmocka_unit_test_setup_teardown(pen06_one_time_passwords_stand_in_the_result_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(pen06_columns_that_say_more, setup, teardown),
        cmocka_unit_test_setup_teardown(pen06_bad_rows_are_told_and_stop_nobody, setup, teardown),
        cmocka_unit_test_setup_teardown(pen06_files_that_are_none, setup, teardown),
        cmocka_unit_test_setup_teardown(pen06_a_cut_run_goes_on_without_doubles, setup, teardown),
        cmocka_unit_test_setup_teardown(pen06_a_row_that_ends_its_transaction_is_bad_alone, setup, teardown),
        cmocka_unit_test_setup_teardown(pen06_cancelled_failed_removed, setup, teardown),
        cmocka_unit_test_setup_teardown(pen06_old_runs_go, setup, teardown)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
