"""Many trainings through Ray, each a task on one core; a run that is there already is not made again.

A task trains with `--workers 0`, so its run does not depend on where it is made. Where the node sees the folder of the
driver (this machine, or a shared disk), the run is written there at once. Elsewhere it is made in a temporary folder,
and what is new in it comes back every second (`emcomm.mirror`): the driver writes it down. A run whose node or process
dies goes on from its last checkpoint, somewhere else. Runs that have workers of their own are made one by one, each as
by `python -m emcomm.train`.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import multiprocessing
import os
import secrets
import shlex
import shutil
import signal
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from rich.console import Console

from emcomm import mirror
from emcomm.cluster import Cluster, start_ray
from emcomm.config import Config, named_code, read_run_file
from emcomm.errors import BadInput, Fault
from emcomm.runs import Run, command_line
from emcomm.signals import postponed, raise_stopped
from emcomm.train import TrainOptions, train

if TYPE_CHECKING:
    from emcomm.progress import Course

LOOK_EVERY = 1.0
"""How often a task says how far it is (seconds)."""
SAVING_PATIENCE = 20.0
"""How long an interrupted driver waits for the tasks to save (seconds)."""
LOCK_PATIENCE = 120.0
"""How long a run is waited for that another process still writes: one that is just being killed (seconds)."""
CORE_PATIENCE = 20.0
"""How long nothing may happen at the beginning before that is said (seconds)."""
TRIES = 3
"""Processes or nodes that may die under one run before it is given up."""


class Wanted(NamedTuple):
    """A run that is to be made."""

    folder: Path
    config: Config
    after: Callable[[Path], None] | None = None
    """Called with the run's folder when it is trained, in the process that has trained it."""


class Progress(NamedTuple):
    """What is new of a run."""

    wanted: Wanted
    episodes: int
    ended: bool = False
    problem: str | None = None
    """Why it failed, in one line."""
    trace: str = ""
    """The same for a programmer."""


State = Literal["done", "begun", "absent"]


def state_of(wanted: Wanted) -> State:
    """How much of a run lies on disk; raises BadInput where any part of it was made with other settings."""
    if not (wanted.folder / "config.json").exists():
        return "absent"
    run = _open(wanted.folder, wanted.config)
    there = dataclasses.replace(run.config, checkpoint_every=wanted.config.checkpoint_every)
    if there != wanted.config:
        raise BadInput(
            f"{wanted.folder} was trained with other settings ({_difference(there, wanted.config)}): "
            f"remove it, or choose another --log-dir"
        )
    for resume in read_run_file(wanted.folder).resumes:
        if changed := sorted(resume.changed.keys() - {"checkpoint_every", "evaluation_games"}):
            raise BadInput(
                f"{wanted.folder} was trained with other settings up to episode {resume.episode:,} ({changed[0]} was "
                f"changed by --resume): remove it, or choose another --log-dir"
            )
    summary = run.summary()
    if summary is not None and summary.evaluation is not None:
        return "done"
    return "begun" if run.checkpoints() else "absent"


def _open(folder: Path, config: Config) -> Run:
    """A run whose settings are known: who asks for it names its game and its code."""
    return Run.open(folder, config.env, named_code(config))


def _difference(there: Config, wanted: Config) -> str:
    flat = [{**settings.pop("rules"), **settings} for settings in (there.to_json(), wanted.to_json())]
    name = next(name for name in flat[0] if flat[0][name] != flat[1][name])
    return f"{name} is {flat[0][name]} there, not {flat[1][name]}"


def make(
    wanted: Sequence[Wanted], address: str | None = None, note: Callable[[str], None] = lambda text: None
) -> Iterator[Progress]:
    """Make runs, those without workers side by side, on the cluster at `address` or by default a local one.

    Yields what is new of them, and at the end of each whether it failed; the others go on. `note` is told what a person
    should know besides. After a signal, and where the caller breaks off, the tasks have saved when it is raised. Raises
    Fault where Ray itself breaks down.
    """
    alone = [each for each in wanted if not each.config.workers]
    if alone:
        with _ray(address) as cluster:
            yield from _Batch(cluster, note).make(alone)
    for each in wanted:
        if each.config.workers:
            yield _with_workers(each, address)


@contextlib.contextmanager
def _ray(address: str | None) -> Iterator[Cluster]:
    """Ray, started or joined for the occasion unless this process uses it already."""
    if Cluster.current is not None:
        yield Cluster.current
        return
    with start_ray(address) as cluster:
        yield cluster


# -- the driver --------------------------------------------------------------------------------------------------------


class Mark(NamedTuple):
    """A file by which a task finds out whether it sees the driver's disk."""

    path: Path
    secret: str

    def is_seen(self) -> bool:
        """Whether it lies here as well."""
        try:
            return self.path.read_text() == self.secret
        except OSError:
            return False


@contextlib.contextmanager
def _marked(folder: Path) -> Iterator[Mark]:
    secret = secrets.token_hex(16)
    mark = Mark(folder / f".seen-{secret[:8]}", secret)
    try:
        mark.path.write_text(secret)
        yield mark
    except OSError as error:
        if error.filename == str(mark.path):
            raise BadInput(f"the log folder {folder} is not writable: {error.strerror}") from error
        raise
    finally:
        with contextlib.suppress(OSError):
            mark.path.unlink(missing_ok=True)


class _Batch:
    """Tasks under way on a cluster."""

    def __init__(self, cluster: Cluster, note: Callable[[str], None]) -> None:
        self._cluster, self._ray, self._note = cluster, cluster.ray, note
        self._task = self._ray.remote(num_cpus=1, max_retries=0, num_returns="streaming")(_made)
        self._under_way: dict[Any, Wanted] = {}
        self._deaths: dict[Path, int] = {}
        self._lacking: set[Path] = set()
        """Begun runs that have come to a node with another disk, and are to be sent there."""
        self._episodes: dict[Path, int] = {}

    def make(self, wanted: Sequence[Wanted]) -> Iterator[Progress]:
        """All of them, as `make`."""
        with _marked(wanted[0].folder.parent) as mark:
            self._mark = None if self._cluster.is_local else mark
            for each in wanted:
                self._start(each)
            try:
                waits_until = time.monotonic() + CORE_PATIENCE
                while self._under_way:
                    with postponed() as stop:  # raised inside Ray a signal could get lost
                        news = [self._heard(stream) for stream in self._ready()]
                    stop.obey()
                    yield from news
                    if news:
                        waits_until = math.inf
                    elif time.monotonic() > waits_until:
                        waits_until = math.inf
                        cores = self._ray.cluster_resources().get("CPU", 0)
                        self._note(
                            f"no run has begun yet: Ray has {cores:.0f} cores, and may be waiting for a free one"
                        )
            except (KeyboardInterrupt, GeneratorExit):
                self._let_them_save()
                raise

    def _start(self, wanted: Wanted, before: list[mirror.Piece] | None = None) -> None:
        with self._cluster.calling():
            begun = self._mark is not None and (wanted.folder / "config.json").exists()
            sent = [self._ray.put(before)] if before else None if begun else []
            self._under_way[self._task.remote(wanted, self._mark, sent, command_line(), sys.path)] = wanted

    def _ready(self) -> list[Any]:
        self._cluster.check()
        with self._cluster.calling():
            ready, _ = self._ray.wait(list(self._under_way), num_returns=1, timeout=LOOK_EVERY)
        return ready

    def _heard(self, stream: Any) -> Progress:
        """The next that a task says, written down."""
        wanted = self._under_way[stream]
        try:
            with self._cluster.calling():
                news: _News = self._ray.get(next(stream))
        except StopIteration:
            if wanted.folder not in self._lacking:
                return self._ended(stream, None)
            self._lacking.remove(wanted.folder)
            self._under_way.pop(stream)
            self._start(wanted, mirror.content_of(wanted.folder))
            return Progress(wanted, 0)
        except self._ray.exceptions.RayTaskError as error:
            return self._ended(stream, _told(error), str(error))
        except self._ray.exceptions.RayError as error:  # its process, its node, or the memory of its machine
            self._deaths[wanted.folder] = self._deaths.get(wanted.folder, 0) + 1
            if self._deaths[wanted.folder] >= TRIES:
                return self._ended(stream, f"{TRIES} processes died under it ({_told(error)})", str(error))
            self._under_way.pop(stream)
            self._note(f"{wanted.folder.name}: its process or node has died; it goes on from its last checkpoint")
            self._start(wanted)
            return Progress(wanted, self._episodes.get(wanted.folder, 0))
        if news.lacks_the_run:
            self._lacking.add(wanted.folder)
        _write_down(news, wanted.folder)
        self._episodes[wanted.folder] = news.episodes
        return Progress(wanted, news.episodes)

    def _ended(self, stream: Any, problem: str | None, trace: str = "") -> Progress:
        wanted = self._under_way.pop(stream)
        return Progress(wanted, self._episodes.get(wanted.folder, 0), True, problem, trace)

    def _let_them_save(self) -> None:
        """Tasks that are interrupted save, and then end.

        Each is heard in a thread of its own: Ray may never say how one that was cancelled has ended.
        """
        for stream in self._under_way:
            self._ray.cancel(stream)
        heard = [_in_a_thread(partial(self._hear_out, stream, each.folder)) for stream, each in self._under_way.items()]
        end = time.monotonic() + SAVING_PATIENCE
        while wait(heard, LOOK_EVERY).not_done and time.monotonic() < end:
            self._cluster.check()
        for ended in heard:
            if ended.done():
                ended.result()

    def _hear_out(self, stream: Any, folder: Path) -> None:
        """Write down what a task says until it ends."""
        with contextlib.suppress(self._ray.exceptions.RayError), self._cluster.calling():
            for news in stream:
                _write_down(self._ray.get(news), folder)


def _in_a_thread(call: Callable[[], None]) -> Future[None]:
    """Call it in a thread that does not keep the process from ending."""
    future: Future[None] = Future()

    def run() -> None:
        try:
            call()
        except Exception as error:
            future.set_exception(error)
        else:
            future.set_result(None)

    threading.Thread(target=run, daemon=True).start()
    return future


def _write_down(news: _News, folder: Path) -> None:
    """What a task has sent of its run; nothing where it writes to this disk itself."""
    try:
        for piece in news.pieces:
            mirror.receive(folder, piece)
    except OSError as error:
        raise Fault(f"writing to {folder} failed: {error.strerror or error}") from error


def _told(error: BaseException) -> str:
    """An error in one line; of one on Ray, what is behind it."""
    cause = getattr(error, "cause", None)
    if isinstance(cause, Exception):
        return _told(cause)
    said = " ".join(str(error).split()) or "no reason was given"
    if isinstance(error, (BadInput, Fault)):
        return said
    return f"{type(error).__name__}: {said}"[:300]


# -- the task ----------------------------------------------------------------------------------------------------------


class _News(NamedTuple):
    """What a task says while it goes on."""

    episodes: int
    pieces: list[mirror.Piece]
    lacks_the_run: bool = False
    """It ends here: what lies in the run's folder is not to be seen, and was not sent."""


class _Watch:
    """Between the thread that trains and the one that speaks for the task."""

    def __init__(self) -> None:
        self.episodes = 0
        self.stop: int | None = None

    def __call__(self, course: Course) -> int | None:
        self.episodes = course.episodes
        return self.stop

    def ask_to_stop(self) -> None:
        """A training that goes on saves, and ends."""
        self.stop = signal.SIGINT


def _made(wanted: Wanted, mark: Mark | None, sent: list[Any] | None, command: str, path: list[str]) -> Iterator[_News]:
    """Make a run, on whatever node this is. `sent` holds a reference to what lies in its folder already; it is empty
    where nothing does, and None where it was not sent along. `path` is where the driver looks for modules."""
    sys.argv = shlex.split(command)  # what the run says about how it was made
    sys.path += [folder for folder in path if folder not in sys.path]
    watch = _Watch()
    with contextlib.ExitStack() as stack:
        place, mirrored = wanted.folder, None
        if mark is not None and not mark.is_seen():
            if sent is None:
                yield _News(0, [], lacks_the_run=True)
                return
            above = tempfile.mkdtemp(prefix="emcomm-run-", dir=_session_folder())
            stack.callback(shutil.rmtree, above, ignore_errors=True)
            place = Path(above) / wanted.folder.name
            for piece in _fetched(sent):
                mirror.receive(place, piece)
            mirrored = mirror.Mirror(place)
        thread = stack.enter_context(ThreadPoolExecutor(1, thread_name_prefix="training"))
        stack.callback(watch.ask_to_stop)  # before the thread is waited for, also where Ray closes this generator
        training = thread.submit(_train, wanted, place, watch)
        try:
            while not wait([training], LOOK_EVERY).done:
                yield _News(watch.episodes, mirrored.news() if mirrored else [])
        except KeyboardInterrupt:
            watch.ask_to_stop()
            wait([training], SAVING_PATIENCE)
        yield _News(watch.episodes, mirrored.news() if mirrored else [])
        training.result()


def _session_folder() -> str | None:
    """That of Ray on this node, which goes when Ray does; None outside Ray."""
    import ray

    node = ray._private.worker._global_node
    return None if node is None else node.get_session_dir_path()


def _fetched(sent: list[Any] | None) -> list[mirror.Piece]:
    import ray

    return ray.get(sent[0]) if sent else []


def _train(wanted: Wanted, place: Path, watch: _Watch | None = None, address: str | None = None) -> None:
    """Train one run, or go on with it, and do what is to be done with it."""
    from emcomm.a3c import use_one_core

    watch = watch or _Watch()
    if state_of(wanted._replace(folder=place)) != "done":
        resume = place if _begun(place, wanted.config) else None
        options = TrainOptions(
            wanted.config, log_dir=place.parent, run_name=place.name, resume=resume, ray_address=address
        )
        with Path(os.devnull).open("w") as nowhere:
            if train(options, Console(file=nowhere), watch):
                raise KeyboardInterrupt
    use_one_core()
    if watch.stop is not None:
        raise KeyboardInterrupt
    if wanted.after is not None:
        wanted.after(place)


def _begun(place: Path, config: Config) -> bool:
    """Whether there is something to go on with; what a killed process left without a checkpoint is removed."""
    if not place.exists():
        return False
    run, end = _open(place, config), time.monotonic() + LOCK_PATIENCE
    while True:
        try:
            with run.lock():
                if run.checkpoints():
                    return True
                shutil.rmtree(place)
                return False
        except BadInput:
            if time.monotonic() > end:
                raise
            time.sleep(1)


# -- runs with workers of their own ------------------------------------------------------------------------------------


def _with_workers(wanted: Wanted, address: str | None) -> Progress:
    """Make a run that has workers, in a process that starts or joins Ray itself."""
    context = multiprocessing.get_context("spawn")
    hears, says = context.Pipe(duplex=False)
    process = context.Process(target=_in_a_process, args=(wanted, address, says))
    process.start()
    says.close()
    try:
        process.join()
    except KeyboardInterrupt:
        with postponed() as again:  # a second signal does not leave the process behind
            end = time.monotonic() + 10  # a terminal has interrupted it too
            while process.is_alive() and again.number is None and time.monotonic() < end:
                process.join(0.1)
            if process.pid and process.is_alive():
                os.kill(process.pid, signal.SIGINT)
            process.join()
        raise
    problem, trace = _last_words(process.exitcode or 0, hears)
    return Progress(wanted, wanted.config.episodes if problem is None else 0, True, problem, trace)


def _last_words(code: int, hears: Any) -> tuple[str | None, str]:
    """What went wrong in a process that has ended, in one line and in full; None where nothing did."""
    if not code:
        return None, ""
    with contextlib.suppress(EOFError):  # killed before it could say anything
        problem, trace = hears.recv()
        return str(problem), str(trace)
    return f"it ended with exit code {code}", ""


def _in_a_process(wanted: Wanted, address: str | None, says: Any) -> None:
    raise_stopped()
    try:
        _train(wanted, wanted.folder, address=address)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        says.send((_told(error), traceback.format_exc()[-20_000:]))
        sys.exit(1)
