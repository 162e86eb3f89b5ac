"""A user's modules are imported for a block. Afterwards Python finds the installed modules."""

import importlib
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

import unitrank
from unitrank.cli.module_spec import network_of
from unitrank.cli.user_modules import imported
from unitrank.errors import NotPossible

HELPER = "from torch import nn\n\nwidth = 3\n"
EAGER = "from torch import nn\nfrom helper import width\n\ndef make():\n    return nn.Linear(width, 2)\n"
LAZY = """from torch import nn

class Net(nn.Module):
    def forward(self, x):
        from later import doubled
        return doubled(x)

def make():
    from helper import width
    return nn.Sequential(nn.Linear(width, 2), Net())
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "helper.py").write_text(HELPER)
    (tmp_path / "later.py").write_text("def doubled(x):\n    return 2 * x\n")
    return tmp_path


@pytest.mark.parametrize("source", [EAGER, LAZY])
@pytest.mark.parametrize("name", ["net", "json", "queue", "unitrank", "unitrank_engine", "unitrank_store", "worker"])
def test_network_when_its_file_is_left_then_python_imports_the_same_modules_as_before(source: str, name: str, folder: Path) -> None:
    (folder / f"{name}.py").write_text(source)
    before, modules = list(sys.path), set(sys.modules)

    with network_of(f"{folder}/{name}.py:make") as network:
        unitrank.export(network, torch.zeros(2, 3), folder / "net.pt2")

    assert sys.path == before
    assert not {name for name in set(sys.modules) - modules if str(folder) in str(getattr(sys.modules[name], "__file__", ""))}
    assert str(folder) not in str(importlib.import_module("unitrank_store").__file__)


def test_network_when_its_file_cannot_be_imported_then_the_path_is_restored(folder: Path) -> None:
    (folder / "net.py").write_text("import helper\nimport nowhere\n")
    before = list(sys.path)

    with pytest.raises(NotPossible, match="No module named 'nowhere'"), network_of(f"{folder}/net.py:make"):
        pass

    assert sys.path == before
    assert not {"net", "helper"} & set(sys.modules)


def test_network_when_a_package_names_it_then_it_is_imported_from_the_current_folder(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "package").mkdir()
    (folder / "package" / "module.py").write_text(LAZY)
    monkeypatch.chdir(folder)
    before = list(sys.path)

    with network_of("package.module:make") as network:
        assert network(torch.zeros(2, 3)).shape == (2, 2)

    assert sys.path == before
    assert not {"package", "package.module", "helper", "later"} & set(sys.modules)


def test_network_when_an_environment_lies_in_its_folder_then_modules_of_that_are_kept(folder: Path) -> None:
    (folder / "site").mkdir()
    (folder / "site" / "installed.py").write_text("")
    (folder / "net.py").write_text("import sys\nsys.path.append(__file__.replace('net.py', 'site'))\nimport installed\n")

    with imported(str(folder / "net.py")):
        pass

    assert sys.modules.pop("installed").__file__ == str(folder / "site" / "installed.py")


def test_network_when_its_module_hides_behind_a_package_of_ours_then_its_file_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "unitrank_engine.py").write_text(EAGER)
    monkeypatch.chdir(folder)

    with pytest.raises(NotPossible, match=r"hides .*/unitrank_engine\.py: rename that file"), network_of("unitrank_engine:make"):
        pass


def test_network_when_another_module_beside_it_imports_it_then_that_is_the_same_module(folder: Path) -> None:
    (folder / "net.py").write_text("class Base: pass\n\nimport derived\n")
    (folder / "derived.py").write_text("from net import Base\n\nclass Derived(Base): pass\n")

    with imported(str(folder / "net.py")) as module:
        assert issubclass(module.derived.Derived, module.Base)


def test_network_when_it_is_not_a_module_then_the_error_names_its_type(folder: Path) -> None:
    with pytest.raises(NotPossible, match=r"has the type int; give a torch\.nn\.Module"), network_of(f"{folder}/helper.py:width"):
        pass

    with network_of(f"{folder}/helper.py:nn.Identity") as network:
        assert isinstance(network, nn.Identity)
