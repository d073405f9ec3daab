"""Completion of commands, options and values, through the script that a shell loads."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pretrieve.methods import names
from pretrieve.pipeline.distill.request import STAGES

CODE = "from pretrieve.cli.app import main; main()"
HEAVY = {"torch", "transformers", "numpy", "scipy", "tokenizers", "pyarrow"}


@pytest.fixture
def bash(tmp_path: Path):
    """Run lines of bash that find ``pretrieve``, with a home of their own; return what they print."""
    if shutil.which("bash") is None:
        pytest.skip("there is no bash")
    program = tmp_path / "bin" / "pretrieve"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -c "{CODE}" "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "HOME": str(tmp_path), "PATH": f"{program.parent}:{os.environ['PATH']}"}

    def go(lines: str, *words: str) -> str:
        done = subprocess.run(
            ["bash", "--norc", *words, "-c", lines], env=environment, capture_output=True, text=True, check=False
        )
        assert not [line for line in done.stderr.splitlines() if "job control" not in line and "ioctl" not in line]
        return done.stdout

    return go


def completions(words: str, shell: str = "bash", **more: str) -> list[str]:
    """What the command line answers to a shell for what was typed so far."""
    done = completed(words, shell, **more)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def completed(words: str, shell: str = "bash", **more: str) -> subprocess.CompletedProcess[str]:
    asked = {"COMP_WORDS": words, "COMP_CWORD": str(len(words.split()) - (not words.endswith(" ")))}
    asked |= {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    return subprocess.run(
        [sys.executable, "-c", CODE], capture_output=True, text=True, check=False,
        env={**os.environ, **asked, "_PRETRIEVE_COMPLETE": f"complete_{shell}", **more},
    )  # fmt: skip


def test_a_script_that_is_shown_completes_in_bash(bash) -> None:
    ask = 'COMP_WORDS=({}); COMP_CWORD={}; _pretrieve_completion pretrieve; echo "${{COMPREPLY[@]}}"\n'
    shown = bash(
        'eval "$(pretrieve --show-completion)"\n'
        + ask.format("pretrieve fin", 1)
        + ask.format("pretrieve train --method contr", 3)
        + ask.format("pretrieve train --device ''", 3)
    )
    assert shown.splitlines() == [
        "finetune",
        "contriever contriever-ict contriever-inbatch",
        "auto cpu cuda mps xpu",
    ]


def test_installed_completion_is_there_in_the_next_shell(bash, tmp_path) -> None:
    assert "bash completion installed in" in bash("pretrieve --install-completion; true")
    assert "-F _pretrieve_completion pretrieve" in bash(f"source {tmp_path}/.bashrc; complete -p pretrieve")


@pytest.mark.parametrize(
    ("words", "values"),
    [
        ("pretrieve mi", ["mine"]),
        ("pretrieve train --met", ["--method"]),
        ("pretrieve train --method ", [*names()]),
        ("pretrieve methods simc", ["simcse"]),
        ("pretrieve inspect docs --method tsd", ["tsdae"]),
        ("pretrieve compare docs --methods none,mlm,ml", [""]),  # it is there already
        ("pretrieve compare docs --methods none,mlm,re", [f"none,mlm,{one}" for one in ("realm", "retromae")]),
        ("pretrieve compare docs --negatives ", ["ance", "bm25", "mined", "none"]),
        ("pretrieve finetune model labels --negatives ", ["ance", "bm25", "given", "mined", "none"]),
        ("pretrieve finetune model labels --recipe d", ["dpr"]),
        ("pretrieve distill docs --stages tokens,", [f"tokens,{stage}" for stage in STAGES if stage != "tokens"]),
        ("pretrieve search my-index --mode ", ["hybrid", "dense", "lexical"]),
        ("pretrieve index docs --stemmer germ", ["german"]),
        ("pretrieve train docs --tracker ten", ["tensorboard"]),
        ("pretrieve evaluate beir --lexical bm25s,l", ["bm25s,lucene"]),
        ("pretrieve evaluate beir --device x", ["xpu"]),
        ("pretrieve train docs --config missing.toml --device m", ["mps"]),
        ("pretrieve train docs -o ", [""]),  # the shell goes on with names of files
    ],
)  # fmt: skip
def test_values_complete(words: str, values: list[str]) -> None:
    assert completions(words) == values


def test_settings_of_bm25_are_those_that_there_are() -> None:
    from pretrieve.index.settings import SETTINGS

    assert completions("pretrieve evaluate beir --lexical ") == [*SETTINGS]


def test_a_version_that_was_typed_is_not_printed() -> None:
    assert completions("pretrieve --version fine") == ["finetune"]


def test_other_shells_get_help_beside_names() -> None:
    assert completions("pretrieve veri", "fish")[0].startswith("verify\tCheck that no file")
    assert '"verify":"Check that no file' in "\n".join(completions("pretrieve veri", "zsh"))


def test_own_methods_complete_and_wrong_ones_are_silent(tmp_path) -> None:
    own = tmp_path / "own_method.py"
    assert "simcse" in completions("pretrieve train --method ", PRETRIEVE_METHODS=str(tmp_path))
    own.write_text("this is no Python")
    assert completions("pretrieve train --method ", PRETRIEVE_METHODS=str(tmp_path)) == [""]
    assert completions("pretrieve train --method ", PRETRIEVE_METHODS=str(tmp_path / "missing")) == [""]


def test_an_error_prints_nothing_while_a_shell_completes(tmp_path) -> None:
    done = completed("pretrieve train --device ", RANK="7", WORLD_SIZE="x", MASTER_ADDR="a", MASTER_PORT="1")
    assert (done.stdout.split(), done.stderr) == (["auto", "cpu", "cuda", "mps", "xpu"], "")
    done = completed("pretrieve train ", COMP_CWORD="x")
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


def test_it_answers_about_as_fast_as_the_version_is_printed() -> None:
    """CPU time of a whole process, in which no library of arrays or models is imported."""

    def seconds(*arguments: str, **more: str) -> float:
        spent = []
        for _ in range(3):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run(
                [sys.executable, "-c", CODE, *arguments], env={**os.environ, **more}, check=True, capture_output=True
            )
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            spent.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return min(spent)

    asked = {"COMP_CWORD": "3", "_PRETRIEVE_COMPLETE": "complete_bash"}
    for words in ("pretrieve train --method con", "pretrieve train --device c", "pretrieve index --stemmer g"):
        ratio = seconds(COMP_WORDS=words, **asked) / seconds("--version")
        assert ratio < 2.5, f"{words}: {ratio:.1f} times"
        lines = completed(words, PYTHONPROFILEIMPORTTIME="1").stderr.splitlines()
        loaded = {line.rpartition("|")[2].strip() for line in lines}
        assert "typer" in loaded
        assert not loaded & HEAVY


def test_an_unknown_shell_is_one_line_with_a_way_out(run, monkeypatch) -> None:
    import shellingham

    def fails() -> None:
        raise shellingham.ShellDetectionFailure

    monkeypatch.setattr(shellingham, "detect_shell", fails)
    for option in ("--show-completion", "--install-completion"):
        outcome = run(option)
        assert outcome.code == 1
        assert "error: the shell that this runs in is not known" in outcome.err
    done = subprocess.run([sys.executable, "-c", CODE], env={**os.environ, "_PRETRIEVE_COMPLETE": "source_zsh"},
                          capture_output=True, text=True, check=True)  # fmt: skip
    assert "#compdef pretrieve" in done.stdout.splitlines()
