"""Every page opens without a network, and explorers move there and in JupyterLab."""

import json
import os
import re
import socket
import subprocess
import sys
import time
import urllib.request

import pytest

from .pages import BOOK, CHAPTERS, PAGES, SITE, SITE_PAGES, front_title, name

pytestmark = pytest.mark.browser
STEAL = "reading-a-gradient/a-gradient-is-a-photograph"


def test_the_site_has_a_page_for_every_chapter():
    assert SITE_PAGES, "no built book; run `python -m nox -s book`"
    assert {name(page).replace(".md", ".html") for page in PAGES} <= set(SITE_PAGES)


BROKEN = "[...document.images].filter(i => i.complete && !i.naturalWidth).map(i => i.outerHTML)"


@pytest.mark.parametrize("page", SITE_PAGES)
def test_a_page_opens_offline_without_errors_in_the_light(visit, page):
    tab = visit(page, color_scheme="light")
    assert tab.problems == []
    assert tab.theme == "light"
    assert tab.evaluate(BROKEN) == []


def test_a_page_opens_offline_without_errors_in_the_dark(opened):
    assert opened.problems == []
    assert opened.theme == "dark"
    assert opened.evaluate(BROKEN) == []


def test_every_image_of_an_output_has_alt_text(opened):
    bare = opened.evaluate("[...document.querySelectorAll('.cell_output img')].filter(i => i.alt.length < 20).length")
    assert bare == 0


def test_formulas_are_typeset_offline(opened):
    if opened.name.replace(".html", ".md") in map(name, CHAPTERS):
        assert opened.locator("mjx-container").count()
    assert "\\frac" not in opened.inner_text("main")


def shown(tab):
    return (
        tab.inner_html(".pl-picture"),
        tab.inner_text(".pl-numbers"),
        tab.get_attribute(".pl-picture", "aria-label"),
    )


def test_the_keyboard_moves_the_slider_and_another_picture_and_other_numbers_appear(visit):
    tab = visit(f"{STEAL}.html")
    before = shown(tab)
    slider = tab.get_by_label("Batch size")
    slider.focus()
    outline = slider.evaluate("e => getComputedStyle(e).outlineStyle")
    assert outline == "solid"  # focus can be seen
    tab.keyboard.press("ArrowRight")
    after = shown(tab)
    assert all(one != other for one, other in zip(before, after, strict=True))
    assert "of 200" in after[1]
    tab.keyboard.press("ArrowLeft")
    assert shown(tab) == before
    assert tab.problems == []


@pytest.mark.parametrize(
    ("page", "label"),
    [("split-learning/what-crosses-the-wire", "Cut after"), ("split-learning/noise-and-nopeek", "Noise scale b")],
)
def test_stored_frames_are_looked_up_offline(visit, page, label):
    tab = visit(f"{page}.html")
    before, slider = shown(tab), tab.get_by_label(label)
    seen = {before}
    slider.focus()
    for key in ["ArrowLeft"] * 12 + ["ArrowRight"] * 12:
        tab.keyboard.press(key)
        seen.add(shown(tab))
    assert len(seen) >= 6  # one for each value of the slider
    assert tab.problems == []


def test_every_setting_of_the_page_has_a_frame(visit):
    tab = visit(f"{STEAL}.html")
    seen = set()
    batch, scale, neurons = (
        tab.get_by_role("slider", name=label) for label in ("Batch size", "Scaling factor s", "Neurons")
    )
    for first in range(5):
        for second in range(6):
            for third in range(2):
                for slider, value in ((batch, first), (scale, second), (neurons, third)):
                    slider.evaluate(f"e => {{ e.value = {value}; e.dispatchEvent(new Event('input')) }}")
                seen.add(tab.get_attribute(".pl-picture", "aria-label"))
    assert len(seen) == 60
    assert tab.problems == []


def test_each_control_of_an_explorer_has_one_name_and_each_id_stands_once(opened):
    controls = opened.evaluate(
        "[...document.querySelectorAll('.pl-explorer input')].map(i => [...i.labels].map(l => l.innerText))"
    )
    assert all(len(labels) == 1 and labels[0].strip() for labels in controls)
    source = BOOK / opened.name.replace(".html", ".md")
    assert bool(controls) == (source in PAGES and "_explorer(" in source.read_text())
    ids = opened.evaluate("[...document.querySelectorAll('.pl-explorer [id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))


def test_a_link_opens_a_setting_and_an_anchor_stays_one(visit):
    tab = visit(f"{STEAL}.html")
    tab.get_by_label("Batch size").press("ArrowRight")
    assert tab.evaluate("location.hash") == "#steal?batch=200&s=0.95&neurons=1000"
    chosen, address = shown(tab), tab.url
    tab.goto("about:blank")
    tab.goto(address)
    tab.wait_for_selector(".pl-knobs")
    assert shown(tab) == chosen
    tab.evaluate("location.hash = '#one-image'")
    assert shown(tab) == chosen
    assert tab.evaluate("document.querySelector('#one-image').getBoundingClientRect().top < 300")
    assert tab.problems == []


def test_without_scripts_the_first_picture_is_there(visit):
    tab = visit(f"{STEAL}.html", java_script_enabled=False)
    alt = tab.locator(".pl-picture").first.get_attribute("aria-label")
    assert tab.locator(".pl-tile").count() == 100
    assert alt.startswith("Mini-batch of 100 images")


def test_the_page_of_executions_lists_every_chapter_by_title_in_the_books_order():
    table = re.search(r"<table.*?</table>", (SITE / "papers/executions.html").read_text(), re.S)[0]
    assert len(re.findall(r"<th\b", table)) == 3
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", table)).replace("’", "'")  # as pages print it
    places = [text.index(front_title(page)) for page in PAGES]
    assert places == sorted(places)


@pytest.fixture
def lab(tmp_path):
    """JupyterLab on this machine, with one notebook: the explorer."""
    cell = {
        "cell_type": "code",
        "id": "one",
        "metadata": {},
        "execution_count": None,
        "outputs": [],
        "source": "from privlab import explore\nexplore.steal_explorer()",
    }
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    notebook = {"cells": [cell], "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    (tmp_path / "live.ipynb").write_text(json.dumps(notebook))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        f"--ServerApp.port={port}",
        "--IdentityProvider.token=",
        "--ServerApp.open_browser=False",
        "--allow-root",
    ]
    command = [sys.executable, "-m", "jupyterlab", *options, f"--ServerApp.root_dir={tmp_path}"]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path / "config")}
    with (tmp_path / "log").open("w") as log:
        running = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/api", timeout=1)
                break
            except OSError:
                assert running.poll() is None, (tmp_path / "log").read_text()
                time.sleep(0.25)
        yield f"http://127.0.0.1:{port}/lab/tree/live.ipynb"
    finally:
        running.terminate()
        running.wait(timeout=30)


def test_the_same_explorer_recomputes_live_in_jupyterlab(chromium, lab):
    context = chromium.new_context(viewport={"width": 1280, "height": 1000})
    tab = context.new_page()
    tab.goto(lab)
    tab.wait_for_selector(".jp-Notebook .jp-CodeCell", timeout=90_000)
    tab.wait_for_selector("text=/Python 3.*Idle/", timeout=90_000)  # a key pressed before the kernel is there is lost
    tab.click(".jp-Notebook .jp-CodeCell .jp-InputArea-editor")
    tab.keyboard.press("Shift+Enter")
    tab.wait_for_selector(".jp-OutputArea .pl-explorer", timeout=90_000)
    assert "live" in tab.inner_text(".pl-state")
    before = shown(tab)
    slider = tab.get_by_label("Batch size")
    slider.focus()
    tab.keyboard.press("ArrowLeft")  # 99: no page holds that
    tab.wait_for_function("document.querySelector('.pl-numbers').innerText.includes('of 99')", timeout=60_000)
    assert shown(tab)[0] != before[0]
    context.close()
