"""A data-parallel rank as Ray starts it: its share of a mini-batch through the plug-in's path, on the embedded policy."""


def gradient_of(policy, rows, data, ranks: int, tokens: int) -> dict:
    """The gradient of this rank's rows, before data parallelism takes the mean; ``tokens``: of the whole mini-batch."""
    import torch
    from tensordict import TensorDict
    from verl.trainer.ppo.core_algos import get_policy_loss_fn

    from actfocus_core.plugins import verl as plugin
    from tests.plugins.verl_batches import Config

    model = policy.model.requires_grad_(True)
    scaled = plugin.weighted(TensorDict(data, batch_size=len(rows)))["advantages"]
    logprobs = torch.zeros(data["response_mask"].shape)
    for i, (ids, start) in enumerate(rows):
        ids = torch.tensor(ids)
        own = model(input_ids=ids[None, :-1]).logits[0].log_softmax(-1).gather(1, ids[1:, None])[start - 1 :, 0]
        logprobs[i, : len(own)] = own
    loss, _ = get_policy_loss_fn("actfocus")(
        old_log_prob=data["old_log_probs"],
        log_prob=logprobs,
        advantages=scaled,
        response_mask=data["response_mask"].bool(),
        loss_agg_mode="token-mean",
        config=Config(dp_size=ranks, batch_num_tokens=tokens),
    )
    model.zero_grad()
    loss.backward()
    gradients = {name: p.grad.clone() for name, p in model.named_parameters()}
    model.requires_grad_(False)
    return gradients


class Worker:
    """One rank; the ranks meet over gloo."""

    def __init__(self, rank: int, ranks: int, meet: str):
        import torch

        from actfocus_core.policy import load_policy

        torch.set_num_threads(1)
        torch.distributed.init_process_group("gloo", init_method=f"file://{meet}", rank=rank, world_size=ranks)
        self.ranks, self.policy = ranks, load_policy("tiny", "cpu")

    def gradient(self, rows, data, tokens: int) -> dict:
        import torch

        gradients = gradient_of(self.policy, rows, data, self.ranks, tokens)
        for gradient in gradients.values():
            torch.distributed.all_reduce(gradient)
            gradient /= self.ranks
        return {name: gradient.numpy() for name, gradient in gradients.items()}
