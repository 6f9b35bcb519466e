"""The directive `execution-table`: chapter, seconds, date; in the order of the book, by title."""

from datetime import UTC, datetime

from docutils import nodes
from myst_nb.sphinx_ import NbMetadataCollector
from sphinx import addnodes
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util.docutils import SphinxDirective


class Placeholder(nodes.General, nodes.Element):
    """Stands where the table will be, until all chapters are read."""


class ExecutionTable(SphinxDirective):
    """Put the table here."""

    def run(self):
        """A placeholder; the page is written last of all that changed."""
        self.env.note_reread()
        return [Placeholder()]


def _row(*cells):
    row = nodes.row()
    for cell in cells:
        row += nodes.entry("", nodes.paragraph("", "", cell))
    return row


class Fill(SphinxPostTransform):
    """Replace the placeholder, before references are resolved."""

    default_priority = 8

    def run(self, **kwargs):
        """One row a page that was executed."""
        for place in list(self.document.findall(Placeholder)):
            place.replace_self(self._table())

    def _table(self):
        table, group = nodes.table(classes=["colwidths-auto", "executions"]), nodes.tgroup(cols=3)
        head, body = nodes.thead(), nodes.tbody()
        table += group
        group += [nodes.colspec(colwidth=width) for width in (60, 20, 20)]
        group += [head, body]
        head += _row(*(nodes.Text(name) for name in ("chapter", "seconds", "executed on")))
        about = NbMetadataCollector.get_doc_data(self.env)
        order = [self.env.config.root_doc, *(name for part in self._parts() for name in part)]
        for name in sorted(about, key=lambda name: order.index(name) if name in order else len(order)):
            if done := about[name].get("exec_data"):
                title = self.env.titles[name].astext()
                link = addnodes.pending_xref(
                    "", nodes.Text(title), refdomain="std", reftype="doc", refexplicit=True, refwarn=True,
                    refdoc=self.env.docname, reftarget=f"/{name}",
                )  # fmt: skip
                seconds = "–" if done["runtime"] is None else f"{done['runtime']:.0f}"
                day = datetime.fromtimestamp(done["mtime"], UTC).date().isoformat()
                body += _row(link, nodes.Text(seconds), nodes.Text(day))
        return table

    def _parts(self):
        site = self.env.app.config.external_site_map
        return [[str(item) for item in tree.items] for tree in site.root.subtrees]


def setup(app):
    """Register with Sphinx."""
    app.add_node(Placeholder)
    app.add_directive("execution-table", ExecutionTable)
    app.add_post_transform(Fill)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
