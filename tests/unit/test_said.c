/* What the server says to administrators, as words with values (UI-03, SEC-05). */
#include "ctxtest.h"

#include <string.h>
#include "domain/mdm_said.h"

static void said(const char *stored, const char *text, const char *json)
{
    json_t *got = mdm_said_json(pool, stored), *wanted = json_loads(json, JSON_DECODE_ANY, NULL);

    assert_string_equal(mdm_said_text(pool, stored), text);
    assert_true(json_equal(got, wanted));
    json_decref(got);
    json_decref(wanted);
}

static void ui03_words_and_values(void **state)
{
    said(mdm_said(pool, "said_no_reason", NULL), "The device gave no reason.", "{\"word\":\"said_no_reason\",\"values\":[]}");
    said(mdm_said(pool, "said_policy_failed", "security", "", NULL), "The device did not take its policy (security): ",
         "{\"word\":\"said_policy_failed\",\"values\":[\"security\",\"\"]}");
    said("Only supervised devices obey it.", "Only supervised devices obey it.", "{\"word\":\"out_supervision\",\"values\":[]}");
    said("Fehler 4001", "Fehler 4001", "null"); /* what a device said itself */
    said("", "", "null");
}

static void sec05_values_stay_values(void **state)
{
    said(mdm_said(pool, "said_enroll_refused", "a\x1fsaid_no_reason\x1f", "{0}{1}{2", NULL), "asaid_no_reason tried to enrol this device again: {0}{1}{2",
         "{\"word\":\"said_enroll_refused\",\"values\":[\"asaid_no_reason\",\"{0}{1}{2\"]}");
    said("\x1fsaid_policy_failed", "The device did not take its policy (): ", "{\"word\":\"said_policy_failed\",\"values\":[]}");
    said("\x1fsaid_policy_failed\x1f" "1\x1f" "2\x1f" "3\x1f" "4\x1f" "5", "The device did not take its policy (1): 2",
         "{\"word\":\"said_policy_failed\",\"values\":[\"1\",\"2\",\"3\",\"4\"]}");
    said("\x1fsaid_policy", "said_policy", "null"); /* a word of a later version */
    said("\x1f", "", "null");
}

static void ui03_each_word_once(void **state)
{
    for (const mdm_said_t *a = mdm_said_table; a->word; a++) {
        for (const mdm_said_t *b = a + 1; b->word; b++) {
            assert_string_not_equal(a->word, b->word);
            assert_string_not_equal(a->text, b->text);
        }
        for (const char *hole = strchr(a->text, '{'); hole; hole = strchr(hole + 1, '{'))
            assert_true(hole[1] >= '0' && hole[1] < '0' + MDM_SAID_VALUES && hole[2] == '}');
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(ui03_words_and_values), cmocka_unit_test(sec05_values_stay_values),
                                       cmocka_unit_test(ui03_each_word_once)};

    apr_initialize();
    return cmocka_run_group_tests(tests, setup, teardown);
}
