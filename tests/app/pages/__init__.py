"""Page objects: what a person sees and does in the studio, by role, label or text.

``Studio`` opens an address and waits for what appears; each tab and each panel has a class of its own. A test says what is
done and what is expected; where it stands on the page is known here alone.
"""

from tests.app.pages.base import LONG_MS, ORDINARY_MS, Part, number_of, plain
from tests.app.pages.compare import ComparePage
from tests.app.pages.groups import GroupsPage
from tests.app.pages.import_export import ImportExportPanel
from tests.app.pages.learn import LearnPage
from tests.app.pages.rollouts import RolloutsPage
from tests.app.pages.studio import Studio
from tests.app.pages.trace import TracePage
from tests.app.pages.traffic import Traffic
from tests.app.pages.train import TrainPage
from tests.app.pages.tune import TunePage
from tests.app.pages.whatif import WhatIfPanel

__all__ = [
    "LONG_MS",
    "ORDINARY_MS",
    "ComparePage",
    "GroupsPage",
    "ImportExportPanel",
    "LearnPage",
    "Part",
    "RolloutsPage",
    "Studio",
    "TracePage",
    "Traffic",
    "TrainPage",
    "TunePage",
    "WhatIfPanel",
    "number_of",
    "plain",
]
