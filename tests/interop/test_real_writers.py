"""Files written by the libraries themselves, where they are installed (trl; verifiers)."""

import numpy as np
import pytest

from actfocus_core.analysis.validate import diagnose
from actfocus_core.interop import import_run
from actfocus_core.policy import load_tokenizer
from actfocus_core.trajectory import TokenKind
from tests.interop.files import FIRST, REPLIES, messages, stream


@pytest.mark.parametrize("conversational", [True, False])
def test_completions_that_trl_logged(conversational, model_folder, tmp_path):
    trl = pytest.importorskip("trl")
    datasets = pytest.importorskip("datasets")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    def length(completions, log_extra=None, **_):
        if conversational:
            log_extra("place", [float(n * n) for n in range(len(completions))])
        return [float(len(str(c))) for c in completions]

    def nothing(completions, **_):
        return [None for _ in completions]

    prompt = [{"role": "user", "content": FIRST}] if conversational else FIRST
    trainer = trl.GRPOTrainer(
        AutoModelForCausalLM.from_pretrained(model_folder),
        [length, nothing],
        processing_class=AutoTokenizer.from_pretrained(model_folder),
        train_dataset=datasets.Dataset.from_list([{"prompt": prompt}] * 4),
        args=trl.GRPOConfig(
            str(tmp_path / "out"),
            max_steps=2,
            num_generations=4,
            per_device_train_batch_size=4,
            max_completion_length=12,
            log_completions=True,
            logging_steps=1,
            report_to="none",
            use_cpu=True,
            save_strategy="no",
            beta=0.0,
            seed=0,
        ),
    )
    trainer.train()
    run = import_run(tmp_path / "out", tmp_path / "run", tokenizer=str(model_folder))
    assert run.info["config"]["format"] == "trl" and run.steps() == [1, 2] and len(run.index()) == 8
    for t in run.trajectories():
        assert t.text(TokenKind.USER) == FIRST and len(t.turn_records) == 1
        # The reward of ours was over what TRL gave it: a message list, or the text.
        said = t.turn_records[0].response
        assert t.reward == (len(str([{"role": "assistant", "content": said}])) if conversational else len(said))
        assert np.isfinite(t.signals["advantage"][t.response_mask]).all() and ("place" in t.columns) == conversational
    assert run.info["config"]["reward_columns"] == ["length"]
    assert "ids-text" not in {f.check for f in diagnose(run, tokenizer=load_tokenizer(str(model_folder))).findings}


def test_episodes_that_verifiers_recorded(tokenizer, tokenizer_folder, tmp_path):
    pytest.importorskip("verifiers.v1.episode")
    import json

    from verifiers.v1.configs.agent import AgentConfig
    from verifiers.v1.episode import Episode, GroupInfo
    from verifiers.v1.graph import prepare_turn
    from verifiers.v1.task import TaskData
    from verifiers.v1.trace import AgentInfo, Reward, Trace, TraceTask
    from verifiers.v1.types import AssistantMessage, Response, SystemMessage, TurnTokens, UserMessage

    blocks = stream(tokenizer)
    kinds = {"system": SystemMessage, "user": UserMessage, "assistant": AssistantMessage}
    dialogue = [kinds[m["role"]](content=m["content"]) for m in messages()]
    task = TraceTask(type="Lake", data=TaskData(idx=3), key="lake-3")
    trace = Trace(task=task, agent=AgentInfo(config=AgentConfig(model="mine")))
    for turn, (read, write) in enumerate(((2, 2), (4, 4))):
        prompt = [i for ids, _ in blocks[: 2 * turn + 1] for i in ids]
        reply = blocks[2 * turn + 1][0]
        tokens = TurnTokens(prompt_ids=prompt, completion_ids=reply, completion_logprobs=[-0.5] * len(reply))
        prepare_turn(trace, dialogue[:read]).commit(
            Response(id="r", created=0, model="mine", message=dialogue[write], finish_reason="stop", tokens=tokens)
        )
    trace.rewards = {"goal": Reward(score=1.0), "style": Reward(score=1.0, weight=0.5), "late": None}
    episode = Episode(task=task, group=GroupInfo(id="g/1"), traces=[trace], ok=True)
    (tmp_path / "traces.jsonl").write_text(json.dumps(episode.to_record()) + "\n")

    run = import_run(tmp_path / "traces.jsonl", tmp_path / "run", tokenizer=tokenizer_folder)
    t = run.trajectories()[0]
    assert not run.info["config"]["approximate"] and t.model == "mine" and t.reward == 1.5
    assert t.token_ids.tolist() == [i for ids, _ in blocks for i in ids]
    assert t.response_mask.tolist() == [sampled for ids, sampled in blocks for _ in ids]
    assert [r.response for r in t.turn_records] == REPLIES and t.group.startswith("00000-g-1")
    assert (t.logprobs[t.response_mask] == -0.5).all()
    assert diagnose(run, tokenizer=tokenizer).healthy
