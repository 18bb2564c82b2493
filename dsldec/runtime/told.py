"""The former name of `runtime.trace`."""

from ..renamed import warn_of_former
from .trace import StepEvent

__all__ = ["StepEvent"]

warn_of_former("dsldec.runtime.told", "dsldec.runtime.trace")
