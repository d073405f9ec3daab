"""Facts of methods are read from the text of their files: equal to those of the modules, without torch."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

from pretrieve import methods

OWN = """
from dataclasses import dataclass
from pretrieve.methods import Card, Preset, Value

CARD = Card(title="a", paper="b".upper(), idea="c")
PRESETS = {"mine": Preset(summary="d", options={"size": Value(2 * 2, "ours", "e")})}

@dataclass(frozen=True, kw_only=True)
class Options:
    size: int = 1
    other: int = 1 + 1

def sampler(store, specials, options, provenance=False): ...
def objective(encoder, options, seed, store): ...
def explain(batch, store, specials): ...
"""


@pytest.mark.parametrize("name", methods.names())
def test_read_equals_imported(name: str, monkeypatch) -> None:
    module, preset = methods.find(name)
    monkeypatch.setattr(methods, "_method", None)  # nothing is imported
    found = methods.facts(name)
    assert found.card == module.CARD
    assert found.preset == preset
    assert list(found.preset.options) == list(preset.options)
    assert found.variants == getattr(module, "VARIANTS", {}).get(name, {})
    defaults = {f.name: f.default for f in dataclasses.fields(module.Options) if f.name not in preset.options}
    assert list(found.defaults.items()) == list(defaults.items())


def test_a_file_of_ones_own_may_compute_its_values(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "mine.py").write_text(OWN)
    monkeypatch.setenv(methods.FOLDERS, str(tmp_path))
    found = methods.facts("mine")
    assert (found.card.paper, found.preset.options["size"].value, found.defaults) == ("B", 4, {"other": 2})


@pytest.mark.parametrize("arguments", [[], ["contriever"], ["--json"], ["mvr", "--json"]])
def test_the_command_imports_no_torch(arguments: list[str]) -> None:
    heavy = {"torch", "transformers", "scipy", *(() if "--json" in arguments else ("numpy",))}
    program = (
        "import sys; from pretrieve.cli.app import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        f"loaded = {heavy} & set(sys.modules)\nassert not loaded, loaded"
    )
    command = [sys.executable, "-c", program, "methods", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "contriever" in done.stdout or arguments[:1] == ["mvr"]
