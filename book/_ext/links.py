"""Buttons that lead to the repository, Binder and Colab: only where `_config.yml` holds an address that exists."""

PLACEHOLDER = "privlab-course/privlab"  # replaced in _config.yml when the repository has a public address
# Without an address the theme makes no launch button; its launch options stay, for they also make the notebook to download.
BUTTONS = ("use_repository_button", "use_issues_button", "use_edit_page_button", "repository_url")


def has_address(url):
    """Whether the repository can be reached at this address."""
    return bool(url) and not url.rstrip("/").endswith(PLACEHOLDER)


def _leave_out(app, config):
    options = config.html_theme_options
    if not has_address(options.get("repository_url", "")):
        for name in BUTTONS:
            options.pop(name, None)


def setup(app):
    """Register with Sphinx, before the theme reads its options."""
    app.connect("config-inited", _leave_out, priority=100)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
