"""Policies: loading models and sampling from them."""

from actfocus_core.policy.loading import Policy, load_policy

__all__ = ["Policy", "load_policy"]
