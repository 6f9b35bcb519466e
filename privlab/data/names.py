"""Names of data sets and of classes, as people write them."""

import difflib
import re
import unicodedata
from collections.abc import Iterable

from privlab.data.catalogue import CATALOGUE, Entry


def entry_of(name: str) -> Entry:
    """The data set of that name. Raises ValueError with the names that are closest to it."""
    if name not in CATALOGUE:
        raise ValueError(unknown(name))
    return CATALOGUE[name]


def unknown(name: str, others: Iterable[str] = ()) -> str:
    """What to say of a name that is not known: those closest to it, whatever their case, blanks and dashes."""
    known = {_bare(each): each for each in [*CATALOGUE, *others]}
    bare = _bare(name)
    close = [bare] if bare in known else difflib.get_close_matches(bare, known, 3, 0.7)
    guess = f"; did you mean {' or '.join(repr(known[each]) for each in close)}?" if close else ";"
    own = "and a path to a .npz, or to a folder or zip of pictures, loads your own"
    return f"{name!r} is neither a file nor a known data set{guess} `privlab data list` shows those known, {own}"


def _bare(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.casefold())


def in_order(names: Iterable[str]) -> list[str]:
    """Class names in the order of their numbers: by value where all are numbers (2 before 10), else by alphabet."""
    found = set(names)
    if all(re.fullmatch(r"\d+", name, re.ASCII) for name in found):
        return sorted(found, key=lambda name: (int(name), name))
    return sorted(found)


def tidy(name: str) -> str:
    """A name from a disk or an archive, such that it can be printed and that equal ones are equal.

    A Mac takes letters and their accents apart; a name that is no UTF-8 gets a question mark where it is not.
    """
    return unicodedata.normalize("NFC", name.encode("utf-8", "surrogateescape").decode("utf-8", "replace"))
