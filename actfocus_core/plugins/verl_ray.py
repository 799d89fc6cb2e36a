"""Re-exports ``actfocus_core.plugins.verl.ray`` under the name that start scripts pass in VERL_USE_EXTERNAL_MODULES."""

from actfocus_core.extras import require

# Checks the version of verl before modules that import its internals.
require("actfocus_core.plugins.verl", "verl")

from actfocus_core.plugins.verl.ray import ActFocusEngine, ActFocusTrainer, EnvironmentLoop, prompts

__all__ = ["ActFocusEngine", "ActFocusTrainer", "EnvironmentLoop", "prompts"]
