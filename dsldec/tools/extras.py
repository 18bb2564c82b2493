"""Can the packages of an extra be imported? If not, the diagnostic says which one, and why.

Not here: which packages a verb needs (the verb).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module

from ..diagnostics import Diagnostic, UsageError
from ..terminal import printable


def require_extra(code: str, extra: str, packages: Mapping[str, str]) -> None:
    """Import the packages of the extra `extra`. `packages`: of each module, the name of its package.
    Raises `UsageError` with `code` for the first one that is not installed or cannot be imported.
    """
    for module, name in packages.items():
        try:
            import_module(module)
        except ModuleNotFoundError as missing:
            if missing.name is not None and module.split(".")[0] == missing.name.split(".")[0]:
                help = f'`pip install "dsldec[{extra}]"`'
                raise UsageError(Diagnostic(code, f"`{name}` is not installed", help=help)) from None
            raise UsageError(_broken(code, name, missing)) from None
        except Exception as failure:  # a damaged or half removed package raises anything
            raise UsageError(_broken(code, name, failure)) from None


def _broken(code: str, name: str, failure: Exception) -> Diagnostic:
    why = printable(f"{type(failure).__name__}: {failure}".splitlines()[0][:200])
    help = f"install it again: `pip install --force-reinstall {name}`"
    return Diagnostic(code, f"`{name}` cannot be imported: {why}", help=help)
