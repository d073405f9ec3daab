"""Registries that are folders: a file of the package's folder is an entry, and so is a file of a user's folder.

Methods, readers, strategies for negatives and kinds of encoders are each found this way, so adding one is one file. A
user names folders in an environment variable, divided as in ``PATH``. An invalid user's file raises an
``ExtensionError`` that names the file, and the line if known.
"""

from __future__ import annotations

import ast
import importlib
import importlib.util
import inspect
import os
import sys
import traceback
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from pretrieve.core.errors import ExtensionError, UsageError
from pretrieve.core.extras import explain

_IMPORTED: dict[str, str] = {}  # files of users that were imported, and what each is


@dataclass(frozen=True, kw_only=True)
class Registry:
    """A folder of the package, and those that a user names.

    Attributes:
        package: the package of the folder, such as ``pretrieve.methods``.
        folder: where it is.
        variable: environment variable that names more folders.
        noun: what a file is, such as "method".
        page: the documentation page on adding one.
        parts: names that a user's file must define.
    """

    package: str
    folder: Path
    variable: str
    noun: str
    page: str
    parts: tuple[str, ...] = ()

    def folders(self) -> tuple[Path, ...]:
        """The package's folder first, then the user's.

        Raises:
            UsageError: a folder that the variable names does not exist.
        """
        named = [Path(part) for part in os.environ.get(self.variable, "").split(os.pathsep) if part]
        for folder in named:
            if not folder.is_dir():
                raise UsageError(
                    f"{self.variable}: there is no folder {folder}: correct the variable, or make the folder."
                )
        return (self.folder, *dict.fromkeys(folder.resolve() for folder in named))

    def files(self, folders: tuple[Path, ...]) -> list[Path]:
        """The files of folders; those that begin with ``_`` are left out."""
        return [path for folder in folders for path in sorted(folder.glob("[!_]*.py"))]

    def is_own(self, path: Path) -> bool:
        """Whether a file is the user's, not the package's."""
        return path.parent != self.folder

    def module(self, path: Path) -> ModuleType:
        """Import a file, once.

        Raises:
            ExtensionError: a user's file fails when it is imported, or lacks a part.
        """
        return _module(self, path)

    def check_parts(self, module: ModuleType, parts: tuple[str, ...] = ()) -> None:
        """Refuse a module that lacks a part.

        Args:
            module: of a file.
            parts: names that it must define; those of every file where empty.

        Raises:
            ExtensionError: it does; the text names all that are missing.
        """
        missing = [part for part in (parts or self.parts) if not hasattr(module, part)]
        if missing:
            raise ExtensionError(
                f"{module.__file__} is not a complete {self.noun}: it lacks {', '.join(missing)} ({self.page})."
            )

    def parsed(self, path: Path) -> ast.Module:
        """The syntax of a file, which is read without importing it.

        Raises:
            ExtensionError: it cannot be read.
        """
        try:
            return ast.parse(path.read_text(encoding="utf-8"))
        except SyntaxError as error:
            raise ExtensionError(
                f"{path}:{error.lineno} cannot be read as a {self.noun} ({error.msg}): fix it, or remove the file."
            ) from None
        except (OSError, ValueError) as error:
            raise ExtensionError(
                f"{path} cannot be read as a {self.noun} ({error}): fix it, or remove the file."
            ) from None


def assigned(tree: ast.Module, name: str) -> ast.expr | None:
    """The expression that a file assigns to a name at its top level, the last one; None where there is none.

    Args:
        tree: the file.
        name: the name.
    """
    found = None
    for node in tree.body:
        targets = [node.target] if isinstance(node, ast.AnnAssign) else getattr(node, "targets", [])
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            found = getattr(node, "value", None)
    return found


def place(thing: object, text: str = "") -> str:
    """``file:line`` of a module, class or function; of the first string ``text`` in its file where that is given.

    Args:
        thing: a module, a class or a function.
        text: a string constant of the file.
    """
    thing = inspect.unwrap(thing) if callable(thing) else thing
    file = inspect.getsourcefile(thing) or "?"  # type: ignore[arg-type]
    code = getattr(thing, "__code__", None)
    line = code.co_firstlineno if code is not None else None
    if isinstance(thing, type):
        line = inspect.getsourcelines(thing)[1]
    if text:
        nodes = ast.walk(ast.parse(Path(file).read_text(encoding="utf-8")))
        line = next((node.lineno for node in nodes if isinstance(node, ast.Constant) and node.value == text), line)
    return file if line is None else f"{file}:{line}"


def check_call(function: Callable[..., Any], *names: str, method: bool = False, **options: object) -> None:
    """Refuse a function of a user's file that cannot be called as it will be.

    Args:
        function: the function, or a method as its class defines it.
        names: what its arguments are, by position.
        method: it is a method, and its first argument the object.
        options: what is given by name, with the usual value.

    Raises:
        ExtensionError: it takes other arguments.
    """
    try:
        inspect.signature(function).bind(*((None,) if method else ()), *names, **options)
    except TypeError as error:
        called = ", ".join([*names, *(f"{key}={value!r}" for key, value in options.items())])
        name = getattr(function, "__name__", "it")
        raise ExtensionError(
            f"{place(function)}: {name} is called as {name}({called}), which it does not accept: {error}."
        ) from None
    except ValueError:  # a builtin without a signature
        return


def failing_line(path: str, error: BaseException) -> str:
    """``file:line`` of a file where an error passed through it, innermost; else the file.

    Args:
        path: the file.
        error: what was raised.
    """
    if isinstance(error, SyntaxError) and error.filename == path:
        return f"{path}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    return f"{path}:{lines[-1]}" if lines else path


def blame(error: BaseException) -> ExtensionError | None:
    """Describe where in a user's file an error was raised, in one line; None if it was raised elsewhere.

    Args:
        error: what was raised.
    """
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if frame.filename in _IMPORTED:
            return ExtensionError(
                f"{frame.filename}:{frame.lineno}: this {_IMPORTED[frame.filename]} failed in {frame.name} "
                f"({_one_line(error)})."
            )
    return None


@cache
def _module(registry: Registry, path: Path) -> ModuleType:
    if not registry.is_own(path):
        return importlib.import_module(f"{registry.package}.{path.stem}")
    name = f"{registry.package.replace('.', '_')}_{path.stem}_{zlib.crc32(bytes(path)):08x}"  # names may be the same
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # dataclasses look their module up
    _IMPORTED[str(path)] = registry.noun
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        del sys.modules[name]
        if isinstance(error, ModuleNotFoundError) and (lacking := explain(error, f"the {registry.noun} {path}")):
            raise lacking from None
        raise ExtensionError(
            f"{failing_line(str(path), error)} cannot be imported as a {registry.noun} ({_one_line(error)})."
        ) from error
    registry.check_parts(module)
    return module


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
