"""Headless Chromium. Starting one takes longer than most tests, so what one test has ended the next one gets, with nothing left in it."""
import time

from selenium import webdriver
from selenium.common.exceptions import ElementClickInterceptedException, ElementNotInteractableException, StaleElementReferenceException, WebDriverException
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.remote.webelement import WebElement

import harness

FLAGS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run", "--disable-sync",
         "--disable-component-update", "--disable-dev-shm-usage", "--hide-scrollbars")
IDLE = {}  # options: browsers


class Found(WebElement):
    """An element that is looked for again if the page was drawn anew between finding and using it, or if something is still before it: pages follow
    what happens on the server."""

    def __init__(self, element, again):
        super().__init__(element.parent, element.id)
        self.again = again

    def _execute(self, command, params=None):
        end = time.monotonic() + harness.PATIENCE
        while True:
            try:
                return super()._execute(command, dict(params or {}))
            except (StaleElementReferenceException, ElementClickInterceptedException, ElementNotInteractableException):
                if time.monotonic() > end:
                    raise
                time.sleep(0.1)
                self._id = self.again().id


class Chromium(webdriver.Chrome):
    def __init__(self, language, scripts, traffic):
        self.kind = language, scripts, traffic
        options = webdriver.ChromeOptions()
        options.binary_location = "/usr/bin/chromium"
        options.accept_insecure_certs = True
        for flag in (*FLAGS, f"--lang={language}"):
            options.add_argument(flag)
        prefs = {"intl.accept_languages": language, "credentials_enable_service": False}
        if not scripts:
            prefs["profile.managed_default_content_settings.javascript"] = 2
        options.add_experimental_option("prefs", prefs)
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", **({"performance": "ALL"} if traffic else {})})
        super().__init__(options=options, service=Service("/usr/bin/chromedriver"))
        self.set_script_timeout(harness.PATIENCE)

    def forget(self):
        """A new tab, and nothing of the old ones: no storage, cookies, cache, log lines or settings of a page."""
        self.execute_script("localStorage.clear()")
        self.execute_cdp_cmd("Network.clearBrowserCookies", {})
        self.execute_cdp_cmd("Network.clearBrowserCache", {})
        old = self.window_handles
        self.get("about:blank")  # closing a page that still asks its server takes 20 s at times
        self.switch_to.new_window("tab")
        fresh = self.current_window_handle
        for handle in old:
            self.switch_to.window(handle)
            self.close()
        self.switch_to.window(fresh)
        for kind in self.log_types:
            self.get_log(kind)

    def end(self):
        super().quit()

    def quit(self):
        try:
            self.forget()
            IDLE.setdefault(self.kind, []).append(self)
        except WebDriverException:
            self.end()


def chromium(size, language="en", dark=False, agent=None, scripts=True, traffic=False):
    """A browser for one test; quit() gives it back. traffic: it keeps a log of what goes over the wire."""
    idle = IDLE.get((language, scripts, traffic))
    browser = idle.pop() if idle else Chromium(language, scripts, traffic)
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride",
                            {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size[0] < 700})
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": "dark" if dark else "light"}]})
    if agent:
        browser.execute_cdp_cmd("Network.setUserAgentOverride", {"userAgent": agent, "acceptLanguage": language})
    return browser


def end_all():
    for browsers in IDLE.values():
        while browsers:
            browsers.pop().end()
