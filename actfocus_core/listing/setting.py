"""A credit scheme with its parameters: what the list compares as A and B."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any

from actfocus_core.credit import Batch, Credit, Scheme, get_scheme
from actfocus_core.errors import ActFocusError


@dataclass(frozen=True)
class Setting:
    """A scheme or null control by name, with the parameters that differ from its defaults.

    Raises ActFocusError for an unknown scheme or parameter, or a value out of range.
    """

    scheme: str
    params: dict[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        self.method.checked(self.params)

    @property
    def method(self) -> Scheme:
        return get_scheme(self.scheme)

    def compute(self, batch: Batch) -> Credit:
        """The credit that the scheme gives to a batch."""
        return self.method.compute(batch, **self.params)

    @property
    def key(self) -> str:
        """Equal for equal settings, also where one names a default."""
        return json.dumps([self.scheme, self.method.checked(self.params)], sort_keys=True)

    def __str__(self) -> str:
        return ",".join([self.scheme, *(f"{name}={value}" for name, value in self.params.items())])

    @classmethod
    def parse(cls, text: str) -> Setting:
        """The setting of ``NAME`` or ``NAME,PARAMETER=VALUE,...``, as by ``str``; raises ActFocusError for anything else."""
        scheme, *pairs = text.split(",")
        params: dict[str, Any] = {}
        for pair in pairs:
            name, sign, value = (part.strip() for part in pair.partition("="))
            if not sign:
                raise ActFocusError(
                    f"{text!r}: a scheme is NAME or NAME,PARAMETER=VALUE,..., for instance actfocus,beta=1"
                )
            try:
                params[name] = json.loads(value)
            except ValueError:
                params[name] = None if value == "None" else value
        return cls(scheme.strip(), params)


ACTFOCUS, UNIFORM = Setting("actfocus"), Setting("uniform")
"""What A and B are by default."""
