"""Re-exports ``actfocus_core.plugins.verl.ray``: start scripts give verl this name as VERL_USE_EXTERNAL_MODULES."""

from actfocus_core.extras import require

# Before anything of verl's insides: whether this verl is the one they are written against.
require("actfocus_core.plugins.verl", "verl")

from actfocus_core.plugins.verl.ray import ActFocusEngine, ActFocusTrainer, EnvironmentLoop, prompts

__all__ = ["ActFocusEngine", "ActFocusTrainer", "EnvironmentLoop", "prompts"]
