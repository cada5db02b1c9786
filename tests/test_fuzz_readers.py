"""What lies on disk is data: whatever is wrong with it is one line, and nothing of it is executed or misread."""

from __future__ import annotations

import itertools
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save

import analysis
from analysis.data.dialogue_text import table_of
from emcomm.checkpoints import Checkpoint, read_checkpoint
from emcomm.config import Config, read_run_file
from emcomm.dialogues import (
    SCHEMA,
    DialogueTable,
    DialogueWriter,
    digest_of,
    end_of,
    facts_of,
    read_facts,
    read_part,
    sealed,
    to_arrow,
)
from emcomm.errors import BadInput
from envs.negotiation import TalkRules

ROOT = Path(__file__).resolve().parent.parent
FACTS = {"schema_version": 2, "n_tokens": 5, "move_names": ("main", "detour"), "part": 0, "previous": ""}
fuzz = settings(
    max_examples=150, derandomize=True, deadline=None, database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)  # fmt: skip


@pytest.fixture(autouse=True)
def no_test_hangs() -> Iterator[None]:
    def stop(*_: object) -> None:
        raise AssertionError("a reader hangs")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(120)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def refused(read: Callable[[], object], file: Path) -> str:
    """The line with which a reader refuses `file`."""
    with pytest.raises(BadInput) as error:
        read()
    assert str(file) in str(error.value)
    return str(error.value)


# -- config.json -------------------------------------------------------------------------------------------------------

SCALARS = (
    st.none() | st.booleans() | st.integers() | st.sampled_from([2**31, 2**63, 2**64, -(2**63), 10**30, -1, 0])
    | st.floats(allow_subnormal=False)  # a training in this process flushes them to 0, which hypothesis refuses
    | st.sampled_from([1e300, -0.0, 1e-320]) | st.text(max_size=8) | st.text("\x00\x1b\n/[:", max_size=4)
)  # fmt: skip
JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
)
RULES, SETTINGS = sorted(TalkRules().__dict__), sorted(Config().to_json())


def config_of(folder: Path, content: bytes | str) -> Config | None:
    """What is read from a config.json with this content; None where it is refused."""
    (folder / "config.json").write_bytes(
        content.encode(errors="surrogatepass") if isinstance(content, str) else content
    )
    try:
        config = Config.from_json(read_run_file(folder).config)
    except BadInput:
        return None
    assert Config.from_json(json.loads(json.dumps(config.to_json()))) == config
    return config


@fuzz
@given(value=JSON, ascii_only=st.booleans())
def test_any_json_is_a_configuration_or_refused(tmp_path: Path, value: Any, ascii_only: bool) -> None:
    config_of(tmp_path, json.dumps(value, ensure_ascii=ascii_only))
    config_of(tmp_path, json.dumps({"config": value}, ensure_ascii=ascii_only))
    config_of(tmp_path, json.dumps({"config": {**Config().to_json(), "rules": value}}, ensure_ascii=ascii_only))


@fuzz
@given(changes=st.lists(st.tuples(st.sampled_from([*SETTINGS, "other"]), JSON), min_size=1, max_size=3))
def test_settings_of_any_value_are_taken_as_they_are_or_refused(tmp_path: Path, changes: list) -> None:
    saved = {**Config().to_json(), **dict(changes)}
    config = config_of(tmp_path, json.dumps({"config": saved}))
    assert config is None or config.to_json() == saved


@fuzz
@given(changes=st.lists(st.tuples(st.sampled_from([*RULES, "other"]), JSON), min_size=1, max_size=2))
def test_rules_of_any_value_are_taken_as_they_are_or_refused(tmp_path: Path, changes: list) -> None:
    saved = {**Config().to_json(), "rules": {**TalkRules().__dict__, **dict(changes)}}
    config = config_of(tmp_path, json.dumps({"config": saved}))
    assert config is None or config.to_json() == saved


@fuzz
@given(place=st.integers(0, 10**6), byte=st.integers(0, 255), cut=st.booleans())
def test_a_configuration_with_a_wrong_byte_is_read_or_refused(tmp_path: Path, place: int, byte: int, cut: bool) -> None:
    content = bytearray(json.dumps({"config": Config().to_json()}).encode())
    place %= len(content)
    content[place] = byte
    config_of(tmp_path, bytes(content[:place] if cut else content))


@pytest.mark.parametrize("name", SETTINGS)
def test_a_missing_setting_is_refused(tmp_path: Path, name: str) -> None:
    saved = Config().to_json()
    assert config_of(tmp_path, json.dumps({"config": saved})) == Config()
    del saved[name]
    (tmp_path / "config.json").write_text(json.dumps({"config": saved}))
    with pytest.raises(BadInput, match=f"'{name}' is missing"):
        Config.from_json(saved)


@pytest.mark.parametrize(
    "content",
    [
        b"", b"null", b"\xff\xfe{}", b'{"config": "\xff"}', '{"config": {"env": "\ud800"}}',
        r'{"config": {"env": "\ud800"}}',
        "[" * 100_000, '{"config":' * 100_000, '{"config": {"env": ' + "[" * 100_000 + "]" * 100_000 + "}}",
        '{"config": {"env": ' + "[" * 500 + "]" * 500 + "}}", '{"config": {"' + "x" * 10**7 + '": 1}}',
        '{"config": {"seed": ' + "1" * 5000 + "}}", '{"config": {"seed": NaN}}', '{"config": {"discount": 1e999}}',
        '{"version": 2, "config": {}}', '{"version": 0, "config": {}}', '{"config": {}, "more": 1}',
    ],
    ids=range(17),
)  # fmt: skip
def test_what_is_no_configuration_is_refused(tmp_path: Path, content: bytes | str) -> None:
    assert config_of(tmp_path, content) is None


@pytest.mark.parametrize(
    ("name", "value"),
    [("hidden_size", 10**18), ("games", 10**12), ("unroll", 10**12), ("population", 10**9), ("workers", 10**9),
     ("in_flight", 10**9), ("episodes", 2**63), ("env", "x" * 10**5), ("discount", True), ("episodes", 3.0),
     ("seed", True), ("learning_rate", 10**400)],
)  # fmt: skip
def test_a_setting_that_would_fill_the_memory_or_is_of_another_type_is_refused(
    tmp_path: Path, name: str, value: object
) -> None:
    assert config_of(tmp_path, json.dumps({"config": {**Config().to_json(), name: value}})) is None


def test_of_a_setting_that_is_there_twice_every_reader_takes_the_last(tmp_path: Path) -> None:
    content = json.dumps({"config": Config().to_json()}).replace('"seed": 0', '"seed": 1, "seed": 2')
    assert config_of(tmp_path, content) == Config.from_json(json.loads(content)["config"]) == Config(seed=2)


# -- parts of the log --------------------------------------------------------------------------------------------------

TALKS = [[(4, 2), (5, 5)], [(5, 5)], [(0, 1), (2, 3), (5, 5)], [], [(1, 1), (5, 0), (5, 5)]] * 4


@pytest.fixture
def part(tmp_path: Path) -> Path:
    writer = DialogueWriter(tmp_path, 5, ("main", "detour"))
    writer.add(table_of(TALKS))
    writer.close()
    return tmp_path / "part-000000.parquet"


def is_same(one: DialogueTable, other: DialogueTable) -> bool:
    columns = ((column, getattr(other, name)) for name, column in one.__dict__.items())
    return all(a.dtype == b.dtype and np.array_equal(a, b) for a, b in columns)


def test_no_flipped_bit_of_a_part_is_read_as_other_dialogues(part: Path) -> None:
    content, table, facts = part.read_bytes(), read_part(part), read_facts(part)
    silent, noticed = [], 0
    for bit in np.random.default_rng(1).choice(8 * len(content), 400, replace=False).tolist():
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        part.write_bytes(damaged)
        try:
            silent += [] if is_same(read_part(part), table) else [bit]
        except BadInput:
            noticed += 1
        try:
            silent += [] if read_facts(part) == facts else [bit]
        except BadInput:
            noticed += 1
    assert not silent
    assert noticed > 400


def test_damage_on_which_pyarrow_ends_the_process_is_refused(part: Path) -> None:
    """A level histogram of another length: pyarrow aborts when it is asked about the column."""
    content = part.read_bytes()
    footer = len(content) - 8 - int.from_bytes(content[-8:-4], "little")
    for place in range(footer, min(footer + 600, len(content) - 8)):
        damaged = bytearray(content)
        damaged[place] ^= 16
        part.write_bytes(damaged)
        try:
            assert is_same(read_part(part), table_of(TALKS))
        except BadInput:
            continue


def test_a_part_that_is_cut_short_empty_or_noise_is_refused(part: Path) -> None:
    content, rng = part.read_bytes(), np.random.default_rng(2)
    lengths = [*range(16), *rng.integers(len(content), size=60).tolist(), len(content) - 1]
    noise = [rng.bytes(size) for size in (1, 12, 100, 10_000)]
    around = [b"PAR1" + middle + len(middle).to_bytes(4, "little") + b"PAR1" for middle in noise]
    deep = b"\x1c" * 200_000
    lists = b"\x19\xfc\xff\xff\xff\xff\x0f"
    hostile = [b"PAR1" + x + len(x).to_bytes(4, "little") + b"PAR1" for x in (deep, lists, b"\x18" + b"\xff" * 9)]
    for damaged in (*(content[:length] for length in lengths), *noise, *around, *hostile, content + b"\0"):
        part.write_bytes(damaged)
        for read in (read_part, facts_of):
            refused(lambda read=read: read(part), part)  # type: ignore[misc]


def with_facts(table: pa.Table, facts: dict[str, Any] | None = None) -> pa.Table:
    return table.replace_schema_metadata({"emcomm": sealed({**FACTS, **(facts or {})})})


def changed(column: str, values: object, kind: pa.DataType | None = None) -> pa.Table:
    """The table of the part with other cells in one column."""
    arrow = to_arrow(table_of(TALKS))
    cells = pa.array(values, kind or SCHEMA.field(column).type)
    return arrow.set_column(SCHEMA.get_field_index(column), pa.field(column, cells.type), cells)


COUNT = len(TALKS)
ROUNDS = [len(talk) for talk in TALKS]


@pytest.mark.parametrize(
    "table",
    [
        pa.table({"a": [1]}),
        to_arrow(table_of(TALKS)).drop_columns(["cut"]),
        to_arrow(table_of(TALKS)).append_column("more", pa.array(["x"] * COUNT)),
        changed("episode", [None, *range(1, COUNT)]),
        changed("cut", [None] * COUNT),
        changed("outcome", [None] * COUNT),
        changed("outcome", ["maybe", *["success"] * (COUNT - 1)]),
        changed("outcome", [0] * COUNT, pa.int32()),
        changed("outcome", [b"success"] * COUNT, pa.binary()),
        changed("episode", list(map(float, range(COUNT))), pa.float64()),
        changed("episode", list(range(COUNT)), pa.int32()),
        changed("episode", [0] * COUNT),
        changed("episode", [1, 0, 0, *range(3, COUNT)]),
        changed("episode", [*range(COUNT - 1), COUNT]),
        changed("episode", [-1, *range(COUNT - 1)]),
        changed("negotiation", [1] * COUNT),
        changed("worker", [-2] * COUNT),
        changed("policy_version", [-1] * COUNT),
        changed("n_rounds", [10**7] * COUNT),
        changed("n_rounds", [-1] * COUNT),
        changed("n_rounds", ROUNDS[::-1]),
        changed("symbols", [[[6, 0]] * n for n in ROUNDS]),
        changed("symbols", [[[-2, 0]] * n for n in ROUNDS]),
        changed("symbols", [[[1]] * n for n in ROUNDS]),
        changed("symbols", [[[1, 2, 3]] * n for n in ROUNDS]),
        changed("symbols", [[[1, None]] * n for n in ROUNDS]),
        changed("symbols", [[None] * n for n in ROUNDS]),
        changed("symbols", [None] * COUNT),
        changed("symbols", [[[1, 2]] * n for n in ROUNDS], pa.list_(pa.list_(pa.int64()))),
        changed("speakers", [[[0, 2]] * n for n in ROUNDS]),
        changed("speakers", [[[0]] * n for n in ROUNDS]),
        changed("moves", [[0]] + [[0, 1]] * (COUNT - 1)),
        changed("moves", [[0, 2]] * COUNT),
        changed("moves", [[-2, 0]] * COUNT),
        changed("moves", [[]] * COUNT),
        changed("rewards", [[1.0]] * COUNT),
        changed("rewards", [[None, 1.0]] * COUNT),
        changed("private", [[[1.0]]] * COUNT),
        changed("private", [[[1.0], [1.0, 2.0]]] * COUNT),
        changed("private", [None, *[[[1.0], [1.0]]] * (COUNT - 1)]),
    ],
    ids=itertools.count(),
)  # fmt: skip
def test_dialogues_that_no_training_writes_are_refused(part: Path, table: pa.Table) -> None:
    pq.write_table(with_facts(to_arrow(table_of(TALKS))), part)
    assert is_same(read_part(part), table_of(TALKS))
    pq.write_table(with_facts(table), part)
    refused(lambda: read_part(part), part)


@pytest.mark.parametrize(
    "facts",
    [{"schema_version": 5}, {"schema_version": 10**30}, {"schema_version": 0}, {"schema_version": True},
     {"schema_version": "2"}, {"n_tokens": 0}, {"n_tokens": 127}, {"n_tokens": None}, {"move_names": []},
     {"move_names": "main"}, {"move_names": ["x" * 201]}, {"part": -1}, {"part": "0"}, {"previous": 0}, {"more": 1}],
)  # fmt: skip
def test_metadata_that_no_training_writes_is_refused(part: Path, facts: dict[str, Any]) -> None:
    pq.write_table(with_facts(to_arrow(table_of(TALKS)), facts), part)
    for read in (read_part, facts_of):
        assert ("newer emcomm" in refused(lambda read=read: read(part), part)) == (  # type: ignore[misc]
            isinstance(facts.get("schema_version"), int) and facts["schema_version"] > 4
        )


def test_metadata_that_is_no_object_or_has_another_seal_is_refused(part: Path) -> None:
    arrow, seal = to_arrow(table_of(TALKS)), sealed(FACTS)
    for content in (
        b"", b"[]", b"5", b"\xff", b"{}", b"[" * 100_000, b'{"a":' * 100_000,
        seal.replace("detour", "detours").encode(),
        json.dumps(FACTS).encode(), seal.replace('"part": 0', '"part": 1, "part": 0').encode(),
    ):  # fmt: skip
        pq.write_table(arrow.replace_schema_metadata({"emcomm": content}), part)
        refused(lambda: facts_of(part), part)
    pq.write_table(arrow, part)
    refused(lambda: facts_of(part), part)


def test_what_is_no_part_by_its_name_is_no_end_of_a_log(part: Path) -> None:
    assert (end_of(part.parent).rows, digest_of(part)) == (COUNT, end_of(part.parent).digest)
    part.rename(part.with_name("part-last.parquet"))
    refused(lambda: end_of(part.parent), part.with_name("part-last.parquet"))


MAKE = """
import sys
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from analysis.data.dialogue_text import table_of
from emcomm.dialogues import SCHEMA, sealed, to_arrow
kind, path = sys.argv[1:]
facts = sealed({"schema_version": 2, "n_tokens": 5, "move_names": ["main", "detour"], "part": 0, "previous": ""})
rows = {"rows": 0, "outcome": 200_000, "groups": 300}[kind]
small = to_arrow(table_of([[(5, 5)]]))
columns = {name: small[name].take(pa.array(np.zeros(rows, np.int64))) for name in small.column_names}
columns["episode"] = pa.array(np.arange(rows))
if kind == "outcome":
    indices = pa.array(np.zeros(rows, np.int32))
    columns["outcome"] = pa.DictionaryArray.from_arrays(indices, pa.array(["x" * 500_000]))
if kind == "rows":
    columns = {"cut": pa.repeat(pa.scalar(True), 200_000_000)}
table = pa.table(columns).replace_schema_metadata({"emcomm": facts})
pq.write_table(table, path, compression="zstd", row_group_size=1 if kind == "groups" else 2**30)
"""

READ = """
import resource, sys, time
from pathlib import Path
from emcomm.dialogues import read_part
from emcomm.errors import BadInput
before, begun = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
try:
    read_part(Path(sys.argv[1]))
except BadInput as error:
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert str(error).count(sys.argv[1]) == 1, error
    assert grown < 300_000, f"{grown} kB"
    assert time.process_time() - begun < 10
    print(str(error)[-400:])
"""


@pytest.mark.parametrize("name", ["MOST_ROWS", "MOST_VALUES", "MOST_GROUPS"])
def test_a_part_may_not_hold_more_than_it_should(part: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setattr(f"emcomm.dialogues.{name}", {"MOST_ROWS": 19, "MOST_VALUES": 300}.get(name, 0))
    assert "more than any part may have" in refused(lambda: read_part(part), part)


@pytest.mark.parametrize(
    ("kind", "says"),
    [("rows", "more than any part may have"), ("outcome", "neither success nor failure"),
     ("groups", "more than any part may have")],
)  # fmt: skip
def test_a_part_that_would_fill_the_memory_is_refused_with_little_of_it(tmp_path: Path, kind: str, says: str) -> None:
    """Few bytes on disk that stand for gigabytes."""
    bomb = tmp_path / "part-000000.parquet"
    options: dict[str, Any] = {"cwd": ROOT, "capture_output": True, "text": True, "timeout": 100}
    made = subprocess.run([sys.executable, "-c", MAKE, kind, str(bomb)], **options)
    assert made.returncode == 0, made.stderr

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (4 * 2**30, 4 * 2**30))

    done = subprocess.run([sys.executable, "-c", READ, str(bomb)], preexec_fn=limit, **options)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


# -- checkpoints -------------------------------------------------------------------------------------------------------

TINY = ("--workers", 0, "--episodes", 200, "--games", 8, "--unroll", 8, "--hidden-size", 8, "--max-rounds", 4,
        "--evaluation-games", 20)  # fmt: skip


@pytest.fixture(scope="module")
def tiny_run(emcomm, tmp_path_factory: pytest.TempPathFactory) -> Path:  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("tiny")
    done = emcomm("train", *TINY, "--channel", "shuffled", "--log-dir", folder, "--run-name", "run")
    assert done.returncode == 0, done.stderr
    return folder / "run"


@pytest.fixture
def run(tiny_run: Path, tmp_path: Path) -> Path:
    shutil.copytree(tiny_run, tmp_path / "run")
    return tmp_path / "run"


def newest(run: Path) -> Path:
    return sorted(run.glob("checkpoints/*.safetensors"))[-1]


def contents(run: Path) -> dict[str, bytes]:
    return {str(path.relative_to(run)): path.read_bytes() for path in run.rglob("*") if path.is_file()}


def refused_in_one_line(call, module: str, *args: object) -> str:  # type: ignore[no-untyped-def]
    done = call(module, *args)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), (args, done.out, done.err)
    return done.err


def test_no_flipped_bit_of_a_checkpoint_is_read_as_other_weights(run: Path) -> None:
    path = newest(run)
    content, whole = path.read_bytes(), read_checkpoint(path)
    rng, header = np.random.default_rng(3), int.from_bytes(path.read_bytes()[:8], "little")
    bits = [*range(64), *rng.integers(64, 8 * header, 150).tolist(), *rng.integers(8 * len(content), size=150).tolist()]
    for bit in bits:
        damaged = bytearray(content)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = read_checkpoint(path)
        except BadInput:
            continue
        assert found.facts == whole.facts
        assert all(torch.equal(found.tensors[name], tensor) for name, tensor in whole.tensors.items())


def test_a_checkpoint_with_a_hostile_header_is_refused(run: Path) -> None:
    path = newest(run)
    content = path.read_bytes()
    deep = b'{"__metadata__":' + b"[" * 100_000
    nested = json.dumps({"__metadata__": {"emcomm": "[" * 100_000}}).encode()
    for damaged in (
        b"", b"\0" * 8, b"\xff" * 8, b"\xff" * 100, (2**40).to_bytes(8, "little") + content[8:], content[:-1],
        content + b"\0", len(deep).to_bytes(8, "little") + deep, len(nested).to_bytes(8, "little") + nested,
        np.random.default_rng(4).bytes(5000),
    ):  # fmt: skip
        path.write_bytes(damaged)
        refused(lambda: read_checkpoint(path), path)
    with path.open("wb") as file:
        file.truncate(2**40)
    refused(lambda: read_checkpoint(path), path)


def rewritten(run: Path, tensors: dict[str, Any] | None = None, facts: dict[str, Any] | None = None) -> None:
    """Change tensors (None removes one) and facts of the newest checkpoint, and seal it again."""
    path = newest(run)
    saved = read_checkpoint(path)
    held = {**saved.tensors, **(tensors or {})}
    kept = {name: value for name, value in held.items() if value is not None}
    path.write_bytes(Checkpoint(kept, {**saved.facts, **(facts or {})}).to_bytes())


@pytest.mark.parametrize(
    "facts",
    [{"format": 1}, {"format": 3}, {"format": "2"}, {"version": -1}, {"version": True}, {"version": 1.0}, {"more": 1},
     {"episodes": 10**6}, {"episodes": None}, {"log": {}},
     {"log": {"parts": 0, "rows": 0, "episodes": 200, "digest": ""}},
     {"course": {}}, {"events": 3}, {"workers_started": "1"}, {"state": []}, {"refused": 2**70}],
)  # fmt: skip
def test_facts_that_no_training_writes_are_refused(run: Path, facts: dict[str, Any]) -> None:
    rewritten(run, facts=facts)
    refused(lambda: read_checkpoint(newest(run)), newest(run))


@pytest.mark.parametrize("seconds", [float("nan"), float("inf"), -1.0, True, "1"])
def test_a_time_that_is_none_is_refused(run: Path, seconds: object) -> None:
    saved = read_checkpoint(newest(run)).facts
    rewritten(run, facts={"course": {**saved["course"], "wall_s": seconds}})
    refused(lambda: read_checkpoint(newest(run)), newest(run))


@pytest.mark.parametrize("kind", [torch.complex64, torch.float8_e4m3fn, torch.bfloat16])
def test_numbers_of_another_kind_are_refused(run: Path, kind: torch.dtype) -> None:
    """Also in a checkpoint of format 1, which has no seal."""
    path = newest(run)
    tensors = {**read_checkpoint(path).tensors, "optimiser.mean_square": torch.ones(3).to(kind)}
    path.write_bytes(save(tensors, {"emcomm": json.dumps({"version": 1, "log": 5, "episodes": 1})}))
    try:
        found = read_checkpoint(path)
    except BadInput:
        return
    assert found.facts == {"version": 1, "episodes": 1}


def damage_of_weights(saved: Checkpoint) -> dict[str, dict[str, Any]]:
    weight, square = saved.tensors["policy.actor.weight"], saved.tensors["optimiser.mean_square"]
    return {
        "a weight that is not a number": {"policy.actor.weight": torch.full_like(weight, float("nan"))},
        "an endless weight": {"policy.critic.bias": torch.tensor([float("inf")])},
        "weights of another shape": {"policy.actor.weight": weight[1:].clone()},
        "a missing weight": {"policy.actor.weight": None},
        "a weight too many": {"policy.more": weight},
    } | {
        "a negative mean square": {"optimiser.mean_square": -torch.ones_like(square)},
        "a mean square of another shape": {"optimiser.mean_square": square[1:].clone()},
        "no mean square": {"optimiser.mean_square": None},
    }


def test_weights_that_do_not_fit_are_refused_by_every_command(run: Path, tiny_run: Path, call) -> None:  # type: ignore[no-untyped-def]
    for place, (name, tensors) in enumerate(damage_of_weights(read_checkpoint(newest(run))).items()):
        shutil.copy(newest(tiny_run), newest(run))
        rewritten(run, tensors)
        before = contents(run)
        refused_in_one_line(call, "train", "--resume", run, "--episodes", 250)
        if place < 5:
            refused_in_one_line(call, "play", run)
            refused_in_one_line(call, "evaluate", run)
        assert contents(run) == before, name


def damage_of_state(saved: Checkpoint) -> dict[str, tuple[dict[str, Any], dict[str, Any]]]:
    """Changed tensors and changed facts."""
    worker, arrays = "state.workers.0", saved.tensors
    phase, bank = f"{worker}.talk.talk.phase", f"{worker}.talk.channel.bank"
    plain, following = saved.facts["state"], f"{worker}.talk.channel.next"

    def with_plain(change: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
        state = json.loads(json.dumps(plain))
        change(state)
        return {"state": state}

    def of_worker(change: Callable[[dict[str, Any]], object]) -> tuple[dict[str, Any], dict[str, Any]]:
        return {}, with_plain(lambda state: change(state["workers"]["0"]))

    said, recent = f"{worker}.talk.talk._said", "state.recent.success"
    found: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
        "phase 7": ({phase: torch.full_like(arrays[phase], 7)}, {}),
        "no phase": ({phase: None}, {}),
        "a phase of another type": ({phase: arrays[phase].double()}, {}),
        "fewer games": ({phase: arrays[phase][1:].clone()}, {}),
        "symbols 99": ({said: torch.full_like(arrays[said], 99)}, {}),
        "no bank": ({bank: None}, {}),
        "a bank of three agents": ({bank: arrays[bank].repeat(1, 1, 2)}, {}),
        "a memory that is not a number": ({f"{worker}.memory.rows": arrays[f"{worker}.memory.rows"] * np.nan}, {}),
        "recent figures that are missing": ({recent: None}, {}),
        "recent figures of two axes": ({recent: arrays[recent][:, None].repeat(1, 2)}, {}),
        "a game with another method": ({f"{worker}.talk.game.observe": torch.ones(3)}, {}),
        "a game of another size": of_worker(lambda w: w["talk"].setdefault("game", {}).update(n_games=10**9)),
        "a place that the bank does not have": ({following: torch.full_like(arrays[following], 10**6)}, {}),
        "no randomness": of_worker(lambda w: w.update(actions={})),
        "a generator of another kind": of_worker(lambda w: w["actions"].update(bit_generator="MT19937")),
        "a generator of huge numbers": of_worker(lambda w: w["actions"]["state"].update(state=2**200)),
        "dealt that is no number": of_worker(lambda w: w.update(dealt="many")),
        "workers that are none": ({}, with_plain(lambda state: state.update(workers=5))),
        "a worker that is none": ({}, with_plain(lambda state: state["workers"].update({"0": 5}))),
    }
    for name, tensor in arrays.items():
        if name.startswith(f"{worker}.episodes.waiting."):
            column = name.rpartition(".")[2]
            found[f"{column} of fewer dialogues"] = ({name: tensor[:-1].clone()}, {})
            found[f"{column} of another type"] = ({name: tensor.to(torch.complex64)}, {})
    return found


def test_games_in_progress_that_do_not_fit_are_refused_before_anything_changes(  # type: ignore[no-untyped-def]
    run: Path, tiny_run: Path, call
) -> None:
    for name, (tensors, facts) in damage_of_state(read_checkpoint(newest(run))).items():
        shutil.copy(newest(tiny_run), newest(run))
        rewritten(run, tensors, facts)
        before = contents(run)
        done = call("train", "--resume", run, "--episodes", 250)
        assert (done.code, done.out, done.err.count("\n")) == (2, "", 1), (name, done.out, done.err)
        assert contents(run) == before, name


# -- hostile run folders -----------------------------------------------------------------------------------------------

COMMANDS: tuple[tuple[str, Callable[[Path], tuple[object, ...]]], ...] = (
    ("train", lambda run: ("--resume", run, "--episodes", 250)),
    ("evaluate", lambda run: (run,)),
    ("play", lambda run: (run,)),
    ("verify", lambda run: (run,)),
    ("analyze", lambda run: (run, "--quick")),
)


@pytest.mark.parametrize("kind", ["pipe", "folder", "/etc/passwd", "/dev/zero", "/dev/full", "circle", "large"])
def test_a_configuration_that_is_no_file_of_the_run(run: Path, call, kind: str) -> None:  # type: ignore[no-untyped-def]
    path = run / "config.json"
    path.unlink()
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    elif kind == "large":
        with path.open("wb") as file:
            file.truncate(2**40)
    else:
        path.symlink_to("config.json" if kind == "circle" else kind)
    for module, args in COMMANDS[:4]:
        refused_in_one_line(call, module, *args(run))
    [problem, *_] = analysis.load(run).problems
    assert str(path) in problem


@pytest.mark.parametrize("name", ["dialogues", "evaluation", "checkpoints"])
def test_a_folder_of_the_run_that_lies_elsewhere(run: Path, call, tmp_path: Path, name: str) -> None:  # type: ignore[no-untyped-def]
    (run / name).rename(tmp_path / "elsewhere")
    (run / name).symlink_to(tmp_path / "elsewhere")
    before = contents(tmp_path / "elsewhere")
    assert "is a link" in refused_in_one_line(call, "train", "--resume", run, "--episodes", 250)
    assert call("verify", run).code == 1
    if name == "checkpoints":
        refused_in_one_line(call, "play", run)
        refused_in_one_line(call, "evaluate", run)
    loaded = analysis.load(run)
    assert not loaded.parts.get(name)
    if name == "checkpoints":
        assert loaded.checkpoint() is None
    assert any("is a link" in problem for problem in loaded.problems)
    assert contents(tmp_path / "elsewhere") == before


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_part_that_is_no_file_of_the_log(run: Path, call, tmp_path: Path, kind: str) -> None:  # type: ignore[no-untyped-def]
    for log in ("dialogues", "evaluation"):
        part = run / log / "part-000000.parquet"
        part.rename(tmp_path / f"{log}.parquet")
        if kind == "pipe":
            os.mkfifo(part)
        else:
            part.symlink_to(tmp_path / f"{log}.parquet")
    before = contents(tmp_path)
    assert call("verify", run).code == 1
    done = call("analyze", run, "--quick")
    assert (done.code, done.err.count("\n")) == (2, 1)
    assert contents(tmp_path) == before
    kept = (tmp_path / "dialogues.parquet").read_bytes()
    done = call("train", "--resume", run, "--episodes", 250)  # from the checkpoint before it
    assert done.code == 0, done.err
    assert "is torn" in done.out
    assert os.path.lexists(run / "dialogues" / "abandoned" / "part-000000.parquet")
    assert (tmp_path / "dialogues.parquet").read_bytes() == kept


EVIL = """
from pathlib import Path
from envs.crossing import CrossingGame

Path("marker").touch()

class Game(CrossingGame):
    pass
"""


def test_a_game_that_a_run_names_is_executed_only_where_the_user_names_it(  # type: ignore[no-untyped-def]
    run: Path, call, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = json.loads((run / "config.json").read_text())
    config["config"]["env"] = "evil:Game"
    (run / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text(EVIL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    marker = tmp_path / "marker"
    for module, args in COMMANDS[:3]:
        assert "--env evil:Game" in refused_in_one_line(call, module, *args(run))
    assert call("verify", run).code == 0
    assert call("analyze", run, "--quick").code == 0
    assert not marker.exists()
    assert call("play", run, "--env", "evil:Game").code == 0
    assert marker.exists()
    monkeypatch.delitem(sys.modules, "evil")


def test_links_where_a_run_is_written_lead_nowhere(run: Path, call, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    victim = tmp_path / "victim"
    victim.write_text("mine")
    for name in ("summary.json.tmp", "config.json.tmp", "evaluation.tmp", "dialogues/part-000099.parquet.tmp"):
        (run / name).symlink_to(victim)
    done = call("train", "--resume", run, "--episodes", 250)
    assert done.code == 0, done.err
    (run / ".lock").unlink()
    (run / ".lock").symlink_to(victim)
    refused_in_one_line(call, "train", "--resume", run, "--episodes", 300)
    (run / ".lock").unlink()
    (tmp_path / "folder").mkdir()
    (run / "dialogues" / "abandoned").symlink_to(tmp_path / "folder")
    newest(run).unlink()
    refused_in_one_line(call, "train", "--resume", run, "--episodes", 300)
    assert victim.read_text() == "mine"
    assert not list((tmp_path / "folder").iterdir())


def test_what_a_file_says_cannot_steer_the_terminal(run: Path, call) -> None:  # type: ignore[no-untyped-def]
    config = json.loads((run / "config.json").read_text())
    config["config"]["env"] = "\x1b[2J\u202e" + "x" * 900
    (run / "config.json").write_text(json.dumps(config))
    said = refused_in_one_line(call, "play", run)
    assert said.strip().isprintable()
    assert len(said) < 3000
