"""What a reader sees: nothing cut, nothing lost on a phone, a hand-out on paper, pages of a bearable weight."""

import gzip
import re
from pathlib import Path
from urllib.request import url2pathname

import pytest

from .conftest import show
from .pages import CHAPTERS, SITE, name

pytestmark = pytest.mark.browser
LESSONS = [name(page).replace(".md", ".html") for page in CHAPTERS]
CUT = """selector => [...document.querySelectorAll(selector)]
    .filter(box => box.clientWidth && box.scrollWidth > box.clientWidth + 1)
    .map(box => `${box.scrollWidth - box.clientWidth} px: ${box.innerText.slice(0, 80)}`)"""
UNDER_NUMBER = """() => [...document.querySelectorAll("div.math:has(> .eqno)")].filter(line => {
    const number = line.querySelector(".eqno").getBoundingClientRect();
    const formula = line.querySelector("mjx-math").getBoundingClientRect();
    return formula.right > number.left && formula.bottom > number.top && formula.top < number.bottom;
}).map(line => line.id)"""
SILENT = """() => [...document.querySelectorAll("article pre, .text_html, .pst-scrollable-table-container")]
    .filter(box => box.clientWidth && box.scrollWidth > box.clientWidth + 1)
    .filter(box => box.tabIndex < 0 || !box.classList.contains("goes-on")).map(box => box.innerText.slice(0, 80))"""
PALE = """() => [...document.querySelectorAll("article :is(p, li, td, pre span, caption, h2)")]
    .filter(box => box.offsetHeight)
    .map(box => getComputedStyle(box).color.match(/[\\d.]+/g).map(Number))
    .filter(([red, green, blue]) => red + 2 * green + blue > 4 * 140).length"""
OUTPUTS = ".cell_output pre, .cell_output .text_html"
TABLES = ".pst-scrollable-table-container"


def test_nothing_is_cut_on_a_desktop(opened):
    show(opened)
    assert opened.evaluate(CUT, f"{OUTPUTS}, {TABLES}, mjx-container[display=true]") == []
    assert opened.evaluate(UNDER_NUMBER) == []
    assert opened.evaluate("document.documentElement.scrollWidth") <= 1280


def test_on_a_phone_the_number_stands_below_and_what_scrolls_can_be_reached(opened):
    show(opened, width=390, height=800)
    assert opened.evaluate("document.documentElement.scrollWidth") <= 390
    assert opened.evaluate(UNDER_NUMBER) == []
    assert opened.evaluate(CUT, ".cell_output pre") == []
    assert opened.evaluate(SILENT) == []
    heights = opened.evaluate(
        "[...document.querySelectorAll('article table:not(.genindextable)')].map(t => [t.offsetHeight, t.rows.length])"
    )
    assert all(height < 160 * rows for height, rows in heights), heights


def test_on_paper_nothing_is_wider_than_its_box_and_the_dark_turns_light(opened):
    show(opened, width=720, height=1000, theme="dark", closed=True)  # Letter within its margins
    opened.emulate_media(media="print")
    opened.wait_for_function("document.documentElement.dataset.theme === 'light'", timeout=5000)
    assert opened.evaluate(CUT, f"article pre, {OUTPUTS}, {TABLES}, mjx-container[display=true]") == []
    assert opened.evaluate("[...document.querySelectorAll('.pl-knobs')].filter(k => k.offsetHeight).length") == 0
    assert opened.evaluate(PALE) == 0
    assert opened.evaluate("[...document.querySelectorAll('.solution.dropdown .cell')].every(c => !c.offsetHeight)")
    opened.emulate_media(media="screen")
    opened.wait_for_function("document.documentElement.dataset.theme === 'dark'", timeout=5000)


def test_name_and_search_are_in_view(opened):
    show(opened, height=720)
    place = opened.evaluate(
        "document.querySelector('.bd-sidebar-primary .search-button-field').getBoundingClientRect().y"
    )
    assert 0 <= place < 200
    assert opened.locator(".logo__title").inner_text().strip()


def test_a_page_weighs_less_than_two_megabytes(opened):
    found = [Path(url2pathname(url.removeprefix("file://"))) for url in opened.files]
    assert sum(len(gzip.compress(path.read_bytes())) for path in found) < 2_000_000


def test_a_hand_out_has_a_head_a_foot_and_few_empty_pages(visit):
    source = (SITE / LESSONS[1]).read_text()
    assert "@top-left" in source
    assert "CC BY 4.0" in source
    tab = visit(LESSONS[1], color_scheme="dark")
    tab.evaluate("async () => { await window.MathJax?.startup?.promise }")
    pages = len(re.findall(rb"/Type\s*/Page\b", tab.pdf(format="Letter")))
    assert 5 < pages <= 24
    assert tab.evaluate("document.documentElement.dataset.theme") == "dark"  # and back


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_figures_hold_in_both_schemes(visit, colours):
    tab = visit(LESSONS[1], color_scheme=colours)
    style = "(css) => [...document.querySelectorAll(css)].map(i => getComputedStyle(i).filter)"
    pictures = tab.evaluate(style, ".cell_output img:not(.drawing)")
    drawings = tab.evaluate(style, ".cell_output img.drawing")
    assert set(pictures) == {"none"}  # data are shown as they are
    assert drawings
    assert set(drawings) == {"none" if colours == "light" else "invert(1) hue-rotate(180deg)"}


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_focus_is_seen(visit, colours):
    tab = visit(LESSONS[1], color_scheme=colours)
    slider = tab.locator(".pl-knob input").first
    slider.focus()
    tab.keyboard.press("ArrowRight")
    ring, ground = slider.evaluate(
        "e => [getComputedStyle(e).outlineColor, getComputedStyle(document.body).backgroundColor]"
    )
    light, dark = sorted((_luminance(ring), _luminance(ground)), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 3


def _luminance(colour):
    parts = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_the_landing_page_describes_itself():
    source = (SITE / "index.html").read_text()
    titles = re.findall(r"<title>(.*?)</title>", source)
    assert titles == ["What your updates say"]
    assert len(re.search(r'<meta name="description" content="([^"]+)"', source)[1]) > 50
    assert 'property="og:title"' in source


def test_references_lead_to_their_papers():
    source = (SITE / "reference/bibliography.html").read_text()
    entries = re.findall(r'<div class="citation".*?</div>', source, re.S)
    assert len(entries) > 20
    assert [entry for entry in entries if "doi.org" not in entry and "arxiv.org" not in entry] == []
    assert all(re.search(r"\[</span>.*?, \d{4}(, [^<]+ …)?<span", entry, re.S) for entry in entries)
