"""A browser on the console, as its tests use it."""
import os

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

import harness
from chromium import Found, chromium

SHOTS = os.environ.get("MDM_SHOTS")  # a folder for pictures of the pages


class Page:
    """One headless browser."""

    def __init__(self, zone, **options):
        """options: of chromium()"""
        self.zone, self.driver = zone, chromium(**{"size": (1280, 800), **options})

    def log_in(self, login=harness.ADMIN_USER, password=harness.ADMIN_PASSWORD):
        self.driver.get(self.zone.admin_url)
        self.find("#login").send_keys(login)
        self.find("#password").send_keys(password + Keys.ENTER)
        self.find("#main h1")
        return self

    def open(self, page):
        self.driver.get(self.zone.admin_url + "#/" + page)
        self.until(lambda: self.driver.find_elements(By.CSS_SELECTOR, "#main h1") and not self.driver.find_elements(By.CSS_SELECTOR, "#main[aria-busy]"))
        return self

    def until(self, what, timeout=harness.PATIENCE):
        return WebDriverWait(self.driver, timeout, 0.1, ignored_exceptions=(Exception,)).until(lambda _: what())

    def found(self, look):
        """What look() answers, as soon as that is something; it is looked for again when it is used later and gone."""
        return Found(self.until(look), lambda: self.until(look))

    def find(self, css):
        return self.found(lambda: next((e for e in self.driver.find_elements(By.CSS_SELECTOR, css) if e.is_displayed()), None))

    def text(self, css):
        """Of the first that is seen; it may be drawn anew meanwhile."""
        return self.until(lambda: [e.text for e in self.driver.find_elements(By.CSS_SELECTOR, css) if e.is_displayed()][:1])[0]

    def button(self, text, within=""):
        def look():
            found = next((e for e in self.driver.find_elements(By.CSS_SELECTOR, f"{within} button, {within} a.btn")
                          if e.text.strip() == text and e.is_displayed()), None)
            self.driver.execute_script("arguments[0]?.scrollIntoView({block: 'nearest'})", found)  # half a button is not enough
            return found
        return self.found(look)

    def has(self, text, css="#main"):
        return self.until(lambda: text in self.driver.find_element(By.CSS_SELECTOR, css).text)

    def closed(self):
        self.until(lambda: not self.driver.find_elements(By.CSS_SELECTOR, "dialog"))

    def fits(self):
        wide, room = self.driver.execute_script("return [document.documentElement.scrollWidth, innerWidth]")
        assert wide <= room, (self.driver.current_url, wide, room)

    def clean(self):
        bad = [x for x in self.driver.get_log("browser") if x["level"] in ("SEVERE", "WARNING")]
        assert not bad, bad

    def shot(self, name):
        if SHOTS:
            self.driver.save_screenshot(f"{SHOTS}/console-{name}.png")
