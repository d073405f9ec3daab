"""What a method's file declares, read from its text: importing it imports torch, which takes seconds.

Cards, presets, variants and defaults are literals, calls of ``Card``, ``Preset``, ``Value`` and ``replace``, and names
of such values, also of other methods' files.
"""

from __future__ import annotations

import ast
import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pretrieve.core.extensions import assigned


class Declared:
    """The declarations of one file.

    Args:
        path: the file.
        tree: its syntax.
        known: functions and values that it may name without defining them.
    """

    def __init__(self, path: Path, tree: ast.Module, known: Mapping[str, Any]) -> None:
        self._path, self._tree, self._known = path, tree, {**known, "replace": dataclasses.replace}

    def value(self, name: str) -> Any:
        """The value that the file assigns to a name.

        Raises:
            ValueError: there is none, or it is computed.
        """
        made = assigned(self._tree, name)
        if made is not None:
            return self._evaluated(made)
        for node in self._tree.body:
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(f"{__package__}."):
                for alias in node.names:
                    if (alias.asname or alias.name) == name:
                        return self._neighbour(str(node.module)).value(alias.name)
        if name not in self._known:
            raise ValueError(name)
        return self._known[name]

    def defaults(self, name: str) -> dict[str, Any]:
        """Fields of a dataclass that have a default, in order.

        Raises:
            ValueError: the class is not there, is derived from another, or computes a default.
        """
        kinds = [node for node in self._tree.body if isinstance(node, ast.ClassDef) and node.name == name]
        if len(kinds) != 1 or kinds[0].bases:
            raise ValueError(name)
        fields = [node for node in kinds[0].body if isinstance(node, ast.AnnAssign) and node.value is not None]
        return {node.target.id: self._evaluated(node.value) for node in fields if isinstance(node.target, ast.Name)}

    def _neighbour(self, module: str) -> Declared:
        path = self._path.with_name(f"{module.removeprefix(f'{__package__}.')}.py")
        return Declared(path, ast.parse(path.read_text(encoding="utf-8")), self._known)

    def _evaluated(self, node: ast.expr | None) -> Any:
        match node:
            case ast.Constant():
                return node.value
            case ast.Name():
                return self.value(node.id)
            case ast.Tuple():
                return tuple(self._evaluated(item) for item in node.elts)
            case ast.List():
                return [self._evaluated(item) for item in node.elts]
            case ast.Dict():
                return self._dictionary(node)
            case ast.Call():
                return self._called(node)
            case ast.UnaryOp():
                return ast.literal_eval(node)
        raise ValueError("computed")

    def _dictionary(self, node: ast.Dict) -> dict[Any, Any]:
        found: dict[Any, Any] = {}
        for key, value in zip(node.keys, node.values, strict=True):
            found |= self._evaluated(value) if key is None else {self._evaluated(key): self._evaluated(value)}
        return found

    def _called(self, node: ast.Call) -> Any:
        if not isinstance(node.func, ast.Name) or any(argument.arg is None for argument in node.keywords):
            raise ValueError("computed")
        function = self._known.get(node.func.id)
        if not callable(function):
            raise ValueError(node.func.id)
        keywords = {str(argument.arg): self._evaluated(argument.value) for argument in node.keywords}
        return function(*map(self._evaluated, node.args), **keywords)
