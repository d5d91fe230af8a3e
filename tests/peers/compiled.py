"""The side of cnnc: its program, and what it compiles."""
import os
import re
import subprocess
import sys

from onnx_runtime import ROOT

sys.path.insert(0, os.path.join(ROOT, "python"))
import cnnc  # noqa: E402


class Refused(Exception):
    """What cnnc said: it does not take the network."""


class Broken(Exception):
    """It ended otherwise."""


def run(*arguments):
    try:
        done = subprocess.run([cnnc.find_program(), *arguments], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              errors="replace", timeout=100)
    except subprocess.TimeoutExpired:
        raise Broken("cnnc takes more than 100 seconds") from None
    if done.returncode == 1:
        raise Refused(done.stderr.strip())
    if done.returncode != 0:
        raise Broken(f"cnnc ends with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


def options_for(seed):
    """Most at the default level; now and then the others, and a machine with narrower vectors."""
    return {3: ["-O0"], 5: ["-O3"], 7: ["-march=x86-64-v3"], 9: ["-O1"]}.get(seed % 10, ["-O2"])


def gradient_text(text, learnt, seeds, wanted):
    """From a network's text to that of two functions: inputs' gradients, and parameters'; only those in `wanted`.

    Inputs named in `learnt` become parameters; the loss is the sum of all outputs, each times a further input "r0", "r1", ...
    of its shape (`seeds`: how many).
    """
    head, body = text.split("{\n", 1)
    head, signature = head.split("(", 1)
    signature = signature.rsplit(")", 1)[0]
    inputs = re.findall(r"(%\S+): (\S+)((?: at \"[^\"]*\":\d+:\d+)?)", signature)
    body = body[:body.rindex("}")]
    outputs = [name.strip() for line in re.findall(r"^  output (.*)$", body, re.M) for name in line.split(",")]
    body = re.sub(r"^  output .*\n", "", body, flags=re.M)
    types = dict(inputs_type[:2] for inputs_type in inputs)
    for names, shown in re.findall(r"^  (%[^=]*) = .* : ((?:\w+\[[^\]]*\](?:, )?)+)", body, re.M):
        types.update(zip(names.split(", "), re.findall(r"\w+\[[^\]]*\]", shown)))
    if len(outputs) != seeds:
        raise Broken(f"{len(outputs)} outputs instead of {seeds}")
    kept = [i for i in inputs if i[0][1:] not in learnt]
    parameters = [i for i in inputs if i[0][1:] in learnt]
    for name, _, _ in parameters:
        body = re.sub(re.escape(name) + r"(?![\w.])", "@" + name[1:], body)
    declared = "".join(f"  parameter @{name[1:]}: {kind} = zero{where}\n" for name, kind, where in parameters)
    loss = []
    for i, output in enumerate(outputs):
        kind = types[output]
        rank = kind.count(",") + 1 if not kind.endswith("[]") else 0
        at = ",".join(f"i{d}" for d in range(rank))
        loss.append(f'  %part{i} = formula {output}, %r{i} {{inputs = ["y[...]", "r[...]"], outputs = ["loss[]"], '
                    f'text = "loss[] += y[{at}] * r[{at}]"}} : f32[]\n')
    total = "%part0"
    for i in range(1, len(outputs)):
        loss.append(f"  %sum{i} = add {total}, %part{i} : f32[]\n")
        total = f"%sum{i}"
    signature = ", ".join([f"{name}: {kind}" for name, kind, _ in kept] +
                          [f"%r{i}: {types[output]}" for i, output in enumerate(outputs)])
    functions = []
    for suffix, ours in (("", kept), (".gradients", parameters)):
        names = ", ".join(f'"{name[1:]}"' for name, _, _ in ours if name[1:] in wanted)
        train = f"  train {total} {{gradients = [{names}]}}\n" if names else ""
        if names or not suffix:
            functions.append(f"{head}{suffix}({signature}) {{\n{declared}{body}{''.join(loss)}  output {total}\n{train}}}\n")
    return "\n".join(functions)
