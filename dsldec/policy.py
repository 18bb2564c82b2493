"""A policy in a program: loaded, checked, bound to parameter values, compiled on demand.

Not here: how a policy is checked (`checks`), how a step runs (`backends`, imported when a step is compiled).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from . import checks
from .calls import checks_arguments
from .checks.facts import Facts
from .checks.patterns import with_pattern
from .checks.values import Value, static_values
from .diagnostics import Diagnostic, PolicyError, Severity, UsageError, did_you_mean
from .files import LARGEST_POLICY_FILE, Unreadable, read_text
from .ir.lower import lower
from .ir.nodes import Program
from .language.words import Kind
from .library import SHORT_LIST
from .lru import LRUCache
from .networks.network import LearnedNetwork
from .networks.network_file import WrongNetwork
from .options import DECODE
from .parameter_values import converted, misfit, misfits_of_outputs, pattern_text, unbound
from .plan import Plan, plan_of
from .resources import policy_file, shipped_policies, shown_policy_file
from .shown_in_notebooks import ShownInNotebooks
from .source import Source
from .spelling import LONGEST_SHOWN, option, reads_flags, setting, shown, typed, written

if TYPE_CHECKING:
    from .backends.step import Step, StepFunction
    from .checks import CheckedPolicy

# Steps of a policy with their compiled code; beyond this number the least recently used one is freed.
MOST_STEPS = 32
# Names of the shipped policies in other scripts and papers.
OTHER_NAMES = {
    "low_confidence": "static", "confidence": "threshold", "top1": "static", "greedy": "static", "default": "threshold",
    "fast_dllm": "threshold", "fastdllm": "threshold", "parallel": "threshold", "dynamic": "threshold", "eb": "entropy_bounded",
    "eb_sampler": "entropy_bounded", "entropy": "entropy_bounded", "fast_dllm_factor": "factor", "free_dave": "freedave",
    "eb_bits": "entropy_bounded", "eb_proxy": "entropy_bounded", "sdar_entropy_bounded": "entropy_bounded", "dream_entropy": "dream",
    "dream_maskgit_plus": "dream", "dream_topk_margin": "dream", "dream_choice": "dream", "maskgit_plus": "dream", "topk_margin": "dream",
    "origin": "dream_origin", "low_confidence_static": "llada", "low_confidence_dynamic": "sdar_dynamic", "sequential": "leftmost",
    "random": "llada_random", "random_order": "llada_random", "many_marks": "adablock", "fast_dllm_v2": "hierarchy_block",
    "shift_confidence": "hierarchy_block", "fast_dllm_plus_plus": "frechet", "dparallel": "entropy_threshold", "d2f": "multi_block",
    "llada2": "sdar_dynamic", "osdt": "one_shot", "tdar": "bacd", "dilated": "dus", "cb_sampler": "threshold",
    "kl_stability": "klass", "early_exit": "prophet", "early_commit": "prophet", "d2cache": "certainty_prior",
    "swordsman": "entropy_jump", "uncode": "pc_sampler", "slow_fast": "slowfast", "wavefrontdiffusion": "wavefront",
    "wino": "wino_plain", "hierarchy_remasking": "hierarchy_remask", "llada2.1": "joint_threshold", "t2t": "joint_threshold",
    "jointthreshold": "joint_threshold", "t2m": "token_to_mask", "mdpo": "rcr", "rcr_curve": "rcr", "path_planning": "p2",
    "p2_random": "p2", "remdm_cap": "remdm", "remdm_rescale": "remdm", "remdm_conf": "remdm", "forward_backward": "remdm",
    "ssd": "freedave", "self_speculative": "freedave", "infogain": "info_gain", "information_gain": "info_gain",
    "lookahead_unmasking": "lookum", "learned_filter": "learn2pd", "planner": "p2_planner", "diffusiongemma": "diffusion_gemma",
}  # fmt: skip

# The key of a compiled step: backend, mask id, end-of-text id, values of the static parameters.
Compiled = tuple[str, int, int | None, tuple[tuple[str, Value], ...]]


class Policy(ShownInNotebooks):
    """A checked policy bound to parameter values. Made by `load`, `check` and `bind`, never changed."""

    def __init__(
        self,
        program: Program,
        parameters: Mapping[str, Value],
        functions: LRUCache[Compiled, StepFunction],
        checked: CheckedPolicy,
        with_pattern: LRUCache[str, tuple[CheckedPolicy, LRUCache[Compiled, StepFunction]]] | None = None,
    ) -> None:
        self._program = program
        self._checked = checked  # other choices make another program
        self._parameters = dict(parameters)
        # Shared by all policies that are bound from one. With equal static values, only the inputs of their
        # steps differ.
        self._functions = functions
        # As `_functions`: the program with a pattern, made at the first use.
        self._with_pattern = LRUCache(1) if with_pattern is None else with_pattern

    @classmethod
    def of(cls, checked: CheckedPolicy) -> Policy:
        """A checked policy, with the defaults of its parameters."""
        program = lower(checked)
        return cls(program, _defaults(program), LRUCache(MOST_STEPS), checked)

    def __repr__(self) -> str:
        shown = {
            name: "..." if isinstance(value, tuple | LearnedNetwork) else value
            for name, value in self._parameters.items()
        }
        values = ", ".join(f"{name}={value}" for name, value in shown.items())
        return f"Policy({self.name}: {values})"

    @property
    def name(self) -> str:
        return self._program.name

    @property
    def doc(self) -> str:
        """The policy's own description."""
        return self._program.doc

    @property
    def facts(self) -> Facts:
        """The facts proved before the policy runs: bound on forwards, floor, dynamic parameters, ..."""
        return self._program.facts

    @property
    def checked(self) -> CheckedPolicy:
        """The tree with the results of its checks."""
        return self._checked

    @property
    def program(self) -> Program:
        """The operations of one step; `str()` prints them."""
        return self._program

    @property
    def parameters(self) -> dict[str, Value]:
        """The values the parameters are bound to."""
        return dict(self._parameters)

    @property
    def parameter_kinds(self) -> dict[str, str]:
        """The kind of each parameter: `prob`, `nats`, `logit`, `real`, `int`, `token`, `bool`, `choice`,
        `table`, `table by step`, `pattern` or `network`.
        """
        return {name: str(parameter.kind) for name, parameter in self._program.parameters.items()}

    @checks_arguments("policy.bind(confidence=0.8)")
    def bind(self, /, **parameters: Value) -> Policy:
        """This policy with other parameter values. Policies with the same static values share compiled steps.

        A parameter of kind `network` takes the path of a safetensors file. Raises `PolicyError` (E0402,
        E0403, E0504, E0505, E0506) for a name or value that does not fit, and `UsageError` (E0490 to E0494,
        E0499) for a pattern that cannot be used.
        """
        return self.bound(parameters)

    def bound(self, values: Mapping[str, Value], options: frozenset[str] = frozenset()) -> Policy:
        """Like `bind`, for a function with `options` beside the parameters. The diagnostic about an unknown
        name considers both.
        """
        try:
            parameters = {name: converted(self._program, name, value) for name, value in values.items()}
        except WrongNetwork as error:
            raise PolicyError([error.diagnostic]) from None
        of_each = [
            misfit(self._program, self._parameters, name, value, options)
            for name, value in parameters.items()
        ]
        wrong = [diagnostic for diagnostic in of_each if diagnostic is not None]
        if not wrong and any(isinstance(value, LearnedNetwork) for value in parameters.values()):
            wrong = misfits_of_outputs(self._program, self._parameters | parameters)
        if wrong:
            raise PolicyError(wrong)
        values = self._parameters | parameters
        program = self._program
        if any(
            program.parameters[name].choices and values[name] != self._parameters[name] for name in parameters
        ):
            program = lower(self._checked, values)
        return Policy(program, values, self._functions, self._checked, self._with_pattern)

    def require_bound(self) -> None:
        """Raises `UsageError` (E0507) if a network of the policy is not bound."""
        if (wrong := unbound(self._program, self._parameters)) is not None:
            raise UsageError(wrong)

    @checks_arguments("policy.plan(gen_length=256)")
    def plan(self, gen_length: int, *, lookahead: int | None = None) -> Plan:
        """The numbers of the policy for `gen_length` positions under its parameter values.

        `lookahead`: drafts verified in one forward, for a policy without a `lookahead` statement. Raises
        `UsageError` (E0409, E0411).
        """
        DECODE["gen_length"].require_count(gen_length)
        return plan_of(self.facts, self._parameters, gen_length, self.drafts(lookahead))

    @property
    def constrains(self) -> str | None:
        """The name of the parameter with the pattern that the text must match; `None` without a pattern."""
        return self.facts.constrains

    def constrained(self) -> Policy:
        """This policy with a pattern: as if it had a parameter of kind `pattern` and the line `logits
        constrain(...)`. A policy with a pattern stays as it is.

        The patterns themselves come with the requests, so that each row of a batch may have its own. Raises
        `PolicyError` if the policy need not end with a pattern.
        """
        if self.constrains is not None:
            return self
        checked, functions = self._with_pattern.get_or_make("", lambda: _with_pattern(self._program))
        values = _defaults(lower(checked)) | self._parameters
        return Policy(lower(checked, values), values, functions, checked)

    def drafts(self, lookahead: int | None = None) -> int:
        """The number of drafts that a forward verifies: the policy's, or `lookahead` if the policy has none;
        1 drafts nothing.

        Raises `UsageError` (E0409, E0411) for a wrong number, or if both the policy and the caller have one.
        """
        if lookahead is None:
            return self.facts.lookahead(self._parameters)
        DECODE["lookahead"].require(lookahead)
        drafts = self.facts.drafts
        if lookahead > 1 and self.facts.branches is not None:
            message = f"the policy `{self.name}` makes several candidates (`branch`), and drafts none"
            raise UsageError(Diagnostic("E0411", message, help="leave the number of drafts out"))
        if drafts is not None:
            help_ = "ask for none, or delete that line"
            if isinstance(drafts, str):
                most = self._program.parameters[drafts].largest
                fits = lookahead if most is None else min(lookahead, int(most))
                help_ = f"set its parameter: {setting(drafts, fits) if reads_flags() else f'`policy.bind({drafts}={fits})`'}"
            raise UsageError(
                Diagnostic("E0411", f"the policy `{self.name}` sets its own number of drafts", help=help_)
            )
        return lookahead

    @checks_arguments('policy.compile("eager", mask_id=denoiser.mask_id)', lambda policy: in_use(policy))
    def compile(
        self,
        backend: str = "eager",
        *,
        mask_id: int,
        eos_id: int | None = None,
        bos_id: int | None = None,
        pad_id: int | None = None,
    ) -> Step:
        """One step of the policy as a pure function of tensors, for models with this mask token and
        end-of-text token. `bos_id`, `pad_id`: the ids that the words `bos` and `pad` mean.

        `backend`: as for `dsldec.decode`. `inductor` waits for each compilation. Raises `UsageError` (E0404)
        if the backend cannot run.
        """
        from . import backends

        _require_ids(mask_id=mask_id, eos_id=eos_id, bos_id=bos_id, pad_id=pad_id)
        backend = backends.known(backend)
        if backend == backends.AUTO:
            backend, _ = backends.choose(backends.LOGITS_THAT_REPAY_COMPILING)
        special = {"bos": bos_id, "pad": pad_id}
        return self.stepped(backend, mask_id=mask_id, eos_id=eos_id, special=special)

    def stepped(
        self, backend: str, *, mask_id: int, eos_id: int | None, special: Mapping[str, int | None]
    ) -> Step:
        """Like `compile`, for a backend that `backends.choose` gave. `special`: ids by their words."""
        from . import backends

        self.require_bound()
        static = static_values(self.facts.static, self._parameters)
        key = (backend, mask_id, eos_id, tuple(static.items()))
        function = self._functions.get_or_make(
            key, lambda: backends.make(self._program, backend, mask_id, eos_id, static)
        )
        return backends.bound(self._program, backend, mask_id, eos_id, function, self._parameters, special)


def _with_pattern(program: Program) -> tuple[CheckedPolicy, LRUCache[Compiled, StepFunction]]:
    checked, diagnostics = checks.check(Source(with_pattern(program.facts.policy), program.name))
    if checked is None:  # `commit ... as IDS` may write nothing with a pattern
        raise PolicyError(one for one in diagnostics if one.severity is Severity.ERROR)
    return checked, LRUCache(MOST_STEPS)


def _require_ids(**ids: object) -> None:
    for name, value in ids.items():
        if not (value is None and name != "mask_id") and (
            not hasattr(value, "__index__") or isinstance(value, bool)
        ):
            help_ = "for example `mask_id=denoiser.mask_id, eos_id=denoiser.eos_id`"
            raise UsageError(
                Diagnostic(
                    "E0448",
                    f"`{name}` is an id of the vocabulary, a whole number, not {shown(value)}",
                    help=help_,
                )
            )


@checks_arguments("dsldec.check(text)")
def check(text: str, name: str = "<string>") -> tuple[Policy | None, list[Diagnostic]]:
    """Check a policy's text: the policy, or `None` if it has a mistake, and every diagnostic sorted by
    place.
    """
    if not isinstance(text, str) or not isinstance(name, str):
        help_ = "`dsldec.check(text)`; a file is loaded by `dsldec.load(path)`, or read by `Path(path).read_text()`"
        message = (
            f"`check` takes a policy's text, not {shown(text)}"
            if not isinstance(text, str)
            else f"`name` is a text, not {shown(name)}"
        )
        raise UsageError(Diagnostic("E0448", message, help=help_))
    checked, diagnostics = checks.check(Source(text, name))
    return (None if checked is None else Policy.of(checked)), diagnostics


def _defaults(program: Program) -> dict[str, Value]:
    """The default of each parameter. A network has none; a pattern may have none, and is then `None`."""
    return {
        name: parameter.default
        for name, parameter in program.parameters.items()
        if parameter.default is not None or parameter.kind is Kind.PATTERN
    }


@checks_arguments('dsldec.load("threshold", confidence=0.8)')
def load(policy: str | os.PathLike[str], /, **parameters: Value) -> Policy:
    """A policy that is ready to run, with `parameters` bound by name.

    `policy` is source text if it holds a line break, a file if it ends in `.policy` or holds a path
    separator, and else the name of a shipped policy. The value of a pattern may be `@` and the name of a file
    with a JSON schema or a regular expression. Raises `PolicyError`, whose `diagnostics` have the mistakes
    and their corrections, and `UsageError` for a wrong pattern.
    """
    text, name = read(policy)
    found, diagnostics = check(text, name)
    if found is None:
        raise PolicyError(diagnostics)
    kinds = found.parameter_kinds
    return found.bind(
        **{
            name: pattern_text(value, files=True) if kinds.get(name) == "pattern" else value
            for name, value in parameters.items()
        }
    )


def seed_warning(policy: Policy, seed: int) -> Diagnostic | None:
    """A warning (W0401) for a seed that is given to a policy without random numbers."""
    if not seed or not policy.facts.deterministic:
        return None
    message = f"{option('seed', seed)} has no effect: the policy `{policy.name}` draws nothing at random"
    return Diagnostic(
        "W0401", message, help="leave it out, or let the policy draw: `draw gumbel(temperature=0.7)`"
    )


def samples_warning(policy: Policy, samples: int) -> Diagnostic | None:
    """A warning (W0401) for several samples a prompt under a policy without random numbers."""
    if samples == 1 or not policy.facts.deterministic:
        return None
    message = (
        f"{option('n', samples)} gives equal samples: the policy `{policy.name}` draws nothing at random"
    )
    return Diagnostic(
        "W0401", message, help="leave it out, or let the policy draw: `draw gumbel(temperature=0.7)`"
    )


def in_use(policy: object) -> tuple[str, dict[str, Value]] | None:
    """The call that sets a parameter of a policy, such as `policy.bind({})`, and the parameters; None where
    it is not a policy.
    """
    try:
        found = (
            policy
            if isinstance(policy, Policy)
            else load(policy)
            if isinstance(policy, str | os.PathLike)
            else None
        )
    except (PolicyError, UsageError):
        return None
    named = isinstance(policy, str | os.PathLike) and "\n" not in str(policy)
    sets = (
        "dsldec.load(" + written(str(policy)).replace("{", "{{").replace("}", "}}") + ", {})"
        if named
        else "policy.bind({})"
    )
    return None if found is None else (sets, found.parameters)


def read(policy: str | os.PathLike[str]) -> tuple[str, str]:
    """The text of a policy, and its name in messages.

    Raises `PolicyError` (E0103, E0104, E0401), and `UsageError` (E0448) for a value of another kind.
    """
    if not isinstance(policy, str | os.PathLike) or isinstance(os.fspath(policy), bytes):
        raise UsageError(Diagnostic("E0448", f"{shown(policy)} is not a policy", help=_policy_wanted(policy)))
    if isinstance(policy, str) and "\n" in policy:
        return policy, "<string>"
    name = os.fsdecode(policy)  # a path may give bytes
    if name.endswith(".policy") or os.sep in name or "/" in name or not isinstance(policy, str):
        return _read(Path(name)), name
    if name in shipped_policies():
        file = policy_file(name)
        return _read(file), shown_policy_file(file)
    raise PolicyError(
        [Diagnostic("E0401", f"no policy is called {shown_text(name)}", help=_no_such_policy(name))]
    )


def _no_such_policy(name: str) -> str:
    called = re.fullmatch(r"(\w+)\((.*)\)", name.strip())
    if called and called[1] in shipped_policies():
        values = [one.strip() for one in called[2].split(",") if one.strip()]
        if reads_flags():
            return (
                f"write `{' '.join([f'--policy {called[1]}', *(f'--set {typed(one)}' for one in values)])}`"
            )
        return f"write `dsldec.load({', '.join([written(called[1]), *values])})`"
    if re.match(r"policy\s", name):
        return "a policy's text has a line for each statement: `policy p():`, and below it `  window all`, `  commit ...`"
    close = OTHER_NAMES.get(name.strip().lower().replace("-", "_")) or did_you_mean(
        name.strip().lower(), shipped_policies()
    )
    listed = (
        SHORT_LIST if reads_flags() else "`dsldec.shipped_policies()` gives the names of the shipped policies"
    )
    return f"did you mean `{close}`?" if close else f"{listed}; a file ends in `.policy`"


def shown_text(text: str) -> str:
    """A text of the user in backticks: cut if it is long, without control characters."""
    plain = "".join(one if one.isprintable() else " " for one in text)
    return f"`{plain if len(plain) <= LONGEST_SHOWN else plain[:LONGEST_SHOWN] + '...'}`"


def _policy_wanted(given: object) -> str:
    if isinstance(given, Policy):
        return "it is loaded already: set its parameters by `policy.bind(confidence=0.8)`"
    if isinstance(given, tuple) and given and isinstance(given[0], Policy):
        return "`dsldec.check` gives two: `policy, diagnostics = dsldec.check(text)`"
    return 'give a policy\'s name, `"threshold"`, its file, its text, or one that is loaded, `dsldec.load("threshold", confidence=0.8)`'


def _read(path: Path) -> str:
    try:
        return read_text(path, LARGEST_POLICY_FILE)
    except UnicodeDecodeError as error:
        message = f"`{path}` is not UTF-8 text: byte {error.start} is invalid"
        raise PolicyError([Diagnostic("E0103", message, help="save the file as UTF-8")]) from None
    except Unreadable as error:
        if error.too_large:
            raise PolicyError(
                [
                    Diagnostic(
                        "E0104",
                        f"`{path}` exceeds the size limit of a policy",
                        help="policies are short texts",
                    )
                ]
            ) from None
        near = did_you_mean(path.stem, shipped_policies())
        help_ = f"for the shipped policy write `{near}`" if near else "give the path of a `.policy` file"
        raise PolicyError(
            [Diagnostic("E0401", f"`{path}` cannot be read: {error.why}", help=help_)]
        ) from None
