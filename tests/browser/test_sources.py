"""User sources in the console, with a real directory (USR-01..04, USR-08, PEN-01)."""
from selenium.webdriver.common.by import By

import harness
from clients import portal
from slapd import ROOT_DN, ROOT_PASSWORD, Slapd
from pages import Page


def fill(p, **values):
    for name, text in values.items():
        field = p.find(f"#f-{name}")
        field.clear()
        field.send_keys(text)


def choose(p, name, value):
    p.find(f"#f-{name} option[value={value}]").click()


def test_directory_from_adding_to_deleting(zone):
    """Added, tested step by step, its certificate compared and accepted, used for a log-in, made simple and deleted."""
    zone.log.expect("MDM0121")  # the first synchronisation comes before the certificate was accepted
    directory = Slapd([("carla", "carla-Pass-1", "carla@example.net", "<img src=x onerror=alert(1)>")],
                      [("staff & more", ["carla"]), ("board", ["carla"])])
    p = Page(zone)
    try:
        p.log_in().open("sources")
        p.button("Add directory").click()
        choose(p, "type", "openldap")
        fill(p, name="Corp", host="127.0.0.1", port=str(directory.tls_port), root="dc=example,dc=org", bind_dn=ROOT_DN,
             secret=ROOT_PASSWORD, containers="ou=people,dc=example,dc=org")
        p.shot("source-add")
        p.button("Create", "dialog").click()
        p.closed()
        p.has("example.org")  # the domain was made of the root context
        p.button("Test connection").click()
        p.has(directory.sha256, "dialog")
        p.shot("source-test")
        p.button("Accept certificate", "dialog").click()
        p.closed()
        p.open("people").open("sources")
        p.button("Test connection").click()
        p.has("1 people", "dialog")
        assert not [b for b in p.driver.find_elements(By.CSS_SELECTOR, "dialog button") if b.text == "Accept certificate"]
        p.button("Close", "dialog").click()
        p.closed()
        portal(zone, "carla@example.org", "carla-Pass-1")
        harness.wait_for(lambda: zone.sql("SELECT COUNT(*) FROM user_group")[0][0] == 2)
        for chosen in (True, False):  # and let go again
            p.button("Edit").click()
            group = p.until(lambda: next(x for x in p.driver.find_elements(By.CSS_SELECTOR, "dialog .hits button") if "staff & more" in x.text))
            assert group.get_attribute("aria-pressed") == str(not chosen).lower()
            p.driver.execute_script("arguments[0].scrollIntoView({block: 'center'}); arguments[0].click()", group)
            p.shot(f"source-authorisers-{chosen}")
            p.button("Save", "dialog").click()
            p.closed()
            harness.wait_for(lambda: ("cn=staff & more,ou=groups" in zone.sql("SELECT config FROM user_source WHERE kind = 'ldap'")[0][0]) == chosen)
        p.button("Simple enrolment").click()
        p.button("Simple enrolment", "dialog").click()
        p.closed()
        p.has("without a domain")
        portal(zone, "carla", "carla-Pass-1")
        p.open("people").has("<img src=x onerror=alert(1)>")
        p.open("sources").button("Delete").click()
        p.has("1 people lose their log-in", "dialog")
        p.button("Delete", "dialog").click()
        p.closed()
        harness.wait_for(lambda: zone.sql("SELECT COUNT(*) FROM user_source WHERE kind = 'ldap'")[0][0] == 0)
        p.fits()
        p.clean()
    finally:
        p.driver.quit()
        directory.close()


def test_domain_of_the_address(zone, page):
    """USR-05: without a root context the domain is made of the address, of a bare IP address none is; what was typed stays."""
    zone.log.expect("MDM0120", "MDM0121")  # nobody answers there
    p = page().log_in()
    for name, host, typed, want in (("Far", "ldap.branch.example", "", ["branch.example"]), ("Bare", "127.0.0.1", "", []), ("Said", "ldap.other.example", "mine", ["mine"])):
        p.open("sources").button("Add directory").click()
        choose(p, "type", "openldap")
        fill(p, name=name, host=host, port="9", bind_dn=ROOT_DN, secret=ROOT_PASSWORD, containers="ou=people,dc=example,dc=org", domains=typed)
        p.button("Create", "dialog").click()
        p.closed()
        p.has(name)
        ident = zone.sql("SELECT id FROM user_source WHERE name = ?", name)[0][0]
        assert [r[0] for r in zone.sql("SELECT domain FROM user_domain WHERE source_id = ?", ident)] == want
        zone.sql("DELETE FROM user_source WHERE id = ?", ident)
    p.clean()
