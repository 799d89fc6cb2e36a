"""The messages of a token stream, and in them reasoning, tool calls, results and JSON: found for reading, tokens unchanged.

What cannot be recognised stays text; nothing here decides a kind, a mask or a weight.
"""

from actfocus_core.blocks.finding import Block, Dialogue, find
from actfocus_core.blocks.marks import BlockType
from actfocus_core.blocks.messages import Message
from actfocus_core.blocks.stream import Stream

__all__ = ["Block", "BlockType", "Dialogue", "Message", "Stream", "find"]
