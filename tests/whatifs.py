"""A whole answer to a question, for tests of where such are kept."""

SPREAD, RATE = {"mean": 0.5, "low": 0.1, "high": 0.9, "n": 2}, {"rate": 0.5, "low": 0.1, "high": 0.9}
VALUES = {"before": 0.5, "turn": 0.5, "after": 1.0, "luck": 0.0}
NODE = {
    "actions": ["up"],
    "valid": True,
    "count": 2,
    "share": 1.0,
    "to_go": SPREAD,
    "return": SPREAD,
    "success": RATE,
    "ids": ["a-0", "a-1"],
    "ended": True,
    "optimal": VALUES,
    "children": [],
}
BRANCHED = {
    "policy": "tiny",
    "earlier": 0.0,
    "to_go": SPREAD,
    "return": SPREAD,
    "success": RATE,
    "tree": [NODE],
    "original": {"actions": ["up"], "valid": True, "to_go": 0.5, "return": 0.5, "success": True, "optimal": VALUES},
    "optimal": {"value": 0.5, "actions": {"up": 0.5}, "facts": {}},
}
