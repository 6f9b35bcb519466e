"""axe-core finds nothing on any page, in both schemes, on a desktop and on a phone, with everything open."""

import pytest

from .conftest import show

pytestmark = pytest.mark.browser
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
MORE = ["empty-table-header"]  # of axe's best practices
CERTAIN = {"duplicate-id-aria", "form-field-multiple-labels"}  # filed under "needs review", and always wrong here
# Of the colours of code, three cells a page are looked at, and of a table thirty rows: a page has thousands of words in
# the same dozen.
RUN = """async ([tags, more, contrast]) => {
    document.querySelectorAll(".highlight pre").forEach((each, place) => place < 3 || (each.dataset.alike = ""));
    document.querySelectorAll("tr:nth-child(n + 31)").forEach(each => { each.dataset.alike = "" });
    const rules = Object.fromEntries(more.map(rule => [rule, { enabled: true }]));
    rules["color-contrast"] = { enabled: false };
    const context = contrast ? { exclude: [["[data-alike]"], ["mjx-container"]] } : document;
    const how = contrast ? { runOnly: ["color-contrast"] } : { runOnly: { type: "tag", values: tags }, rules };
    const found = await axe.run(context, { ...how, resultTypes: ["violations", "incomplete"], preload: false });
    const start = nodes => nodes.slice(0, 3).map(node => node.html.slice(0, 120));
    const short = list => list.map(({ id, nodes }) => [id, nodes.length, start(nodes)]);
    return [short(found.violations), short(found.incomplete)];
}"""


def test_axe_finds_nothing(opened, axe):
    """Colours in both schemes at both widths; all that does not depend on the scheme at both widths."""
    opened.evaluate(axe)
    opened.add_style_tag(content="* { transition: none !important; animation: none !important; }")
    found = []
    for width in (1280, 390):
        for theme in ("light", "dark"):
            show(opened, width=width, theme=theme)
            for contrast in (True, False) if theme == "light" else (True,):
                violations, incomplete = opened.evaluate(RUN, [TAGS, MORE, contrast])
                found += [(width, theme, *entry) for entry in violations]
                found += [(width, theme, *entry) for entry in incomplete if entry[0] in CERTAIN]
    assert found == []
