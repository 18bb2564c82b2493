"""SGLang decodes under a policy: `sglang serve --dllm-algorithm DslDec --dllm-algorithm-config policy.yaml`.

SGLang calls `register` in each of its processes (the entry point `sglang.srt.plugins`). Not here: the
algorithm (`algorithm`, imported with SGLang), the steps (`hosted_blocks`) and the configuration
(`served_policy`), which need no SGLang.
"""

from __future__ import annotations

import logging

NAME = "DslDec"
logger = logging.getLogger(__name__)


def register() -> None:
    """Adds the algorithm `DslDec` to SGLang's table. In an SGLang with other interfaces, one line of the log
    says why it is not added, and SGLang runs without it.
    """
    try:
        from sglang.srt.dllm.algorithm import algo_name_to_cls

        from .algorithm import DslDec, why_unfit
    except (ImportError, AttributeError) as error:
        _log_unfit(f"{type(error).__name__}: {error}")
        return
    if (why := why_unfit()) is not None:
        _log_unfit(why)
        return
    algo_name_to_cls[NAME] = DslDec
    logger.info("dsldec: the algorithm %s is registered", NAME)


def _log_unfit(why: str) -> None:
    logger.error(
        "dsldec: the algorithm %s is not registered, because this SGLang does not have the interface of "
        "0.5.23 (%s); install `sglang>=0.5.23,<0.6`",
        NAME,
        why,
    )
