"""The error of a module that cannot be exported: the fault, the user's line and the advice.

torch's own words come last, as a quotation.
"""

import re
import traceback
from dataclasses import dataclass
from typing import TypeVar

from unitrank_engine.archive.description.reasons import known_reason, spelling
from unitrank_engine.errors import EngineError

CODE = "not_exportable"
T = TypeVar("T")


@dataclass(frozen=True)
class Fault:
    """The fault of a module, and the advice: the code that the user should write."""

    fault: str
    advice: str = ""


FIXED_SIZE = r"Constraints violated|specialized|invalid for input of size"
"""Pattern of torch's errors for a batch whose size became a fixed number."""

ARGUMENTS = "give one tensor, a tuple in the order of forward's parameters, or a dict by their names"
# Pattern of the reason that torch gives → the fault and the advice for the user.
OF_TORCH = {
    r"data-dependent|DataDependent": Fault(
        "the code branches on values",
        "use torch.where or masks, which compute both branches; leave a check of values out of forward",
    ),
    r"symbolic size": Fault("the size of this tensor depends on values", "torch.where and masks keep the size"),
    FIXED_SIZE: Fault(
        "the size of the batch becomes a fixed number here",
        "write x.shape[0] (len(x) is a fixed number), -1 in view and reshape, and no loop over the rows",
    ),
    r"numpy|tensor subclasses": Fault("values leave torch here", "stay with tensors, without numpy, float() and item()"),
    r"automatic differentiation.* complex": Fault(
        "torch has no derivative of this function for complex numbers",
        "compute it from the real and the imaginary part (torch.view_as_real)",
    ),
    r"not a known type": Fault(
        "forward returns a type that is neither a tensor nor a container of tensors",
        "let forward return tensors in tuples, dicts or registered data classes",
    ),
    r"missing a required argument|unexpected keyword|too many positional|multiple values": Fault(
        "the example inputs are not the arguments of forward",
        ARGUMENTS,
    ),
    r"fake tensor in the exported program": Fault(
        "a value leaves the graph inside forward", "use operations on tensors only, and .detach() instead of .data"
    ),
}

# Pattern of the reason why the module itself does not run → the advice.
OF_EXAMPLES = {
    r"'indices' to have one of the following scalar types": "an embedding takes integers: give these examples as torch.int64",
    r"same dtype|expected scalar type|Input type|should be the same": "give these examples in the type of the module's "
    "parameters, such as torch.float32",
    r"index out of range": "give ids that each embedding has",
    r"missing \d+ required|positional arguments? but|unexpected keyword|multiple values": ARGUMENTS,
    r"same device": "move the module and the example inputs to one device, such as the CPU",
    r"uninitialized parameter": "run the module once on the example inputs, so that its lazy layers get their sizes",
}
ANY_EXAMPLES = "give example inputs on which the module itself runs"

# Pattern of the vetting's reason → the advice. These words are the project's own.
OF_VETTING = {
    r"symbolic size": "the size of this tensor depends on values: torch.where and masks keep the size",
}


def refusal(fault: Fault, line: traceback.FrameSummary | None = None, *, quoted: str = "", speaker: str = "torch") -> EngineError:
    """The error: the fault, the user's line, the advice, and the words of `speaker`."""
    place = f"\n  {line.filename}:{line.lineno}, in {line.name}\n    {line.line}" if line else ""
    advice = f"\n{fault.advice}" if fault.advice else ""
    quotation = f'\n{speaker} says: "{_first_line(quoted)}"' if quoted.strip() else ""
    return EngineError(CODE, f"the network cannot be exported: {fault.fault}{place}{advice}{quotation}")


def by_torch(error: BaseException, line: traceback.FrameSummary | None) -> EngineError:
    """The error for a reason that torch gives."""
    reason = str(error)
    if re.fullmatch(r"aten\.\w+\.\w+", _first_line(reason)):
        return refusal(_untraced(f"torch.ops.{_first_line(reason)}"), line)
    unknown = Fault(f"torch.export raises {type(error).__name__}")
    return refusal(_matching(OF_TORCH, reason) or unknown, line, quoted=reason)


def _untraced(target: str) -> Fault:
    """The fault of an operator that torch cannot trace."""
    advice = known_reason(target) or "compute the value with other functions of torch"
    return Fault(f"torch cannot trace the operator '{target}'{spelling(target)}", advice)


def by_examples(error: BaseException, line: traceback.FrameSummary | None) -> EngineError:
    """The error for a module that fails on the example inputs."""
    reason = str(error) if str(error).strip() else type(error).__name__
    fault = Fault("it does not run on the example inputs", _matching(OF_EXAMPLES, reason) or ANY_EXAMPLES)
    return refusal(fault, line, quoted=reason, speaker="its error")


def refused(reason: str, line: traceback.FrameSummary | None) -> EngineError:
    """The error for a program that the service's reader refuses."""
    return refusal(Fault(reason, _matching(OF_VETTING, reason) or ""), line)


def _matching(table: dict[str, T], reason: str) -> T | None:
    return next((value for pattern, value in table.items() if re.search(pattern, reason)), None)


def _first_line(text: str) -> str:
    return next((part.strip() for part in text.splitlines() if part.strip()), "")[:300]
