"""Model: open, look inside, save, verify. One type before and after quantization. Immutable, so threads may share it."""
from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from . import names
from ._call import c_string, check, string, struct, text_of
from ._handle import Handle
from ._library import ffi, lib
from .context import Context, default_context
from .progress import ProgressFunction, long_call
from .report import ModuleReport, read_report

if TYPE_CHECKING:
    from .text import Tokenizer


@dataclass(frozen=True)
class ModelInfo:
    """What config.json and the tensors say."""

    arch: str  #: "llama"
    format: str  #: "plain" if nothing is quantized, else how it is stored
    dtype: str  #: of the checkpoint: "bf16"
    tied: bool  #: the head is the embedding
    parameters: int
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocab: int
    max_seq: int  #: tokens
    outputs: int  #: numbers in a row of logits: vocab, or a classifier's labels
    encoder: bool  #: tokens see the whole text; no cache, no generation
    classifier: bool  #: one row of logits a text


@dataclass(frozen=True)
class ModuleInfo:
    """A linear layer."""

    name: str  #: "model.layers.0.self_attn.q_proj"
    role: str  #: "q" "k" "v" "o" "gate" "up" "down" "head"; fused: "qkv" "gate_up"; outside the blocks: "other"
    layer: int  #: -1: the head, others
    rows: int  #: output features
    cols: int  #: input features
    can_quantize: bool  #: False: a tied head
    quantized: bool  #: stored or held as codes
    bits: int  #: of its codes; 0 if not quantized
    group: int  #: columns that share a scale; -1 row, -2 tensor; 0 if not quantized


@dataclass(frozen=True)
class Verification:
    """What Model.verify() found: ok is False if a finding is of severity "error"."""

    ok: bool
    checked: Any  #: what was looked at, as the library counts it
    findings: list[dict[str, str]]  #: "severity" "file" "tensor" "text"


class Model(Handle):
    """A language model in a Hugging Face directory, or what a quantization run returned."""

    _kind = "qz_model"

    def __init__(self, pointer: Any, context: Context, path: Optional[str] = None) -> None:
        super().__init__(pointer)
        self.context = context
        self.path = path  #: the directory with its tokenizer; None if unknown

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, context: Optional[Context] = None, config_only: bool = False, strict: bool = False,
             arch_json: Optional[str] = None) -> Model:
        """Opens a directory with config.json and safetensors, quantized or not; reads headers only.

        config_only: config.json alone; the model can be looked at, not run. strict: contradictions between config.json and the
        tensors are errors. arch_json: description of an architecture that the library does not know.
        """
        context = context or default_context()
        options = struct("qz_model_options", config_only=int(config_only), strict=int(strict),
                         arch_json=None if arch_json is None else c_string(arch_json.encode()))
        out = ffi.new("qz_model **")
        check(lib.qz_model_open(context._pointer, c_string(path), options, out))
        return cls(out[0], context, os.fspath(path))

    @property
    def info(self) -> ModelInfo:
        info = struct("qz_model_info")
        check(lib.qz_model_get_info(self._pointer, info))
        return ModelInfo(string(info.arch), names.word(names.FORMATS, info.format), names.word(names.DTYPES, info.dtype), bool(info.tied),
                         info.parameters, info.layers, info.hidden, info.heads, info.kv_heads, info.head_dim, info.intermediate,
                         info.vocab, info.max_seq, info.outputs, bool(info.encoder), bool(info.classifier))

    @property
    def modules(self) -> list[ModuleInfo]:
        """Linear layers in the order of the forward pass, the head last."""
        return [self._module(i) for i in range(lib.qz_model_module_count(self._pointer))]

    def _module(self, i: int) -> ModuleInfo:
        info = struct("qz_module_info")
        check(lib.qz_model_get_module(self._pointer, i, info))
        return ModuleInfo(string(info.name), string(info.role), info.layer, info.rows, info.cols, bool(info.can_quantize),
                          bool(info.quantized), info.bits, info.group)

    @property
    def report(self) -> list[ModuleReport]:
        """What a quantization run did to each module; empty if the model carries no report."""
        return read_report(self._pointer)

    def report_json(self) -> dict[str, Any]:
        """The whole report as the directory's qz_report.json has it. Unsupported if the model carries none."""
        return json.loads(text_of(lib.qz_report_to_json, self._pointer)[1])

    def tokenizer(self) -> Tokenizer:
        """The tokenizer that lies beside the model."""
        from .errors import InvalidArgument
        from .text import Tokenizer
        if self.path is None:
            raise InvalidArgument("this model was not opened from a directory: it has no tokenizer")
        return Tokenizer(self.path)

    def save_losses(self, format: Optional[str] = None) -> dict[str, str]:
        """What save() in that format would lose, before anything is written: module -> words. Empty: the conversion is exact."""
        found = text_of(lib.qz_model_check_save, self._pointer, names.number(names.FORMATS, format, "format"))[1]
        return {loss["module"]: loss["words"] for loss in json.loads(found)["lost"]}

    def save(self, directory: str | os.PathLike[str], *, format: Optional[str] = None, overwrite: bool = False, shard_bytes: int = 0,
             allow_loss: bool = False, progress: Optional[ProgressFunction] = None) -> None:
        """Writes a directory that opens again; complete or not at all.

        format: "compressed-tensors" "gptq" "awq" "bitsandbytes" "hqq" ... "plain" (dequantized), None = the model's own. The numbers
        are the same in another format; what the target cannot hold is Unsupported, before anything is written, or with allow_loss
        rounded to the nearest that it can. shard_bytes: 0 = 5 GB, of GGUF one file.
        """
        directory = c_string(directory)

        def call(callback: Any) -> int:
            options = struct("qz_save_options", format=names.number(names.FORMATS, format, "format"), overwrite=int(overwrite),
                             allow_loss=int(allow_loss), shard_bytes=shard_bytes, progress=callback)
            return lib.qz_model_save(self._pointer, directory, options)

        long_call(progress, call)

    def verify(self, directory: str | os.PathLike[str]) -> Verification:
        """Reads a directory back: headers, shapes, file hashes, every decoded matrix against this model."""
        status, text = text_of(lib.qz_model_verify, self._pointer, c_string(directory), allowed=(lib.QZ_STATUS_MISMATCH,))
        found = json.loads(text)
        return Verification(status == lib.QZ_STATUS_OK, found.get("checked"), found.get("findings", []))
