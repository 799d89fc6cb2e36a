"""Policies: loading models and sampling from them."""

from actfocus_core.policy.loading import Policy, load_policy, load_tokenizer

__all__ = ["Policy", "load_policy", "load_tokenizer"]
