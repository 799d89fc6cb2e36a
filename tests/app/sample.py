"""Runs made without a model: real environments, scripted answers, random signals."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from actfocus_core.envs import Env, make_env
from actfocus_core.runs import Run
from actfocus_core.trajectory import Alternatives, TokenKind, Trajectory, Turn
from tests.hostile import MARKUP, UNICODE

WORDS = ("check", "the", "hole", "then", "go", "left", "right", "ice", "is", "safe")
HOSTILE = (*MARKUP[:9], UNICODE[0])


def make_run(
    path: Path,
    *,
    prompts: int = 4,
    rollouts: int = 4,
    words: int = 18,
    scored: bool = True,
    hostile: bool = False,
    steps: int = 1,
    task: str = "frozen_lake",
    **options,
) -> Run:
    """A run of ``steps`` batches of prompts x rollouts trajectories."""
    env = make_env(task, observation="compact", **options)
    run = Run.create(
        path,
        {"env": env.name, "env_options": env.options.model_dump(mode="json")},
        {"name": HOSTILE[0] if hostile else "scripted"},
    )
    rng = np.random.default_rng(7)
    for step in range(steps):
        batch = [
            _trajectory(env, step, seed, rollout, words, scored, hostile, rng)
            for seed in range(prompts)
            for rollout in range(rollouts)
        ]
        run.add_trajectories(step, batch)
        if scored:
            run.annotate(step, "scripted", batch)
    return run


def interesting_trajectory(run: Run) -> str:
    """The id of a trajectory of a group whose returns differ, with two turns at least, all of them valid."""
    index = run.index()
    differ = index.groupby("group")["return"].transform(lambda returns: returns.max() > returns.min())
    return index[differ & (index["n_turns"] > 1) & (index["n_valid"] == index["n_turns"])].iloc[0]["id"]


def _trajectory(
    env: Env, step: int, seed: int, rollout: int, words: int, scored: bool, hostile: bool, rng: np.random.Generator
) -> Trajectory:
    stream = _Stream()
    observation = env.reset(seed, rollout)
    stream.put("<|im_start|>system\n", TokenKind.TEMPLATE, -1)
    stream.put(env.system_prompt(), TokenKind.SYSTEM, -1)
    stream.put("<|im_end|>\n<|im_start|>user\n", TokenKind.TEMPLATE, -1)
    while not (env.terminated or env.truncated):
        observation = _turn(env, stream, observation, words, hostile, rng)
    id = f"{step:05d}-{seed}-{rollout:02d}"
    group = f"{step:05d}-{seed}"
    if hostile:
        id, group = f"{HOSTILE[0]}-{id}", f"{HOSTILE[1]}-{group}"
    records = stream.records
    return Trajectory(
        id=id,
        token_ids=stream.ids,
        kinds=stream.kinds,
        turns=stream.turns,
        texts=stream.texts,
        turn_records=records,
        group=group,
        env=env.name,
        seed=seed,
        rollout=rollout,
        step=step,
        model="scripted",
        reward=sum(r.reward for r in records),
        penalty=sum(r.penalty for r in records),
        success=env.success,
        terminated=env.terminated,
        truncated=env.truncated,
        **_numbers(stream, scored, rng),
    )


def _turn(env: Env, stream: _Stream, observation: str, words: int, hostile: bool, rng: np.random.Generator) -> str:
    k, state, key = len(stream.records), env.state(), env.state_key()
    stream.put(observation, TokenKind.USER, k)
    stream.put("<|im_end|>\n<|im_start|>assistant\n", TokenKind.TEMPLATE, k)
    stream.put("<think>", TokenKind.FORMAT, k)
    for text in HOSTILE if hostile else ():
        stream.token(text, TokenKind.REASONING, k)
    stream.put("\n" + " ".join(rng.choice(WORDS, words)) + ".\n", TokenKind.REASONING, k)
    stream.put("</think>\n<answer>", TokenKind.FORMAT, k)
    actions = [str(a) for a in rng.choice(env.legal_actions() or ["1,1,1"], env.options.actions_per_turn)]
    malformed = rng.random() < 0.1
    answer = " and ".join(actions) if malformed else " || ".join(actions)
    stream.put(answer, TokenKind.FORMAT if malformed else TokenKind.ACTION, k)
    if not malformed:
        stream.put("</answer>", TokenKind.FORMAT, k)
    stream.put("<|im_end|>", TokenKind.FORMAT, k)
    result = env.step([] if malformed else actions)
    said = "".join(
        text
        for text, kind, turn in zip(stream.texts, stream.kinds, stream.turns)
        if turn == k and kind >= TokenKind.REASONING
    ).removesuffix("<|im_end|>")
    stream.records.append(
        Turn(
            observation,
            said,
            result.info["actions"],
            result.info["valid"],
            result.reward,
            result.info["penalty"],
            key,
            state,
        )
    )
    if not (result.terminated or result.truncated):
        stream.put("\n<|im_start|>user\n", TokenKind.TEMPLATE, k + 1)
    return result.observation


def _numbers(stream: _Stream, scored: bool, rng: np.random.Generator) -> dict:
    kinds = np.array(stream.kinds)
    n, written = len(kinds), kinds >= TokenKind.REASONING
    blank = np.where(written, 1, np.nan)
    logprobs = -rng.gamma(0.5, 0.5, n) * blank
    signals = {"entropy": rng.gamma(1, 0.3, n) * blank}
    if not scored:
        return {"logprobs": logprobs, "signals": signals}
    signals |= {
        "ref_energy": (rng.normal(-13, 1.2, n) + (kinds == TokenKind.ACTION)) * blank,
        "ref_entropy": rng.gamma(1, 0.3, n) * blank,
        "ref_logprob": logprobs - 0.1 * rng.random(n),
    }
    ids = np.full((n, 3), -1, np.int32)
    ids[written] = np.array([[i, 0, 1] for i in np.array(stream.ids)[written]])
    tops = np.where(written[:, None], np.log([0.7, 0.2, 0.1]), np.nan)
    texts = [[stream.texts[i], "<img src=x onerror=window.__pwn=5>", " go"] if w else [] for i, w in enumerate(written)]
    return {"logprobs": logprobs, "signals": signals, "alternatives": Alternatives(ids, tops.astype(np.float32), texts)}


class _Stream:
    """The tokens of a dialogue while it grows: a word, a tag or a sign each."""

    def __init__(self):
        self.ids, self.kinds, self.turns, self.texts = [], [], [], []
        self.records: list[Turn] = []
        self.vocabulary: dict[str, int] = {}

    def put(self, text: str, kind: TokenKind, turn: int) -> None:
        for piece in re.findall(r"<\|\w+\|>|</?\w+>|\n| ?\w+| ?[^\w\s]|\s", text):
            self.token(piece, kind, turn)

    def token(self, text: str, kind: TokenKind, turn: int) -> None:
        self.ids.append(self.vocabulary.setdefault(text, len(self.vocabulary)))
        self.kinds.append(int(kind))
        self.turns.append(turn)
        self.texts.append(text)
