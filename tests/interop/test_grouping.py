"""Which rollouts form a group: step, environment, folder and key together, checked against the prompts."""

import pytest

from actfocus_core.interop import import_run
from actfocus_core.interop.grouping import Groups, Place
from tests.interop.files import messages

HERE = Place(3, "maze", "", "")


def test_a_key_is_a_group_within_its_place_only():
    groups = Groups()
    places = [
        HERE,
        HERE._replace(step=4),
        HERE._replace(env="sums"),
        HERE._replace(scope="b"),
        HERE._replace(split="eval"),
    ]
    names = [groups.name(place, "0", "p", "a.jsonl") for place in places for _ in range(2)]
    assert names[::2] == names[1::2] and len(set(names)) == 5
    assert names[0] == "00003-0"


def test_another_files_key_for_another_prompt_is_another_group_and_shards_are_one():
    groups = Groups()
    first = groups.name(HERE, "0", "maze one", "maze.jsonl")
    assert groups.name(HERE, "0", "maze one", "rank_1.jsonl") == first
    other = groups.name(HERE, "0", "2 + 2", "sums.jsonl")
    assert other != first and groups.name(HERE, "0", "2 + 2", "sums.jsonl") == other


def test_later_contexts_of_a_rollout_have_other_prompts():
    groups = Groups()
    first = groups.name(HERE, "0", "a", "f", rollout="r0")
    assert groups.name(HERE, "0", "a, then b", "f", rollout="r0") == first


@pytest.mark.parametrize("key", ["../../x", "a b", "é", "x" * 100, "", "00003-0"])
def test_any_key_is_a_printable_name_of_its_own(key):
    groups = Groups()
    names = {groups.name(HERE, one, one, "f") for one in (key, key + " ", "other")}
    assert len(names) == 3 and all(name.isascii() and "/" not in name for name in names)


def test_train_and_evaluation_and_steps_of_folders_are_apart(tokenizer_folder, tmp_path):
    import json

    line = json.dumps({"messages": messages(), "reward": 1.0}) + "\n"
    for name in ("step_1/train", "step_1/eval", "step_2/train"):
        (tmp_path / "in" / name).mkdir(parents=True)
        (tmp_path / "in" / name / "rollouts.jsonl").write_text(line * 2)
    run = import_run(tmp_path / "in", tmp_path / "run", tokenizer=tokenizer_folder)
    found = {(t.group, t.step, t.columns["split"]) for t in run.trajectories()}
    assert sorted((step, split) for _, step, split in found) == [(1, "eval"), (1, "train"), (2, "train")]
    assert len({group for group, _, _ in found}) == 3
