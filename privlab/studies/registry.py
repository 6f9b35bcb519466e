"""The studies by id."""

from privlab import checks
from privlab.studies import (
    curious,
    curious_convolutional,
    curious_detection,
    curious_noise,
    curious_optimisation,
    curious_rounds,
    curious_text,
    curious_training,
    splitnn_studies,
    zen_adaptations,
    zen_case_study,
    zen_decoder_studies,
    zen_gradients,
)
from privlab.studies.study import Study

_PAPERS = (
    curious,
    curious_convolutional,
    curious_text,
    curious_training,
    curious_noise,
    curious_optimisation,
    curious_detection,
    curious_rounds,
    splitnn_studies,
    zen_adaptations,
    zen_case_study,
    zen_decoder_studies,
    zen_gradients,
)
STUDIES: dict[str, Study] = {
    study.id: study for study in sorted((s for part in _PAPERS for s in part.STUDIES), key=lambda study: study.id)
}


def get(study_id: str) -> Study:
    """The study with this id. Raises ValueError for an id that is not there, with those that are."""
    checks.one_of("study", study_id, STUDIES)
    return STUDIES[study_id]
