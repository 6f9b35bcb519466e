"""The studies by id, found by walking: the id is the path, `curious/table-5` stands in `studies/curious/table_5.py`."""

import difflib
import importlib
import pkgutil
import re

from privlab import studies
from privlab.studies.bench.study import Study


def _walk() -> dict[str, Study]:
    found = {}
    for room in pkgutil.iter_modules(studies.__path__):
        if not room.ispkg or room.name == "bench":
            continue
        package = importlib.import_module(f"privlab.studies.{room.name}")
        for module in pkgutil.iter_modules(package.__path__):
            if module.name.startswith("_"):
                continue
            study = importlib.import_module(f"{package.__name__}.{module.name}").STUDY
            if module_of(study.id) != (room.name, module.name):
                raise ValueError(f"{study.id} stands in {room.name}/{module.name}.py; a study's id is its path")
            found[study.id] = study
    return dict(sorted(found.items()))


def module_of(study_id: str) -> tuple[str, str]:
    """The room and the file of a study.

    >>> module_of("curious/section-8.5")
    ('curious', 'section_8_5')
    """
    room, _, name = study_id.partition("/")
    return room, re.sub(r"[-.]", "_", name)


STUDIES: dict[str, Study] = _walk()


def get(study_id: str) -> Study:
    """The study with this id. Raises ValueError for an id that is not there, with those that are like it."""
    if study_id not in STUDIES:
        asked = str(study_id).lower().replace("_", "-")
        near = [known for known in STUDIES if asked in (known, known.partition("/")[2])]
        near = near or difflib.get_close_matches(asked, STUDIES, cutoff=0.75)
        hint = f" (did you mean {' or '.join(near)}?)" if near else ""
        raise ValueError(f"study={study_id!r} is not known{hint}; choose one of {', '.join(STUDIES)}")
    return STUDIES[study_id]
