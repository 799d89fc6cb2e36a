"""The method in 60 lines of NumPy, on a sample run: python demos/method.py [RUN]

Prints which tokens get the gradient, and checks the identity that carries the weights into any other trainer.
Symbols are those of docs/method.md.
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
    """alpha on reasoning and format; 1 + beta sigmoid((s - mu) / sigma) on actions, mu and sigma over the whole batch."""
    action, w = kinds == ACTION, np.where(kinds >= REASONING, alpha, 0.0)
    mu, sigma = s[action].mean(), np.sqrt(s[action].var() + 1e-8)
    w[action] = 1 + beta / (1 + np.exp(-(s[action] - mu) / sigma))
    return w


def advantages(returns, groups):
    """GRPO: (R - mean) / std within each group; 0 where all returns of a group are equal."""
    A = np.zeros(len(returns))
    for g in set(groups):
        members = np.array([name == g for name in groups])
        if np.ptp(returns[members]):
            A[members] = (returns[members] - returns[members].mean()) / returns[members].std()
    return A


def loss(w, A, rho, low=0.2, high=0.28):
    """L = - sum w min(rho A, clip(rho) A) / sum w."""
    return -(w * np.minimum(rho * A, np.clip(rho, 1 - low, 1 + high) * A)).sum() / w.sum()


def main(run=""):
    ts = Run.open(run or assets() / "runs" / "frozen-lake").trajectories(0)
    kinds = np.concatenate([t.kinds for t in ts])
    s = np.concatenate([t.signals["ref_energy"] for t in ts]).astype(float)
    A = np.repeat(advantages(np.array([t.ret for t in ts]), [t.group for t in ts]), [len(t) for t in ts])
    response = kinds >= REASONING
    for name, alpha, beta in (
        ("Uniform", 1, 0),
        ("role only", 0.1, 0),
        ("energy only", 1, 0.5),
        ("ActFocus", 0.1, 0.5),
    ):
        w = weights(kinds, s, alpha, beta)
        print(
            f"{name:12} actions: {(kinds == ACTION).sum() / response.sum():6.1%} of the tokens, "
            f"{w[kinds == ACTION].sum() / w.sum():6.1%} of the weight"
        )
    # The identity: the ordinary token-mean loss with the advantages multiplied by w N / sum w.
    w, rho = weights(kinds, s, 0.1, 0.5)[response], np.exp(np.random.default_rng(0).normal(0, 0.2, response.sum()))
    weighted, plain = loss(w, A[response], rho), loss(np.ones_like(w), A[response] * w * len(w) / w.sum(), rho)
    print(f"weighted loss {weighted:.12f}, ordinary loss of the weighted advantages {plain:.12f}")
    return weighted, plain


if __name__ == "__main__":
    main(*sys.argv[1:])
