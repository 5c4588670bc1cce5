"""report.html in Chromium, from a file: it can be worked with, says no error, and asks for nothing.

Needs Chromium and its driver where PALPROBE_CHROMIUM and PALPROBE_CHROMEDRIVER say, or on the PATH.
"""

import json
import os
import shutil

import pytest
from page_runs import FakeRun, write_runs

from palprobe.report.forms import write_report
from palprobe.report.results import find_results

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--force-prefers-reduced-motion",  # or a click would meet what is still scrolling
)
CHROMIUM = os.environ.get("PALPROBE_CHROMIUM") or shutil.which("chromium")
DRIVER = os.environ.get("PALPROBE_CHROMEDRIVER") or shutil.which("chromedriver")
OWN = "chrome"  # documents of the browser itself (chrome://, chrome-untrusted://): its first tab may still be loading
WIDE, NARROW, HIGH = 1280, 400, 900
SECONDS = 10  # to wait at most

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="there is no chromium or no chromedriver"),
]
selenium = pytest.importorskip("selenium", reason="selenium is not installed: pip install 'palprobe[browser]'")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}", f"--window-size={WIDE},{HIGH}"):
        options.add_argument(flag)
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Two tasks, one with names that would run if they could."""
    folder = tmp_path_factory.mktemp("report")
    write_runs(folder / "runs", items=120)
    hostile = {"classes": ("<img src=x onerror=alert(1)>", "</script><script>alert(2)</script>", "dog")}
    write_runs(folder / "runs", task="hostile", ids="<b>{}</b>", **hostile)
    FakeRun("blind", "lal", control="blind", skill=0.1, items=120).write(folder / "runs")
    write_report(find_results([folder / "runs"]), folder)
    return folder / "report.html"


@pytest.fixture
def page(chromium, report):
    """The page, freshly opened; at the end nothing was said on the console and nothing else was asked for."""
    chromium.get_log("performance")
    chromium.get(report.as_uri())
    yield chromium
    assert chromium.get_log("browser") == []
    events = [json.loads(entry["message"])["message"] for entry in chromium.get_log("performance")]
    asked = [event["params"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert [one["request"]["url"] for one in asked if not one["documentURL"].startswith(OWN)] == [report.as_uri()]


def texts(found):
    return [element.text for element in found]


def column(page, name):
    """The cells of a column of the table of all scores, those rows that are shown."""
    heads = texts(page.find_elements("css selector", "#score-table thead th"))
    rows = page.find_elements("css selector", "#score-table tbody tr:not([hidden])")
    return [row.find_elements("css selector", "th, td")[heads.index(name)].text for row in rows]


def head(page, name):
    return page.find_element("xpath", f"//table[@id='score-table']//th/button[text()='{name}']")


def test_it_sorts(page):
    """A press on a head sorts by its numbers, best first, a second one turns it round; by keyboard too."""
    first = column(page, "score")
    head(page, "score").click()
    scores = [float(text.split()[0]) for text in column(page, "score")]
    assert scores == sorted(scores, reverse=True)
    assert first != column(page, "score")
    head(page, "score").send_keys("\ue007")  # enter
    assert [float(text.split()[0]) for text in column(page, "score")] == scores[::-1]
    sorted_head = head(page, "score").find_element("xpath", "..")
    assert sorted_head.get_attribute("aria-sort") == "ascending"
    head(page, "encoder").click()
    assert column(page, "encoder") == sorted(column(page, "encoder"))
    assert sorted_head.get_attribute("aria-sort") is None


def test_it_filters(page):
    """A choice and words keep only rows that hold both; the number is said, and a reset shows all."""
    every = len(column(page, "task"))
    page.find_element("css selector", "select[name=encoder] option[value=''] + option + option").click()
    chosen = column(page, "encoder")
    assert len(set(chosen)) == 1
    assert 0 < len(chosen) < every
    page.find_element("css selector", "input[name=find]").send_keys("ESC10 pli")
    assert set(column(page, "integration")) == {"plits"}
    told = page.find_element("css selector", "#scores output").text
    assert told == f"{len(column(page, 'task'))} of {every} rows"
    page.find_element("css selector", "#scores button[type=reset]").click()
    assert len(column(page, "task")) == every


def unfold(details, what):
    """Opens what folds and waits for what the script then puts inside: the event comes a moment after the click."""
    from selenium.webdriver.support.ui import WebDriverWait

    details.find_element("css selector", "summary").click()
    WebDriverWait(details, SECONDS).until(lambda inside: inside.find_elements("css selector", what))
    return details


def open_items(page, number):
    return unfold(page.find_elements("css selector", "details[data-items]")[number], ".item")


def test_it_opens_an_item(page):
    """The browser lists items when it is opened, an item what every row answered; words find items."""
    details = open_items(page, 0)
    assert details.find_element("css selector", "output").text == "120 of 120 items"
    assert len(details.find_elements("css selector", ".item")) == 40
    details.find_element("css selector", ".browser > button").click()
    assert len(details.find_elements("css selector", ".item")) == 80
    item = unfold(details.find_element("css selector", ".item"), "tbody tr")
    rows = item.find_elements("css selector", "tbody tr")
    assert "whisper · lal" in texts(item.find_elements("css selector", "tbody th"))
    assert all(row.text.split("\n")[0] for row in rows)
    assert len(rows) == 5  # four rows and the blind one
    details.find_element("css selector", "input[type=search]").send_keys("clip-11")
    found = texts(details.find_elements("css selector", ".item code"))
    assert sorted(found) == sorted(f"clip-{number}" for number in (11, *range(110, 120)))


def test_names_stay_text(page):
    """Labels that are markup are shown as they are in items and in the confusion; nothing was run."""
    details = open_items(page, 1)
    assert details.find_element("css selector", ".item code").text.startswith("<b>")
    assert not page.find_elements("css selector", "main img, main script, .item code b")
    page.find_element("xpath", "//article[@id='task-2']//summary[text()='What is taken for what']").click()
    labels = texts(page.find_elements("css selector", "#task-2-confusion tbody th"))
    assert "<img src=x onerror=alert(1)>" in labels


def test_it_shows_the_confusion_of_another_row(page):
    """Another choice writes that row's counts into the table: as many items in all, other ones on the diagonal."""
    page.find_element("xpath", "//article[@id='task-1']//summary[text()='What is taken for what']").click()
    read = "return [...document.querySelectorAll('#task-1-confusion tbody td')].map((cell) => Number(cell.textContent))"
    before = page.execute_script(read)
    options = page.find_elements("css selector", "select[data-confusion=task-1] option")
    options[-2].click()
    after = page.execute_script(read)
    assert sum(before) == sum(after) == 240  # two seeds of 120 items
    assert before != after
    assert page.find_element("css selector", "#task-1-confusion [data-row]").text == options[-2].text


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_it_fits_and_changes_colours(page, width, theme):
    """Nothing but tables scrolls sideways, everything open; the button turns paper dark and back."""
    size = {"width": width, "height": HIGH, "deviceScaleFactor": 1, "mobile": False}
    page.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    page.execute_script("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    button = page.find_element("id", "theme")
    while not button.text.endswith(theme):
        button.click()
    paper = page.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert (int(paper.split("(")[1].split(",")[0]) > 128) is (theme == "light")
    assert page.execute_script("return document.documentElement.scrollWidth") <= width


def test_it_can_be_read_without_scripts(page, report):
    """With scripts off all rows and the noscript items are there, and no control that would do nothing."""
    page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        page.get(report.as_uri())
        assert len(page.find_elements("css selector", "#score-table tbody tr")) == 9
        assert not page.find_element("css selector", "#scores form").is_displayed()
        assert "Without a script" in page.find_element("css selector", "main").text
    finally:
        page.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
        page.get_log("performance")
        page.get(report.as_uri())
