"""The error of a module that cannot be exported: the reason, the user's line and the advice."""

import re
import traceback

from unitrank_engine.archive.description.reasons import known_reason, spelling
from unitrank_engine.errors import EngineError

CODE = "not_exportable"
# Pattern of the reason that torch or the reader gives → the advice for the user.
ADVICE = {
    r"data-dependent|DataDependent": "the code branches on values: use torch.where or masks, which compute both branches",
    r"symbolic size": "the size of this tensor depends on values: torch.where and masks keep the size",
    r"Constraints violated|specialized|invalid for input of size": "the size of the batch becomes a fixed number here: "
    "write x.shape[0] (len(x) is a fixed number), and -1 in view and reshape",
    r"numpy|tensor subclasses": "values leave torch here: stay with tensors, without numpy, float() and item()",
    r"automatic differentiation.* complex": "torch has no derivative of this function for complex numbers: "
    "compute it from the real and the imaginary part (torch.view_as_real)",
    r"not a known type": "let forward return tensors in tuples, dicts or registered data classes "
    "(for a transformer that generates: config.use_cache = False)",
}


def refused(reason: str, line: traceback.FrameSummary | None) -> EngineError:
    """The error with the reason's first line, the user's line, and the advice for the reason."""
    first = next((part.strip() for part in reason.splitlines() if part.strip()), "torch.export gave no reason")
    advice = next((f"\n{sentence}" for pattern, sentence in ADVICE.items() if re.search(pattern, reason)), "")
    if re.fullmatch(r"aten\.\w+\.\w+", first):
        first, advice = _untraced(f"torch.ops.{first}")
    place = f"\n  {line.filename}:{line.lineno}, in {line.name}\n    {line.line}" if line else ""
    return EngineError(CODE, f"the network cannot be exported: {first}{place}{advice}")


def _untraced(target: str) -> tuple[str, str]:
    """The reason and the advice for an operator that torch cannot trace."""
    advice = known_reason(target) or "compute the value with other functions of torch"
    return f"torch cannot trace the operator '{target}'{spelling(target)}", f"\n{advice}"
