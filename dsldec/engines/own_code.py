"""The former name of `engines.remote_code_model`. Folders that `dsldec export-hf` wrote before import it."""

from ..renamed import warn_of_former
from .remote_code_model import RemoteCodeModel as OwnCode

__all__ = ["OwnCode"]

warn_of_former("dsldec.engines.own_code.OwnCode", "dsldec.engines.remote_code_model.RemoteCodeModel")
