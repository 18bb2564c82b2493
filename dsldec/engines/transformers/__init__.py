"""How does a policy decode in `generate` of transformers, and behind `transformers serve`?

Not here: the call (`generate`), the meaning of its arguments (`generate_arguments`, `call_options`), the
model class of exported folders (`remote_code_model`).
"""

from .generate import CustomGenerate, custom_generate
from .generate_output import PolicyOutput

__all__ = ["CustomGenerate", "PolicyOutput", "custom_generate"]
