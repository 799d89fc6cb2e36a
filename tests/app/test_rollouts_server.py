"""The Rollouts page's requests: the list is the library's, and J and K step through it."""

import json
import time

import numpy as np
import pytest

from actfocus_core import processes
from actfocus_core.listing import Cache, Listing, Setting
from actfocus_core.listing.query import Query, Search
from actfocus_core.runs import Run
from actfocus_studio.data.listings import Listings, asked, conditions, setting
from actfocus_studio.data.view import View
from actfocus_studio.jobs.lists import WORKER, Lists
from actfocus_studio.jobs.worker import READ_ONLY
from tests.app.routes import values
from tests.app.sample import HOSTILE, make_run
from tests.app.server import Api

COLUMNS = ["id", "step", "tokens", "success", "group", "change"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("lists")
    make_run(folder / "run", prompts=4, rollouts=4, steps=2)
    make_run(folder / "unscored", prompts=2, rollouts=2, scored=False)
    make_run(folder / "hostile", prompts=1, rollouts=2, hostile=True)
    return folder


@pytest.fixture(scope="module")
def api(folder) -> Api:
    return Api(folder / "run", folder=folder)


@pytest.fixture(scope="module")
def listing(folder, lists_cache) -> Listing:
    """The library's list, with everything computed: the studio finds it in the cache."""
    run = Run.open(folder / "run")
    made = Listing(run, setting(View(), "actfocus"), Setting("uniform"), cache=Cache.of(run.path, lists_cache))
    made.compute()
    made.index_text()
    return made


def rows(api, columns=COLUMNS, offset=0, limit=100, **view) -> dict:
    return api("rollouts/rows", view={"run": "run", **view}, columns=columns, offset=offset, limit=limit)


def test_the_rows_are_the_library_s(api, listing):
    found = rows(api, sort="change", descending=True, offset=3, limit=7)
    page = listing.page(Query(sort="change", descending=True), 3, 7, COLUMNS)
    assert found["ids"]["data"] == page.ids and (found["total"], found["of"]) == (32, 32) and found["need"] == ""
    for name in ("step", "tokens", "success", "change"):
        expected = np.array(page.rows[name].to_pylist(), float)
        assert np.array_equal(values(found["columns"][name]), expected, equal_nan=True)
    assert values(found["columns"]["group"]) == page.rows["group"].to_pylist() and "id" not in found["columns"]


def test_filters_combine(api, listing):
    index = listing.run.index()
    view = {"only": "failure,malformed", "in_step": 1, "where": "tokens > 200"}
    expected = index[
        (index["success"] == False)  # noqa: E712
        & (index["n_valid"] < index["n_turns"])
        & (index["step"] == 1)
        & (index["n_tokens"] > 200)
    ]
    found = rows(api, **view)
    assert 0 < len(expected) < 32 and found["ids"]["data"] == expected["id"].tolist()
    group = expected["group"].iloc[0]
    found = rows(api, **view, in_group=group)
    assert found["ids"]["data"] == expected["id"][expected["group"] == group].tolist()
    # Success, failure and unknown are of one kind.
    assert rows(api, only="success,failure,unknown")["total"] == 32


def test_a_filter_never_leaves_its_part_of_the_expression(listing):
    text = 'x" or step == 0 or group == "'
    view = View(in_group=text, where="step == 1 or step == 0", only="malformed")
    assert conditions(view) == f"(malformed) and (group == {json.dumps(text)})"
    assert listing.ids(asked(listing, view).query) == []
    # What is no expression by itself is refused, also where it would be one among others.
    assert asked(listing, View(where="step == 0) or (step == 1")).where


def test_a_search_names_its_hits(api, listing):
    found = rows(api, search="HOLE", within="reasoning", columns=["id", "hits"])
    query = Query(search=Search("hole", ignore_case=True, kind="reasoning"))
    page = listing.page(query, 0, 100, ["hits", "first_hit"])
    assert found["ids"]["data"] == page.ids and found["total"] > 0
    assert found["hits"] == sum(page.rows["hits"].to_pylist())
    assert values(found["tokens"]).tolist() == page.rows["first_hit"].to_pylist()
    assert rows(api, search="HOLE", case=True)["total"] == 0
    assert rows(api, search="h[aeiou]le\\b", regex=True)["total"] == found["total"]


@pytest.mark.parametrize(
    "view, part",
    [
        ({"where": "tokens >"}, "where"),
        ({"where": "colour == 3"}, "where"),
        ({"search": "(", "regex": True}, "search"),
        ({"sort": "colour"}, "list"),
    ],
)
def test_what_is_wrong_is_said_of_its_part_alone(api, listing, view, part):
    found = rows(api, **view)
    assert found["errors"][part] and "\n" not in found["errors"][part]
    assert [name for name, line in found["errors"].items() if line] == [part]
    assert found["total"] == (32 if part == "list" else 0) and not found["need"]


def test_about_counts_what_can_be_chosen(api, listing):
    told = api("rollouts/about", view={"run": "run"})
    index = listing.run.index()
    assert told["total"] == 32 and told["counts"]["malformed"] == (index["n_valid"] < index["n_turns"]).sum()
    assert told["counts"]["success"] + told["counts"]["failure"] + told["counts"]["unknown"] == 32
    assert [(choice["value"], choice["count"]) for choice in told["steps"]] == [("0", 16), ("1", 16)]
    assert told["computed"] and told["references"] == ["scripted"]
    usual = {column["name"] for column in told["columns"] if column["usual"]}
    # The step is usual because there are two; the environment is not.
    assert {"id", "step", "change"} <= usual and "env" not in usual


def test_the_settings_of_the_view_are_those_of_the_list(api, folder, listing):
    assert not api("rollouts/about", view={"run": "run", "alpha": 0.9})["computed"]
    assert not api("rollouts/about", view={"run": "run", "scheme_b": "empg"})["computed"]
    view = View(scheme_b="kept", kept="0.5,1,entropy,batch,0")
    assert setting(view, "kept").params == {"alpha": 0.5, "beta": 1.0, "signal": "entropy"}
    assert setting(View(alpha=0.3), "shuffle:actfocus").params["alpha"] == 0.3
    assert setting(view, "empg").params == {}


def test_what_has_to_be_computed_is_said_and_computed_by_a_process(folder, tmp_path):
    run = Run.open(folder / "run")
    lists = Lists(Listings(tmp_path))
    view = View(run="run", where="change > 0 and contains(text, 'hole')", sort="change", descending=True)
    for need in ("text", "values"):
        assert asked(lists.listings.get(run, view), view).need == need
        _finish(lists, run, view, need)
    found = lists.listings.get(run, view)
    assert asked(found, view).need == "" and len(found.ids(asked(found, view).query)) > 0


def test_sorting_by_what_is_not_computed_lists_in_the_order_of_the_run(folder, tmp_path):
    view = View(run="run", sort="change", where="step == 1")
    wanted = asked(Listings(tmp_path).get(Run.open(folder / "run"), view), view)
    assert wanted.need == "values" and wanted.query == Query(where="(step == 1)")


def test_the_highest_tokens_are_the_library_s(folder, tmp_path, listing):
    run, lists = Run.open(folder / "run"), Lists(Listings(tmp_path))
    view = View(
        run="run", extreme="credit_a", end="low", token_kind="action", only="failure", search="hole", sort="change"
    )
    assert lists.tokens(lists.listings.get(run, view), view) is None
    _finish(lists, run, view, "tokens")
    found = lists.tokens(lists.listings.get(run, view), view)
    query = Query(where="(success is false)", search=Search("hole", ignore_case=True))
    expected = listing.extremes("credit_a", top=200, lowest=True, kind="action", query=query)
    assert [(value, id, token) for value, id, token in zip(found["value"], found["rollout"], found["token"])] == [
        (token.value, token.id, token.token) for token in expected
    ]
    # Under another setting they are others.
    other = view.model_copy(update={"alpha": 0.7})
    assert lists.tokens(lists.listings.get(run, other), other) is None


def _finish(lists: Lists, run: Run, view: View, what: str) -> None:
    lists.begin(run, "run", view, what)
    end = time.monotonic() + 240
    while lists.status().state == "running" and time.monotonic() < end:
        time.sleep(0.05)
    assert lists.status().state == "done", lists.status().message


def test_a_process_says_in_one_line_what_is_wrong(folder, tmp_path):
    request = {"run": str(folder / "none"), "view": {}, "what": "values", "folder": str(tmp_path), "top": 3}
    with processes.start(
        processes.python(WORKER, json.dumps(request)), stderr=-1, text=True, env=processes.environment()
    ) as process:
        line = process.communicate(timeout=120)[1]
    assert process.returncode == 1 and line.count("\n") == 1 and "no such run" in line


def test_a_read_only_studio_computes_nothing(folder, tmp_path):
    api = Api(folder / "run", folder=folder, read_only=True)
    for what in ("values", "text", "tokens"):
        answer = api("rollouts/start", view={"run": "unscored", "extreme": "nll"}, what=what)
        assert answer == {"error": READ_ONLY}


def test_the_list_is_what_a_trajectory_is_stepped_in(api, listing):
    ids = listing.ids(Query(sort="change", descending=True))
    view = {"run": "run", "sort": "change", "descending": True}
    opened = api("trace/open", view={**view, "trajectory": ids[5]})
    assert opened["list"] == {
        "position": 5,
        "total": 32,
        "previous": ids[4],
        "next": ids[6],
        "hit": None,
        "sort": "change",
    }
    assert api("trace/open", view={**view, "trajectory": ids[0]})["list"]["previous"] is None
    assert api("trace/open", view={**view, "trajectory": ids[-1]})["list"]["next"] is None
    # Without a trajectory the first of the list is opened.
    assert api("trace/open", view=view)["place"]["id"] == ids[0]
    assert api("trace/open", view={"run": "run"})["list"] is None


def test_a_trajectory_outside_of_the_list_goes_to_its_first(api, listing):
    failures = listing.ids(Query(where="success is false"))
    success = next(id for id in listing.ids() if id not in failures)
    found = api("trace/open", view={"run": "run", "only": "failure", "trajectory": success})["list"]
    assert (found["position"], found["previous"], found["next"]) == (None, None, failures[0])


def test_a_rollout_of_a_search_opens_at_its_first_hit(api, listing):
    query = Query(search=Search("hole", ignore_case=True, kind="reasoning"))
    page = listing.page(query, 0, 3, ["first_hit"])
    for id, token in zip(page.ids, page.rows["first_hit"].to_pylist()):
        view = {"run": "run", "search": "hole", "within": "reasoning", "trajectory": id}
        assert api("trace/open", view=view)["list"]["hit"] == token
    t = listing.run.trajectory(page.ids[0])
    assert "hole" in t.texts[page.rows["first_hit"][0].as_py()]


@pytest.mark.parametrize("view", [{"where": "tokens >"}, {"search": "(", "regex": True}, {"sort": "colour"}])
def test_a_list_that_cannot_be_made_is_noted_and_the_trajectory_opens(api, listing, view):
    opened = api("trace/open", view={"run": "run", **view}, restore=True)
    assert "error" not in opened and len(opened["notes"]) == 1
    assert opened["list"] is None or view == {"sort": "colour"}


def test_export_is_of_the_whole_list(api, listing):
    view = {"run": "run", "only": "failure", "sort": "change", "descending": True}
    query = Query(where="success is false", sort="change", descending=True)
    table = listing.page(query, 0, 100, ["id", "tokens", "change"]).rows
    answer = api("rollouts/export", view=view, columns=["tokens", "change", "nothing"], format="jsonl")
    assert [json.loads(line) for line in answer["text"].splitlines()] == table.to_pylist()
    answer = api("rollouts/export", view=view, columns=["tokens", "change"], format="csv")
    assert answer["name"] == "run-rollouts.csv" and answer["text"].splitlines()[0] == "id,tokens,change"
    assert len(answer["text"].splitlines()) == 1 + table.num_rows
    refused = api("rollouts/export", view={**view, "where": "tokens >"}, columns=[], format="csv")["error"]
    assert refused.startswith("the list cannot be exported: character 9")


def test_the_rollouts_of_the_list_are_exported(api, listing):
    view = {"run": "run", "only": "failure", "in_step": 1, "trajectory": listing.ids()[0]}
    answer = api("import_export/export", view=view, format="jsonl", part="list", filter="malformed")
    end = time.monotonic() + 240
    while answer["job"]["state"] == "running" and time.monotonic() < end:
        time.sleep(0.05)
        answer = api("import_export/look")
    expected = listing.ids(Query(where="success is false and step == 1 and malformed"))
    assert answer["file"]["rollouts"] == len(expected) > 0 and answer["file"]["name"] == "run-list.jsonl"
    empty = api("import_export/export", view={**view, "where": "tokens < 0"}, format="jsonl", part="list", filter="all")
    assert "0 rollouts" in empty["error"]


def test_a_text_is_no_formula_in_a_spreadsheet(listing):
    import pyarrow as pa

    from actfocus_studio.pages.rollouts.rows import as_csv

    table = pa.table({"id": ["=1+1", "a,b"], "success": [None, True], "return": [-0.5, None]})
    assert as_csv(table).splitlines() == ["id,success,return", "'=1+1,,-0.5", '"a,b",true,']


def test_a_run_without_a_reference_says_so(api, listing):
    told = api("rollouts/about", view={"run": "unscored"})
    assert told["references"] == [] and not told["computed"]


def test_hostile_texts_are_values(api, listing):
    found = rows(api, run="hostile", search=HOSTILE[0], columns=["id", "hits"])
    assert found["need"] == "text" and found["total"] == 0
    assert rows(api, run="hostile", in_group=HOSTILE[0])["total"] == 0
