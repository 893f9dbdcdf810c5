"""tools/gpu/compile reads what ptxas says (lines of nvcc 13.0.88) and refuses kernels that are silently slow."""
import importlib.machinery
import importlib.util
import pathlib

TOOL = pathlib.Path(__file__).resolve().parents[2] / "tools/gpu/compile"
loader = importlib.machinery.SourceFileLoader("gpu_compile", str(TOOL))
compile_tool = importlib.util.module_from_spec(importlib.util.spec_from_loader("gpu_compile", loader))
loader.exec_module(compile_tool)

GOOD = """ptxas info    : 0 bytes gmem
ptxas info    : Compiling entry function '_Z6streamv' for 'sm_90a'
ptxas info    : Function properties for _Z6streamv
    0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
ptxas info    : Used 126 registers, used 1 barriers, 8708 bytes smem
ptxas info    : Compile time = 10.358 ms
"""


def test_what_a_kernel_uses():
    assert compile_tool.kernels(GOOD) == [
        {"kernel": "_Z6streamv", "arch": "sm_90a", "registers": 126, "stack": 0, "spills": 0, "shared": 8708}]
    assert compile_tool.problems(GOOD, ["90a"]) == []


def test_spills_and_arrays_in_memory_are_refused():
    spilled = GOOD.replace("0 bytes spill stores, 0 bytes", "24 bytes spill stores, 36 bytes")
    assert "60 bytes spilled" in compile_tool.problems(spilled, ["90a"])[0]
    indexed = GOOD.replace("0 bytes stack", "16 bytes stack")
    assert "stack frame of 16 bytes" in compile_tool.problems(indexed, ["90a"])[0]


def test_serialized_matrix_instructions_are_refused():
    line = ("ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to insufficient "
            "register resources for the wgmma pipeline in function '_Z6streamv'\n")
    assert compile_tool.problems(GOOD + line, ["90a"])


def test_silence_is_no_success():
    assert "no kernel for sm_80" in compile_tool.problems(GOOD, ["80", "90a"])[0]
