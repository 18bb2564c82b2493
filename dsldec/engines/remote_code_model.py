"""The model class that folders of `dsldec export-hf` import by this name. Not here: the class
(`transformers.remote_code_model`).
"""

from .transformers.remote_code_model import RemoteCodeModel

__all__ = ["RemoteCodeModel"]
