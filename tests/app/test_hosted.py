"""A hosted studio: a login, and nothing that writes."""

import http.client
import json
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest

from actfocus_core.errors import ActFocusError
from actfocus_core.runs import Run
from actfocus_studio.data.catalog import Catalog
from actfocus_studio.jobs.experiments import ExperimentRequest, Experiments
from actfocus_studio.jobs.signals import Signals
from actfocus_studio.main import build, serve
from actfocus_studio.panels.whatif.api import api as whatif_api
from actfocus_studio.panels.whatif.requests import BranchRequest, EditRequest, ReplayRequest
from actfocus_studio.server.hosted import settings
from actfocus_studio.shell.studio import Studio


def test_what_the_variables_say(tmp_path):
    assert settings({"ACTFOCUS_AUTH": "me:a:b"}) == {
        "runs": [],
        "lessons": [],
        "host": "0.0.0.0",
        "port": 7860,
        "open_browser": False,
        "auth": ("me", "a:b"),
        "read_only": True,
    }
    (tmp_path / "a.yaml").touch()
    told = settings(
        {
            "ACTFOCUS_AUTH": "me:x",
            "PORT": "80",
            "ACTFOCUS_WRITABLE": "1",
            "ACTFOCUS_RUNS": f"{tmp_path}:{tmp_path}",
            "ACTFOCUS_LESSONS": str(tmp_path / "a.yaml"),
        }
    )
    assert (
        told["runs"] == [tmp_path] * 2
        and told["port"] == 80
        and not told["read_only"]
        and told["lessons"] == [tmp_path / "a.yaml"]
    )


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({}, "ACTFOCUS_AUTH"),
        ({"ACTFOCUS_AUTH": "me"}, "USER:PASSWORD"),
        ({"ACTFOCUS_AUTH": ":x"}, "USER:PASSWORD"),
        ({"ACTFOCUS_AUTH": "me:x", "PORT": "x"}, "PORT='x'"),
        ({"ACTFOCUS_AUTH": "me:x", "ACTFOCUS_RUNS": "nowhere"}, "there is no nowhere"),
    ],
)
def test_what_is_missing_is_one_line(variables, says):
    with pytest.raises(ActFocusError, match=says) as error:
        settings(variables)
    assert "\n" not in str(error.value)


def test_nothing_is_begun_where_it_is_read_only(tmp_path):
    races = Experiments(tmp_path / "runs", read_only=True)
    studio = Studio(Catalog([], tmp_path / "runs"), races, read_only=True)
    whatif = {route.path.rpartition("/")[2]: route.endpoint for route in whatif_api(studio).routes}
    view = {"run": "frozen-lake"}

    asked = ExperimentRequest("FrozenLake, deterministic", "grpo", ["uniform"], 1, "30 seconds")
    run, signals = Run.create(tmp_path / "run", {}, {}), Signals(read_only=True)
    for work in (
        lambda: races.start(asked),
        lambda: races.ask("race-1", "go"),
        lambda: signals.score(run, "run", "tiny"),
        lambda: whatif["replay"](ReplayRequest(view=view, schemes=["uniform"])),
        lambda: whatif["branch"](BranchRequest(view=view, turn=0, rollouts=1)),
        lambda: whatif["edit"](EditRequest(view=view, turn=0, text="")),
    ):
        with pytest.raises(ActFocusError, match="read-only"):
            work()
    assert races.listing() == [] and not (tmp_path / "runs").exists()


def test_a_read_only_studio_behind_a_login(tmp_path):
    from tests.app.sample import make_run

    run = make_run(tmp_path / "mine", prompts=1, rollouts=2)
    studio = serve(build([run.path], tmp_path / "runs", read_only=True), auth=("me", "secret"))
    try:
        at = urlsplit(studio.local_url)

        def ask(method, path, body=None, headers=()):
            connection = http.client.HTTPConnection(at.hostname, at.port, timeout=60)
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            return answer.status, answer.getheader("set-cookie"), answer.read().decode()

        assert ask("GET", "/config")[0] == 401
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        assert ask("POST", "/login", urlencode({"username": "me", "password": "wrong"}), form)[0] == 400
        status, cookie, _ = ask("POST", "/login", urlencode({"username": "me", "password": "secret"}), form)
        assert status == 303
        config = json.loads(ask("GET", "/config", headers={"Cookie": cookie.split(";")[0]})[2])
        ids = {part["props"].get("elem_id") for part in config["components"]}
        assert {"af-trace", "af-learn", "af-compare"} <= ids and not ids & {"af-rollouts", "af-roll", "af-drawer"}
        assert ask("POST", "/studio/api/import_export/look", "{}", {"Cookie": cookie.split(";")[0]})[0] in (404, 405)
    finally:
        studio.close()
    assert not Path(tmp_path / "runs").exists()
