"""The studies by id."""

from privlab import checks
from privlab.studies import curious, curious_text
from privlab.studies.study import Study

STUDIES: dict[str, Study] = {
    study.id: study for study in sorted((*curious.STUDIES, *curious_text.STUDIES), key=lambda study: study.id)
}


def get(study_id: str) -> Study:
    """The study with this id. Raises ValueError for an id that is not there, with those that are."""
    checks.one_of("study", study_id, STUDIES)
    return STUDIES[study_id]
