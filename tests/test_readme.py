"""The README keeps its word."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat
from IPython.core.interactiveshell import InteractiveShell

import nbext
from nbext import errors, profiles
from nbext.notebook.magics import NBExt

if TYPE_CHECKING:
    import pytest

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text("utf-8")


def test_every_magic_option_variable_and_error_is_documented() -> None:
    """What a reader can type or catch stands in the README."""
    for names in NBExt.magics.values():
        for name in names:
            assert f"%{name}" in README
    options = {option for action in vars(NBExt.cancel_all)["parser"]._actions for option in action.option_strings}
    for wanted in options | {name for name in vars(errors) if name.endswith("Error") and not name.startswith("_")} - {
        "NbextError"
    }:
        assert wanted in README, wanted
    sources = "".join(path.read_text("utf-8") for path in Path(nbext.__file__).parent.glob("*.py"))
    for variable in set(re.findall(r'"((?:NBEXT|BINANCE)_[A-Z_]+)"', sources)):
        assert variable in README, variable


def test_the_profiles_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file that the README shows is taken as it stands, but for the path of the private key."""
    (block,) = re.findall(r"```toml\n(.*?)```", README, re.DOTALL)
    key = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"..."))
    (tmp_path / "desk.pem").write_bytes(key)
    (tmp_path / "nbext").mkdir()
    file = tmp_path / "nbext" / "profiles.toml"
    file.touch(mode=0o600)
    file.write_text(block.replace("~/keys", str(tmp_path)))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    desk, testnet = profiles.resolve("desk"), profiles.resolve("testnet")
    assert (desk.base_url, desk.always_ask) == ("https://api.binance.com", True)
    assert desk.credential is not None
    assert desk.credential.private_key is not None
    assert desk.credential.private_key.reveal() == key.decode()
    assert testnet.credential is not None
    assert testnet.credential.secret_key is not None
    assert testnet.credential.secret_key.reveal() == "..."


def test_the_badge_leads_to_this_version() -> None:
    """Binder opens a notebook that is there, at the tag of this version."""
    links = set(re.findall(r"https://mybinder\.org/v2/\S+?(?=[)\s])", README))
    assert [link.rpartition("/")[2].partition("?")[0] for link in links] == [f"v{nbext.__version__}"]
    (notebook,) = (unquote(link.partition("labpath=")[2]) for link in links)
    assert (ROOT / notebook).is_file()


def test_every_link_to_a_file_leads_somewhere() -> None:
    """Files that the README names are there."""
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).is_file(), target


def test_every_room_of_the_module_map_is_there() -> None:
    """The map names modules that exist."""
    (table,) = re.findall(r"\| module \| does \|\n(.*?)\n\n", README, re.DOTALL)
    named = [name for line in table.splitlines()[1:] for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert len(named) > 10
    for name in named:
        assert importlib.util.find_spec(f"nbext.{name}") is not None, name


def test_the_python_block_runs() -> None:
    """The Python in the README works as it stands; others' clients run in test_peers, files in test_files."""
    InteractiveShell.clear_instance()
    blocks = [
        block
        for block in re.findall(r"```python\n(.*?)```", README, re.DOTALL)
        if not re.search("from binance|import ccxt|to_parquet", block)
    ]
    assert len(blocks) == 3
    for block in blocks:
        exec(block, {})  # noqa: S102 - our own README
