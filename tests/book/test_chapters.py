"""Every chapter, executed: each is a test of its own, and the book is rendered from this execution."""

import re

import pytest

from .pages import BOOK, PAGES, as_a_reader, build, name

# Lines in Python's own notation: a dict, a list, a tuple, a module, a tensor, an object without a text of its own.
RAW = re.compile(r"\s*(\{.*:|\[.*\]$|\(.*,.*\)$|[A-Z]\w+\($|tensor\(|array\(|<\w+[. ].*>$)|.*\d\.\d{6}")


def texts(cell):
    """What a cell printed or ended in, as lines of text."""
    for output in cell.outputs:
        if output.output_type == "stream":
            yield from output.text.splitlines()
        elif set(output.get("data", {})) == {"text/plain"}:
            yield from output.data["text/plain"].splitlines()


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_chapter_executes(page, monkeypatch):
    as_a_reader(monkeypatch)
    notebook = build.execute(page)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert code
    for cell in code:
        assert [line for line in texts(cell) if RAW.match(line)] == [], f"print a sentence:\n{cell.source}"
        outputs = [output for output in cell.outputs if "data" in output]
        if any("image/png" in output["data"] for output in outputs):
            shown = cell.metadata.get("mystnb", {})
            assert len(shown.get("image", {}).get("alt", "")) > 30, f"a figure without alt text:\n{cell.source}"
            assert len(shown.get("figure", {}).get("caption", "")) > 20, f"a figure without a caption:\n{cell.source}"
        for output in outputs:
            for tag in output["data"].get("text/html", "").split("<img ")[1:]:
                assert 'alt="' in tag.split(">")[0], f"an image without alt text:\n{cell.source}"


def strict(tmp_path, monkeypatch, source):
    page = tmp_path / "page.md"
    header = BOOK.joinpath("index.md").read_text().split("# What")[0]
    page.write_text(f"{header}\n# A page\n\n```{{code-cell}} ipython3\n{source}\n```\n")
    monkeypatch.setattr(build, "CACHE", tmp_path / "cache")
    monkeypatch.setattr(build, "ROOT", tmp_path)
    return page


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("1 / 0", "ZeroDivisionError"),
        ("import sys; print('careful', file=sys.stderr)", "printed to stderr"),
        ("import warnings; warnings.warn('soon gone')", "soon gone"),
    ],
)
def test_a_chapter_that_raises_or_warns_fails_and_its_cell_is_named(tmp_path, monkeypatch, source, words):
    page = strict(tmp_path, monkeypatch, source)
    with pytest.raises(build.ChapterError, match=words) as error:
        build.execute(page)
    assert source in str(error.value)
    assert "page.md" in str(error.value)
    assert build.cached(page) is None


def test_a_chapter_is_executed_once_until_something_changes(tmp_path, monkeypatch):
    log = tmp_path / "log"
    page = strict(tmp_path, monkeypatch, f"open({str(log)!r}, 'a').write('x');")
    for _ in range(2):
        build.execute(page)
    assert log.read_text() == "x"
    (tmp_path / "privlab").mkdir()
    (tmp_path / "privlab" / "new.py").write_text("# the package changed")
    build.execute(page)
    assert log.read_text() == "xx"
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "new.jsonl").write_text("{}")
    assert build.cached(page) is None
    build.execute(page)
    with monkeypatch.context() as other:
        other.setattr(build.importlib.metadata, "version", lambda library: "another")
        assert build.cached(page) is None
    assert build.cached(page) is not None
    monkeypatch.setenv("PRIVLAB_PROFILE", "real")
    assert build.cached(page) is None


def test_what_changes_during_an_execution_counts_as_changed(tmp_path, monkeypatch):
    new = tmp_path / "privlab" / "new.py"
    new.parent.mkdir()
    page = strict(tmp_path, monkeypatch, f"open({str(new)!r}, 'w').write('x');")
    build.execute(page)
    assert build.cached(page) is None


def test_a_cell_that_hangs_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(build, "SECONDS", 3)
    page = strict(tmp_path, monkeypatch, "import time; time.sleep(60)")
    with pytest.raises(build.ChapterError, match="timed out"):
        build.execute(page)
