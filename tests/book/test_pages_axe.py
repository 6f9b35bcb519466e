"""axe-core finds nothing on any page, in both schemes, on a desktop and on a phone, with everything open."""

import pytest

from .conftest import show

pytestmark = pytest.mark.browser
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
MORE = ["empty-table-header"]  # of axe's best practices
CERTAIN = {"duplicate-id-aria", "form-field-multiple-labels"}  # filed under "needs review", and always wrong here
RUN = """async ([tags, more]) => {
    const rules = Object.fromEntries(more.map(rule => [rule, { enabled: true }]));
    const runOnly = { type: "tag", values: tags };
    const resultTypes = ["violations", "incomplete"];
    const found = await axe.run(document, { runOnly, rules, resultTypes, preload: false });
    const start = nodes => nodes.slice(0, 3).map(node => node.html.slice(0, 120));
    const short = list => list.map(({ id, nodes }) => [id, nodes.length, start(nodes)]);
    return [short(found.violations), short(found.incomplete)];
}"""


def test_axe_finds_nothing(opened, axe):
    opened.evaluate(axe)
    opened.add_style_tag(content="* { transition: none !important; animation: none !important; }")
    found = []
    for width in (1280, 390):
        for theme in ("light", "dark"):
            show(opened, width=width, theme=theme)
            violations, incomplete = opened.evaluate(RUN, [TAGS, MORE])
            found += [(width, theme, *entry) for entry in violations]
            found += [(width, theme, *entry) for entry in incomplete if entry[0] in CERTAIN]
    assert found == []
