"""The whole map as tables in HTML: all pairs at once, and attack by attack, with links to the chapters."""

from collections.abc import Mapping
from html import escape

from privlab.explore.asking import ATTACKS, DEFENCES, Entry

Matrix = Mapping[tuple[str, str], Entry]
_SIGNS = {True: "✓", False: "✗", "cannot tell": "~", None: "·"}
_UPRIGHT = "writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap"
_COLUMNS = ("defence", "knows", "naive", "a guess", "accuracy", "seconds")


def crossed(matrix: Matrix, links: Mapping[str, str], *, usual: str) -> str:
    """Attacks across, defences down: the success of who knows the defence, and whether it is stopped.

    links: of an attack or a defence the page that shows it; `usual` of all others.
    """
    attacks, defences = (dict.fromkeys(names) for names in zip(*matrix, strict=True))
    heads = "".join(f'<th scope="col"><span style="{_UPRIGHT}">{_named(a, links, usual)}</span></th>' for a in attacks)
    body = "".join(
        f'<tr><th scope="row">{_named(d, links, usual)}</th>{"".join(_cell(matrix[a, d]) for a in attacks)}</tr>'
        for d in defences
    )
    return f"<table><thead><tr><td></td>{heads}</tr></thead><tbody>{body}</tbody></table>"


def attack_by_attack(matrix: Matrix, links: Mapping[str, str], *, usual: str) -> str:
    """A folded table of each attack: the numbers under each defence, or why it does not apply."""
    attacks, defences = (dict.fromkeys(names) for names in zip(*matrix, strict=True))
    head = "".join(f'<th scope="col">{each}</th>' for each in _COLUMNS)
    parts = []
    for attack in attacks:
        lines = "".join(_line(_named(each, links, usual), matrix[attack, each]) for each in defences)
        table = f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"
        parts.append(f"<details><summary>{ATTACKS[attack]}</summary>{table}</details>")
    return "".join(parts)


def _named(each: str, links: Mapping[str, str], usual: str) -> str:
    word = ATTACKS.get(each) or DEFENCES[each]
    return word if each == "none" else f'<a href="{links.get(each, usual)}">{word}</a>'


def _percent(entry: Entry, metric: str) -> str:
    return f"{100 * entry.metrics[metric]:.0f}" if metric in entry.metrics else "?"


def _cell(entry: Entry) -> str:
    if entry.reason:
        return f'<td title="does not apply: {escape(entry.reason)}">–</td>'
    about = ", ".join(f"{each} {_percent(entry, each)} %" for each in ("naive", "baseline", "accuracy"))
    sign = "▲" if entry.opens is True else _SIGNS[entry.stopped] if entry.draws else ""
    return f'<td title="{about}">{_percent(entry, "attack_success")}&nbsp;{sign}</td>'


def _line(name: str, entry: Entry) -> str:
    head = f'<th scope="row">{name}</th>'
    if entry.reason:
        return f'<tr>{head}<td colspan="5" style="white-space:normal">{escape(entry.reason)}</td></tr>'
    parts = [_percent(entry, each) for each in ("attack_success", "naive", "baseline", "accuracy")]
    parts.append(f"{entry.metrics['seconds']:.1f}" if entry.draws else "?")
    return f"<tr>{head}{''.join(f'<td>{part}</td>' for part in parts)}</tr>"
