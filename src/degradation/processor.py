"""What the processor computes in hardware, as Linux tells it."""

import os
import re
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")  # on Linux alone

# With oneDNN limited to one of these, bfloat16 is emulated, or not there at all.
_WITHOUT_BF16 = {
    *("SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2", "AVX512_CORE", "AVX512_CORE_VNNI")
}


def cpu_has_bf16() -> bool:
    """Say whether TensorFlow multiplies bfloat16 in hardware here; False where Linux cannot tell.

    That needs an x86 processor, and an environment that lets oneDNN use it: on ARM TensorFlow does
    not hand bfloat16 to oneDNN.
    """
    if os.environ.get("TF_ENABLE_ONEDNN_OPTS", "").lower() in ("0", "false"):
        return False
    limit = os.environ.get("ONEDNN_MAX_CPU_ISA") or os.environ.get("DNNL_MAX_CPU_ISA", "")
    if limit.upper() in _WITHOUT_BF16:
        return False
    return not {"amx_bf16", "avx512_bf16"}.isdisjoint(cpuinfo("flags").split())


def cpu_precision(asked: str = "auto") -> str:
    """Return the precision that a run trains in on the processor, by its `runtime.precision`."""
    return asked if asked != "auto" else "bfloat16" if cpu_has_bf16() else "float32"


def cpuinfo(key: str) -> str:
    """Return the first value of `key` in /proc/cpuinfo, or ""."""
    text = _CPUINFO.read_text() if _CPUINFO.exists() else ""
    found = re.search(rf"^{key}\s*:(.*)", text, re.MULTILINE)
    return found[1].strip() if found else ""
