"""An unreachable hub gives one message within seconds, and downloaded files are used without it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub import constants
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError

from dsldec.cli import main
from dsldec.models import hub
from dsldec.models.huggingface import from_pretrained

from . import tiny

NAME = "nobody/nothing"


@pytest.fixture(autouse=True)
def no_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(folder))
    return folder


def unreachable(monkeypatch: pytest.MonkeyPatch, raised: BaseException | None = None) -> list[str]:
    """No request leaves; the list holds what was asked."""
    asked: list[str] = []

    def ask(self: Any, name: str, **how: Any) -> None:
        asked.append(name)
        raise raised or ConnectionError("[Errno -2] Name or service not known")

    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", ask)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    return asked


def downloaded(cache: Path) -> None:
    """What a download leaves in the cache."""
    repo = cache / f"models--{NAME.replace('/', '--')}"
    (repo / "refs").mkdir(parents=True)
    (repo / "refs" / "main").write_text("0123")
    tiny.saved(repo / "snapshots" / "0123", "llama")


def said(capsys: pytest.CaptureFixture[str], name: str = NAME) -> str:
    for verb in (["run", "--model", name, "w1"], ["model", name]):
        assert main(verb) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.startswith("error[E0405]: "), err
        assert len(err.splitlines()) == 2
    return err


def test_no_network_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked, begun = unreachable(monkeypatch), time.monotonic()
    assert "there is no folder `nobody/nothing` and no cached download: the hub cannot be reached" in said(
        capsys
    )
    assert asked == [NAME, NAME]  # once by each verb
    assert time.monotonic() - begun < 30


def test_a_hub_that_is_not_to_be_asked_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = unreachable(monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert "the hub is not used, since `HF_HUB_OFFLINE` is set" in said(capsys)
    assert not asked


def test_a_name_that_is_none(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    assert "no model on a hub can have this name" in said(capsys, "nobody/no..thing--")
    for folder in ("nothing", "a/b/c", "./nobody/nothing", "~nobody/x"):
        assert f"there is no `{Path(folder)}`" in said(capsys, folder)


@pytest.mark.parametrize("offline", [True, False])
def test_what_was_downloaded_is_used(
    offline: bool, no_cache: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    asked = unreachable(monkeypatch)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", offline)
    downloaded(no_cache)
    with caplog.at_level("INFO", "dsldec"):
        assert from_pretrained(NAME, device="cpu").mask_id == tiny.MASK
    assert len(asked) == (not offline)
    assert "the cached download of" in caplog.text


class _Response:
    """What errors of the hub hold of its answer."""

    headers: dict[str, str] = {}  # noqa: RUF012
    status_code, request, text = 403, None, ""


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        (GatedRepoError, "`nobody/nothing` is gated: its authors must grant access"),
        (RepositoryNotFoundError, "no such model on the hub"),
    ],
)
def test_what_the_hub_refuses_is_said(
    kind: Any, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    refused = kind("403", response=_Response())
    unreachable(monkeypatch, refused)

    def read(name: str) -> None:
        raise OSError("You are trying to access a gated repo.\nMake sure to have access to it.") from refused

    monkeypatch.setattr("transformers.PreTrainedConfig.get_config_dict", read)
    err = said(capsys)
    assert says in err
    assert "`hf auth login`" in err


def test_a_hub_that_answers_is_asked_for_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.HfApi, "model_info", lambda self, name, **how: None)
    assert hub.reachable(NAME) == NAME
