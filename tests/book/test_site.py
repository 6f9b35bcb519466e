"""The book's own extensions: what they leave out of the pages, and what they put in."""

import subprocess
import sys

import pytest
import yaml

from .pages import BOOK, ROOT

sys.path.insert(0, str(BOOK / "_ext"))
assets, figures, links, markup = (pytest.importorskip(name) for name in ("assets", "figures", "links", "markup"))
REAL = "https://github.com/somebody/privlab"
PAGE = (BOOK / "index.md").read_text().split("# What")[0] + "# A page\n\n```{code-cell} ipython3\n1\n```\n"


@pytest.fixture(scope="module", params=[REAL, "the configured one"])
def tiny(request, tmp_path_factory):
    """A book of one page with a repository's address; built by Jupyter Book with this book's configuration."""
    folder = tmp_path_factory.mktemp("tiny")
    config = yaml.safe_load((ROOT / "_config.yml").read_text())
    if request.param == REAL:
        config["repository"]["url"] = REAL
    config["execute"] = {"execute_notebooks": "force"}  # the theme copies an executed notebook
    config["sphinx"]["local_extensions"] = dict.fromkeys(config["sphinx"]["local_extensions"], str(BOOK / "_ext"))
    for name in ("logo", "bibtex_bibfiles"):
        config.pop(name)
    config["html"].pop("favicon")
    (folder / "_config.yml").write_text(yaml.safe_dump(config))
    (folder / "_toc.yml").write_text("format: jb-book\nroot: index\n")
    (folder / "index.md").write_text(PAGE)
    (folder / "index.ipynb").write_text("{}")  # Colab and Binder open the one beside the page
    start = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*start, "build", str(folder), "--path-output", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return config["repository"]["url"], (folder / "_build" / "html" / "index.html").read_text()


def test_buttons_lead_to_the_repository_only_where_there_is_one(tiny):
    url, page = tiny
    shown = links.has_address(url)
    path = url.removeprefix("https://github.com/")
    assert (f"colab.research.google.com/github/{path}/blob/main/book/index.ipynb" in page) is shown
    assert (f"mybinder.org/v2/gh/{path}/main?urlpath=lab/tree/book/index.ipynb" in page) is shown
    assert (f"{url}/issues/new" in page) is shown
    assert (f'href="{url}"' in page) is shown
    assert "_sources/index.ipynb" in page  # can be downloaded in either case


def test_the_placeholder_is_no_address():
    assert links.has_address(REAL)
    assert not links.has_address("")
    assert not links.has_address(f"https://github.com/{links.PLACEHOLDER}/")


def test_only_the_icons_in_use_are_kept():
    script = (
        'var a={sun:[1,1,[],"f1","M1"],moon:[1,1,[9728,"crescent"],"f2",["M2","M3"]],"x-ray":[1,1,[],"f3","M4"]};go()'
    )
    assert assets.subset(script, {"sun"}) == 'var a={sun:[1,1,[],"f1","M1"]};go()'
    assert assets.subset(script, {"crescent"}) == 'var a={moon:[1,1,[9728,"crescent"],"f2",["M2","M3"]]};go()'


def test_a_cell_that_shows_an_image_makes_a_picture_and_one_that_only_plots_a_drawing():
    assert figures.kind("figure, axis = plt.subplots()\naxis.plot(x)") == "drawing"
    assert figures.kind("figure, axis = plt.subplots()\naxis.imshow(x)") == "picture"
    assert figures.kind("figure = explore.show_images(rows)") == "picture"
    assert figures.kind("explore.steal_explorer()") == "picture"


def test_an_empty_header_becomes_a_cell_and_a_named_one_stays():
    assert markup.mended('<th class="blank">&nbsp;</th><th>psnr</th>') == '<td class="blank"></td><th>psnr</th>'
    assert markup.mended('<th class="head"><p></p></th>') == '<td class="head"></td>'
    assert markup.mended("<thead>") == "<thead>"


def test_the_bibliography_is_read_as_paragraphs():
    old = '<div role="list" class="citation-list">\n<div class="citation" id="id12" role="doc-biblioentry">'
    assert "role=" not in markup.mended(old)
    assert markup.mended('<ul role="list">') == '<ul role="list">'


def test_the_themes_buttons_are_called_what_they_show():
    field = '<button class="btn search-button-field" title="Search" aria-label="Search" data-x="1">'
    assert "aria-label" not in markup.renamed(field)
    icon = '<button class="btn search-button" aria-label="Search">'
    assert markup.renamed(icon) == icon
    assert "title" not in markup.renamed('<i class="theme-switch fa-solid" data-mode="light" title="Light"></i>')
