"""Quantize language models on the CPU. The Python side of libqz.

    with qz.Model.open("my-model") as model:
        calibration = qz.Calibration.generated(model, sequences=128, length=256)
        small = qz.gptq(model, calibration, scheme="w4g128", stream_to="my-model-w4")
        print(qz.perplexity(small, text, reference=model))

Arrays are NumPy's or anything with DLPack on the CPU. Errors are exceptions: qz.Error and one class per status. Messages of the
library go to the logger "qz". Long calls take a `progress` function; Ctrl-C ends them cleanly with KeyboardInterrupt.
Many threads may use the same Context, Model or Plan at once; everything else is for one thread at a time.
"""
from ._library import version as library_version
from .calibration import Calibration
from .context import Context, Device
from .errors import (BadFile, BufferTooSmall, Busy, Cancelled, DeviceError, Error, InternalError, InvalidArgument, IoError, Mismatch,
                     NumericError, OutOfMemory, Unsupported)
from .estimates import Fit, MemoryEstimate, MemoryItem, MemoryQuery, deepspeed_config, estimate, fit
from .families import FamilyCheck, check_family, families, family
from .evaluation import Evaluation, perplexity
from .loading import Finding, check_loading
from .memory import MemoryMonitor, MemoryUsage
from .model import Model, ModelInfo, ModuleInfo, Verification
from .packed import Packed
from .plan import AwqOptions, GptqOptions, Plan, Rule, awq, gptq, rtn, smoothquant
from .progress import Progress
from .report import ModuleReport
from .scheme import ROW, TENSOR, Scheme
from .session import Session
from .tensor import Tensor, as_tensor
from .text import Tokenizer

__version__ = ".".join(map(str, library_version))

__all__ = ["AwqOptions", "BadFile", "BufferTooSmall", "Busy", "Calibration", "Cancelled", "Context", "Device", "DeviceError", "Error",
           "Evaluation", "FamilyCheck", "Finding", "Fit", "GptqOptions", "InternalError", "InvalidArgument", "IoError",
           "MemoryEstimate", "MemoryItem", "MemoryMonitor", "MemoryQuery", "MemoryUsage", "Mismatch", "Model", "ModelInfo",
           "ModuleInfo", "ModuleReport", "NumericError", "OutOfMemory", "Packed", "Plan", "Progress", "ROW", "Rule", "Scheme",
           "Session", "TENSOR", "Tensor", "Tokenizer", "Unsupported", "Verification", "as_tensor", "awq", "check_family",
           "check_loading", "deepspeed_config", "estimate", "families", "family", "fit", "gptq", "library_version", "perplexity",
           "rtn", "smoothquant"]
