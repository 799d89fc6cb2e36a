"""verl's FSDP engine with the energy of the logits in its forward pass and token weights on its mini-batches."""

from __future__ import annotations

from typing import Any

import torch
import verl
from tensordict import TensorDict
from verl.utils import tensordict_utils as tu
from verl.utils.device import get_device_id
from verl.workers.engine.base import EngineRegistry
from verl.workers.engine.fsdp.transformer_impl import FSDPEngineWithLMHead

from actfocus_core.errors import ActFocusError
from actfocus_core.plugins.signatures import check_methods
from actfocus_core.plugins.verl import TESTED
from actfocus_core.plugins.verl.weights import WEIGHTS, energies, weighted

USED = {
    (FSDPEngineWithLMHead, "forward_backward_batch"): ["self", "data", "loss_function", "forward_only"],
    (FSDPEngineWithLMHead, "prepare_model_outputs"): [
        "self",
        "output",
        "output_args",
        "micro_batch",
        "logits_processor_func",
    ],
}
"""Methods that are overridden, with their arguments."""
check_methods(verl, TESTED, USED)


@EngineRegistry.register(model_type="actfocus", backend=["fsdp", "fsdp2"], device=["cuda", "npu"])
class ActFocusEngine(FSDPEngineWithLMHead):  # type: ignore[misc]  # verl has no types
    """verl's FSDP engine; its forward pass also computes energies, and its mini-batches are weighted."""

    def __init__(self, model_config: Any, **parts: Any):
        # "actfocus" selects this class in verl's registry; the model itself is a language model.
        model_config.model_type = "language_model"
        super().__init__(model_config=model_config, **parts)

    def forward_backward_batch(self, data: TensorDict, loss_function: Any, forward_only: bool = False) -> Any:
        if not forward_only and WEIGHTS in data.keys():  # noqa: SIM118 - a TensorDict iterates over its rows
            data = weighted(data, self.get_data_parallel_group(), get_device_id())
        return super().forward_backward_batch(data, loss_function, forward_only=forward_only)

    def prepare_model_outputs(
        self, output: Any, output_args: Any, micro_batch: TensorDict, logits_processor_func: Any
    ) -> dict[str, Any]:
        calculate_energy = tu.get_non_tensor_data(data=micro_batch, key="calculate_energy", default=False)
        energy = self.energy(output, micro_batch) if calculate_energy else None
        outputs: dict[str, Any] = super().prepare_model_outputs(output, output_args, micro_batch, logits_processor_func)
        return outputs if energy is None else {**outputs, "energy": energy}

    def energy(self, output: Any, micro_batch: TensorDict) -> torch.Tensor:
        """Nested [B, T]: -logsumexp of the raw logits at every position, which predict the next token.

        Raises ActFocusError with fused kernels or sequence parallelism.
        """
        if tu.get_non_tensor_data(data=micro_batch, key="use_fused_kernels", default=False):
            raise ActFocusError(
                "use_fused_kernels=True: the energy needs logits, which fused kernels do not compute; set it to False"
            )
        if self.ulysses_sequence_parallel_size > 1:
            raise ActFocusError(
                "ulysses_sequence_parallel_size above 1: the energy is not gathered over the ranks; set it to 1"
            )
        logits, offsets = output.logits, micro_batch["input_ids"].offsets()
        if hasattr(logits, "full_tensor"):
            logits = logits.full_tensor()
        if tu.get_non_tensor_data(data=micro_batch, key="use_remove_padding", default=True):
            rows = logits[0, : int(offsets[-1])]
        else:
            rows = torch.cat([row[:n] for row, n in zip(logits, offsets.diff().tolist())])
        return torch.nested.nested_tensor_from_jagged(energies(rows), offsets)
