import pytest


@pytest.fixture(scope="module")
def batch(rollouts, tiny):
    """Rollouts of the embedded policy as a batch of verl's."""
    from tests.plugins.verl_batches import batch_of

    return batch_of(rollouts, tiny)
