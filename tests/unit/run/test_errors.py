"""What counts as a lack of memory, in the words of each allocator."""

import pytest
import torch

from pytest_dlcheck.run.errors import ending_of


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 3.00 GiB."),
        MemoryError(),
        RuntimeError(
            "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: "
            "you tried to allocate 4398046511104 bytes. Error code 12 (Cannot allocate memory)"
        ),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes."),
        RuntimeError("MPS backend out of memory (MPS allocated: 8 GB)"),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    ],
)
def test_no_memory_left_is_an_ending_of_its_own(error):
    ending = ending_of(error, "forward", 3, None)
    assert (ending.kind, ending.step, ending.where) == ("out_of_memory", 3, "forward")
    assert ending.message.endswith("; use a smaller batch or model, or another device")


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), ValueError("I am out of memory cards")]
)
def test_other_errors_are_told_as_raised(error):
    assert ending_of(error, "forward", 3, None).kind == "raised"
