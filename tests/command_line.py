"""The command line, each call in a process of its own that is forked from one that has imported
evoml and all that it uses: a call costs what it does, not what it imports.

What is about processes and imports themselves is tested with `python -m evoml`.
"""

import json
import os
import sys
import tempfile
import traceback
from functools import cache
from pathlib import Path
from pkgutil import walk_packages
from subprocess import PIPE, CompletedProcess, Popen
from typing import Any, NoReturn


def evoml(*arguments: object, cwd: Path | None = None, path: str = "") -> "CompletedProcess[str]":
    """What `python -m evoml ...` writes, and its status, with nothing on its standard input.

    path: a folder in front of those that modules are looked for in; rows that it adds to tables
    which have been imported are not seen.
    """
    words = [str(each) for each in arguments]
    with tempfile.TemporaryDirectory() as folder:
        paths = [f"{folder}/out", f"{folder}/err"]
        status = _server()(
            {
                "arguments": words,
                "cwd": str(cwd or Path.cwd()),
                "environment": os.environ | {"PYTHONPATH": _joined(path)},
                "outputs": paths,
            }
        )
        out, err = (Path(path).read_text(encoding="utf-8") for path in paths)
    return CompletedProcess(["evoml", *words], status, out, err)


def _joined(path: str) -> str:
    """A folder in front of Python's path, as the environment has it."""
    return os.pathsep.join(filter(None, [path, os.environ.get("PYTHONPATH")]))


@cache
def _server() -> Any:
    """What has a call done by the server: its status. One server a process that runs tests."""
    process = Popen(
        [sys.executable, "-c", "import command_line; command_line.serve()"],
        stdin=PIPE,
        stdout=PIPE,
        env=os.environ | {"PYTHONPATH": _joined(str(Path(__file__).parent))},
    )

    def ask(call: dict[str, Any]) -> int:
        assert process.stdin is not None and process.stdout is not None
        process.stdin.write(json.dumps(call).encode() + b"\n")
        process.stdin.flush()
        return int(process.stdout.readline())

    return ask


def serve() -> None:
    """Import everything, then fork for every line of standard input, until that ends."""
    import pyarrow.pandas_compat  # noqa: F401
    import sklearn.datasets  # noqa: F401

    import evoml

    for module in walk_packages(evoml.__path__, "evoml."):
        if module.name != "evoml.workers.__main__":
            __import__(module.name)
    of_tests = os.environ["PYTHONPATH"].split(os.pathsep)
    sys.path[:] = [each for each in sys.path[1:] if each not in of_tests]
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            _call(**json.loads(line))
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _call(
    arguments: list[str], cwd: str, environment: dict[str, str], outputs: list[str]
) -> NoReturn:
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    for descriptor, path in enumerate(outputs, 1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), descriptor)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.path[:0] = ["", *filter(None, environment["PYTHONPATH"].split(os.pathsep))]
    sys.argv = ["evoml", *arguments]
    from evoml.__main__ import main

    status: Any = 1
    try:
        main()
    except SystemExit as end:
        status = end.code or 0
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
