"""Tell drawings from pictures, since the dark page inverts the one and must not touch the other.

A figure has no card of its own. A cell that calls pyplot and shows no image makes a drawing: its black lines may turn
white. Every other image holds data, whose values are what the chapter is about. See course.css.
"""

import re
from pathlib import Path

from docutils import nodes
from myst_nb.core.read import read_myst_markdown_notebook

DRAWS = re.compile(r"\bplt\.|\baxis\.|\baxes\b")
SHOWS = re.compile(r"imshow\(|show_images\(|gallery\(|matshow\(")


def kind(source):
    """`drawing` or `picture`, from the source of the cell."""
    return "drawing" if DRAWS.search(source) and not SHOWS.search(source) else "picture"


def _mark(app, doctree, docname):
    path = Path(app.env.doc2path(docname))
    cells = [node for node in doctree.findall(nodes.container) if "cell_index" in node]
    if path.suffix != ".md" or not cells:
        return
    sources = [cell.source for cell in read_myst_markdown_notebook(path.read_text(), path=path).cells]
    for cell in cells:
        for image in cell.findall(nodes.image):
            image["classes"] += [
                "dark-light",
                kind(sources[cell["cell_index"]]),
            ]  # the theme's filter spares dark-light


def setup(app):
    """Register with Sphinx, after the outputs have been chosen."""
    app.connect("doctree-resolved", _mark)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
