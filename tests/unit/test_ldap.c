/* Configuration of LDAP sources, filters and names: pure parts (USR-01, USR-11, R27). */
#include "dbtest.h"

#include "domain/mdm_ldap.h"
#include "domain/mdm_people.h"

static int setup(void **state)
{
    *state = dbtest_make(1);
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(*state);
    return 0;
}

/* R27: no byte of a value can mean anything in a filter. */
static void test_escape(void **state)
{
    static const struct {
        const char *in, *out;
    } rows[] = {{"anna", "anna"}, {"", ""}, {"a.b-c_d@e.org", "a.b-c_d@e.org"}, {"*", "\\2a"}, {"*)(uid=*", "\\2a\\29\\28uid\\3d\\2a"},
                {"\\2a", "\\5c2a"}, {"a\nb", "a\\0ab"}, {"&|!<>~", "\\26\\7c\\21\\3c\\3e\\7e"}, {"J\xc3\xb6rg", "J\\c3\\b6rg"},
                {"\xff", "\\ff"}, {"\x01", "\\01"}};
    dbtest_t *t = *state;
    char one[2] = "";
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_string_equal(mdm_ldap_escape(t->pool, rows[i].in), rows[i].out);
    }
    for (i = 1; i < 256; i++) {
        one[0] = (char)i;
        assert_null(strpbrk(mdm_ldap_escape(t->pool, one), "*()&|!=<>~"));
    }
    assert_string_equal(mdm_ldap_equals(t->pool, "uid", "a)(b"), "(uid=a\\29\\28b)");
    assert_string_equal(mdm_ldap_equals(t->pool, "", "a"), "");
}

/* Equal names are equal text; what is no name is none. */
static void test_names(void **state)
{
    dbtest_t *t = *state;

    assert_string_equal(mdm_ldap_dn_key(t->pool, "UID=Anna , OU=People,dc=Example, dc=org"), "uid=anna,ou=people,dc=example,dc=org");
    assert_null(mdm_ldap_dn_key(t->pool, "no name"));
    assert_null(mdm_ldap_dn_key(t->pool, "uid=a,,"));
    assert_null(mdm_ldap_dn_key(t->pool, "=x"));
}

static apr_status_t conf(dbtest_t *t, const char *json, mdm_ldap_conf_t **out)
{
    json_t *j;

    assert_int_equal(mdm_json_parse(t->ctx, json, strlen(json), &j), APR_SUCCESS);
    t->ctx->fail_field = "";
    return mdm_ldap_conf(t->ctx, j, out);
}

/* USR-01: each preset has what is needed, ports follow the way to connect, each attribute can be another. */
static void test_presets(void **state)
{
    dbtest_t *t = *state;
    mdm_ldap_conf_t *c;
    int i, k;

    for (i = 0; mdm_ldap_types[i]; i++) {
        assert_int_equal(conf(t, apr_psprintf(t->pool, "{\"type\":\"%s\",\"host\":\"d.example.org\",\"containers\":[\"o=x\"]}",
                                              mdm_ldap_types[i]), &c), APR_SUCCESS);
        assert_int_equal(c->port, 636);
        assert_int_equal(c->tls, MDM_LDAP_LDAPS);
        assert_int_equal(c->sync_minutes, 60);
        assert_int_equal(c->timeout_ms, 5000);
        for (k = 0; k < MDM_LA_COUNT; k++) {
            assert_true(c->attr[k][0]);
        }
    }
    assert_int_equal(conf(t, "{\"type\":\"openldap\",\"host\":\"::1\",\"tls\":\"starttls\",\"containers\":[\"o=x\",\"o=y\"],"
                             "\"attributes\":{\"login\":\"cn\",\"phone\":\"\"}}", &c), APR_SUCCESS);
    assert_int_equal(c->port, 389);
    assert_int_equal(c->containers->nelts, 2);
    assert_string_equal(c->attr[MDM_LA_LOGIN], "cn");
    assert_string_equal(c->attr[MDM_LA_PHONE], "");
    assert_string_equal(c->attr[MDM_LA_MAIL], "mail");
    assert_int_equal(c->authorisers->nelts, 0);
    assert_int_equal(conf(t, "{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[\"o=x\"],\"authorisers\":[\"CN=Board , O=x\"]}", &c), APR_SUCCESS);
    assert_string_equal(APR_ARRAY_IDX(c->authorisers, 0, const char *), "cn=board,o=x"); /* PEN-01: compared as names */
}

/* USR-01: what each kind of directory calls things. */
static void test_preset_names(void **state)
{
    static const struct {
        const char *type, *person, *login, *guid, *group, *disabled;
    } rows[] = {{"edirectory", "inetOrgPerson", "cn", "GUID", "groupOfNames", "loginDisabled"},
                {"active_directory", "user", "sAMAccountName", "objectGUID", "group", "userAccountControl"},
                {"openldap", "inetOrgPerson", "uid", "entryUUID", "groupOfNames", "pwdAccountLockedTime"},
                {"dsfw", "user", "sAMAccountName", "objectGUID", "group", "loginDisabled"}};
    dbtest_t *t = *state;
    mdm_ldap_conf_t *c;
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(conf(t, apr_psprintf(t->pool, "{\"type\":\"%s\",\"host\":\"h\",\"containers\":[\"o=x\"]}", rows[i].type), &c), APR_SUCCESS);
        assert_string_equal(c->attr[MDM_LA_PERSON_CLASS], rows[i].person);
        assert_string_equal(c->attr[MDM_LA_LOGIN], rows[i].login);
        assert_string_equal(c->attr[MDM_LA_MAIL], "mail");
        assert_string_equal(c->attr[MDM_LA_GUID], rows[i].guid);
        assert_string_equal(c->attr[MDM_LA_GROUP_CLASS], rows[i].group);
        assert_string_equal(c->attr[MDM_LA_MEMBER], "member");
        assert_string_equal(c->attr[MDM_LA_DISABLED], rows[i].disabled);
        assert_string_equal(c->root, ""); /* optional */
    }
}

/* Wrong configuration is refused by the name of its field. */
static void test_refused(void **state)
{
    static const struct {
        const char *json, *field;
    } rows[] = {
        {"{}", "type"}, {"{\"type\":\"x\"}", "type"}, {"{\"type\":\"dsfw\"}", "host"},
        {"{\"type\":\"dsfw\",\"host\":\"h\"}", "containers"}, {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[]}", "containers"},
        {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[1]}", "containers"},
        {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[\"x\"]}", "containers"},
        {"{\"type\":\"dsfw\",\"host\":\"h/x\",\"containers\":[\"o=x\"]}", "host"},
        {"{\"type\":\"dsfw\",\"host\":\"h ldap://evil\",\"containers\":[\"o=x\"]}", "host"},
        {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[\"o=x\"],\"port\":0}", "port"},
        {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[\"o=x\"],\"tls\":\"maybe\"}", "tls"},
        {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[\"o=x\"],\"pin\":\"AB\"}", "pin"},
        {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[\"o=x\"],\"bind_dn\":\"joe\"}", "bind_dn"},
        {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[\"o=x\"],\"timeout_s\":31}", "timeout_s"},
        {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[\"o=x\"],\"attributes\":{\"login\":\"a)(b\"}}", "login"},
        {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[\"o=x\"],\"attributes\":{\"login\":\"\"}}", "attributes"},
        {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[\"o=x\"],\"attributes\":{\"other\":\"x\"}}", "other"},
        {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[\"o=x\"],\"other\":1}", "other"},
        {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[\"o=x\"],\"authorisers\":\"cn=x\"}", "authorisers"},
        {"{\"type\":\"dsfw\",\"host\":\"h\",\"containers\":[\"o=x\"],\"authorisers\":[\"board\"]}", "authorisers"},
    };
    dbtest_t *t = *state;
    mdm_ldap_conf_t *c;
    unsigned i;

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        assert_int_equal(conf(t, rows[i].json, &c), MDM_EINPUT);
        assert_string_equal(t->ctx->fail_field, rows[i].field);
    }
}

/* USR-11, R46: a source that can't be asked (nobody listens; stored rubbish) is our trouble, never a wrong password; a source
 * that is switched off knows nobody. */
static void test_away(void **state)
{
    dbtest_t *t = *state;
    mdm_person_t *person;

    assert_int_equal(dbtest_sql(t, "INSERT INTO user_source (id, name, kind, config, created_ms) VALUES ('s1', 'Dead', 'ldap', "
                                   "'{\"type\":\"openldap\",\"host\":\"127.0.0.1\",\"port\":1,\"tls\":\"none\",\"containers\":"
                                   "[\"o=x\"],\"timeout_s\":1}', 1)"), 0);
    assert_int_equal(dbtest_sql(t, "INSERT INTO user_source (id, name, kind, config, created_ms) VALUES ('s2', 'Broken', 'ldap', "
                                   "'rubbish', 1)"), 0);
    assert_int_equal(dbtest_sql(t, "INSERT INTO user_source (id, name, kind, config, enabled, created_ms) VALUES ('s3', 'Off', "
                                   "'ldap', '{}', 0, 1)"), 0);
    assert_int_equal(mdm_people_login(t->ctx, "anna", "dead", "x", &person), MDM_EUNAVAIL);
    assert_int_equal(mdm_people_login(t->ctx, "anna", "broken", "x", &person), MDM_EUNAVAIL);
    assert_int_equal(mdm_people_login(t->ctx, "anna@nowhere.example", NULL, "x", &person), MDM_EUNAVAIL);
    assert_int_equal(mdm_people_login(t->ctx, "anna", "off", "x", &person), MDM_EAUTH);
    assert_int_equal(mdm_people_login(t->ctx, "anna", "dead", "", &person), MDM_EAUTH);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_escape, setup, teardown), cmocka_unit_test_setup_teardown(test_names, setup, teardown),
        cmocka_unit_test_setup_teardown(test_presets, setup, teardown), cmocka_unit_test_setup_teardown(test_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(test_preset_names, setup, teardown), cmocka_unit_test_setup_teardown(test_away, setup, teardown)};

    apr_initialize();
    return cmocka_run_group_tests(tests, NULL, NULL);
}
