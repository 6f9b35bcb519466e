"""Execute the chapters, each once and strictly, into the cache that the book is built from.

    python book/build.py execute [--workers 2] [--force]
    python book/build.py notebooks [--check | --solutions]

A chapter is executed again when its text, the package, the measured results, the profile or a library
version has changed. A cell that raises, or prints to stderr, fails the chapter and is named.
"""

import argparse
import hashlib
import importlib.metadata
import json
import os
import sys
import time
from pathlib import Path

import joblib
import jupytext
import nbformat
import yaml
from filelock import FileLock
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn
from myst_nb.core.read import read_myst_markdown_notebook
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

BOOK = Path(__file__).resolve().parent
sys.path.insert(0, str(BOOK))  # for the page's own helpers, from wherever this is run
import clean  # noqa: E402

ROOT = BOOK.parent
CACHE = ROOT / "_build" / ".jupyter_cache"
LIBRARIES = ("torch", "numpy", "matplotlib", "scikit-learn", "scikit-image", "pandas", "anywidget")
SECONDS = 300


class ChapterError(Exception):
    """A cell of a chapter failed."""


def chapters() -> list[Path]:
    """The pages of the table of contents that have code cells, in their order."""
    contents = yaml.safe_load((BOOK / "_toc.yml").read_text())
    entries = [c for part in contents.get("parts", [contents]) for c in part.get("chapters", [])]
    pages = [BOOK / f"{entry['file']}.md" for entry in [{"file": contents["root"]}, *entries]]
    return [page for page in pages if "```{code-cell}" in page.read_text()]


def read(chapter: Path) -> nbformat.NotebookNode:
    """The chapter as a notebook, read exactly as the book's build reads it."""
    return read_myst_markdown_notebook(chapter.read_text(), path=chapter)


def fingerprint(chapter: Path) -> str:
    """A checksum of everything that a chapter's outputs depend on."""
    files = [*(ROOT / "privlab").rglob("*.*"), *(ROOT / "results").rglob("*.jsonl"), chapter]
    total = hashlib.sha256()
    for file in sorted(file for file in files if file.is_file() and file.suffix != ".pyc"):
        total.update(file.read_bytes())
    for library in LIBRARIES:
        total.update(importlib.metadata.version(library).encode())
    total.update(os.environ.get("PRIVLAB_PROFILE", "fast").encode())
    return total.hexdigest()


def _complaint(notebook: nbformat.NotebookNode) -> str:
    """What a cell printed to stderr, with the cell's number; empty if none did."""
    code = (cell for cell in notebook.cells if cell.cell_type == "code")
    for number, cell in enumerate(code, start=1):
        for output in cell.outputs:
            if output.output_type == "stream" and output.name == "stderr":
                return f"cell {number} printed to stderr:\n{output.text}\nThe cell:\n{cell.source}"
    return ""


def cached(chapter: Path) -> nbformat.NotebookNode | None:
    """The executed chapter, if it was executed and nothing that it depends on has changed."""
    if not CACHE.exists():
        return None
    cache = get_cache(CACHE)
    try:
        record = cache.match_cache_notebook(read(chapter))
    except KeyError:
        return None
    if record.data.get("fingerprint") != fingerprint(chapter):
        return None
    return cache.merge_match_into_notebook(read(chapter))[1]


def execute(chapter: Path, *, force: bool = False) -> nbformat.NotebookNode:
    """Execute a chapter unless that was done already. Raises ChapterError with the cell that failed."""
    if not force and (done := cached(chapter)):
        return done
    notebook = read(chapter)
    where = {"metadata": {"path": str(chapter.parent)}}
    # Timings would be stored in the cells, and change the key under which the book's build looks for them.
    options = {"record_timing": False, "store_widget_state": False}
    client = NotebookClient(notebook, timeout=SECONDS, kernel_name="python3", resources=where, **options)
    before = fingerprint(chapter)  # what changes during the execution counts as changed after it
    start = time.perf_counter()
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        raise ChapterError(f"{chapter.relative_to(ROOT)}: {error}") from None
    if complaint := _complaint(notebook):
        raise ChapterError(f"{chapter.relative_to(ROOT)}: {complaint}")
    data = {"execution_seconds": time.perf_counter() - start, "fingerprint": before}
    CACHE.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{CACHE}.lock"):  # its database takes one writer at a time
        get_cache(CACHE).cache_notebook_bundle(
            CacheBundleIn(notebook, str(chapter), data=data), check_validity=False, overwrite=True
        )
    return notebook


def execute_all(workers: int, force: bool) -> int:
    """Execute every chapter, several at once; returns how many failed, and prints which."""

    def attempt(chapter: Path) -> str:
        start = time.perf_counter()
        try:
            execute(chapter, force=force)
        except ChapterError as error:
            return str(error)
        print(f"{chapter.relative_to(BOOK)}: {time.perf_counter() - start:.1f} s", flush=True)
        return ""

    failures = [text for text in joblib.Parallel(n_jobs=workers)(map(joblib.delayed(attempt), chapters())) if text]
    print("\n\n".join(failures), file=sys.stderr)
    return len(failures)


def notebook_text(chapter: Path, *, solutions: bool = False) -> str:
    """The chapter as a notebook in plain Markdown, without outputs, whose first cell gets privlab where it is missing.

    The student's has no solutions; with `solutions` it is the teacher's.
    """
    repository = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]
    folder = repository["url"].rstrip("/").rpartition("/")[2]
    notebook = jupytext.read(chapter)
    extras = notebook.metadata.get("extras", "")  # of the package, which this chapter needs
    wanted = f"'./{folder}[{extras}]'" if extras else f"./{folder}"
    setup = (
        "# Where privlab is missing, as on Colab, this gets it and the measured rows.\n"
        "import importlib.util\n\n"
        'if importlib.util.find_spec("privlab") is None:\n'
        f"    !git clone -q --depth 1 --branch {repository['branch']} {repository['url']}\n"
        f"    %pip install -q {wanted}\n"
        f"    %env PRIVLAB_RESULTS={folder}/results"
    )
    notebook.cells = clean.cells(notebook, chapter, solutions=solutions, site=None)
    notebook.cells.insert(0, nbformat.v4.new_code_cell(setup, metadata={"tags": ["remove-cell"]}))
    notebook.metadata.pop("jupytext", None)
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"cell-{number}"  # random ids would change with every writing
    return json.dumps(notebook, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


def notebooks(check: bool, solutions: bool) -> int:
    """Write the .ipynb beside every chapter, or with `check` return how many are not what they should be.

    With `solutions` write the teacher's instead, into `_build/notebooks`.
    """
    stale = 0
    for chapter in chapters():
        target, text = chapter.with_suffix(".ipynb"), notebook_text(chapter, solutions=solutions)
        if solutions:
            target = ROOT / "_build" / "notebooks" / target.relative_to(BOOK)
            target.parent.mkdir(parents=True, exist_ok=True)
        if target.exists() and target.read_text() == text:
            continue
        stale += 1
        if check:
            print(f"{target.relative_to(ROOT)} is not that of its chapter; run `python -m nox -s notebooks`")
        else:
            target.write_text(text)
    return stale if check else 0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    executing = commands.add_parser("execute")
    executing.add_argument("--workers", type=int, default=1)
    executing.add_argument("--force", action="store_true")
    writing = commands.add_parser("notebooks")
    writing.add_argument("--check", action="store_true")
    writing.add_argument("--solutions", action="store_true", help="the teacher's, into _build/notebooks")
    arguments = parser.parse_args()
    if arguments.command == "execute":
        return min(1, execute_all(arguments.workers, arguments.force))
    return min(1, notebooks(arguments.check, arguments.solutions))


if __name__ == "__main__":
    sys.exit(main())
