"""The algorithm `DslDec` of SGLang: a policy decides which tokens of a block are written in each step.

SGLang calls it in the process of a scheduler, once for each round of a batch; its two loops (`run`) are
SGLang's own. Imported only by SGLang. Not here: the state of requests and the steps (`hosted_blocks`), the
configuration (`served_policy`).
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import fields
from http import HTTPStatus
from typing import Any, ClassVar
from weakref import WeakValueDictionary, ref

from sglang.srt.dllm.algorithm.base import DllmAlgorithm
from sglang.srt.dllm.config import DllmConfig
from sglang.srt.managers.schedule_batch import FINISH_ABORT, Req
from sglang.srt.model_executor.forward_batch_info import ForwardBatch
from torch import Tensor

from ...checks.values import Value
from ...diagnostics import Diagnostic, PolicyError, UsageError
from .hosted_blocks import HostedBlocks, ShownBlocks
from .hosted_requests import BlockRun, HostedRequest, most_steps
from .served_policy import ServedPolicy, not_started

logger = logging.getLogger(__name__)
ATTRIBUTE = "_dsldec"  # of a request: its `HostedRequest`
METHODS = (
    "init_step_state",
    "prepare_inputs",
    "max_steps",
    "step",
    "validate_request",
    "configure_server_args",
)
FIELDS = ("rids", "positions", "input_ids", "dllm_prompt_mask", "batch_size")
# Fields of a request's sampling parameters, and of the request, that no step reads.
UNSUPPORTED = ("json_schema", "regex", "ebnf", "structural_tag", "logit_bias")
UNSUPPORTED_OF_REQUEST = ("custom_logit_processor", "return_logprob")


class DslDec(DllmAlgorithm):
    """The policy of `--dllm-algorithm-config`, as an algorithm of SGLang.

    `requests`: the requests that SGLang has, by id; `served`: the policy of the server.
    """

    requests: ClassVar[WeakValueDictionary[str, Any]] = WeakValueDictionary()
    served: ClassVar[ServedPolicy | None] = None

    def __init__(self, config: DllmConfig) -> None:
        super().__init__(config)
        self.here = ServedPolicy.of(config.algorithm_config, config.block_size)
        type(self).served = self.here
        self.slots = max(1, config.max_running_requests)
        self._blocks: HostedBlocks | None = None
        self._eos_ids: frozenset[int] = frozenset()
        self._most_steps = 1
        logger.info(
            "dsldec: %r in blocks of %d, backend %s", self.here.policy, self.block_size, self.here.backend
        )

    # --- at the start of the server, and of a request

    @classmethod
    def configure_server_args(cls, server_args: Any) -> None:
        """SGLang calls this before it loads the model. Raises as `ServedPolicy.of`, and `StartRefused` in
        `sglang serve`.
        """
        config = DllmConfig.from_server_args(server_args)
        with not_started("sglang"):
            ServedPolicy.of(config.algorithm_config, config.block_size)

    @classmethod
    def validate_request(cls, req: Req) -> str | None:
        """Why a request is refused; `None` for one that is accepted. SGLang answers with status 400."""
        try:
            cls._accept(req)
        except PolicyError as error:
            return "\n".join(map(str, error.diagnostics))
        except UsageError as error:
            return str(error.diagnostic)
        except Exception as error:  # SGLang's scheduler ends with an exception
            logger.exception("dsldec: a request cannot be checked")
            return f"the request cannot be checked: {type(error).__name__}"
        return None

    @classmethod
    def _accept(cls, req: Req) -> None:
        served, sampling = cls.served, req.sampling_params
        assert served is not None
        given = [name for name in UNSUPPORTED if getattr(sampling, name, None)]
        given += [name for name in UNSUPPORTED_OF_REQUEST if getattr(req, name, None)]
        if given:
            message = f"{', '.join(f'`{name}`' for name in given)} has no meaning under a policy"
            raise UsageError(Diagnostic("E0456", message, help="leave it out of the request"))
        setattr(req, ATTRIBUTE, served.own_parameters(sampling.custom_params))
        cls.requests[req.rid] = req

    # --- the calls of SGLang's loops

    def prepare_inputs(self, model_runner: Any, forward_batch: ForwardBatch, states: list[Any]) -> None:
        self._eos_ids = frozenset(model_runner.model_config.hf_eos_token_id or ())

    def init_step_state(self, forward_batch: ForwardBatch) -> list[Any]:
        runs = [self._run(rid) for rid in forward_batch.rids[: forward_batch.batch_size]]
        if not self.fdfo:
            requests = [run.request for run in runs]
            self._most_steps = most_steps(self.here.policy, self.block_size, requests)
        return runs

    def max_steps(self, block_size: int) -> int:
        """Of a block of the requests at hand: the proved bound of the policy, and the step that reports it."""
        return self._most_steps

    def step(self, forward_batch: ForwardBatch, full_logits: Tensor, states: list[Any]) -> list[bool]:
        rows, columns = forward_batch.batch_size, self.block_size
        if not rows:
            return []
        logits = full_logits.view(rows, columns, full_logits.shape[-1])
        ids = forward_batch.input_ids.view(rows, columns)
        shown = ShownBlocks(
            ids,
            lambda: forward_batch.positions.view(rows, columns)[:, 0].tolist(),
            forward_batch.dllm_prompt_mask,
        )
        done = self._hosted_blocks(logits, states).step(shown, logits, states)
        for run in states:
            if run.error is not None:
                self._abort(run.request.id, run.error)
        return done

    # --- inside

    def _run(self, rid: str) -> BlockRun:
        """The next block of a request. SGLang makes requests that it has refused itself, which run once."""
        req = self.requests.get(rid)
        if req is None:
            return BlockRun(HostedRequest(rid, 0, 0), fresh=False, done=True)
        made = getattr(req, ATTRIBUTE)
        if not isinstance(made, HostedRequest):
            made = _hosted(req, made)
            setattr(req, ATTRIBUTE, made)
        return BlockRun(made)

    def _hosted_blocks(self, logits: Tensor, runs: list[BlockRun]) -> HostedBlocks:
        if self._blocks is None:
            here, eos_id = self.here, self._token_id(runs, "eos")
            eos_id = min(self._eos_ids, default=None) if eos_id is None else eos_id
            self._blocks = HostedBlocks(
                here.policy,
                self.block_size,
                self.mask_id,
                logits.shape[-1],
                eos_id,
                here.backend,
                logits.device,
                here.seed,
                self.slots,
                bos_id=self._token_id(runs, "bos"),
                pad_id=self._token_id(runs, "pad"),
            )
            logger.info("dsldec: vocabulary of %d ids, end-of-text id %s", logits.shape[-1], eos_id)
        return self._blocks

    def _token_id(self, runs: list[BlockRun], name: str) -> int | None:
        """The id of a special token such as `eos`, by the tokenizer of a request."""
        known = (self.requests.get(run.request.id) for run in runs)
        own = (getattr(getattr(req, "tokenizer", None), f"{name}_token_id", None) for req in known)
        return next((id_ for id_ in own if isinstance(id_, int)), None)

    def _abort(self, rid: str, error: Diagnostic) -> None:
        req = self.requests.get(rid)
        if req is None or req.to_finish is not None or req.finished():
            return
        logger.error("dsldec: the request %s has failed\n%s", rid, error)
        req.to_finish = FINISH_ABORT(
            str(error), HTTPStatus.INTERNAL_SERVER_ERROR, HTTPStatus.INTERNAL_SERVER_ERROR.phrase
        )


def _hosted(req: Any, parameters: Mapping[str, Value]) -> HostedRequest:
    """The request as the steps read it, made at its first block: SGLang limits its length after
    `validate_request`.
    """
    sampling, this = req.sampling_params, ref(req)
    ends = {*(sampling.stop_token_ids or ()), *(req.eos_token_ids or ())}
    return HostedRequest(
        req.rid,
        len(req.origin_input_ids),
        sampling.max_new_tokens,
        sampling.sampling_seed,
        parameters,
        sampling.ignore_eos,
        tuple(sorted(ends)),
        sampling.min_new_tokens,
        lambda: (one := this()) is not None and not one.finished(),
    )


def why_unfit() -> str | None:
    """The missing parts of the installed SGLang; `None` if it has the interface of this file."""
    missing = [name for name in METHODS if not hasattr(DllmAlgorithm, name)]
    known = {one.name for one in fields(ForwardBatch)}
    missing += [f"ForwardBatch.{name}" for name in FIELDS if name not in known]
    return f"it has no {', '.join(missing)}" if missing else None
