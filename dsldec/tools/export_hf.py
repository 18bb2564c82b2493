"""`dsldec export-hf`: writes a policy into a model's folder, so that transformers decodes with it.

transformers uses `custom_generate/generate.py` as `generate` if code of the folder is trusted. Its masked
language models have no `generate` to replace, and models with remote code may not load as transformers loads
them. `transformers serve --continuous-batching` (5.23, 5.24) does not call `generate` if the class of a model
can batch requests itself, and such answers would not follow the policy. So `modeling_dsldec.py` has a class,
and `auto_map` in `config.json` names it. Not here: the work of that `generate` (`engines.transformers`).
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..checks.values import Value
from ..diagnostics import Diagnostic, UsageError
from ..files import LARGEST_CONFIG, NotJSON, Unreadable, read_json
from ..models.embedded_names import embedded_name
from ..networks.network import LearnedNetwork
from ..options import DEFAULT_LOAD, LOAD, LOAD_OF_GENERATE, LoadOptions
from ..policy import Policy, read
from ..resources import version
from . import quoted, quoted_path
from .embedded_copy import embedded_copy
from .inside import holds_other_text, require_own, write_inside
from .settings import chosen

if TYPE_CHECKING:
    from ..models.loading import Opened

GENERATE, REQUIREMENTS = "custom_generate/generate.py", "custom_generate/requirements.txt"
CONFIG = "config.json"
# The first loads a masked language model. `transformers serve` (since 5.23) tries the last one before
# transformers' own classes, and none of the others. So it finds a class of the folder only under the last
# name.
AUTO = ("AutoModelForMaskedLM", "AutoModelForCausalLM", "AutoModelForDecision")


@dataclass(frozen=True, slots=True)
class ExportOptions:
    """The arguments of the command line. `decode`: the options of `DecodeOptions` that are given."""

    folder: str
    policy: str
    settings: tuple[str, ...] = ()
    load: LoadOptions = DEFAULT_LOAD
    decode: Mapping[str, Any] = field(default_factory=dict)
    force: bool = False


def export_hf(options: ExportOptions) -> int:
    """Write the files, and return the exit status. An embedded model is copied first. Raises `UsageError` and
    `PolicyError`; then nothing is written.
    """
    _require_order(options)
    name = embedded_name(options.folder)
    if name is None:
        return _export(options)
    with embedded_copy(name, [options.policy]) as folder:
        return _export(replace(options, folder=folder))


def _export(options: ExportOptions) -> int:
    policy = chosen(options.policy, options.settings)
    policy.drafts(options.decode.get("lookahead"))
    folder = Path(options.folder)
    if not os.path.isdir(folder):  # `Path.is_dir` raises for a name that is too long
        message = f"there is no folder {quoted_path(options.folder)}"
        raise UsageError(
            Diagnostic(
                "E0405",
                message,
                help="give a model's folder: one that `save_pretrained` or `hf download` wrote",
            )
        )
    require_own(folder, (GENERATE, REQUIREMENTS))
    from ..models.loading import OUR_MODELING, opened
    from ..models.traits import Overrides, require_mask, traits_of

    load = options.load
    found = opened(folder, load.trust_remote_code)
    overrides = Overrides(load.mask_id, load.eos_id, load.shift_logits, load.block_length)
    require_mask(traits_of(found, overrides), found.name)
    name, generates = _class_of(found)
    files = {
        f"{OUR_MODELING}.py": OWN_CODE if found.remote_code else _modeling(name, generates),
        REQUIREMENTS: _requirements(),
        GENERATE: _generate(policy, read(options.policy)[0], options),
    }
    # Last: the named file exists by then. A class with `generate` is for the server alone.
    auto = AUTO[-1:] if generates and not found.remote_code else AUTO
    files[CONFIG] = _config(
        folder, dict.fromkeys(auto, f"{OUR_MODELING}.{'Model' if found.remote_code else name}"), found
    )
    _require_new(folder, files, options)
    write_inside(folder, files)
    print("\n".join(_summary(options.folder, policy, found, name)))
    return 0


def _require_order(options: ExportOptions) -> None:
    """Raise `UsageError` (E0405) if the policy comes first, and the folder second."""
    if os.path.isdir(options.policy) and not os.path.isdir(options.folder):
        message = f"{quoted_path(options.policy)} is a folder, and no policy"
        words = ["dsldec", "export-hf", options.policy, options.folder]
        raise UsageError(Diagnostic("E0405", message, help=f"the folder comes first: `{shlex.join(words)}`"))


def _generate(policy: Policy, text: str, options: ExportOptions) -> str:
    """The text of `generate.py`."""
    bound = ["POLICY", *(f"{name}={value!r}" for name, value in _changed(policy).items())]
    load = {name: getattr(options.load, name) for name in LOAD_OF_GENERATE}
    given = {name: value for name, value in load.items() if value != LOAD[name].default}
    arguments = [
        f"load({', '.join(bound)})",
        *(f"{name}={value!r}" for name, value in (given | dict(options.decode)).items()),
    ]
    return f'''\
"""How this model decodes: under the policy `{policy.name}`, by dsldec. Written by `dsldec export-hf`."""

from dsldec import load
from dsldec.engines.transformers import custom_generate

POLICY = {_literal(text)}

decode = custom_generate({", ".join(arguments)})


def generate(*inputs, model, **arguments):
    return decode.generate(*inputs, model=model, **arguments)
'''


def _changed(policy: Policy) -> Mapping[str, Value]:
    """The parameters whose value is not the default in the policy's text."""
    policy.require_bound()
    defaults = {name: parameter.default for name, parameter in policy.program.parameters.items()}
    changed = {name: value for name, value in policy.parameters.items() if value != defaults.get(name)}
    for name, value in changed.items():
        if isinstance(value, tuple | LearnedNetwork):
            what = "table" if isinstance(value, tuple) else "network"
            message = f"the {what} `{name}` is not written into `{GENERATE}`: it has too many numbers"
            raise UsageError(
                Diagnostic(
                    "E0423", message, help=f"export without it, and give it there: `load(POLICY, {name}=...)`"
                )
            )
    return changed


def _literal(text: str) -> str:
    """The policy as a Python string literal, with its line breaks if possible."""
    text = text if text.endswith("\n") else f"{text}\n"
    return repr(text) if '"""' in text or "\\" in text else f'"""\\\n{text}"""'


def _requirements() -> str:
    """The requirements that transformers checks before it runs `generate.py`."""
    return f"dsldec>={version()}\n" if version()[0].isdigit() else "dsldec\n"


def _class_of(found: Opened) -> tuple[str, bool]:
    """The name of the class of the model, and whether that class has `generate`."""
    from ..models.loading import without_weights

    if found.remote_code:
        return found.remote_code, True
    made = type(without_weights(found))
    return made.__name__, bool(made.can_generate())


def _modeling(name: str, generates: bool) -> str:
    bases = f"transformers.{name}" if generates else f"transformers.{name}, transformers.GenerationMixin"
    return f'''\
"""transformers' own {name}, with a `generate` that decodes every request under the policy. Written by `dsldec export-hf`."""

import transformers


class {name}({bases}):
    @classmethod
    def is_remote_code(cls):
        return False  # its layers are transformers' own: 5.3 would leave weights that are tied unloaded

    @property
    def init_continuous_batching(self):
        raise AttributeError("continuous batching does not call `generate`, so no policy would decide")
'''


OWN_CODE = '''\
"""This folder's model as dsldec loads it, for `transformers serve`, which asks for this class. Written by `dsldec export-hf`."""

from dsldec.engines.remote_code_model import RemoteCodeModel


class Model(RemoteCodeModel):
    pass
'''


def _config(folder: Path, references: Mapping[str, str], found: Opened) -> str:
    """`config.json` with the place of dsldec's class. The classes of the model's remote code stay."""
    try:
        config = read_json(folder / CONFIG, LARGEST_CONFIG)
    except (Unreadable, NotJSON):
        config = found.raw  # readable a moment ago, and changed since
    theirs = found.raw.get("auto_map") or {}
    config["auto_map"] = dict(references) | theirs
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n"


def _require_new(folder: Path, files: Mapping[str, str], options: ExportOptions) -> None:
    """Raise `UsageError` (E0436) if an existing file would be lost."""
    lost = [name for name, text in files.items() if name != CONFIG and holds_other_text(folder, name, text)]
    if lost and not options.force:
        message = f"{quoted_path(folder / lost[0])} exists already"
        words = ["dsldec", "export-hf", options.folder, options.policy, "--force"]
        raise UsageError(
            Diagnostic(
                "E0436",
                message,
                help=f"look at it first; to replace it: `{shlex.join(words)}`, with your options",
            )
        )


def _auto(found: Opened) -> str:
    """The Auto class of the installed transformers that loads dsldec's class, and not the model's."""
    import transformers

    theirs = found.raw.get("auto_map") or {}
    return next(
        (auto for auto in reversed(AUTO) if auto not in theirs and hasattr(transformers, auto)), AUTO[-1]
    )


def _summary(folder: str, policy: Policy, found: Opened, name: str) -> Iterator[str]:
    from ..models.loading import OUR_MODELING

    yield f"{folder}: decodes under {quoted(policy.name)} where transformers trusts its code"
    yield f"  {GENERATE}"
    loaded = "the model as dsldec loads it" if found.remote_code else f"{name} with `generate`"
    yield f"  {OUR_MODELING}.py: {loaded}, named in {CONFIG}"
    yield ""
    auto = _auto(found) if found.remote_code else found.family.auto[0]
    yield f"  transformers.{auto}.from_pretrained({folder!r}, trust_remote_code=True).generate(...)"
    yield f"  transformers serve {shlex.quote(folder)} --trust-remote-code"
    if not getattr(found.tokenizer, "chat_template", None):
        yield "  the tokenizer has no chat template: the server answers `/v1/completions` only"
