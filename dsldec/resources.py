"""Where are the grammar, the shipped policies and the embedded models, installed or in a checkout? Which
version is this?

Not here: reading them (`language.parse`, `policy`, `models`).
"""

from __future__ import annotations

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent
# In a checkout both folders are beside the package, where people look for them. The wheel has them inside the
# package.
_DATA = _PACKAGE / "_data" if (_PACKAGE / "_data").is_dir() else _PACKAGE.parent


def grammar_file() -> Path:
    """The grammar of the language, `policy.lark`."""
    return _DATA / "grammar" / "policy.lark"


def tables_file() -> Path:
    """The tables of the parser, which `python -m dsldec.language.tables` makes of the grammar."""
    return grammar_file().with_suffix(".tables.json")


def policies_folder() -> Path:
    """The folder of the shipped policies and their cases: a folder for each family."""
    return _DATA / "policies"


def _policy_files() -> dict[str, Path]:
    """The file of each shipped policy, sorted by name. A name is in one family only."""
    files = policies_folder().glob("*/*.policy")
    return {file.stem: file for file in sorted(files, key=lambda file: file.stem)}


def shipped_policies() -> list[str]:
    """The names of the shipped policies, sorted."""
    return list(_policy_files())


def policy_file(name: str) -> Path:
    """The file of the shipped policy `name`. Raises LookupError for a name outside `shipped_policies()`."""
    files = _policy_files()
    if name not in files:
        raise LookupError(f"no policy `{name}` is shipped: {', '.join(files) or 'there are none'}")
    return files[name]


def family_of(name: str) -> str:
    """The family of the shipped policy `name`. Raises LookupError as `policy_file` does."""
    return policy_file(name).parent.name


def shown_policy_file(file: Path) -> str:
    """The path of a shipped file as messages show it: `policies/FAMILY/NAME`."""
    return f"policies/{file.parent.name}/{file.name}"


def cases_file(name: str) -> Path:
    """The file of cases of the shipped policy `name`. Raises LookupError as `policy_file` does."""
    return policy_file(name).with_suffix(".cases")


# The models that dsldec includes, by name, and their folders. The first one is the default model.
EMBEDDED_MODELS = {"word_problems": "embedded", "equations": "equations"}
DEFAULT_MODEL = next(iter(EMBEDDED_MODELS))


def embedded_model_folder(name: str = DEFAULT_MODEL) -> Path:
    """The folder of an embedded model, in the format of Hugging Face's libraries. Raises LookupError for a
    name outside `EMBEDDED_MODELS`.
    """
    if name not in EMBEDDED_MODELS:
        raise LookupError(f"dsldec includes no model `{name}`: {', '.join(EMBEDDED_MODELS)}")
    return _PACKAGE / "models" / EMBEDDED_MODELS[name]


def version() -> str:
    """The version of dsldec; `(not installed)` for a checkout that is not installed."""
    from importlib.metadata import PackageNotFoundError
    from importlib.metadata import version as version_of

    try:
        return version_of("dsldec")
    except PackageNotFoundError:
        return "(not installed)"
