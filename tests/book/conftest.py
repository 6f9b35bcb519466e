"""The built site in headless Chromium, with every request to the outside blocked."""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from .pages import CHAPTERS, ROOT, SITE, SITE_PAGES

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run"]


@pytest.fixture(scope="session")
def chromium():
    assert CHROMIUM, "no Chromium here"
    sync_api = pytest.importorskip("playwright.sync_api")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


def _page(chromium, page, **options):
    """A page of the site from the disk, loaded whole; collects console errors and requests that leave it."""
    tab = chromium.new_context(viewport={"width": 1280, "height": 900}, **options).new_page()
    tab.problems, tab.files = [], set()
    tab.on("console", lambda message: message.type == "error" and tab.problems.append(message.text))
    tab.on("pageerror", lambda error: tab.problems.append(str(error)))

    def guard(route):
        url = route.request.url
        if url.startswith(("file:", "data:", "blob:")):
            if url.startswith("file:"):
                tab.files.add(url.partition("?")[0])
            return route.continue_()
        tab.problems.append(f"asked for {url}")
        return route.abort()

    tab.route("**/*", guard)
    tab.goto((SITE / page).as_uri())
    tab.wait_for_load_state("networkidle")
    tab.theme = tab.evaluate("document.documentElement.dataset.theme")
    return tab


@pytest.fixture
def visit(chromium):
    """Open a page of the site, or a file by its absolute path."""
    tabs = []

    def go(page, **options):
        tabs.append(_page(chromium, page, **options))
        return tabs[-1]

    yield go
    for tab in tabs:
        tab.context.close()


@pytest.fixture(scope="session", params=SITE_PAGES)
def opened(chromium, request):
    """Each page, loaded once, in the dark, for all tests that look at it; `show` undoes what another did to it."""
    tab = _page(chromium, request.param, color_scheme="dark")
    tab.name = request.param
    tab.evaluate("async () => { await window.MathJax?.startup?.promise }")
    yield tab
    tab.context.close()


@pytest.fixture(scope="session", params=[page.stem for page in CHAPTERS])
def slides(chromium, request):
    """The slides of each chapter, loaded once, with their formulas set."""
    file = ROOT / "_build" / "slides" / f"{request.param}.html"
    assert file.exists(), "no slides; run `python -m nox -s slides`"
    tab = _page(chromium, file)
    tab.evaluate("async () => { await MathJax.startup.promise }")
    yield tab
    tab.context.close()


def show(tab, *, width=1280, height=900, theme="light", media="screen", closed=False):
    """Set the page's size and colours, with every solution and answer open or closed."""
    tab.emulate_media(media=media)
    tab.set_viewport_size({"width": width, "height": height})
    tab.evaluate("theme => { document.documentElement.dataset.theme = theme }", theme)
    button = "toggle-button-hidden" if not closed else "toggle-button:not(.toggle-button-hidden)"
    tab.evaluate(
        """([button, open]) => {
            document.querySelectorAll("article details").forEach(box => { box.open = open });
            document.querySelectorAll(`button.${button}`).forEach(each => each.click());
        }""",
        [button, not closed],
    )
    tab.wait_for_timeout(200)  # sizes are observed a frame later


@pytest.fixture(scope="session")
def axe():
    """The source of axe-core, which comes inside a Python package."""
    found = importlib.util.find_spec("axe_playwright_python")
    if found is None and not os.environ.get("CI"):
        pytest.skip("axe-core is not installed; nox renews its environment")
    return (Path(found.origin).parent / "axe.min.js").read_text()
