"""Thousands of damaged files, from a seed: every one gives a right answer or one line, and none a
traceback, a wait or the execution of anything.
"""

import gzip
import io
import json
import os
import random
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from command_line import evoml

from evoml.archive.files import read_config, read_result
from evoml.config import build, read_toml
from evoml.core import errors
from evoml.core.errors import InputError
from evoml.networks.latency import Table
from evoml.search.open import open_search, resume
from evoml.search.problem import open_file, stored_problem
from evoml.search.winner import final_problem, kept, train_final
from evoml.tasks import examples, images, projected_binary, table

CASES, CASES_OF_RUNS = 300, 70  # damaged copies of each file, and of each in a run
ARCHITECTURES = {
    "system": "amoebanet",
    "search": {"budget": 3},
    "workers": 1,
    "space": {"blocks": 1, "skeleton": {"cells": 0, "filters": 2}},
    "strategy": {"population": 2, "tournament": 1},
    "evaluator": {"epochs": 1},
    "task": {"examples": 100, "size": 4},
}
NETWORKS = {
    "system": "neat",
    "search": {"budget": 90, "stop_at": "none"},
    "strategy": {"population": 30},
    "workers": 1,
}
TINY = ("test", {"space": {"skeleton": {"cells": 0, "filters": 2}}, "evaluator": {"epochs": 1}})


def searched(folder: Path, values: dict[str, Any]) -> Path:
    search = open_search(build(("test", values)), folder)
    search.create()
    search.prepare()
    search.run()
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of every kind of file."""
    out = tmp_path_factory.mktemp("damage")
    run = searched(out / "architectures", ARCHITECTURES)
    problem = stored_problem(run)
    genotype = problem.archive(run).best(1)[0][0]["genotype"]
    train_final(final_problem(problem, [TINY], "final"), genotype, run)
    (out / "genotype.toml").write_text(problem.space.format(genotype))
    searched(out / "networks", NETWORKS)
    rng = np.random.default_rng(0)
    x, labels = rng.normal(size=(40, 2)).round(3), np.arange(40) % 2
    rows = "\n".join(f"{a},{b},{'yx'[c]}" for (a, b), c in zip(x, labels, strict=True))
    (out / "table.csv").write_text("a,b,c\n" + rows)
    (out / "table.csv.gz").write_bytes(gzip.compress(("a,b,c\n" + rows).encode()))
    pq.write_table(pa.table({"a": x[:, 0], "b": x[:, 1], "c": labels}), out / "table.parquet")
    np.savez(out / "table.npz", inputs=x, targets=labels)
    pixels = rng.integers(0, 255, (40, 4, 4)).astype(np.uint8)
    np.savez_compressed(out / "images.npz", images=pixels, labels=np.arange(40) % 4)
    done = evoml(
        "latency", "proxylessnas", "--repeats", "1", "--set", "space.widths=[4]", "--set",
        "space.blocks=[1]", "--set", "space.strides=[1]", "--set", "space.kernels=[3]",
        "-o", out / "latency.parquet",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return out


def table_task(path: Path) -> None:
    examples.ExamplesTask(examples.Settings(), path, 0).test()


def network(path: Path) -> None:
    run = path.parents[1]
    problem = stored_problem(run)
    kept(run, problem.archive(run).best(1)[0][0]["genotype"])


def show(path: Path) -> None:
    """What `evoml show` and the pictures read, in this process."""
    from evoml.commands.show import show as show_
    from evoml.export import species

    run = path.parent
    read_result(run)
    show_(run, 3, True)
    if run.name.startswith("networks"):
        species.svg(run, "damaged")


def go_on(path: Path) -> None:
    run = path.parent if path.parent.name != "checkpoint" else path.parents[1]
    resume(run)


# where a file is in the fixture's folder, and who reads it
READERS: dict[str, Callable[[Path], object]] = {
    "genotype.toml": open_file,
    "table.csv": table_task,
    "table.csv.gz": table_task,
    "table.parquet": table_task,
    "table.npz": table_task,
    "images.npz": lambda path: images.ImagesTask(images.Settings(), path, 0).search(),
    "latency.parquet": Table.read,
    "architectures/run.toml": lambda path: (read_toml(path), read_config(path.parent), show(path)),
    "architectures/part-000000.parquet": show,
    "architectures/result.json": show,
    "architectures/final/weights.safetensors": network,
    "architectures/checkpoint/state.safetensors": go_on,
    "networks/run.toml": lambda path: (show(path), go_on(path)),
    "networks/events.jsonl": show,
    "networks/part-000000.parquet": lambda path: (show(path), go_on(path)),
    "networks/checkpoint/state.safetensors": go_on,
}


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Bytes flipped, cut off, taken out, put in or repeated; numbers and words made others."""
    out = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(out)) if out else 0
        span = rng.randrange(1, 1 + max(1, min(40, len(out) // 4)))
        kind = rng.randrange(7)
        if kind == 0 and out:
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1:
            del out[at:]
        elif kind == 2:
            del out[at : at + span]
        elif kind == 3:
            out[at:at] = rng.randbytes(span)
        elif kind == 4:
            out[at:at] = out[at : at + span] * rng.randrange(1, 5)
        elif kind == 5:
            digits = [place for place, byte in enumerate(out) if chr(byte).isdigit()]
            if digits:
                place = rng.choice(digits)
                out[place : place + 1] = rng.choice(
                    (b"-1", b"9" * 30, b"nan", b"1e999", b"0", b'"x"')
                )
        else:
            out[at : at + span] = rng.choice((b"\x1b[2J", b"\x00" * span, b"[" * 3000, b"\xff\xfe"))
    return bytes(out)


@pytest.fixture
def nothing_is_executed(monkeypatch: pytest.MonkeyPatch) -> None:
    """What would run a file's content."""

    def refuse(*_: object, **__: object) -> None:
        pytest.fail("something of the file was executed")

    monkeypatch.setattr(torch, "load", refuse)
    monkeypatch.setattr(os, "system", refuse)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.usefixtures("nothing_is_executed")
def test_damaged_files_give_a_line_or_a_right_answer(
    place: Path, tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    rng, read = random.Random(name), READERS[name]
    top = name.split("/")[0]
    copy = tmp_path / top
    if (place / top).is_dir():
        shutil.copytree(place / top, copy)
    content, said = (place / name).read_bytes(), 0
    path = tmp_path / name
    count = CASES_OF_RUNS if "/" in name else CASES
    for case in range(count):
        path.write_bytes(damaged(content, rng))
        try:
            read(path)
        except InputError as error:
            said += 1
            assert "\n" not in str(error) and str(error), (case, str(error))
        capsys.readouterr()
    # damage is seen, but where `show` goes on without what it cannot read
    assert said > count // 12 or read is show


def bomb(path: Path, name: str, shape: tuple[int, ...], dtype: str = "<f8") -> Path:
    """An .npz whose array is zeros, which pack a thousand times."""
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, {"descr": dtype, "fortran_order": False, "shape": shape}
    )
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(f"{name}.npy", "w", force_zip64=True) as stream:
            stream.write(header.getvalue())
            for _ in range(size // 2**16):
                stream.write(bytes(2**16))
        archive.writestr("y.npy", b"")
    return path


@pytest.mark.usefixtures("nothing_is_executed")
def test_what_unpacks_to_more_than_a_machine_has(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a limit of 1 MiB in place of 8 GiB, so that the test's files are small."""
    monkeypatch.setattr(errors, "UNPACKED", 2**20)
    packed = bomb(tmp_path / "bomb.npz", "inputs", (2**18, 1))
    assert packed.stat().st_size < 2**14
    for task, path in (
        (lambda path: table_task(path), packed),
        (
            lambda path: table.TableTask(table.Settings(), path, 0),
            bomb(tmp_path / "t.npz", "ops", (2**15, 6)),
        ),
        (
            lambda path: projected_binary.ProjectedBinaryTask(projected_binary.Settings(), path, 0),
            bomb(tmp_path / "p.npz", "images", (2**15, 8)),
        ),
        (lambda path: images.ImagesTask(images.Settings(), path, 0), tmp_path / "p.npz"),
    ):  # fmt: skip
        with pytest.raises(InputError, match="unpacks to"):
            task(path)
    zeros = pa.table({"a": np.zeros(2**18), "b": np.zeros(2**18)})
    pq.write_table(zeros, tmp_path / "z.parquet", compression="zstd")
    assert (tmp_path / "z.parquet").stat().st_size < 2**14
    for read in (table_task, Table.read):
        with pytest.raises(InputError, match="unpacks to"):
            read(tmp_path / "z.parquet")
    run = shutil.copytree(place / "networks", tmp_path / "run")
    part = pq.read_table(run / "part-000000.parquet")
    many = part.take(np.zeros(20_000, np.int64))
    pq.write_table(many, run / "part-000000.parquet", compression="zstd")
    _, warnings = stored_problem(run).archive(run).best(1)
    assert "skipped" in warnings[0] and "unpacks to" in warnings[0]


@pytest.mark.parametrize(
    "name",
    [
        "run.toml",
        "result.json",
        "events.jsonl",
        "part-000000.parquet",
        "checkpoint/state.safetensors",
    ],
)
def test_a_pipe_in_a_run_is_not_waited_for(place: Path, tmp_path: Path, name: str) -> None:
    run = shutil.copytree(place / "networks", tmp_path / "run")
    (run / name).unlink()
    os.mkfifo(run / name)
    for command in ("show", "resume"):
        done = evoml(command, run)
        assert "Traceback" not in done.stderr and done.returncode in (0, 2)


@pytest.mark.parametrize("suffix", ["csv", "parquet", "npz", "toml"])
def test_pipes_and_devices_where_files_are_expected(tmp_path: Path, suffix: str) -> None:
    pipe = tmp_path / f"pipe.{suffix}"
    os.mkfifo(pipe)
    commands = [("show", pipe)]
    if suffix == "toml":
        commands += [("search", "--config", pipe), ("search", "neat", "--start", pipe)]
        commands += [("search", pipe), ("search", "--config", "/dev/zero")]
    else:
        commands += [("search", "neat", "--task", "examples", "--data", pipe)]
    for command in commands:
        done = evoml(*command)
        assert done.returncode == 2 and done.stderr.count("\n") == 1, done.stderr
        assert "a pipe or a device; it must be a file" in done.stderr


def test_what_a_terminal_obeys_is_shown_and_not_sent(place: Path, tmp_path: Path) -> None:
    escape = "\x1b[2J\x07"
    run = shutil.copytree(place / "networks", tmp_path / "run")
    result = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(result | {"reason": f"budget{escape}"}))
    values = (run / "run.toml").read_text().replace('system = "neat"', 'system = "ne\\u001b[2Jat"')
    (run / "run.toml").write_text(values)
    done = evoml("show", run)
    assert done.returncode == 0 and "\x1b" not in done.stdout + done.stderr
    assert "budget?[2J?" in done.stdout and "ne?[2Jat" in done.stdout
    done = evoml("search", f"no{escape}thing")
    assert done.returncode == 2 and "\x1b" not in done.stderr
    columns = "\n".join(["a\x1b[2J,b", *(f"{at}.5,{at % 7}.25" for at in range(40))])
    (tmp_path / "t.csv").write_text(columns)
    task = ("--task", "examples", "--data", tmp_path / "t.csv", "--budget", "150")
    done = evoml("search", "neat", *task, "--run", tmp_path / "own")
    assert "\x1b" not in done.stdout + done.stderr


def test_too_little_memory_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from evoml import __main__, cli

    def run() -> int:
        raise MemoryError("Unable to allocate 74.5 GiB for an array")

    monkeypatch.setattr(cli, "run", run)
    assert __main__._run() == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "evoml: not enough memory (Unable to allocate 74.5 GiB for an array); take"
    )
