"""Buttons that lead to the repository, Binder and Colab, and the directive `hub-link` of one that fills a JupyterHub.

Only where `_config.yml` holds an address that exists.
"""

from urllib.parse import quote

from docutils import nodes
from sphinx.util.docutils import SphinxDirective

PLACEHOLDER = "privlab-course/privlab"  # replaced in _config.yml when the repository has a public address
NO_ADDRESS = "The repository has no public address yet. Once `_config.yml` holds one, the link stands here."
BUTTONS = ("use_repository_button", "use_issues_button", "use_edit_page_button")


def has_address(url):
    """Whether the repository can be reached at this address."""
    return bool(url) and not url.rstrip("/").endswith(PLACEHOLDER)


def hub_link(url, branch, folder):
    """What a JupyterHub with nbgitpuller opens: it copies the repository to the student, and shows the book."""
    name = url.rstrip("/").rpartition("/")[2]
    asked = {"repo": url, "branch": branch, "urlpath": f"lab/tree/{name}/{folder}/index.ipynb"}
    pairs = "&".join(f"{key}={quote(value, safe='')}" for key, value in asked.items())
    return f"https://YOUR-HUB/hub/user-redirect/git-pull?{pairs}"


class HubLink(SphinxDirective):
    """The link, or a sentence that there is none yet."""

    def run(self):
        """A block that can be copied."""
        options = self.config.html_theme_options
        url = options.get("repository_url", "")
        if not has_address(url):
            return self.parse_text_to_nodes(NO_ADDRESS)
        link = hub_link(url, options.get("repository_branch", "main"), options.get("path_to_docs", "book"))
        return [nodes.literal_block(link, link, language="text")]


def _leave_out(app, config):
    if not has_address(config.html_theme_options.get("repository_url", "")):
        for name in BUTTONS:
            config.html_theme_options.pop(name, None)


def _leave_out_launch(app, pagename, templatename, context, doctree):
    # Not by the option: the theme makes the notebook that can be downloaded together with these buttons.
    if not has_address(app.config.html_theme_options.get("repository_url", "")):
        buttons = context.get("header_buttons", [])
        context["header_buttons"] = [each for each in buttons if each.get("label") != "launch-buttons"]


def setup(app):
    """Register with Sphinx, before the theme reads its options and after it has made its buttons."""
    app.add_directive("hub-link", HubLink)
    app.connect("config-inited", _leave_out, priority=100)
    app.connect("html-page-context", _leave_out_launch, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
