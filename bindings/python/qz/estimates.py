"""How much memory something will take, before it is done: inference, training, a quantization run. Arithmetic on shapes only, so a
model that was opened with config_only=True is enough."""
from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Optional

from . import names
from ._call import check, string, struct, text_of
from ._library import lib
from .model import Model

if TYPE_CHECKING:
    from .plan import Plan

GOALS = {"infer": lib.QZ_GOAL_INFER, "quantize": lib.QZ_GOAL_QUANTIZE, "train": lib.QZ_GOAL_TRAIN_FULL, "lora": lib.QZ_GOAL_TRAIN_LORA,
         "qlora": lib.QZ_GOAL_TRAIN_QLORA}
OPTIMIZERS = {"adam": lib.QZ_OPTIMIZER_ADAM, "adam-f32": lib.QZ_OPTIMIZER_ADAM_F32, "adam-8bit": lib.QZ_OPTIMIZER_ADAM_8BIT,
              "sgd": lib.QZ_OPTIMIZER_SGD}
OFFLOADS = {"none": lib.QZ_OFFLOAD_NONE, "optimizer": lib.QZ_OFFLOAD_OPTIMIZER, "parameters": lib.QZ_OFFLOAD_PARAMETERS}
ASKS = {"context": lib.QZ_FIT_CONTEXT, "batch": lib.QZ_FIT_BATCH, "bits": lib.QZ_FIT_BITS}


@dataclass(frozen=True)
class MemoryItem:
    """One line of an estimate, in bytes; low and high where a source gives a range."""

    what: str
    where: str  #: "device" "host" "disk"
    kind: str  #: "weights" "scales" "kv_cache" "activations" "logits" "gradients" "optimizer" "workspace" "runtime"
    bytes: int
    low: int
    high: int
    formula: str
    source: str


@dataclass(frozen=True)
class MemoryEstimate:
    """The items of an estimate. device, host, disk: their sums, typical values."""

    items: list[MemoryItem]
    notes: list[str]

    def total(self, where: str) -> int:
        return sum(item.bytes for item in self.items if item.where == where)

    @property
    def device(self) -> int:
        return self.total("device")

    @property
    def host(self) -> int:
        return self.total("host")

    @property
    def disk(self) -> int:
        return self.total("disk")


@dataclass(frozen=True)
class MemoryQuery:
    """What is asked; None or 0 = the library's default (include/qz/memory.h).

    goal: "infer" "quantize" "train" "lora" "qlora". weights: "bf16", "w4g128", "gptq:w4g128", "nf4-dq" ...; None = as stored.
    tool: "vllm" "transformers" "llama.cpp", or, by their own formulas, "accelerate" "deepspeed" "deepspeed-docs" "gguf-parser".
    devices: tensor-parallel degree of inference, data-parallel ranks of training. batch and seq_len of "quantize": calibration sequences and
    their length. gpu of "quantize": as Plan.run has it; it need not be there.
    """

    goal: str = "infer"
    batch: int = 0
    seq_len: int = 0
    prefill: int = 0
    compute: Optional[str] = None
    kv_cache: Optional[str] = None
    optimizer: str = "adam"
    offload: str = "none"
    lora_rank: int = 0
    keep_activations: bool = False
    zero_stage: int = 0
    devices: int = 0
    weights: Optional[str] = None
    tool: Optional[str] = None
    format: Optional[str] = None  #: of "quantize" and of plan
    in_memory: bool = False
    plan: Optional[Plan] = None
    gpu: Optional[int] = None

    def _struct(self) -> Any:
        query = struct("qz_memory_query", goal=names.number(GOALS, self.goal, "goal"), batch=self.batch, seq_len=self.seq_len,
                       prefill=self.prefill, compute=names.number(names.DTYPES, self.compute, "compute"),
                       kv_cache=names.number(names.DTYPES, self.kv_cache, "kv_cache"),
                       optimizer=names.number(OPTIMIZERS, self.optimizer, "optimizer"),
                       offload=names.number(OFFLOADS, self.offload, "offload"), lora_rank=self.lora_rank,
                       keep_activations=int(self.keep_activations), zero_stage=self.zero_stage, devices=self.devices,
                       format=names.number(names.FORMATS, self.format, "format"), in_memory=int(self.in_memory), weights=self.weights,
                       tool=self.tool, plan=self.plan and self.plan._pointer)
        if self.gpu is not None:
            query.device.kind, query.device.index = 2, self.gpu  # DLPack: CUDA
        return query


@dataclass(frozen=True)
class Fit:
    """The largest that fits: tokens, sequences or bits; 0 = nothing does."""

    value: int
    needed: int  #: device bytes at that value, or at the smallest
    weights: str  #: of "bits": how the weights are stored then


def estimate(model: Model, query: MemoryQuery = MemoryQuery()) -> MemoryEstimate:
    """Memory by item. InvalidArgument, Unsupported as the library has them.

    >>> small = qz.estimate(model, qz.MemoryQuery(weights="w4g128", seq_len=512))
    >>> small.device < qz.estimate(model, qz.MemoryQuery(weights="bf16", seq_len=512)).device
    True
    >>> sum(item.bytes for item in small.items) == small.device
    True
    """
    document = json.loads(text_of(lib.qz_memory_to_json, model._pointer, query._struct())[1])
    return MemoryEstimate([MemoryItem(**item) for item in document["items"]], document["notes"])


def fit(model: Model, memory: int, ask: str = "context", query: MemoryQuery = MemoryQuery()) -> Fit:
    """The largest "context", "batch" or most "bits" of weights that fit `memory` bytes of a device.

    >>> qz.fit(model, 1 << 30, "bits").weights
    'bf16'
    >>> qz.fit(model, 1, "context").value
    0
    """
    out = struct("qz_fit")
    check(lib.qz_memory_fit(model._pointer, query._struct(), struct("qz_device_info", memory_free=memory),
                            names.number(ASKS, ask, "ask"), out))
    return Fit(out.value, out.needed, string(out.weights))


def deepspeed_config(query: MemoryQuery) -> dict[str, Any]:
    """A configuration for DeepSpeed that does what the query says. InvalidArgument without a ZeRO stage."""
    return json.loads(text_of(lib.qz_memory_deepspeed, query._struct())[1])
