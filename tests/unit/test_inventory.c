/* Answers to queries (IOS-09): what is taken, what is left alone, what is refused. MDM_TEST_DB chooses the engine. */
#include "apple_test.h"
#include "domain/mdm_apple_inventory.h"

static zone_t *z;
static phone_t *d;
static mdm_db_t *db;

static int setup(void **state)
{
    z = zone_make();
    d = dev_enrolled(z, "UDID-INV");
    return 0;
}

static int teardown(void **state)
{
    dbtest_end(z->t);
    return 0;
}

static int opened(void **state)
{
    assert_int_equal(mdm_db_open(z->t->ctx, &db), APR_SUCCESS);
    return 0;
}

static int closed(void **state)
{
    mdm_db_close(db);
    return 0;
}

static const char *device(const char *column)
{
    return ask(z, "SELECT %s FROM device WHERE id = '%s'", column, d->device);
}

static apr_status_t take(const char *type, const char *xml)
{
    const char *text = apr_pstrcat(z->t->pool, "<?xml version=\"1.0\"?><plist version=\"1.0\"><dict>", xml, "</dict></plist>", NULL);
    mdm_plist_t *m;

    assert_int_equal(mdm_plist_parse(z->t->ctx, text, strlen(text), &m), APR_SUCCESS);
    return mdm_apple_absorb(db, d->device, type, m);
}

static json_t *inventory(void)
{
    return mdm_json_own(z->t->ctx, json_loads(device("inventory"), 0, NULL));
}

static void test_device_information(void **state)
{
    apr_uint64_t before = z->t->statements;

    assert_int_equal(take("DeviceInformation",
        "<key>QueryResponses</key><dict><key>ModelName</key><string>iPhone</string><key>UDID</key><string>ANOTHER</string>"
        "<key>SerialNumber</key><string>STOLEN</string><key>OSVersion</key><string>18.1</string>"
        "<key>BatteryLevel</key><real>0.71</real><key>DeviceCapacity</key><integer>128</integer>"
        "<key>AvailableDeviceCapacity</key><real>51.2</real><key>IsSupervised</key><true/>"
        "<key>EASDeviceIdentifier</key><string>EAS1</string><key>IMEI</key><string>old</string>"
        "<key>ServiceSubscriptions</key><array><dict><key>IMEI</key><string>350000000000001</string></dict>"
        "<dict><key>IMEI</key><string>350000000000002</string><key>IsDataPreferred</key><true/>"
        "<key>PhoneNumber</key><string>+15550100</string></dict></array></dict>"), APR_SUCCESS);
    assert_int_equal(z->t->statements - before, 1);
    assert_string_equal(device("model"), "iPhone");
    assert_string_equal(device("os_version"), "18.1");
    assert_string_equal(device("udid"), "UDID-INV"); /* what enrolment proved stays */
    assert_string_equal(device("serial"), "SNUDID-INV");
    assert_string_equal(device("imei"), "350000000000002");
    assert_string_equal(device("phone"), "+15550100");
    assert_string_equal(device("eas_device_id"), "EAS1");
    assert_string_equal(device("supervised"), "1");
    assert_true(strtod(device("battery"), NULL) > 0.7 && strtod(device("battery"), NULL) < 0.72);
    assert_true(strtod(device("capacity_gb"), NULL) == 128);
    assert_string_equal(json_string_value(json_object_get(json_object_get(inventory(), "device"), "OSVersion")), "18.1");
}

/* Absent keys, unknown ones and values of a wrong kind change nothing. */
static void test_partial_answer(void **state)
{
    assert_int_equal(take("DeviceInformation",
        "<key>QueryResponses</key><dict><key>BatteryLevel</key><real>-1</real><key>OSVersion</key><integer>7</integer>"
        "<key>Unheard</key><data>AAEC</data><key>ServiceSubscriptions</key><string>none</string></dict>"), APR_SUCCESS);
    assert_string_equal(device("os_version"), "18.1");
    assert_true(strtod(device("battery"), NULL) > 0.7);
    assert_string_equal(device("imei"), "350000000000002");
}

static void test_security(void **state)
{
    assert_int_equal(take("SecurityInfo", "<key>SecurityInfo</key><dict><key>HardwareEncryptionCaps</key><integer>3</integer>"
                          "<key>PasscodePresent</key><true/><key>PasscodeCompliant</key><false/></dict>"), APR_SUCCESS);
    assert_string_equal(device("encryption"), "3");
    assert_string_equal(device("passcode_present"), "1");
    assert_string_equal(device("passcode_compliant"), "0");
    assert_non_null(json_object_get(inventory(), "device")); /* the other section stays */
    assert_non_null(json_object_get(inventory(), "security"));
}

#define APP(id, name, version) "<dict><key>Identifier</key><string>" id "</string><key>Name</key><string>" name \
    "</string><key>Version</key><string>" version "</string><key>BundleSize</key><integer>100</integer>" \
    "<key>DynamicSize</key><integer>11</integer></dict>"

static const char *apps(const char *what)
{
    return ask(z, "SELECT %s FROM device_app WHERE device_id = '%s'", what, d->device);
}

/* The list replaces the list: new ones come, gone ones go, the rest is brought up to date. */
static void test_apps(void **state)
{
    assert_int_equal(take("InstalledApplicationList", "<key>InstalledApplicationList</key><array>" APP("a.one", "One", "1")
                          APP("a.two", "it's &lt;b&gt; \"2\" %s \\ \xC3\xA4", "1") APP("a.two", "again", "9") "<dict/>"
                          "<string>no</string></array>"), APR_SUCCESS);
    assert_string_equal(apps("count(*)"), "2");
    assert_string_equal(ask(z, "SELECT name FROM device_app WHERE identifier = 'a.two'"), "it's <b> \"2\" %s \\ \xC3\xA4");
    assert_string_equal(ask(z, "SELECT size FROM device_app WHERE identifier = 'a.one'"), "111");
    sql(z, "UPDATE device_app SET managed = 1 WHERE identifier = 'a.two'");
    assert_int_equal(take("InstalledApplicationList", "<key>InstalledApplicationList</key><array>" APP("a.two", "Two", "2")
                          APP("a.three", "Three", "1") "</array>"), APR_SUCCESS);
    assert_string_equal(apps("count(*)"), "2");
    assert_string_equal(ask(z, "SELECT version FROM device_app WHERE identifier = 'a.two' AND managed = 1"), "2");
    assert_string_equal(ask(z, "SELECT count(*) FROM device_app WHERE identifier = 'a.one'"), "0");
    assert_int_equal(take("InstalledApplicationList", "<key>InstalledApplicationList</key><array/>"), APR_SUCCESS);
    assert_string_equal(apps("count(*)"), "0");
}

#define LIST(key, xml) "<key>" key "</key><array>" xml "</array>"

/* DEV-04: lists are kept under names of our own; binary parts are read and not kept. */
static void test_kept_answers(void **state)
{
    json_t *j;

    assert_int_equal(take("ProfileList", LIST("ProfileList", "<dict><key>PayloadIdentifier</key><string>x</string><key>PayloadDisplayName</key>"
                          "<string>A\xE2\x80\xAE&lt;b&gt;</string><key>SignerCertificates</key><array><data>AAEC</data></array>"
                          "<key>PayloadContent</key><array><dict><key>PayloadType</key><string>com.apple.wifi.managed</string>"
                          "<key>Password</key><string>secret</string></dict></array></dict><string>no</string>")), APR_SUCCESS);
    assert_int_equal(take("CertificateList", LIST("CertificateList", "<dict><key>Data</key><data>AAEC</data><key>CommonName</key>"
                          "<string>broken</string></dict>")), APR_SUCCESS);
    assert_int_equal(take("ManagedApplicationList", "<key>ManagedApplicationList</key><dict><key>a.b</key><dict><key>Status</key>"
                          "<string>Managed</string><key>UnusedRedemptionCode</key><string>CODE</string></dict></dict>"), APR_SUCCESS);
    assert_int_equal(take("Restrictions", "<key>GlobalRestrictions</key><dict><key>restrictedBool</key><dict><key>allowCamera</key><dict>"
                          "<key>value</key><false/></dict></dict><key>restrictedValue</key><dict><key>maxInactivity</key><dict><key>value"
                          "</key><integer>5</integer></dict></dict><key>union</key><array/></dict>"), APR_SUCCESS);
    assert_int_equal(take("DeviceLocation", "<key>Latitude</key><real>52.5</real><key>Longitude</key><real>13.4</real>"), APR_SUCCESS);
    j = inventory();
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(j, "profiles"), 0), "identifier")), "x");
    assert_int_equal(json_array_size(json_object_get(j, "profiles")), 1);
    assert_null(strstr(device("inventory"), "secret"));
    assert_null(strstr(device("inventory"), "CODE"));
    assert_string_equal(json_string_value(json_object_get(json_array_get(json_object_get(j, "certificates"), 0), "name")), "broken");
    assert_true(json_is_false(json_object_get(json_object_get(j, "restrictions"), "allowCamera")));
    assert_int_equal(json_integer_value(json_object_get(json_object_get(j, "restrictions"), "maxInactivity")), 5);
    assert_true(json_real_value(json_object_get(json_object_get(j, "location"), "Latitude")) > 52);
    assert_int_equal(take("DeviceLock", "<key>MessageResult</key><string>Success</string>"), APR_SUCCESS);
}

/* The same view of mobile lines before and after system 26. */
static void test_lines(void **state)
{
    static const char *const answers[] = {
        "<key>IMEI</key><string>35</string><key>ICCID</key><string>89</string><key>CurrentCarrierNetwork</key><string>Example</string>"
        "<key>IsRoaming</key><true/>",
        "<key>ServiceSubscriptions</key><array><dict><key>Slot</key><string>Two</string></dict><dict><key>IMEI</key><string>35</string>"
        "<key>ICCID</key><string>89</string><key>CurrentCarrierNetwork</key><string>Example</string><key>IsRoaming</key><true/>"
        "<key>IsDataPreferred</key><true/></dict></array>"};

    for (int i = 0; i < 2; i++) {
        json_t *line;

        assert_int_equal(take("DeviceInformation", apr_psprintf(z->t->pool, "<key>QueryResponses</key><dict>%s</dict>", answers[i])), APR_SUCCESS);
        line = json_array_get(json_object_get(json_object_get(inventory(), "device"), "lines"), 0);
        assert_string_equal(json_string_value(json_object_get(line, "iccid")), "89");
        assert_string_equal(json_string_value(json_object_get(line, "carrier")), "Example");
        assert_true(json_is_true(json_object_get(line, "roaming")));
        assert_string_equal(device("imei"), "35");
    }
}

/* Changes that people want to see become one event, with old and new; noise and first values don't. */
static void test_changes(void **state)
{
    const char *before = "<key>QueryResponses</key><dict><key>DeviceName</key><string>Old</string><key>BatteryLevel</key><real>0.5</real>"
                         "<key>OSVersion</key><string>18.1</string></dict>";
    const char *after = "<key>QueryResponses</key><dict><key>DeviceName</key><string>New \xF0\x9F\x93\xB1</string><key>BatteryLevel</key>"
                        "<real>0.1</real><key>OSVersion</key><string>26.0</string><key>IsSupervised</key><true/></dict>";
    const char *count = "SELECT count(*) FROM device_event WHERE kind = 'changed'";
    json_t *j;

    assert_int_equal(take("DeviceInformation", before), APR_SUCCESS);
    sql(z, "DELETE FROM device_event");
    assert_int_equal(take("DeviceInformation", before), APR_SUCCESS);
    assert_string_equal(ask(z, "%s", count), "0");
    assert_int_equal(take("DeviceInformation", after), APR_SUCCESS);
    assert_int_equal(take("DeviceInformation", after), APR_SUCCESS);
    assert_string_equal(ask(z, "%s", count), "1");
    j = mdm_json_own(z->t->ctx, json_loads(ask(z, "SELECT detail FROM device_event WHERE kind = 'changed'"), 0, NULL));
    assert_int_equal(json_object_size(j), 2);
    assert_string_equal(json_string_value(json_object_get(json_object_get(j, "os_version"), "before")), "18.1");
    assert_string_equal(json_string_value(json_object_get(json_object_get(j, "name"), "after")), "New \xF0\x9F\x93\xB1");
}

/* Hostile sizes: what is kept stays small, whatever a device says. */
static void test_bounded(void **state)
{
    mdm_plist_t *m = mdm_plist_dict(z->t->pool), *list = mdm_plist_add_array(z->t->pool, m, "ProfileList"), *q;
    char *text = memset(apr_pcalloc(z->t->pool, 100001), 'x', 100000);

    for (int i = 0; i < 2000; i++) {
        mdm_plist_add_str(z->t->pool, mdm_plist_add_dict(z->t->pool, list, NULL), "PayloadIdentifier", apr_itoa(z->t->pool, i));
    }
    assert_int_equal(mdm_apple_absorb(db, d->device, "ProfileList", m), APR_SUCCESS);
    assert_int_equal(json_array_size(json_object_get(inventory(), "profiles")), 500);
    m = mdm_plist_dict(z->t->pool);
    q = mdm_plist_add_dict(z->t->pool, m, "QueryResponses");
    mdm_plist_add_str(z->t->pool, q, "DeviceName", text);
    mdm_plist_add_str(z->t->pool, q, "Unheard", text);
    assert_int_equal(mdm_apple_absorb(db, d->device, "DeviceInformation", m), APR_SUCCESS);
    assert_true(strlen(json_string_value(json_object_get(json_object_get(inventory(), "device"), "DeviceName"))) <= 255);
    assert_null(json_object_get(json_object_get(inventory(), "device"), "Unheard"));
    m = mdm_plist_dict(z->t->pool);
    list = mdm_plist_add_array(z->t->pool, m, "ProfileList");
    for (int i = 0; i < 500; i++) {
        q = mdm_plist_add_array(z->t->pool, mdm_plist_add_dict(z->t->pool, list, NULL), "PayloadContent");
        for (int k = 0; k < 20; k++) {
            mdm_plist_add_str(z->t->pool, mdm_plist_add_dict(z->t->pool, q, NULL), "PayloadType", text);
        }
    }
    assert_int_equal(mdm_apple_absorb(db, d->device, "ProfileList", m), MDM_ETOOBIG);
    m = mdm_plist_dict(z->t->pool);
    for (int i = 0; i < 400; i++) {
        mdm_plist_add_str(z->t->pool, m, apr_itoa(z->t->pool, i), text);
    }
    assert_true(strlen(mdm_apple_result(z->t->ctx, m)) <= 16384);
}

static void test_useless_answers(void **state)
{
    static const char *const types[] = {"DeviceInformation", "SecurityInfo", "InstalledApplicationList", "ProfileList",
                                        "CertificateList", "ManagedApplicationList", "Restrictions", "ProvisioningProfileList"};
    const char *before = device("inventory");

    for (size_t i = 0; i < sizeof types / sizeof types[0]; i++) {
        assert_int_equal(take(types[i], ""), MDM_EINPUT);
        assert_int_equal(take(types[i], "<key>QueryResponses</key><array/><key>SecurityInfo</key><string/>"
                              "<key>InstalledApplicationList</key><dict/><key>ProfileList</key><dict/><key>CertificateList</key><true/>"
                              "<key>ManagedApplicationList</key><array/><key>GlobalRestrictions</key><array/>"), MDM_EINPUT);
    }
    assert_string_equal(device("inventory"), before);
}

static void test_too_many_apps(void **state)
{
    mdm_plist_t *m = mdm_plist_dict(z->t->pool), *list = mdm_plist_add_array(z->t->pool, m, "InstalledApplicationList");

    for (int i = 0; i < 5001; i++) {
        mdm_plist_add_str(z->t->pool, mdm_plist_add_dict(z->t->pool, list, NULL), "Identifier", apr_itoa(z->t->pool, i));
    }
    assert_int_equal(mdm_apple_absorb(db, d->device, "InstalledApplicationList", m), MDM_EINPUT);
}

#define T(f) cmocka_unit_test_setup_teardown(f, opened, closed)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(test_device_information), T(test_partial_answer), T(test_security), T(test_apps), T(test_kept_answers), T(test_lines), T(test_changes), T(test_bounded),
        T(test_useless_answers), T(test_too_many_apps),
    };

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
