"""A negotiation as a picture: two trains at a crossing, or, for any other game, the agents around a table.

Painted with Pillow at three times the size and shrunk, which makes every edge smooth.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from envs.negotiation import PHASES, SILENT
from envs.rendering import Picture, Scene, rounds

WIDTH, HEIGHT = 960, 540
_SCALE = 3

Colour: TypeAlias = tuple[int, int, int]
Points: TypeAlias = NDArray[np.float64]
"""`[K, 2]` x to the right, y down, in pixels of the finished picture."""

PAPER, INK, GREY, PALE = (250, 249, 245), (38, 46, 56), (139, 147, 156), (226, 226, 220)
BALLAST, SLEEPER, RAIL = (234, 231, 223), (186, 171, 150), (96, 104, 112)
WOOD, WOOD_EDGE = (222, 203, 176), (197, 174, 142)
GOOD, BAD, WHITE = (0, 135, 98), (200, 44, 30), (255, 255, 255)
# told apart by colour-blind readers too (Okabe and Ito 2008)
AGENTS = ((0, 114, 178), (213, 94, 0), (0, 158, 115), (204, 121, 167), (86, 180, 233), (230, 159, 0))


def draw(scene: Scene) -> Picture:
    """Paint a scene; the size is always `HEIGHT` by `WIDTH`, so that pictures can become a film."""
    return (_draw_track(scene) if scene.on_track else _draw_table(scene)).picture()


def side_by_side(*pictures: Picture) -> Picture:
    """Put pictures next to each other, each brought to the height `HEIGHT`."""
    images = [Image.fromarray(picture) for picture in pictures]
    fitted = [image.resize((round(image.width * HEIGHT / image.height), HEIGHT)) for image in images]
    return np.concatenate([np.asarray(image) for image in fitted], axis=1)


# -- paint -------------------------------------------------------------------------------------------------------


class _Canvas:
    """Shapes in pixels of the finished picture."""

    def __init__(self, background: Image.Image | None = None) -> None:
        size = WIDTH * _SCALE, HEIGHT * _SCALE
        self.image = background.copy() if background else Image.new("RGB", size, PAPER)
        self._draw = ImageDraw.Draw(self.image)

    def picture(self) -> Picture:
        return np.asarray(self.image.reduce(_SCALE))

    def polygon(self, points: Points, fill: Colour) -> None:
        self._draw.polygon([(x, y) for x, y in (points * _SCALE).tolist()], fill=fill)

    def line(self, points: Points, fill: Colour, width: float) -> None:
        path = [(x, y) for x, y in (points * _SCALE).tolist()]
        self._draw.line(path, fill=fill, width=round(width * _SCALE), joint="curve")

    def box(
        self,
        x: float,
        y: float,
        width: float,
        height: float,
        radius: float,
        fill: Colour,
        edge: Colour | None = None,
        border: float = 0,
    ) -> None:
        """A box with round corners, centred on `x`, `y`."""
        corners = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2]) * _SCALE
        self._draw.rounded_rectangle(corners.tolist(), radius * _SCALE, fill, edge, round(border * _SCALE))

    def disc(self, x: float, y: float, radius: float, fill: Colour) -> None:
        self.box(x, y, 2 * radius, 2 * radius, radius, fill)

    def text(self, x: float, y: float, words: str, size: float, fill: Colour = INK, width: float = WIDTH) -> None:
        """Words centred on `x`, `y`, smaller where they would not fit into `width`."""
        size *= min(1.0, width * _SCALE / max(_font(round(size * _SCALE)).getlength(words), 1))
        font = _font(max(round(size * _SCALE), 1))
        # centred by the height of a digit: with descenders in the reckoning, words would sit too high
        self._draw.text((x * _SCALE, (y + 0.36 * size) * _SCALE), words, fill, font, anchor="ms")


@lru_cache(maxsize=64)
def _font(size: int) -> Any:
    return ImageFont.load_default(size=size)


def _mix(colour: Colour, other: Colour, share: float) -> Colour:
    """`share` of `other` in `colour`."""
    red, green, blue = (round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))
    return red, green, blue


def _agent_colour(agent: int) -> Colour:
    return AGENTS[agent % len(AGENTS)]


# -- what both settings show -------------------------------------------------------------------------------------


def _draw_phases(canvas: _Canvas, scene: Scene) -> None:
    """The three phases, the present one filled."""
    for i, phase in enumerate(PHASES):
        x, now = WIDTH / 2 + (i - 1) * 96, phase == scene.phase and not scene.outcome
        canvas.box(x, 34, 74, 26, 13, INK if now else PAPER, INK if now else PALE, 1.5)
        canvas.text(x, 34, phase, 13, WHITE if now else GREY)
        if i:
            canvas.line(np.array([[x - 54, 34], [x - 42, 34]]), PALE, 1.5)


def _headline(scene: Scene) -> tuple[str, str, Colour]:
    """How things stand, a line of detail, and the colour of the first."""
    count = len(scene.symbols)
    if scene.outcome:
        word = "parted" if scene.on_track and scene.success else scene.outcome
        detail = f"after {rounds(count)} of talk" if count else "without a word"
        return word, detail + " (cut)" * scene.cut, INK if scene.success is None else GOOD if scene.success else BAD
    if scene.phase == "ACT":
        talk = f"{rounds(count)} of talk" if count else "no talk"
        return "now move", talk + ", then cut" * scene.cut, INK
    if scene.phase == "OPEN":
        return "move or talk", "nothing has been said", INK
    return "talking", f"round {max(count, 1)}", INK


def _draw_talk(canvas: _Canvas, scene: Scene, columns: Sequence[float], width: float, bottom: float, fits: int) -> None:
    """The last `fits` rounds as bubbles `width` wide, a column per agent: the newest at `bottom`, older ones paler."""
    for age, round_ in enumerate(reversed(scene.symbols[-fits:])):
        y, number, fade = bottom - age * 38, len(scene.symbols) - age, min(0.1 * age, 0.6)
        canvas.text(columns[0] - width / 2 - 22, y, str(number), 12, _mix(GREY, PAPER, fade))
        order = scene.order[number - 1] if len(scene.order) >= number else ()
        for agent, symbol in enumerate(round_):
            x, colour = columns[agent], _agent_colour(agent)
            if symbol == SILENT:
                canvas.line(np.array([[x - 7, y], [x + 7, y]]), PALE, 2)
                continue
            in_the_air = age == 0 and not scene.moves
            _draw_bubble(
                canvas, "EOT" if symbol == scene.n_tokens else str(symbol), x, y, width, colour, fade, in_the_air
            )
            if order:
                _draw_place(canvas, order.index(agent) + 1, x + width / 2 - 1, y - 13, fade)
    hidden = len(scene.symbols) - fits
    if hidden > 0:
        canvas.text(columns[0], bottom - fits * 38 + 6, f"{rounds(hidden)} before", 12, GREY)


def _draw_bubble(
    canvas: _Canvas, said: str, x: float, y: float, width: float, colour: Colour, fade: float, tail: bool
) -> None:
    """What one agent said in one round, EOT in full colour; a tail points at who has just said it."""
    eot = said == "EOT"
    fill = _mix(colour if eot else _mix(WHITE, colour, 0.12), PAPER, fade)
    edge = _mix(colour if eot else _mix(WHITE, colour, 0.55), PAPER, fade)
    canvas.box(x, y, width, 30, min(13, width / 3), fill, edge, 1.5)
    if tail:
        canvas.polygon(np.array([[x - 8, y + 14.2], [x + 8, y + 14.2], [x, y + 26]]), edge)
        canvas.polygon(np.array([[x - 5.6, y + 13.4], [x + 5.6, y + 13.4], [x, y + 23]]), fill)
    canvas.text(x, y, said, 14.5 if eot else 17, _mix(WHITE if eot else INK, fill, fade / 2), 0.7 * width)


def _draw_place(canvas: _Canvas, place: int, x: float, y: float, fade: float) -> None:
    """Whether an agent spoke first, second, … in a round."""
    canvas.disc(x, y, 7, _mix(INK, PAPER, fade))
    canvas.text(x, y, str(place), 9.5, PAPER)


# -- trains at a crossing ----------------------------------------------------------------------------------------

_LINE_Y, _DETOUR_Y = 432.0, 348.0
_CAR, _GAP = 62.0, 5.0
_TRAIN = 2 * _CAR + _GAP


class _Path:
    """A curve that can be asked for the place and the direction at a distance from its start."""

    def __init__(self, points: Points) -> None:
        steps = np.hypot(*np.diff(points, axis=0).T)
        self._points, self._distance = points, np.concatenate([[0.0], np.cumsum(steps)])
        self.length = float(self._distance[-1])

    def at(self, distance: float) -> tuple[Points, float]:
        """The point `[2]` and the heading (radians)."""
        near = [self._where(distance + d) for d in (-1.0, 0.0, 1.0)]
        dx, dy = near[2] - near[0]
        return near[1], float(np.arctan2(dy, dx))

    def _where(self, distance: float) -> Points:
        return np.array([np.interp(distance, self._distance, axis) for axis in self._points.T])

    def reversed(self) -> _Path:
        return _Path(self._points[::-1])


def _line(detour: bool) -> _Path:
    """The way of a train from the left edge to the right edge."""
    x = np.linspace(-60, WIDTH + 60, 541)
    off = np.clip((230 - np.abs(x - WIDTH / 2)) / 160, 0, 1)  # 0 on the main line, 1 on the detour
    rise = (1 - np.cos(np.pi * off)) / 2
    return _Path(np.stack([x, _LINE_Y + (_DETOUR_Y - _LINE_Y) * rise * detour], axis=1))


@lru_cache(maxsize=1)
def _empty_track() -> Image.Image:
    """The rails, alike in every picture."""
    canvas = _Canvas()
    _draw_rails(canvas, [_line(detour=False), _line(detour=True)])
    canvas.text(WIDTH / 2, _DETOUR_Y + 42, "detour", 13, GREY)
    canvas.text(WIDTH / 2, _LINE_Y + 42, "main line", 13, GREY)
    return canvas.image


def _draw_track(scene: Scene) -> _Canvas:
    """Bubbles over the trains that wait at the sides, how it stands and the rails between them."""
    canvas = _Canvas(_empty_track())
    columns = (160.0, WIDTH - 160.0)
    _draw_phases(canvas, scene)
    headline, detail, colour = _headline(scene)
    canvas.text(WIDTH / 2, 112, headline, 34, colour)
    canvas.text(WIDTH / 2, 148, detail, 15, GREY)
    _draw_talk(canvas, scene, columns, width=64, bottom=376, fits=8)
    for agent, name in enumerate(scene.agent_names):
        canvas.text(columns[agent], _LINE_Y + 40, name, 15, _agent_colour(agent), 200)
        if scene.moves:
            reward = (
                f"{scene.move_name(agent)}   {scene.rewards[agent]:+g}" if scene.rewards else scene.move_name(agent)
            )
            canvas.text(columns[agent], _LINE_Y + 62, reward, 13, GREY, 200)
        if scene.knows:
            canvas.text(columns[agent], _LINE_Y + 84, scene.knows[agent], 13, INK, 260)
    _draw_trains(canvas, scene)
    return canvas


def _draw_rails(canvas: _Canvas, paths: Sequence[_Path]) -> None:
    for path in paths:
        canvas.line(_beside(path, 0), BALLAST, 34)
    for i, path in enumerate(paths):
        for distance in np.arange(0, path.length, 13):
            centre, heading = path.at(distance)
            if i and abs(centre[1] - _LINE_Y) < 9:  # where the lines part, the sleepers of the first one are enough
                continue
            across = 12.5 * np.array([-np.sin(heading), np.cos(heading)])
            canvas.line(np.array([centre + across, centre - across]), SLEEPER, 4)
    for path in paths:
        for side in (-8, 8):
            canvas.line(_beside(path, side), RAIL, 2.2)


def _beside(path: _Path, offset: float) -> Points:
    """The curve at `offset` pixels to the side of a path."""
    places = (path.at(distance) for distance in np.arange(0, path.length, 3))
    return np.array([point + offset * np.array([-np.sin(a), np.cos(a)]) for point, a in places])


def _draw_trains(canvas: _Canvas, scene: Scene) -> None:
    """Waiting at the sides; after the moves beside each other, or head to head on one line."""
    for agent in (0, 1):
        path = _line(detour=bool(scene.moves) and scene.moves[agent] == 1)
        path = path.reversed() if agent else path
        met = scene.moves and scene.moves[0] == scene.moves[1]
        ahead = path.length / 2 + (2 if met else _TRAIN / 2) if scene.moves else 60 + 160 + _TRAIN / 2
        for car in (1, 0):
            centre, heading = path.at(ahead - _CAR / 2 - car * (_CAR + _GAP))
            _draw_car(canvas, centre, heading + 0.16 * bool(met) * (car == 0), _agent_colour(agent), engine=car == 0)
    if scene.moves and scene.moves[0] == scene.moves[1]:
        _draw_burst(canvas, WIDTH / 2, _DETOUR_Y if scene.moves[0] else _LINE_Y)


def _draw_car(canvas: _Canvas, centre: Points, heading: float, colour: Colour, engine: bool) -> None:
    """A coach from above, or an engine with its nose ahead."""
    turn = np.array([[np.cos(heading), np.sin(heading)], [-np.sin(heading), np.cos(heading)]])

    def part(x: float, length: float, width: float, nose: float, fill: Colour) -> None:
        canvas.polygon(_capsule(length, width, nose) @ turn + (np.array([x, 0]) @ turn + centre), fill)

    part(0, _CAR, 28, 17 if engine else 6, _mix(colour, INK, 0.35))
    part(0, _CAR - 4, 24, 15 if engine else 5, colour)
    if engine:
        part(13, 9, 16, 4, _mix(INK, colour, 0.25))
        part(-11, 28, 10, 3, _mix(colour, WHITE, 0.3))
    else:
        for x in (-15, 0, 15):
            part(x, 10, 12, 3, _mix(colour, WHITE, 0.3))


def _capsule(length: float, width: float, nose: float) -> Points:
    """A box around 0, 0 with its front to the right; corners round, the front ones over `nose` pixels."""
    quarter = np.linspace(0, np.pi / 2, 12)
    height = width / 2
    back = min(5.0, length / 3, height)
    tall = min(height, nose)
    front = np.stack([length / 2 - nose + nose * np.cos(quarter), height - tall + tall * np.sin(quarter)], axis=1)
    rear = np.stack([back - length / 2 - back * np.sin(quarter), height - back + back * np.cos(quarter)], axis=1)
    side = np.concatenate([front, rear])
    return np.concatenate([side, side[::-1] * (1, -1)])


def _draw_burst(canvas: _Canvas, x: float, y: float) -> None:
    """The flash of a crash."""
    angle = np.linspace(0, 2 * np.pi, 22, endpoint=False)
    for size, colour in ((34, BAD), (25, (250, 168, 30)), (14, (255, 240, 170))):
        radius = np.where(np.arange(22) % 2, 0.58, 1.0) * size
        canvas.polygon(np.stack([x + radius * np.cos(angle), y + radius * np.sin(angle)], axis=1), colour)


# -- agents around a table ---------------------------------------------------------------------------------------


def _draw_table(scene: Scene) -> _Canvas:
    """For any other game: who sits there, what they say, and the moves as cards on the table."""
    canvas = _Canvas()
    agents = len(scene.agent_names)
    pitch = (WIDTH - 160) / agents
    columns = [80 + pitch * (agent + 0.5) for agent in range(agents)]
    _draw_phases(canvas, scene)
    headline, detail, colour = _headline(scene)
    canvas.text(WIDTH / 2, 76, headline, 22, colour)
    canvas.text(WIDTH / 2, 100, detail, 13, GREY)
    _draw_talk(canvas, scene, columns, width=min(64, 0.7 * pitch), bottom=336, fits=6)
    head = min(21, pitch / 4)
    for agent, x in enumerate(columns):
        absent = bool(scene.moves) and scene.moves[agent] < 0
        shade = PALE if absent else _agent_colour(agent)
        canvas.box(x, 452, 3.3 * head, 76, 1.5 * head, shade)
        canvas.disc(x, 409 - head, head, shade)
    canvas.box(WIDTH / 2, 466, WIDTH - 120, 74, 22, WOOD, WOOD_EDGE, 2)
    for agent, (x, name) in enumerate(zip(columns, scene.agent_names, strict=True)):
        canvas.text(x, 513 if scene.knows else 519, name, 13, _agent_colour(agent), 0.94 * pitch)
        if scene.knows:
            canvas.text(x, 530, scene.knows[agent], 12, INK, 0.94 * pitch)
        if scene.moves:
            _draw_card(canvas, scene, agent, x, pitch)
    return canvas


def _draw_card(canvas: _Canvas, scene: Scene, agent: int, x: float, pitch: float) -> None:
    """An agent's move, and its reward under it."""
    width = min(96, 0.86 * pitch)
    canvas.box(x, 466, width, 50, 8, WHITE, WOOD_EDGE, 1.5)
    canvas.text(x, 457, scene.move_name(agent), 16, INK, width - 8)
    if scene.rewards:
        canvas.text(x, 478, f"{scene.rewards[agent]:+.3g}", 12, GREY, width - 8)
