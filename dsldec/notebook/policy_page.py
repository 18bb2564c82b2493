"""The view of a policy as a page, for `dsldec explain --html`. It opens from a disk and uses no network.

Not here: the view (`policy_view`).
"""

from __future__ import annotations

from collections.abc import Sequence

from ..diagnostics import Diagnostic, UsageError
from ..policy import Policy
from ..tools import quoted_path
from ..tools.explain import GEN_LENGTH, require_policy
from ..tools.process import say
from ..tools.settings import chosen
from ..tools.viewing.page import MARK
from ..tools.viewing.page_file import require_page_place
from ..tools.writing import put
from .markup import text
from .policy_view import policy_html

RULES = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
BODY = "margin:1.5em auto;padding:0 1em;max-width:60em;font-family:system-ui,sans-serif;background:Canvas;color:CanvasText"


def write_policy_page(
    name: str, subject: str, gen_length: int | None, settings: Sequence[str], engine: str | None
) -> int:
    """Write the page of a policy to the file `name`, and return the exit status. Raises `PolicyError`, and
    `UsageError` (E0423, E0432, E0436).
    """
    if engine is not None:
        message = "`--html` has no meaning with `--target`: the page shows a policy for every engine"
        raise UsageError(Diagnostic("E0423", message, help="leave one of them out"))
    require_policy(subject, ["--html"])
    require_page_place(name, "--html")
    policy = chosen(subject, settings)
    put(name, policy_page(policy, gen_length or GEN_LENGTH))
    say(f"{quoted_path(name)} shows the policy {policy.name}")
    return 0


def policy_page(policy: Policy, gen_length: int) -> str:
    """The page of a policy."""
    return f"""<!doctype html>
{MARK}
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{RULES}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>{text(policy.name)}: a policy of dsldec</title>
</head>
<body style="{BODY}">
<main>{policy_html(policy, gen_length)}</main>
</body>
</html>
"""
