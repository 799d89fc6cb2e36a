"""The server's answers as a page receives them, without a network."""

from __future__ import annotations

from pathlib import Path

from starlette.testclient import TestClient

from actfocus_core.runs import Run
from actfocus_core.trajectory import Trajectory
from actfocus_studio.data.batch_cache import BatchConstants, constants
from actfocus_studio.main import build
from actfocus_studio.pages.trace.api import trajectory_data


class Api:
    """The operations of a studio over the runs of a folder."""

    def __init__(self, *runs: Path, folder: Path, **how):
        self._client = TestClient(build(runs, folder, **how).app(), base_url="http://127.0.0.1")

    def __call__(self, operation: str, **request) -> dict:
        """The answer as plain JSON; ``{"error": line}`` where the studio refuses."""
        answer = self._client.post(f"/studio/api/{operation}", json=request)
        assert answer.status_code in (200, 422), (answer.status_code, answer.text)
        return answer.json()


def shown(run: Run, t: Trajectory, batch: BatchConstants | None = None) -> dict:
    """What the Trace page receives of a trajectory, as plain JSON."""
    batch = batch or constants(run.trajectories(t.step))
    return trajectory_data(run, t, batch).model_dump(mode="json", by_alias=True)
