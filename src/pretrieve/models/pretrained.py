"""Loading published checkpoints strictly: a weight that is missing or left over is an error, not a random number.

The published Contriever code loads its own fine-tuned checkpoints with ``strict=False`` and silently keeps random
weights (its issues 14 and 18). Here only what an encoder is known not to use may be missing or left over.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import nn

from pretrieve.core.errors import ModelError, UsageError
from pretrieve.models.checkpoints import find_checkpoint
from pretrieve.models.encoder import Pooling
from pretrieve.models.heads import seeded
from pretrieve.models.misfits import refuse_misfits
from pretrieve.models.model_folder import CONTRIEVER, model_folder, not_a_model
from pretrieve.models.model_kind import transformer_folder
from pretrieve.models.transformer import DECODERS, PACKED
from pretrieve.models.whole_model import check_whole

DPR = "dpr"  # model_type of DPR encoders, which hold a BERT under another name
_TOWER = r"^(question_encoder|ctx_encoder)\.bert_model\."
_WANTED = ["*.json", "*.txt", "*.model", "*.safetensors"]
_UNWANTED = ["onnx/*", "openvino/*", "*/onnx/*", "*/openvino/*"]


def resolve(base: str) -> Path:
    """Find the folder of a model: a folder, or a name of the hub (from the local cache, or downloaded).

    Raises:
        UsageError: there is no such folder or model, or the folder holds none; the text says what to do.
        ModelError: the model is not whole, or of another kind.
        CorruptError: a file of it is damaged.
    """
    path = Path(base).expanduser()
    if path.is_dir() or (path.is_file() and path.name == CONTRIEVER):
        return _whole(model_folder(path), base)
    if path.exists() or base.startswith(("/", ".", "~")) or base.count("/") > 1:
        raise UsageError(f"{base} is not a folder with a model: give a folder, a name of the hub, or static.")
    return _whole(_from_hub(base), base)


def _whole(folder: Path, name: str) -> Path:
    known = find_checkpoint(name)
    check_whole(folder, name, own_code=known is not None and known.remote_code)
    return folder


def load_pretrained(folder: Path, *, seed: int = 0, pooler: bool = False) -> nn.Module:
    """Load the encoder of a checkpoint, strictly.

    Args:
        folder: folder of a model (``resolve``), with ``config.json`` and weights.
        seed: seed for an unused pooler that the checkpoint lacks.
        pooler: whether the pooler is used and must be present.

    Returns:
        The stock model of transformers, float32, in evaluation mode.

    Raises:
        UsageError: the folder holds no model.
        ModelError: it holds no encoder, or its weights do not fit; the text names the first of them.
    """
    config = _config(folder)
    looks_back = config.get("is_decoder") or (_is_causal(config) and config["model_type"] in PACKED)
    if config.get("is_encoder_decoder") or looks_back:
        raise ModelError(
            f"{folder} is a {config['model_type']} decoder: pretrieve trains encoders (BERT and the like) and "
            "decoder-only language models (Qwen3 and the like). Give one."
        )
    kind, options = _class_of(config)
    try:
        with seeded(seed, "pretrained"), quietly():
            model, report = kind.from_pretrained(
                folder,
                **options,
                dtype="float32",
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # refused below, by name
            )
    except (OSError, ValueError, RuntimeError, ImportError) as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise ModelError(f"{folder}: the model cannot be loaded ({reason}): restore it from a copy.") from None
    refuse_misfits(folder, report, pooler=pooler)
    loaded: nn.Module = model
    return loaded.eval()


def _class_of(config: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
    """The class to load a checkpoint with, and how.

    ``AutoModel`` loads every DPR model as a question encoder, and initialises passage weights at random.
    """
    from transformers import AutoModel, BertConfig, BertModel  # imported here because it takes seconds

    if config["model_type"] != DPR:
        return AutoModel, {}
    inner = {key: config[key] for key in config if key not in ("architectures", "model_type", "projection_dim")}
    return BertModel, {"config": BertConfig(**inner), "key_mapping": {_TOWER: ""}}


def masked_language_model(folder: Path) -> nn.Module | None:
    """Load a checkpoint with its masked-language-model head, or None where it has none (or not a whole one)."""
    if not any("MaskedLM" in name or "PreTraining" in name for name in _config(folder).get("architectures") or []):
        return None
    from transformers import AutoModelForMaskedLM  # imported here because it takes seconds

    try:
        with seeded(0, "pretrained"), quietly():
            model, report = AutoModelForMaskedLM.from_pretrained(folder, dtype="float32", output_loading_info=True)
    except (OSError, ValueError, RuntimeError, ImportError):
        return None
    loaded: nn.Module = model
    return None if any(not key.startswith("pooler.") for key in report["missing_keys"]) else loaded


@contextlib.contextmanager
def quietly() -> Iterator[None]:
    """Hide transformers' progress bar and its report of weights, which is checked here."""
    from transformers.utils import logging

    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        with without_bar():
            yield
    finally:
        logging.set_verbosity(verbosity)


@contextlib.contextmanager
def without_bar() -> Iterator[None]:
    """Without the progress bar that transformers draws over weights: they load in less than a second."""
    from transformers.utils import logging

    bar = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if bar:
            logging.enable_progress_bar()


def _config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        raise UsageError(not_a_model(folder))
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        assert isinstance(config, dict)
    except (ValueError, AssertionError):
        raise UsageError(f"{folder / 'config.json'} is damaged: restore the model from a copy.") from None
    if "model_type" not in config:
        raise UsageError(f"{folder / 'config.json'} names no model_type: the folder is not a model of transformers.")
    return config


def usual_pooling(folder: Path) -> Pooling:
    """The pooling of a checkpoint whose files do not specify one: only a decoder's last token has seen the whole row.

    Args:
        folder: folder of a model, with ``config.json``.

    Raises:
        UsageError: the folder holds no model.
    """
    return "lasttoken" if is_decoder(folder) else "mean"


def is_decoder(folder: Path) -> bool:
    """Whether a folder holds a decoder-only language model, whose tokens see those before them alone.

    Args:
        folder: folder of a model; of a sentence-transformers folder, its transformer counts.

    Raises:
        UsageError: the folder holds no model.
    """
    inner = transformer_folder(folder)
    if not (inner / "config.json").is_file():  # of another kind
        return False
    config = _config(inner)
    return config.get("model_type") in DECODERS or _is_causal(config)


def _is_causal(config: dict[str, Any]) -> bool:
    return any("ForCausalLM" in name or name == "GPT2LMHeadModel" for name in config.get("architectures") or [])


def _from_hub(name: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError, OfflineModeIsEnabled

    try:
        folder = Path(snapshot_download(name, allow_patterns=_WANTED, ignore_patterns=_UNWANTED))
        if not any(folder.glob("**/*.safetensors")):
            folder = Path(snapshot_download(name, allow_patterns=[*_WANTED, "*.bin"], ignore_patterns=_UNWANTED))
    except HFValidationError:
        raise UsageError(f"{name!r} is neither a folder nor a name of the hub.") from None
    except (HfHubHTTPError, LocalEntryNotFoundError, OfflineModeIsEnabled, OSError) as error:
        if os.environ.get("HF_HUB_OFFLINE", "0").upper() in ("1", "TRUE", "YES", "ON"):
            remedy = "with HF_HUB_OFFLINE=1 nothing is downloaded: unset it, or give a folder"
        else:
            remedy = (
                f"and downloading it failed ({type(error).__name__}): check the name and the network, or give a folder"
            )
        raise UsageError(f"{name!r} is neither a folder nor in the local cache of the hub; {remedy}.") from None
    return folder
