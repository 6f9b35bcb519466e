"""Table 5: who made this one image, of some tens of users: the devices of `table-4`, and their images themselves."""

from privlab.studies.bench.study import Claim
from privlab.studies.linkability import _pictures as pictures

ABOVE = 1.5

STUDY = pictures.declared(
    "table-5",
    "Who made this image, of some tens of users",
    ("mitbih", "omniglot"),
    cells=pictures.cells,
    beside=("linkability/table-4",),
    claims=(
        Claim(
            "raw image pixels do indeed contain user-identifiable information",
            "section 8.2 (i)",
            lambda table: pictures.identify(table, ABOVE),
            "some tens of users, one image: the precision over that of random scores, more than one and a half",
        ),
        Claim(
            "update-based user identification outperforms the raw-image-based one (Tables 4-7)",
            "section 8.2",
            pictures.harder,
            "some tens of users, the same devices: on updates the network is more times better than random",
        ),
    ),
)
