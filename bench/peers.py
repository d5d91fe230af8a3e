"""The programs that cnnc is measured against: found, or fetched into build/peers. Nothing is installed on the machine."""
import glob
import os
import re
import shutil
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
PEERS = os.path.join(ROOT, "build", "peers")
TORCH_PYTHON = "/usr/bin/python3"  # Debian's, which python3-torch belongs to, whatever comes first in PATH


def say(message):
    print(f"{os.path.basename(sys.argv[0])}: {message}", file=sys.stderr, flush=True)


def machine():
    """A line: the processor's name, the widest of its vectors, the cores."""
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        lines = dict(re.findall(r"^(model name|flags)\s*:\s*(.*)$", file.read(), re.M))
    flags = lines.get("flags", "").split()
    vectors = next((name for flag, name in [("avx512f", "AVX-512"), ("avx2", "AVX2"), ("avx", "AVX")] if flag in flags),
                   "SSE")
    return f"{lines.get('model name', 'unknown processor')}, {vectors}, {os.cpu_count()} cores"


def onnx_runtime():
    """The path of libonnxruntime, or None."""
    pattern = os.path.join(PEERS, "node_modules/onnxruntime-node/bin/napi-v*/linux/x64/libonnxruntime.so.1")
    if not glob.glob(pattern) and shutil.which("npm"):
        say("installing onnxruntime-node 1.30 in build/peers")
        os.makedirs(PEERS, exist_ok=True)
        subprocess.run(["npm", "install", "--ignore-scripts", "--silent", "--prefix", PEERS, "onnxruntime-node@1.30"],
                       check=False, stdout=subprocess.DEVNULL)
    found = next(iter(glob.glob(pattern)), None)
    if not found:
        say("skipped ONNX Runtime: onnxruntime-node 1.30 is not in build/peers, and npm could not get it")
    return found


def has_torch():
    if subprocess.run([TORCH_PYTHON, "-c", "import torch, numpy"], check=False, stderr=subprocess.DEVNULL).returncode:
        say(f"skipped PyTorch: {TORCH_PYTHON} has no torch (apt-get install python3-torch)")
        return False
    return True


def open_blas():
    """The folder of an OpenBLAS for PyTorch, unpacked here and not installed: the machine's choice stays as it is."""
    pattern = os.path.join(PEERS, "openblas/usr/lib/*/openblas-pthread/libblas.so.3")
    if not glob.glob(pattern) and shutil.which("apt-get"):
        folder = os.path.join(PEERS, "openblas")
        os.makedirs(folder, exist_ok=True)
        say("unpacking OpenBLAS in build/peers")
        subprocess.run(["apt-get", "download", "-qq", "libopenblas0-pthread"], cwd=folder, check=False,
                       stderr=subprocess.DEVNULL)
        for package in glob.glob(os.path.join(folder, "*.deb")):
            subprocess.run(["dpkg-deb", "-x", package, folder], check=False)
    found = next((os.path.dirname(path) for path in glob.glob(pattern)), None)
    if not found:
        say("WARNING: no OpenBLAS: PyTorch may run on the slow reference BLAS, and its row is then no fair comparison")
    return found


def torch_environments(threads):
    """What PyTorch 1.13 may be fastest with: [(what, environment)]."""
    large, blas = str(1 << 30), open_blas()
    for malloc in (False, True):
        for capability in ("", "avx512"):
            env = dict(os.environ, OMP_NUM_THREADS=str(threads), OPENBLAS_NUM_THREADS=str(threads))
            if blas:
                env["LD_LIBRARY_PATH"] = blas
            if malloc:  # freed memory is kept instead of being faulted in again at each call
                env.update(MALLOC_TRIM_THRESHOLD_=large, MALLOC_MMAP_THRESHOLD_=large)
            if capability:  # without it, 1.13 uses AVX2 alone in its own loops
                env["ATEN_CPU_CAPABILITY"] = capability
            yield ", ".join(filter(None, ["malloc keeps" if malloc else "", capability])), env
