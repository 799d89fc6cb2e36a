"""The method in 60 lines of NumPy, on a sample run: python demos/method.py [RUN]

Who gets the gradient, and the identity that carries the weights into any other trainer.
Symbols are those of the documentation (docs/method.md).
"""

import sys

import numpy as np

from actfocus_core.paths import assets
from actfocus_core.runs import Run

REASONING, ACTION, FORMAT = 3, 4, 5


def energy(logits):
    """E = -logsumexp f, from raw logits [..., V]: low where the reference is confident."""
    top = logits.max(-1)
    return -(top + np.log(np.exp(logits - top[..., None]).sum(-1)))


def weights(kinds, s, alpha, beta):
    """alpha on what is no action; 1 + beta sigmoid((s - mu) / sigma) on actions, over the whole batch."""
    action, w = kinds == ACTION, np.where(kinds >= REASONING, alpha, 0.0)
    mu, sigma = s[action].mean(), np.sqrt(s[action].var() + 1e-8)
    w[action] = 1 + beta / (1 + np.exp(-(s[action] - mu) / sigma))
    return w


def advantages(returns, groups):
    """GRPO: (R - mean) / std within each group; 0 where all returns of a group are equal."""
    A = np.zeros(len(returns))
    for g in set(groups):
        own = np.array([name == g for name in groups])
        if np.ptp(returns[own]):
            A[own] = (returns[own] - returns[own].mean()) / returns[own].std()
    return A


def loss(w, A, rho, low=0.2, high=0.28):
    """L = - sum w min(rho A, clip(rho) A) / sum w."""
    return -(w * np.minimum(rho * A, np.clip(rho, 1 - low, 1 + high) * A)).sum() / w.sum()


def main(run=""):
    ts = Run.open(run or assets() / "runs" / "frozen-lake").trajectories(0)
    kinds = np.concatenate([t.kinds for t in ts])
    s = np.concatenate([t.signals["ref_energy"] for t in ts]).astype(float)
    A = np.repeat(advantages(np.array([t.ret for t in ts]), [t.group for t in ts]), [len(t) for t in ts])
    written = kinds >= REASONING
    for name, alpha, beta in (
        ("Uniform", 1, 0),
        ("role only", 0.1, 0),
        ("energy only", 1, 0.5),
        ("ActFocus", 0.1, 0.5),
    ):
        w = weights(kinds, s, alpha, beta)
        print(
            f"{name:12} actions: {(kinds == ACTION).sum() / written.sum():6.1%} of the tokens, "
            f"{w[kinds == ACTION].sum() / w.sum():6.1%} of the weight"
        )
    # The identity: ordinary token-mean loss, with the advantages times w N / sum w.
    w, rho = weights(kinds, s, 0.1, 0.5)[written], np.exp(np.random.default_rng(0).normal(0, 0.2, written.sum()))
    ours, plain = loss(w, A[written], rho), loss(np.ones_like(w), A[written] * w * len(w) / w.sum(), rho)
    print(f"weighted loss {ours:.12f}, ordinary loss of the weighted advantages {plain:.12f}")
    return ours, plain


if __name__ == "__main__":
    main(*sys.argv[1:])
