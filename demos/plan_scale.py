"""The table of docs/scale.md: estimated memory and time of a GRPO step for models from 0.5B to 72B."""

from actfocus_core.train.sizing.memory import GB
from actfocus_core.train.sizing.scale import SIZES, plan

if __name__ == "__main__":
    for name, shape in SIZES.items():
        p = plan(shape)
        print(
            f"| {name} | {p.parameters / 1e9:.2f} | {p.states / GB:.0f} | {p.reference / GB:.1f} | {p.local / GB:.1f} | {p.gpus} | "
            f"{p.cache / 1e3:.0f} | {p.energy_pass:.1f} | {p.update:.1f} |"
        )
