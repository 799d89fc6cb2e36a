"""The chunked pass against a plain float64 computation."""

import copy

import numpy as np
import pytest
import torch

from actfocus_core import signals as signals_module
from actfocus_core.errors import ActFocusError
from actfocus_core.policy import split_model as logits_module
from actfocus_core.rollout import collect
from actfocus_core.signals import SIGNALS, score, signal_values


@pytest.fixture(scope="module")
def scored(policy):
    options = {"observation": "compact", "response_tokens": 20}
    return score(collect(policy, prompts=3, rollouts=2, env_options=options), policy, top_k=4)


def _plain(policy, trajectory):
    """Energy, entropy, log-prob of every token but the first, in float64."""
    ids = torch.tensor(trajectory.token_ids.astype(np.int64))[None]
    with torch.no_grad():
        f = copy.deepcopy(policy.model).double()(input_ids=ids).logits[0, :-1].numpy()
    z = np.log(np.exp(f - f.max(1, keepdims=True)).sum(1)) + f.max(1)
    p = np.exp(f - z[:, None])
    return -z, -(p * np.log(p)).sum(1), f[np.arange(len(f)), trajectory.token_ids[1:]] - z


def test_energy_entropy_and_logprob_equal_a_float64_computation(policy, scored):
    for t in scored:
        mask = t.response_mask[1:]
        for name, expected in zip(("ref_energy", "ref_entropy", "ref_logprob"), _plain(policy, t)):
            np.testing.assert_allclose(t.signals[name][1:][mask], expected[mask], atol=2e-5)
            assert np.isnan(t.signals[name][~t.response_mask]).all()


def test_chunks_and_batches_change_nothing(policy, scored, monkeypatch):
    monkeypatch.setattr(logits_module, "chunk_rows", lambda *_: 7)
    again = score(copy.deepcopy(scored), policy, tokens_per_batch=700)
    for a, b in zip(scored, again):
        np.testing.assert_allclose(a.signals["ref_energy"], b.signals["ref_energy"], atol=1e-5)


def test_no_chunk_token_scores_is_as_large_as_the_batch(policy, scored, monkeypatch):
    seen = []
    original = logits_module.SplitModel.logits
    monkeypatch.setattr(logits_module, "chunk_rows", lambda *_: 32)
    monkeypatch.setattr(
        logits_module.SplitModel, "logits", lambda self, hidden: seen.append(len(hidden)) or original(self, hidden)
    )
    score(copy.deepcopy(scored), policy)
    assert max(seen) <= 32 and sum(seen) >= sum(t.response_mask.sum() for t in scored)


def test_the_four_signals(scored):
    t = scored[0]
    np.testing.assert_array_equal(signal_values(t, "energy"), t.signals["ref_energy"])
    np.testing.assert_array_equal(signal_values(t, "nll"), -t.logprobs)
    # The reference is the policy itself here: the shift is rounding.
    assert np.nanmax(np.abs(signal_values(t, "shift"))) < 1e-4
    np.testing.assert_allclose(t.signals["entropy"], t.signals["ref_entropy"], atol=1e-4)
    with pytest.raises(ActFocusError, match="unknown signal 'surprise'"):
        signal_values(t, "surprise")


def test_centred_energy_is_the_energy_plus_the_mean_logit(policy, scored):
    t = scored[0]
    ids = torch.tensor(t.token_ids.astype(np.int64))[None]
    with torch.no_grad():
        mean = copy.deepcopy(policy.model).double()(input_ids=ids).logits[0, :-1].mean(-1).numpy()
    mask = t.response_mask
    expected = t.signals["ref_energy"][mask] + mean[mask[1:]]
    np.testing.assert_allclose(signal_values(t, "centred_energy")[mask], expected, atol=2e-5)
    np.testing.assert_array_equal(signal_values(t, "policy_entropy"), t.signals["entropy"])


def test_a_shift_of_the_logits_moves_the_energy_and_not_the_centred_one():
    logits = torch.randn(5, 30, generator=torch.Generator().manual_seed(0))
    shift = torch.tensor([[0.0], [1.0], [-3.0], [50.0], [-200.0]])
    plain, moved = (signals_module._token_scores(f, torch.arange(5), 0) for f in (logits, logits + shift))
    np.testing.assert_allclose(moved[0], plain[0] - shift[:, 0], rtol=1e-5)
    np.testing.assert_allclose(moved[3], plain[3], rtol=1e-4)


def test_what_was_not_recorded_is_nan(policy):
    t = collect(policy, prompts=1, rollouts=1, env_options={"response_tokens": 8})[0]
    for name in SIGNALS:
        assert np.isnan(signal_values(t, name)).all() == (name != "nll")


def test_alternatives_are_the_most_likely_tokens(policy, scored):
    t = scored[0]
    i = int(np.flatnonzero(t.response_mask)[3])
    ids = torch.tensor(t.token_ids[:i].astype(np.int64))[None]
    with torch.no_grad():
        top = policy.model(input_ids=ids).logits[0, -1].log_softmax(-1).topk(4)
    assert t.alternatives.ids[i].tolist() == top.indices.tolist()
    np.testing.assert_allclose(t.alternatives.logprobs[i], top.values, atol=1e-4)
    assert len(t.alternatives.texts[i]) == 4 and t.alternatives.texts[0] == []


def test_a_reference_with_another_vocabulary_is_refused(policy, scored):
    alien = copy.deepcopy(scored[:1])
    alien[0].token_ids[-1] = 10**6
    with pytest.raises(ActFocusError, match="token id 1000000 is not in the vocabulary"):
        score(alien, policy)
