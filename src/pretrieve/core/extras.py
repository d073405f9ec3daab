"""Optional parts of the installation: their modules, and how to install them.

Indexing, searching and evaluating with a static model need none of them.
"""

from __future__ import annotations

import importlib.util
from typing import Literal

from pretrieve.core.errors import MissingExtraError

Extra = Literal[  # of pyproject.toml
    "train", "parquet", "hub", "documents", "remote", "pictures", "ray", "lora", "faiss", "milvus",
    "report", "serve", "mcp", "track", "ir", "onnx",
]  # fmt: skip

_MODULES: dict[Extra, tuple[str, ...]] = {
    "train": ("torch", "transformers", "sentence_transformers", "accelerate", "safetensors", "threadpoolctl"),
    "parquet": ("pyarrow",),
    "hub": ("datasets",),
    "documents": ("pypdfium2",),
    "remote": ("fsspec", "aiohttp"),
    "pictures": ("matplotlib",),
    "ray": ("ray", "pyarrow", "pandas"),
    "lora": ("peft",),
    "faiss": ("faiss",),
    "report": ("jinja2",),
    "track": ("tensorboard",),
    "serve": ("starlette", "uvicorn", "jinja2"),
    "mcp": ("mcp", "starlette"),
    "milvus": ("pymilvus", "milvus_lite"),
    "ir": ("ir_datasets",),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
}
_NAMES: dict[Extra, str] = {
    "train": "training extra",
    "parquet": "extra for Parquet",
    "hub": "extra for hub data sets",
    "documents": "extra for PDF files",
    "remote": "extra for remote sources",
    "pictures": "extra for pictures",
    "ray": "extra for Ray",
    "lora": "extra for LoRA",
    "faiss": "extra for approximate search",
    "report": "extra for reports",
    "track": "extra for TensorBoard",
    "serve": "extra for serving",
    "mcp": "extra for MCP",
    "milvus": "extra for Milvus",
    "ir": "extra for collections by name",
    "onnx": "extra for ONNX",
}


def install_command(extra: Extra) -> str:
    """The command that installs an extra, in a checkout."""
    return f'pip install ".[{extra}]"'


def require(extra: Extra, user: str) -> None:
    """Do nothing if an extra is installed; nothing of it is imported.

    Args:
        extra: its name.
        user: feature that needs it, as the subject of a sentence.

    Raises:
        MissingExtraError: it is not installed.
    """
    for module in _MODULES[extra]:
        if not is_installed(module):
            raise MissingExtraError(_remedy(extra, user, module), extra)


def explain(error: ModuleNotFoundError, user: str) -> MissingExtraError | None:
    """The error of a missing extra in place of that of a missing module; None for a module of no extra.

    Args:
        error: what an import raised.
        user: feature that needs the module, as the subject of a sentence.
    """
    module = (error.name or "").split(".")[0]
    extra = next((name for name, modules in _MODULES.items() if module in modules), None)
    return None if extra is None or is_installed(module) else MissingExtraError(_remedy(extra, user, module), extra)


def _remedy(extra: Extra, user: str, module: str) -> str:
    return (
        f"{user} needs pretrieve's {_NAMES[extra]}: {install_command(extra)} in a checkout of pretrieve "
        f'(README, "Installing"); {module} is not installed.'
    )


def is_installed(module: str) -> bool:
    """Whether a module can be imported; at most the packages that it lies in are."""
    try:
        return importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        return False
