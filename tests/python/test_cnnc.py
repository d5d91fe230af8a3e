"""The package as its users call it: compiled here, and compared with NumPy or with itself."""

import os
import subprocess
import sys
import tempfile
import threading
import unittest
from pathlib import Path

try:
    import numpy as np
except ImportError:
    print("skipped: NumPy is not installed (python3-numpy)")
    sys.exit(77)

import cnnc

SMALL = """
name: small
input: {image: [1, 8, 8]}
layers:
  - conv2d: {filters: 4, kernel: 3, padding: same}
  - relu
  - max_pool2d: {kernel: 2}
  - flatten
  - dense: {units: 4}
  - softmax
train:
  loss: cross_entropy
  optimizer: {sgd: {learning_rate: 0.1, momentum: 0.9}}
"""

TWO = """
net @two(%a: f32[n,2,3], %b: f32[n,2,3]) {
  %sum = add %a, %b : f32[n,2,3]
  %product = mul %a, %b : f32[n,2,3]
  output %sum, %product
}
"""


class Cases(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.kept = tempfile.TemporaryDirectory()
        cls.folder = Path(cls.kept.name)
        (cls.folder / "small.yaml").write_text(SMALL)
        cls.library = cls.folder / "small.so"
        cnnc.compile(cls.folder / "small.yaml", cls.library, train=True).close()

    @classmethod
    def tearDownClass(cls):
        cls.kept.cleanup()

    def images(self, count=5, seed=1):
        return np.random.default_rng(seed).random((count, 1, 8, 8), np.float32)

    def test_forward_is_what_numpy_says(self):
        with cnnc.load(self.library) as net:
            x = self.images(3)
            p = {name: net.parameters[name].astype(np.float64) for name in net.parameters}
            padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
            windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))
            y = np.einsum("nchwij,ocij->nohw", windows, p["conv1.weight"]) + p["conv1.bias"][:, None, None]
            y = np.maximum(y, 0).reshape(3, 4, 4, 2, 4, 2).max(axis=(3, 5)).reshape(3, -1)
            names = [n for n in p if n.startswith("dense") and n.endswith("weight")]
            y = y @ p[names[0]].T + p[names[0].replace("weight", "bias")]
            y = np.exp(y - y.max(1, keepdims=True))
            np.testing.assert_allclose(net(x), y / y.sum(1, keepdims=True), rtol=2e-5)
            self.assertEqual(list(net.forward(image=x)), ["softmax"])

    def test_conversions_do_not_change_the_answer(self):
        with cnnc.load(self.library) as net:
            x = self.images()
            wanted = net(x)
            np.testing.assert_array_equal(net(x.astype(np.float64)), wanted)
            np.testing.assert_array_equal(net(np.asfortranarray(x)), wanted)
            np.testing.assert_array_equal(net(np.stack([x, x])[0]), wanted)
            np.testing.assert_array_equal(net(x.tolist()), wanted)
            shifted = np.frombuffer(b"." + x.tobytes(), np.uint8)[1:].view(np.float32).reshape(x.shape)
            np.testing.assert_array_equal(net(shifted), wanted)  # at an odd address

    def test_outputs_in_place_and_dlpack(self):
        class Exported:  # a tensor of another library
            def __init__(self, array):
                self.array = array

            def __dlpack__(self, **arguments):
                return self.array.__dlpack__(**arguments)

            def __dlpack_device__(self):
                return self.array.__dlpack_device__()

        class Elsewhere(Exported):
            def __dlpack_device__(self):
                return (2, 0)

        with cnnc.load(self.library) as net:
            x = self.images()
            wanted = net(x)
            target = np.zeros_like(wanted)
            self.assertIs(net.forward(x, out={"softmax": target})["softmax"], target)
            np.testing.assert_array_equal(target, wanted)
            np.testing.assert_array_equal(net(Exported(x)), wanted)
            target = np.zeros_like(wanted)
            net.forward(Exported(x), out={"softmax": Exported(target)})
            np.testing.assert_array_equal(target, wanted)
            np.testing.assert_array_equal(np.from_dlpack(net(x)), wanted)
            with self.assertRaisesRegex(TypeError, "another device"):
                net(Elsewhere(x))
            frozen = np.zeros_like(wanted)
            frozen.flags.writeable = False
            for bad in (frozen, np.zeros((4, 4), np.float32), np.zeros((5, 4)), np.zeros((4, 5), np.float32).T):
                with self.assertRaisesRegex(ValueError, "must be a writable, contiguous array"):
                    net.forward(x, out={"softmax": bad})
            with self.assertRaisesRegex(TypeError, "no output 'other'"):
                net.forward(x, out={"other": target})

    def test_training_lowers_the_loss(self):
        with cnnc.load(self.library, seed=3) as net:
            x, label = self.images(16), np.arange(16) % 4  # int64: converted
            loss, gradients = net.gradients(x, label)
            self.assertEqual(set(gradients), set(net.parameters))
            name = next(n for n in gradients if n.endswith("bias"))
            before = net.parameters[name]
            step = before.copy()
            step[0] += 1e-2
            net.parameters[name] = step
            self.assertAlmostEqual((net.gradients(x, label)[0] - loss) / 1e-2, gradients[name][0], delta=1e-2)
            net.parameters[name] = before
            first = net.train_step(image=x, label=label)
            self.assertAlmostEqual(first, loss, places=6)
            for _ in range(150):
                last = net.train_step(image=x, label=label)
            self.assertLess(last, first / 2)
            self.assertEqual(int(net.states["step"]), 151)
            net.learning_rate = 0.5
            self.assertEqual(net.learning_rate, 0.5)
            net.init(3)
            self.assertAlmostEqual(net.train_step(x, label), first, places=6)

    def test_weights_survive_a_file_and_the_library(self):
        with cnnc.load(self.library, seed=9) as net:
            file = self.folder / "w.safetensors"
            net.save(file)
            x = self.images()
            wanted = net(x)
            with cnnc.load(self.library, weights=file) as other:
                np.testing.assert_array_equal(other(x), wanted)
                other.parameters["conv1.bias"] = np.ones(4)
                self.assertFalse(np.array_equal(other(x), wanted))
            with cnnc.compile(self.folder / "small.yaml", weights=file, level=1) as inside:
                np.testing.assert_allclose(inside(x), wanted, rtol=1e-5)
                inside.parameters["conv1.bias"] += 1
                self.assertFalse(np.allclose(inside(x), wanted, rtol=1e-5))
                np.testing.assert_array_equal(inside.parameters["conv1.bias"], net.parameters["conv1.bias"] + 1)

    def test_several_inputs_and_outputs(self):
        (self.folder / "two.ir").write_text(TWO)
        with cnnc.compile(self.folder / "two.ir") as net:
            a, b = np.random.default_rng(2).random((2, 4, 2, 3), np.float32)
            out = net(b=b, a=a)
            self.assertEqual(list(out), ["sum", "product"])
            np.testing.assert_array_equal(out["sum"], a + b)
            np.testing.assert_array_equal(out["product"], a * b)
            for arguments, named, message in (
                ((a,), {}, "missing inputs: b"),
                ((a, b, a), {}, "takes 2 inputs"),
                ((a,), {"a": b}, "given twice"),
                ((a,), {"c": b}, "not one of a, b"),
            ):
                with self.assertRaisesRegex(TypeError, message):
                    net(*arguments, **named)
            with self.assertRaisesRegex(ValueError, "with n = 4"):
                net(a, b[:3])

    def test_wrong_arguments(self):
        with cnnc.load(self.library) as net:
            for shape in ((1, 8, 8), (0, 1, 8, 8), (2, 1, 8, 9), (2, 2, 8, 8)):
                with self.assertRaisesRegex(ValueError, r"image: float32\[n,1,8,8\] gets an array"):
                    net(np.zeros(shape, np.float32))
            with self.assertRaises(TypeError):
                net(np.zeros((1, 1, 8, 8), complex))
            with self.assertRaisesRegex(cnnc.Error, "label is negative, or not below"):
                net.train_step(self.images(2), np.array([0, 4]))
            with self.assertRaisesRegex(ValueError, "cannot hold"):
                net.train_step(self.images(1), np.array([1 << 32]))
            with self.assertRaisesRegex(ValueError, "cannot be set"):
                net.parameters["conv1.bias"] = np.zeros(5)
            with self.assertRaises(KeyError):
                net.parameters["conv9.bias"]
            with self.assertRaises(cnnc.Error) as raised:
                net.load(self.folder / "missing.safetensors")
            self.assertIn("missing.safetensors", str(raised.exception))
        net.close()
        for call in (lambda: net(self.images()), lambda: net.save("x"), lambda: net.parameters["conv1.bias"]):
            with self.assertRaisesRegex(cnnc.Error, "is closed"):
                call()

    def test_other_files_are_refused(self):
        good = self.library.read_bytes()
        for content in (b"", b"text", good[:64], good[:200], good[:2000], b"\x7fELF\x02\x01" + b"\xff" * 200,
                        Path("/bin/true").read_bytes()):
            (self.folder / "bad.so").write_bytes(content)
            with self.assertRaisesRegex(cnnc.Error, "is not a network that cnnc has compiled"):
                cnnc.load(self.folder / "bad.so")
        with self.assertRaises(FileNotFoundError):
            cnnc.load(self.folder / "missing.so")
        with cnnc.compile(self.folder / "small.yaml") as net, self.assertRaisesRegex(cnnc.Error, "--train"):
            net.train_step(self.images(1), [0])

    def test_compiler_messages(self):
        (self.folder / "bad.yaml").write_text("input: {image: [1, 8, 8]}\nlayers:\n  - relux\n")
        with self.assertRaisesRegex(cnnc.CompileError, "bad.yaml:3:5: error: unknown op 'relux'") as raised:
            cnnc.compile(self.folder / "bad.yaml")
        self.assertEqual(raised.exception.code, 1)
        with self.assertRaises(cnnc.CompileError) as raised:
            cnnc.compile(self.folder / "small.yaml", options=["--no-such-option"])
        self.assertEqual(raised.exception.code, 2)
        kept = os.environ.get("CNNC")
        os.environ["CNNC"] = "/nonexistent/cnnc"
        try:
            with self.assertRaisesRegex(cnnc.CompileError, "cannot run /nonexistent/cnnc"):
                cnnc.compile(self.folder / "small.yaml")
        finally:
            os.environ.pop("CNNC")
            if kept:
                os.environ["CNNC"] = kept

    def test_a_library_compiled_again_is_loaded_again(self):
        path = self.folder / "again.so"
        (self.folder / "again.yaml").write_text(SMALL)
        first = cnnc.compile(self.folder / "again.yaml", path)
        (self.folder / "again.yaml").write_text(SMALL.replace("filters: 4", "filters: 7"))
        with first, cnnc.compile(self.folder / "again.yaml", path) as second, cnnc.load(path) as third:
            shapes = [n.parameters["conv1.weight"].shape[0] for n in (first, second, third)]
            self.assertEqual(shapes, [4, 7, 7])

    def test_many_threads_on_one_network(self):
        with cnnc.load(self.library, threads=2) as net:
            x, label = self.images(16), np.arange(16) % 4
            wanted = net(x)
            wrong, done = [], []

            def read():
                for _ in range(200):
                    if not np.array_equal(net(x), wanted):
                        wrong.append("forward")
                done.append(1)

            threads = [threading.Thread(target=read) for _ in range(8)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual((wrong, len(done)), ([], 8))

            threads = [threading.Thread(target=lambda: [net.train_step(x, label) for _ in range(20)]) for _ in range(4)]
            threads += [threading.Thread(target=lambda: [net(x) for _ in range(50)]) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(int(net.states["step"]), 80)

    def test_closing_while_others_call(self):
        net = cnnc.load(self.library, threads=2)
        x = self.images(64)
        ends = []

        def call():
            try:
                while True:
                    net(x)
            except cnnc.Error as error:
                ends.append(str(error))

        threads = [threading.Thread(target=call) for _ in range(4)]
        for thread in threads:
            thread.start()
        net.close()
        for thread in threads:
            thread.join()
        self.assertEqual(len(ends), 4)

    def test_the_interpreter_ends_quietly(self):
        code = f"import cnnc; net = cnnc.load({str(self.library)!r}, threads=2)"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        self.assertEqual((done.returncode, done.stderr), (0, ""))


if __name__ == "__main__":
    unittest.main()
