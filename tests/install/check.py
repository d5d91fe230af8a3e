"""The installed package finds the installed program and loads what it compiled: check.py PROGRAM LIBRARY"""

import os
import sys

import cnnc

program, library = sys.argv[1:]
assert os.path.samefile(cnnc.find_program(), program), cnnc.find_program()
with cnnc.load(library) as net:
    assert [t.name for t in net.inputs] == ["image"] and net.can_train
