"""qz quantize: 16-bit directory in, quantized directory out."""
from __future__ import annotations

import math
import pathlib
import resource
import time
from dataclasses import asdict, replace
from typing import Any, Optional

import click
from rich.console import Console

from .. import defaults
from ..calibration import MODES, Calibration
from ..errors import BadFile, InvalidArgument, IoError, Unsupported
from ..estimates import MemoryEstimate, MemoryQuery, estimate
from ..memory import MemoryMonitor
from ..mixes import mix_rules
from ..model import Model
from ..names import BLOCKS, FORMATS, METHODS, TRANSFORMS
from ..plan import Plan, Rule
from ..presets import PRESETS
from .common import Common, megabytes, memory_words, pairs, seconds_words, with_common
from .estimate import items_table
from .words import Group, Size, Strength, gptq_options, parse_rule, preset, scheme_from


@click.command(short_help="Quantize a model to 2, 3, 4 or 8 bit.")
@click.argument("model", type=click.Path())
@click.argument("out", type=click.Path())
@click.option("--preset", "preset_", type=click.Choice(list(PRESETS)), metavar="NAME", help="Scheme, method and format under one name: `qz presets` lists them.")
@click.option("--scheme", help=f"What is stored: w4g128, w3g64, w4g32a (asymmetric), int8 (per row), nf4, w4g64f (HQQ), fp8, llm-int8.  [default: {defaults.SCHEME}]")
@click.option("--bits", type=int, help="2, 3, 4 or 8.")
@click.option("--group", type=Group(), metavar="N|row|tensor", help="Columns that share a scale.")
@click.option("--symmetric/--asymmetric", "symmetric", default=None, help="Without or with stored zero points.")
@click.option("--method", type=click.Choice([name for name in METHODS if name != "keep"]), help="Default: gptq.")
@click.option("--transform", type=click.Choice(list(TRANSFORMS)), help="Rescale before codes are chosen.  [default: none]")
@click.option("--alpha", type=click.FloatRange(0, 1), help="How much smoothquant moves from inputs into weights; by default searched.")
@click.option("--budget", type=click.FloatRange(1, 16), metavar="BITS", help="Mixed precision: bits per weight, scales included; each layer gets the scheme that costs least.")
@click.option("--rule", "rules", multiple=True, metavar="GLOB=SPEC",
              help="Another treatment for some modules: 'lm_head=keep', '*.layers.0.*=w8g128', '*.down_proj=rtn:w8g128'. "
                   "Repeatable, the last match wins.")
@click.option("--plan", "plan_file", type=click.Path(), help="All rules from a JSON file, instead of the options above.")
@click.option("--format", "format_", type=click.Choice([name for name in FORMATS if name != "plain"]), help="Default: compressed-tensors.  gguf: OUT/model.gguf for llama.cpp, q4_k_m unless told otherwise.")
@click.option("--calib", multiple=True, metavar="self|mix|text|FILE",
              help="What to calibrate with. Files: .txt, .jsonl with a \"text\" field, .npy with token ids, or what --save-calib wrote. self: "
                   f"text that the model writes itself; text: the files; mix: half of each.  [default: {defaults.MODE_WITH_TEXT} with a "
                   f"file, else {defaults.MODE_WITHOUT_TEXT}]  Repeatable.")
@click.option("--samples", type=click.IntRange(1), default=defaults.SAMPLES, show_default=True, help="Calibration sequences.")
@click.option("--length", type=click.IntRange(2), help="Tokens of one; by default by the model's size.")
@click.option("--seed", type=click.IntRange(0), default=defaults.SEED, show_default=True)
@click.option("--save-calib", type=click.Path(), help="Keep the calibration tokens in a file.")
@click.option("--imatrix", type=click.Path(), help="Importance of columns where GGUF's blocks are rounded (--method rtn): a file of llama.cpp's or of `qz imatrix`.")
@click.option("--overwrite", is_flag=True, help="OUT may exist.")
@click.option("--shard-size", type=Size(), default=None, show_default="5GB; of GGUF one file")
@click.option("--strict", is_flag=True, help="Warnings that mean a worse result are errors.")
@click.option("--act-order", type=click.Choice(["none", "static", "dynamic"]), help="Order of solving; dynamic stores g_idx.")
@click.option("--sweeps", type=click.IntRange(0), help="Coordinate-descent sweeps over the codes.")
@click.option("--damp", type=click.FloatRange(0, 1, min_open=True), help="Of mean diag(H).")
@click.option("--drift", type=Strength(), help="Correction for the drift of the inputs.")
@click.option("--residual", type=Strength(), help="Correction for the error in the residual stream.")
@click.option("--block", type=click.IntRange(1), help="Columns that are updated lazily together.")
@click.option("--search/--no-search", default=None, help="Range search weighted by diag(H) and the size of the weights.")
@click.option("--signed-grid/--no-signed-grid", default=None, help="Symmetric scales may be negative.")
@click.option("--refit/--no-refit", default=None, help="Least-squares refit of the scales.")
@click.option("--metric", type=click.IntRange(0), help="Calibration sequences whose gradients say which outputs matter; 0: all the same.")
@click.option("--metric-ridge", type=click.FloatRange(0, 100, min_open=True), help="Added to the metric's diagonal, of its mean.")
@click.option("--gpu", type=click.IntRange(0), help="GPU that takes what its backend can of the solver (qz devices counts them from 0).")
@click.option("--dry-run", is_flag=True, help="Say what memory and disk the run will take, and stop.")
@click.option("--allow-rtn-fallback", is_flag=True, help="Round a module whose Hessian no damping repairs; the report says so.")
@with_common
def quantize(common: Common, model: str, out: str, preset_: Optional[str], scheme: Optional[str], bits: Optional[int], group: Optional[int],
             symmetric: Optional[bool], method: Optional[str], transform: Optional[str], alpha: Optional[float], budget: Optional[float], rules: tuple[str, ...], plan_file: Optional[str], format_: Optional[str],
             calib: tuple[str, ...], samples: int, length: Optional[int], seed: int, save_calib: Optional[str], imatrix: Optional[str], overwrite: bool,
             shard_size: Optional[int], strict: bool, gpu: Optional[int], dry_run: bool, **levers: Any) -> None:
    """Quantizes the linear layers of MODEL and writes OUT, a directory that vLLM and transformers load.

    Without --calib no data is needed: the model writes its own calibration text.
    """
    started = time.monotonic()
    if preset_ is None and format_ == "gguf" and scheme is None and plan_file is None:
        preset_ = defaults.GGUF_PRESET
    chosen = PRESETS[preset_] if preset_ else None
    scheme = scheme or (chosen.scheme if chosen else None)
    method = method or (chosen.method if chosen else _method_for(scheme))
    format_ = format_ or (chosen.format if chosen else "compressed-tensors")
    asymmetric = None if symmetric is None else not symmetric
    base = Rule(method, scheme_from(scheme, bits, group, asymmetric), gptq_options(**levers),
                transform or (chosen.transform if chosen else None), alpha=alpha)
    parsed = [parse_rule(text, base) for text in rules]
    mode, files = calibration_words(calib)
    if not overwrite and not dry_run and pathlib.Path(out).exists():
        raise InvalidArgument(f"{out} exists: --overwrite replaces it")
    if gpu is not None and not any((d["kind"], d["index"], d["computes"]) == ("cuda", gpu, True) for d in common.context.device_report()["devices"]):
        raise Unsupported(f"--gpu {gpu}: there is no such GPU that a backend computes on; qz devices says why")
    opened = Model.open(model, context=common.context)
    if plan_file:
        plan = Plan.from_json(opened, _read(plan_file))
    else:
        plan = Plan(opened)
        mixed = mix_rules(opened, chosen.mix) if chosen and chosen.mix and chosen.scheme == scheme else []
        for glob, rule in [("*", base), *((glob, replace(base, scheme=code)) for glob, code in mixed), *parsed]:
            plan.add(glob, **vars(rule))
    if imatrix is not None:
        plan.set_imatrix(imatrix)
    calibration = None
    if dry_run:
        sequence = length or defaults.calibration_length(opened.info.parameters, opened.info.max_seq)
        expected = estimate(opened, MemoryQuery(goal="quantize", plan=plan, format=format_, batch=samples, seq_len=sequence,
                                                gpu=gpu))
        common.emit({"command": "quantize", "dry_run": True, "model": model, "host": expected.host, "disk": expected.disk,
                     "notes": expected.notes, "items": [asdict(item) for item in expected.items]}, lambda console: _show_plan(console, expected))
        return
    if budget is not None or any(_needs_data(rule) for rule in plan.to_json()["rules"][0 if plan_file else 1:]):
        with common.progress() as progress:
            calibration = make_calibration(common, opened, mode, files, samples, length, seed, progress)
        if save_calib:
            calibration.save(save_calib)
    if budget is not None and calibration is not None:
        with common.progress() as progress:
            plan.set_budget(calibration, budget, format=format_, seed=seed, progress=progress)
    with common.progress() as progress, MemoryMonitor(context=common.context) as monitor:
        made = plan.run(calibration, format=format_, stream_to=out, overwrite=overwrite, strict=strict, shard_bytes=shard_size or 0, seed=seed,
                        gpu=gpu, progress=progress)
    summary = _summary(opened, made, model, out)
    summary["format"] = made.info.format
    summary["calibration"] = None if calibration is None else {"sequences": len(calibration), "tokens": calibration.tokens, "seed": seed}
    summary["seconds"] = time.monotonic() - started
    document = made.report_json()
    summary["run_seconds"] = document["seconds"]
    summary["memory"] = memory = document["memory"]
    memory["measured"] = memory["measured"] or monitor.host_peak  # by samples where the calibration took more than the run
    summary["peak_memory_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    common.emit({"command": "quantize", **summary, "module_reports": [asdict(r) for r in made.report]},
                lambda console: _show(console, summary))


def _show_plan(console: Console, expected: MemoryEstimate) -> None:
    items = [asdict(item) for item in expected.items]
    for where in ("host", "disk"):
        console.print(items_table(items, where))
    for note in expected.notes:
        console.print(f"note: {note}")


def _needs_data(rule: dict[str, Any]) -> bool:
    return (rule.get("method", "default") in {"default", "gptq"} or rule.get("transform", "none") != "none"
            or rule.get("scheme", "").endswith("a8s"))


def _method_for(scheme: Optional[str]) -> str:
    """GPTQ, unless it does not make such codes."""
    found = preset(scheme) if scheme else None
    if found is None or found.code in {"int", "nf4", "fp4", "fp8", *BLOCKS}:
        return "hqq" if found is not None and found.float_zero else "gptq"
    return "rtn"


def calibration_words(calib: tuple[str, ...]) -> tuple[Optional[str], list[str]]:
    modes = [word for word in calib if word in MODES]
    files = [word for word in calib if word not in MODES]
    if len(modes) > 1:
        raise click.UsageError(f"--calib {' and --calib '.join(modes)} contradict each other")
    if modes and (modes[0] == "self") == bool(files):
        raise click.UsageError(f"--calib {modes[0]} {'takes no file' if files else 'needs a --calib FILE with text or tokens'}")
    return (modes[0] if modes else None), files


def make_calibration(common: Common, model: Model, mode: Optional[str], files: list[str], samples: int, length: Optional[int], seed: int,
                 progress: Any) -> Calibration:
    saved = [file for file in files if _is_saved(file)]
    if not saved:
        return Calibration.for_model(model, files, mode, samples, length, seed, progress)
    if len(files) > 1 or mode:
        raise click.UsageError(f"{saved[0]} holds a whole calibration: nothing can be added to it")
    return Calibration.load(saved[0], common.context)


def _is_saved(file: str) -> bool:
    """Whether a file is what Calibration.save() writes: by its first bytes, so that any name will do."""
    try:
        with open(file, "rb") as stream:
            return stream.read(len(_SAVED_MAGIC)) == _SAVED_MAGIC
    except OSError as problem:
        raise IoError(f"{file}: {problem.strerror}") from None


_SAVED_MAGIC = b"QZTOKENS"


def _read(file: str) -> str:
    try:
        return pathlib.Path(file).read_text(encoding="utf-8")
    except OSError as problem:
        raise IoError(f"{file}: {problem.strerror}") from None
    except UnicodeDecodeError:
        raise BadFile(f"{file}: not UTF-8 text") from None


def _summary(model: Model, made: Model, source: str, out: str) -> dict[str, Any]:
    sizes = {module.name: module.rows * module.cols for module in model.modules}
    solved = [r for r in made.report if r.method != "keep"]
    weights = sum(sizes[r.name] for r in solved)
    return {"model": source, "out": out, "modules": len(solved), "modules_kept": len(sizes) - len(solved),
            "bits_per_weight": 8 * sum(r.bytes_after for r in solved) / weights if weights else None,
            "bytes_before": _weight_bytes(source), "bytes_after": _weight_bytes(out), "output_error": _mean(r.output_error for r in solved),
            "rtn_output_error": _mean(r.rtn_output_error for r in solved), "fallbacks": [r.name for r in solved if r.fell_back]}


def _mean(values: Any) -> Optional[float]:
    """Of those that were measured."""
    finite = [value for value in values if math.isfinite(value)]
    return sum(finite) / len(finite) if finite else None


def _weight_bytes(directory: str) -> int:
    path = pathlib.Path(directory)
    if path.is_file():
        return path.stat().st_size
    return sum(file.stat().st_size for end in ("safetensors", "gguf") for file in path.glob(f"*.{end}"))


def _show(console: Console, s: dict[str, Any]) -> None:
    rows = [("modules", f"{s['modules']} quantized, {s['modules_kept']} kept"),
            ("bits per weight", "-" if s["bits_per_weight"] is None else f"{s['bits_per_weight']:.3f}"),
            ("weight files", f"{megabytes(s['bytes_before'])} -> {megabytes(s['bytes_after'])}")]
    if s["output_error"] is not None and s["rtn_output_error"]:
        rows.append(("output error", f"{s['output_error']:.3g}, {s['output_error'] / s['rtn_output_error']:.2f} of rounding to nearest "
                                     f"({s['rtn_output_error']:.3g})"))
    if s["calibration"]:
        rows.append(("calibration", f"{s['calibration']['sequences']} sequences, {s['calibration']['tokens']} tokens"))
    rows += [("fallbacks", ", ".join(s["fallbacks"]) or "none"), ("time", f"{s['seconds']:.1f} s"),
             ("of which", seconds_words(s["run_seconds"])),
             ("peak memory", memory_words(s["memory"])),
             ("written", f"{s['out']} ({s['format']})")]
    console.print(pairs(rows))
