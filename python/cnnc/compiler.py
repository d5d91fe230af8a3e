"""Runs the program cnnc."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from .interface import Error
from .network import load


class CompileError(Error):
    """What cnnc said; `code` is its exit code: 1 the input is wrong, 2 the options are, 3 a file."""


def find_program():
    """$CNNC, else beside this package (an installation, or a source tree with its build), else in PATH."""
    given = os.environ.get("CNNC")
    if given:
        return given
    for folder in Path(__file__).resolve().parents:
        for place in ("bin/cnnc", "build/release/compiler/cnnc", "build/dev/compiler/cnnc"):
            if os.access(folder / place, os.X_OK):
                return str(folder / place)
    found = shutil.which("cnnc")
    if not found:
        raise CompileError("the program cnnc was not found: set CNNC to its path", 3)
    return found


def compile(path, output=None, *, train=False, weights=None, level=None, march=None, targets=None, options=(),
            threads=1, seed=1):
    """Compiles a network file and loads the library.

    output: where the library stays, with its header beside it; without it nothing stays.
    weights: embedded parameters. level: 0 to 3. march: as -march. targets: several of
    them, as --targets. options: more arguments for cnnc.
    threads, seed: as for load().
    """
    if output is None:
        with tempfile.TemporaryDirectory(prefix="cnnc-") as folder:
            # A loaded library lives on without its name.
            return compile(path, os.path.join(folder, Path(path).stem + ".so"), train=train, weights=weights,
                           level=level, march=march, targets=targets, options=options, threads=threads, seed=seed)
    command = [find_program(), os.fspath(path), "-o", os.fspath(output)]
    command += ["--train"] if train else []
    command += ["--weights", os.fspath(weights)] if weights is not None else []
    command += [f"-O{level}"] if level is not None else []
    command += [f"-march={march}"] if march is not None else []
    command += ["--targets", targets if isinstance(targets, str) else ",".join(targets)] if targets is not None else []
    command += [str(option) for option in options]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace")
    except OSError as error:
        raise CompileError(f"cannot run {command[0]}: {error.strerror}", 3) from None
    if done.returncode != 0:
        raise CompileError(done.stderr.strip() or f"{command[0]} ended with {done.returncode}", done.returncode)
    return load(output, threads=threads, seed=seed)
