"""ActFocus: token credit assignment for agentic reinforcement learning.

Data flow in one direction: environment -> rollout -> trajectory -> signals -> credit -> update -> run folder -> app.
Importing this package does not import torch.
"""

__version__ = "0.2.0"
