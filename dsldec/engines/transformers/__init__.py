"""How does a policy decode in `generate` of transformers, and behind `transformers serve`?

DiffusionGemma has its own loop, in which a policy takes the place of the sampler (`canvas_policy`). Not here:
the call (`generate`), the meaning of its arguments (`generate_arguments`, `call_options`), the model class of
exported folders (`remote_code_model`).
"""

from .canvas_policy import CanvasPolicy, use_policy
from .generate import CustomGenerate, custom_generate
from .generate_output import PolicyOutput

__all__ = ["CanvasPolicy", "CustomGenerate", "PolicyOutput", "custom_generate", "use_policy"]
