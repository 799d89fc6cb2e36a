"""The public name of ``actfocus_core.analysis.diagnostics``."""

from actfocus_core.analysis.diagnostics import action_bottleneck, gradient_mass

__all__ = ["action_bottleneck", "gradient_mass"]
