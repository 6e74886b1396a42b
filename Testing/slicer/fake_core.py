# ruff: noqa: T201 - a command line speaks by printing
"""Stands in for the core's command line: `fake_core.py BEHAVIOUR [ARGUMENT…]`, one behaviour per test."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path


def tell(stage, fraction, seconds_left):
    print(json.dumps({"stage": stage, "fraction": fraction, "seconds_left": seconds_left}), flush=True)


def succeed(text):
    tell("préparation", 0.25, 1.5)
    print(text, flush=True)
    tell("inpainting", 1.0, None)


def chatter(count):
    sys.stdout.write("".join(f"{number}\n" for number in range(int(count))))


def flood(count):
    tell_now("flooding", 0.1)
    for number in range(int(count)):
        sys.stdout.write(f"line {number}\n")
    tell_now("preview ready", 0.2)
    tell_now("dry again", 0.3)


def tell_now(stage, fraction):
    sys.stdout.write(json.dumps({"stage": stage, "fraction": fraction}) + "\n")


def endless_line(length):
    sys.stdout.write("x" * int(length))


def race(count):
    for number in range(int(count)):
        tell_now("running", (number + 1) / int(count))


def halting():
    sys.stdout.write('{"stage": "cut in')
    sys.stdout.flush()
    time.sleep(0.2)
    sys.stdout.write(' two", "fraction": 0.5}\n')


def gibberish():
    sys.stdout.buffer.write(b"\xff\xfe\x00\n\x80\nand on\n")


def lack_a_package():
    import scikit_nothing.parts  # noqa: F401


def leave(code):
    sys.exit(int(code))


def refuse():
    print("a warning before the end", file=sys.stderr)
    print("Error: scan.nrrd holds no brain;\nchoose a T1 scan of a head.", file=sys.stderr)
    sys.exit(2)


def crash():
    raise ZeroDivisionError("a bug")


def vanish():
    os.kill(os.getpid(), signal.SIGKILL)


def sleep(seconds):
    tell("sleeping", 0.0, None)
    time.sleep(float(seconds))


def family(pid_file, is_stubborn):
    """A child that waits, and a grandchild; both ignore the polite signal when stubborn."""
    if is_stubborn == "yes":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    child = subprocess.Popen([sys.executable, "-c", _GRANDCHILD, is_stubborn])
    Path(pid_file).write_text(f"{os.getpid()} {child.pid}", encoding="utf-8")
    time.sleep(60)


def orphan():
    """Ends at once; the grandchild goes on and holds the pipe open."""
    subprocess.Popen([sys.executable, "-c", _GRANDCHILD, "no"])


_GRANDCHILD = """
import signal, sys, time
if sys.argv[1] == "yes":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
time.sleep(60)
"""


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
