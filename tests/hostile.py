"""Text that wants to be more than text: one corpus, and a run that says nothing else.

Whatever of it runs sets ``window.__pwn``; whatever is taken for an address asks ``evil.invalid``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from actfocus_core.counterfactual.store import WhatIf, store
from actfocus_core.envs import make_env
from actfocus_core.runs import Run
from actfocus_core.trajectory import Alternatives, TokenKind, Trajectory, Turn

MARKUP = (
    "<img src=x onerror=window.__pwn=1>",
    "${window.__pwn=2}",
    "{{constructor}}",
    "</script><script>window.__pwn=3</script>",
    "`${alert(1)}`",
    "&lt;b&gt;",
    "<b>bold</b>",
    "javascript:window.__pwn=4",
    "<svg/onload=window.__pwn=6>",
    '"><script>window.__pwn=7</script>',
    "'-window.__pwn=8-'",
    "</pre></textarea></title></style><img src=x onerror=window.__pwn=9>",
    "<!--",
    "-->",
    "<![CDATA[",
    '<a href="javascript:window.__pwn=10">x</a>',
    "[x](javascript:window.__pwn=11)",
    "![x](http://evil.invalid/x.png)",
    '<iframe srcdoc="<script>parent.__pwn=12</script>"></iframe>',
    "<style>*{display:none}</style>",
    "<base href=//evil.invalid>",
    "<meta http-equiv=refresh content=0;url=//evil.invalid>",
    '"}],"x":{"y":["',
    "\\u003cimg src=x\\u003e",
    "$\\href{javascript:window.__pwn=13}{x}$",
    '<a href="http://evil.invalid">link</a>',
    "<br><sup>s</sup>",
    "%{x}<extra></extra>",
    "__proto__",
    "constructor",
    "toString",
    "{{constructor.constructor('window.__pwn=14')()}}",
    "<%= 7*7 %>",
    "=cmd|' /C calc'!A1",
    "[link=javascript:x]rich[/link]",
    "[/]",
    "\\",
    "'",
    '"',
    "`",
    "%s%n",
    "{0.__class__}",
)
UNICODE = (
    "\u202eevil\u202c",
    "\u2066\u2069",
    "\u200b\u200d\ufeff",
    "NUL\x00NUL",
    "\x1b]0;pwn\x07\x1b[2J\x1b[31m",
    "\x9b2J",
    "\r\n",
    "\u2028\u2029\x85",
    # An emoji in the three tokens of its joined parts, and one whose bytes are two tokens.
    "\U0001f469",
    "\u200d",
    "\U0001f467",
    "\ufffd",
    "\ufffd",
    "Z" + "\u0301" * 200,
    "\ufdfa" * 20,
    "\U000e0041",
    "\uffff",
)
CORPUS = (*MARKUP, *UNICODE)
LINES, MEGABYTE = "\n" * 10_000, "x<b>" * 250_000
NAME = MARKUP[0]
"""Of the run's folder, its model, its reference, and of whatever else may be called something."""


def hostile_run(path: Path, tokens: tuple[str, ...] = CORPUS, name: str = NAME) -> Run:
    """A run of two groups of two: every text, label and name is hostile; the environment is a real one.

    With harmless ``tokens`` and ``name`` the same run in all else.
    """
    env = make_env("frozen_lake", observation="compact")
    object_ = {"innerHTML": name, "outerHTML": name, "srcdoc": name}
    run = Run.create(
        path,
        {
            "command": "rollout",
            "env": env.name,
            "env_options": env.options.model_dump(mode="json"),
            "note": tokens[:50],
            "scheme": name,
            "policy": name,
            "tokenizer": name,
            "filter_share": object_,
            "approximate": True,
            name: object_,
        },
        {"name": name, name: name},
    )
    batch = [_trajectory(env, group, member, tokens, name) for group in range(2) for member in range(2)]
    run.add_trajectories(0, batch)
    run.annotate(0, "reference", batch)
    store(
        run,
        WhatIf(
            "edit",
            {"trajectory": batch[0].id, "turn": 0, "text": name, "span": [3, 5]},
            _edited(object_, tokens, name),
            [_credited(t) for t in batch[:2]],
        ),
    )
    return run


def _trajectory(env, group: int, member: int, tokens: tuple[str, ...], name: str) -> Trajectory:
    rng = np.random.default_rng(group * 2 + member)
    env.reset(group, member)
    state, key = env.state(), env.state_key()
    prompt, reply = (
        ["<|im_start|>user\n", *tokens, "<|im_end|>"],
        ["<think>", *tokens, "</think>", "<answer>", "Up", *tokens[:4], "</answer>"],
    )
    texts = prompt + reply
    kinds = np.array(
        [
            TokenKind.TEMPLATE,
            *[TokenKind.USER] * len(tokens),
            TokenKind.TEMPLATE,
            TokenKind.FORMAT,
            *[TokenKind.REASONING] * len(tokens),
            TokenKind.FORMAT,
            TokenKind.FORMAT,
            *[TokenKind.ACTION] * 5,
            TokenKind.FORMAT,
        ]
    )
    n, written = len(kinds), np.where(kinds >= TokenKind.REASONING, 1, np.nan)
    logprobs = -rng.gamma(0.5, 0.5, n) * written
    tops = np.where(np.isfinite(written)[:, None], np.log([0.7, 0.3]), np.nan).astype(np.float32)
    return Trajectory(
        id=f"{name}-{group}-{member}",
        token_ids=np.arange(n),
        kinds=kinds,
        turns=np.zeros(n, int),
        texts=texts,
        logprobs=logprobs,
        turn_records=[
            Turn("".join(tokens), "".join(reply[:-1]), list(tokens[:6]), True, float(member), 0.0, key, state)
        ],
        signals={
            "entropy": rng.gamma(1, 0.3, n) * written,
            "ref_energy": (rng.normal(-13, 1, n) + (kinds == TokenKind.ACTION)) * written,
            "ref_entropy": rng.gamma(1, 0.3, n) * written,
            "ref_logprob": logprobs - 0.1 * rng.random(n),
            name: rng.random(n),
        },
        alternatives=Alternatives(
            np.where(np.isfinite(written)[:, None], [[1, 2]], -1).astype(np.int32),
            tops,
            [[name, tokens[i % len(tokens)]] if np.isfinite(w) else [] for i, w in enumerate(written)],
        ),
        group=f"{tokens[1]}-{group}",
        env=env.name,
        seed=group,
        rollout=member,
        step=0,
        model=name,
        reward=float(member),
        penalty=0.0,
        success=bool(member),
        terminated=True,
        truncated=False,
    )


def _edited(object_: dict, tokens: tuple[str, ...], name: str) -> dict:
    half = dict.fromkeys(("reasoning", "action", "format"), 0.5)
    return {
        "replaced": name,
        "text": tokens[0],
        "span": [3, 5],
        "new_span": [3, 5],
        "shift": 0,
        "badges": [object_, *tokens[:50]],
        "energy": {"span": [-1.0, -2.0], "later": [-1.0, -2.0]},
        "actions": [[name], list(tokens[:3])],
        "schemes": {
            "uniform": {"missing": [], "share": [half, half], "credit": [0.1, 0.2]},
            "actfocus": {"missing": [name], "share": [{}, {}], "credit": [0.1, 0.2]},
        },
    }


def _credited(t: Trajectory) -> Trajectory:
    more = {f"{part}:uniform": np.ones(len(t), np.float32) for part in ("weight", "credit")}
    return Trajectory(**{**vars(t), "signals": {**t.signals, **more}})
