"""Who is drawn: families of characters, held-out families, and the random traits of one character."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from .mouths import MouthStyle
from .shapes import Color, darker, lighter, mix, rgb

FAMILIES = {
    "train": {
        "person/short": 6,
        "person/long": 6,
        "person/curly": 4,
        "person/bald": 3,
        "person/bun": 4,
        "person/headscarf": 3,
        "person/cap": 3,
        "person/afro": 4,
        "person/quiff": 4,
        "person/ponytail": 4,
        "person/receding": 3,
        "cartoon/bold": 6,
        "cartoon/flat": 5,
        "cartoon/monster": 4,
        "animal/cat": 3,
        "animal/dog": 3,
        "animal/bear": 2.5,
        "animal/rabbit": 2.5,
        "animal/frog": 2.5,
        "animal/parrot": 2,
        "animal/owl": 2,
        "animal/mouse": 2,
        "animal/lion": 2,
        "robot/box": 4,
        "robot/dome": 3,
        "robot/screen": 3,
    },
    "test": {
        "person/bob": 6,
        "person/turban": 4,
        "person/mohawk": 4,
        "person/braids": 5,
        "person/beanie": 4,
        "cartoon/square": 4,
        "animal/fox": 3,
        "animal/panda": 3,
        "animal/duck": 2.5,
        "robot/capsule": 3,
    },
}

_PERSON = {
    "photo": 10, "drawn": 2.4, "anime": 2.2, "flat": 1.3, "clay": 1.2, "pencil": 0.9, "pixel": 1, "render": 0.7,
}  # fmt: skip
LOOKS: dict[str, dict[str, dict[str, float]]] = {
    "train": {
        "person": _PERSON,
        "cartoon": {"drawn": 4, "render": 4, "flat": 2.5, "clay": 2, "pencil": 1, "pixel": 1.5},
        "animal": {"drawn": 3, "render": 5, "flat": 1.5, "clay": 1.5, "pencil": 1, "pixel": 1},
        "robot": {"drawn": 3, "render": 4, "flat": 1.5, "pencil": 1, "pixel": 1.5},
    },
    "test": {
        "person": _PERSON,
        "cartoon": {"drawn": 4, "render": 3, "flat": 2, "pixel": 2, "pencil": 1},
        "animal": {"drawn": 3, "render": 4, "clay": 2, "pencil": 1, "flat": 1},
        "robot": {"drawn": 3, "render": 3, "clay": 2, "flat": 1},
    },
}
"""How often each kind is pictured how; robots of clay are held out."""

_SKINS = "fbe0cc f6d2b5 f0c4a0 e8b48f dca47c cf9368 bd7f55 a56b45 8d5738 74462e 5c3624 472a1d"
_HAIRS = "1f1a1c 2e211d 43302a 5d3f2c 7a5232 96693c b98b4f d8b36c e6cf95 8c3b24 b4552d 9b9794 d9d6d0"
_DYED = "d9669b 4f8fc9 7a5bb5 3fa796"
_IRISES = "4a3020 6b4426 7d6a3a 4f7350 3f7f8c 4b79ab 5f8fbf 7c8a92"
_CLOTHES = "d95d4e e58b45 ecbc4f 6fae75 3d8f88 3f77ad 5a5aa8 9a5b9d c9648a 39424e e9e2d3 7b4b3a 2c5d63 a7c4a0"
_FURS = {
    "cat": "e2a45c 8f8a88 4a4547 f0dcc0 b98d63 d8c3a5",
    "dog": "c98f55 8a5a38 e8cfa6 5a4438 d9d0c6",
    "bear": "8a5b3a 6b4630 a9774a e9e4dc 4d3a33",
    "rabbit": "d9cfc4 f3ece4 b59b83 8f8682",
    "frog": "7dbb4f 55a06b a5c84d 4c9c8f",
    "parrot": "e0503f 3f9e5a 3f78c4 f0b73c",
    "owl": "9a7350 7a6450 b8a58c",
    "mouse": "a9a4a6 c8b7a6 8b7f86",
    "lion": "e3ae5a d59b4b",
    "fox": "e07b39 d0652c",
    "panda": "f4f1ec",
    "duck": "f4cf58 f3efe6 5f9a62",
}
_TOONS = "f7cf9e f2b98a c98a5c 8d5a3c ffe08a a9d6e5 f5b5c8"
_MONSTERS = "7cc47f 8f7fd1 e58fb0 63b8c9 f0a45b b5d65a 6f8fe0"
_METALS = "b9c4cc 8fa3b0 d8d4c8 e0b060 6d8ba8 c97b5f 9fc2b5 e6e9ec"
_GLOWS = "63e6ff 7dffb0 ffd35c ff8f6b ff7fc2 a8b8ff"


@dataclass(frozen=True)
class Character:
    """The traits of one character; lengths in head units (half of a head's width is near 1)."""

    family: str
    seed: int  # of the small details
    skin: Color
    hair: Color
    accent: Color  # clothes, hat
    second: Color
    iris: Color
    head_width: float
    head_top: float
    taper: float  # how much narrower the chin is
    boxy: float
    eye_y: float
    eye_x: float
    mouth: MouthStyle
    traits: frozenset[str] = field(default_factory=frozenset)
    look: str = "drawn"

    @property
    def kind(self) -> str:
        return self.family.split("/")[0]

    @property
    def species(self) -> str:
        return self.family.split("/")[1]


def random_character(seed: int, split: str) -> Character:
    """A character of one of the split's families; the same seed gives another character in another split."""
    rng = np.random.default_rng([zlib.crc32(split.encode()), seed, 1])
    names, weights = zip(*FAMILIES[split].items(), strict=True)
    family = names[rng.choice(len(names), p=np.array(weights) / sum(weights))]
    made = _MAKERS[family.split("/")[0]](rng, family)
    return _with_look(made, split, np.random.default_rng([zlib.crc32(split.encode()), seed, 4]))


def _with_look(ch: Character, split: str, rng: np.random.Generator) -> Character:
    names, weights = zip(*LOOKS[split][ch.kind].items(), strict=True)
    look = names[rng.choice(len(names), p=np.array(weights) / sum(weights))]
    mouth = ch.mouth
    traits: dict[str, Any] = {}
    if look == "photo":
        full = rng.uniform(0.72, 1.3) * (0.9 if "man" in ch.traits else 1.05)
        mouth = replace(
            mouth, size=rng.uniform(0.66, 0.8), jaw=rng.uniform(0.6, 0.7), raised=0.2,
            upper_lip=0.105 * full, lower_lip=0.14 * full, smile=rng.uniform(-0.02, 0.06),
        )  # fmt: skip
    if look in ("photo", "render", "clay"):
        mouth = replace(mouth, lower_teeth=rng.uniform(0.0, 0.12))
    if look == "anime":
        inside = mix((150, 52, 62), (92, 26, 40), rng.random())
        mouth = replace(
            mouth, size=rng.uniform(0.5, 0.66), upper_lip=0.0, lower_lip=0.0, gloss=0.0, seam=0.035, bow=0.0,
            inside=inside, tongue=mix(inside, (240, 140, 140), 0.6), smile=rng.uniform(0.02, 0.16),
            center_y=rng.uniform(0.6, 0.68), chin_y=rng.uniform(1.0, 1.1),
            line=darker(mix(ch.skin, (120, 30, 40), 0.5), 0.45),
        )  # fmt: skip
        traits = {"taper": rng.uniform(0.48, 0.62), "boxy": rng.uniform(1.9, 2.1), "eye_y": rng.uniform(-0.06, 0.04)}
    if look == "photo":
        grey = sum(ch.skin) // 3
        traits = {"skin": mix(ch.skin, (grey, grey, grey), rng.uniform(0.0, 0.3))}
    return replace(ch, look=look, mouth=mouth, **traits)


def _pick(rng: np.random.Generator, colors: str | Sequence[str]) -> Color:
    colors = colors.split() if isinstance(colors, str) else colors
    color = rgb(colors[int(rng.integers(len(colors)))])
    red, green, blue = (int(np.clip(c + rng.integers(-7, 8), 0, 255)) for c in color)
    return red, green, blue


def _base(rng: np.random.Generator, family: str, **traits: Any) -> dict:
    values = {
        "family": family,
        "seed": int(rng.integers(1 << 31)),
        "accent": _pick(rng, _CLOTHES),
        "second": _pick(rng, _CLOTHES),
        "iris": _pick(rng, _IRISES),
        "hair": _pick(rng, _HAIRS),
        "head_width": rng.uniform(0.94, 1.04),
        "head_top": rng.uniform(1.12, 1.24),
        "taper": rng.uniform(0.2, 0.42),
        "boxy": rng.uniform(2.0, 2.35),
        "eye_y": rng.uniform(-0.14, -0.04),
        "eye_x": rng.uniform(0.4, 0.46),
    }
    return values | traits


def _person(rng: np.random.Generator, family: str) -> Character:
    values, style = _base(rng, family), family.split("/")[1]
    skin = _pick(rng, _SKINS)
    if style == "afro":
        skin = _pick(rng, _SKINS.split()[6:])
    if sum(skin) < 330 and rng.random() < 0.85:
        values |= {"hair": _pick(rng, _HAIRS.split()[:4]), "iris": _pick(rng, _IRISES.split()[:3])}
    if rng.random() < 0.07 and style not in ("headscarf", "turban"):
        values["hair"] = _pick(rng, _DYED)
    traits = {name for name, p in (("glasses", 0.24), ("freckles", 0.14)) if rng.random() < p}
    man = style in ("bald", "receding", "turban", "quiff") or (style not in _WOMEN and rng.random() < 0.55)
    if rng.random() < 0.2 and style not in ("cap", "mohawk"):
        traits.add("elder")
        values["hair"] = mix(values["hair"], (214, 211, 206), rng.uniform(0.55, 0.95))
    if man:
        beard = rng.choice(["", "stubble", "beard", "goatee", "moustache"], p=[0.38, 0.2, 0.18, 0.1, 0.14])
        traits |= {"man"} | ({str(beard)} if beard else set())
        if style == "turban":
            traits |= {"beard"}
    else:
        traits |= {name for name, p in (("makeup", 0.5), ("earrings", 0.4)) if rng.random() < p}
    red = (176, 52, 62) if "makeup" in traits else (188, 84, 82)
    lip = mix(skin, red, rng.uniform(0.5, 0.85) if "makeup" in traits else rng.uniform(0.3, 0.48))
    full = rng.uniform(0.75, 1.35) * (0.85 if man else 1.05)
    mouth = _mouth(
        rng,
        lip,
        skin,
        size=rng.uniform(0.7, 0.84),
        center_y=rng.uniform(0.55, 0.6),
        chin_y=rng.uniform(1.14, 1.24),
        upper_lip=0.095 * full,
        lower_lip=0.14 * full,
        smile=rng.uniform(0.0, 0.1),
        bow=rng.uniform(0.1, 0.34),
    )
    return Character(skin=skin, mouth=mouth, traits=frozenset(traits), **values)


def _cartoon(rng: np.random.Generator, family: str) -> Character:
    style = family.split("/")[1]
    skin = _pick(rng, _MONSTERS if style == "monster" else _TOONS)
    values = _base(rng, family, head_width=rng.uniform(0.98, 1.1), taper=rng.uniform(0.05, 0.3))
    values |= {"eye_y": rng.uniform(-0.2, -0.1), "eye_x": rng.uniform(0.36, 0.44)}
    if rng.random() < 0.4:
        values["hair"] = _pick(rng, _DYED)
    if style == "square":
        values |= {"boxy": rng.uniform(3.4, 5.0), "taper": rng.uniform(-0.08, 0.1)}
    traits = {name for name, p in (("glasses", 0.15), ("freckles", 0.2), ("lashes", 0.35)) if rng.random() < p}
    if style in ("bold", "square"):
        traits.add("outline")
    lips = 0.0 if rng.random() < 0.6 else 0.07
    mouth = _mouth(
        rng,
        mix(skin, (206, 66, 82), 0.5),
        skin,
        size=rng.uniform(0.72, 0.92),
        center_y=rng.uniform(0.52, 0.58),
        chin_y=rng.uniform(1.08, 1.16),
        upper_lip=lips,
        lower_lip=lips * 1.2,
        smile=rng.uniform(0.06, 0.2),
        outline=0.035 if "outline" in traits else 0.0,
        seam=0.05,
        gloss=0.2,
        raised=0.25,
    )
    return Character(skin=skin, mouth=mouth, traits=frozenset(traits), **values)


def _animal(rng: np.random.Generator, family: str) -> Character:
    species = family.split("/")[1]
    fur = _pick(rng, _FURS[species])
    values = _base(
        rng, family, head_width=rng.uniform(1.02, 1.12), taper=rng.uniform(0.05, 0.2), head_top=rng.uniform(0.98, 1.08)
    )
    values |= {"eye_y": rng.uniform(-0.2, -0.12), "eye_x": rng.uniform(0.42, 0.5)}
    size = rng.uniform(0.66, 0.8)
    common = {"size": size, "center_y": rng.uniform(0.52, 0.57), "chin_y": rng.uniform(1.0, 1.08)}
    if species in ("parrot", "owl", "duck"):
        beak = mix(_pick(rng, "f0a63c e88a3a e6b84a 4a4650" if species == "parrot" else "f0a63c e88a3a"), fur, 0.05)
        common |= {"upper_lip": 0.62, "lower_lip": 0.2, "point": 0.3, "smile": 0.0, "beak": True, "raised": 0.1}
        common |= {"seam": 0.03, "gloss": 0.0}
        if species == "duck":
            common |= {"point": 0.06, "upper_lip": 0.42, "smile": 0.12, "size": size * 1.15}
        mouth = _mouth(rng, beak, fur, **common)
        mouth = replace(mouth, teeth=lighter(beak, 0.6))
        values["second"] = _pick(rng, _FURS["parrot"])
        return Character(skin=fur, mouth=mouth, **values)
    if species == "frog":
        common |= {"size": rng.uniform(0.95, 1.1), "smile": rng.uniform(0.1, 0.2), "upper_lip": 0.03, "lower_lip": 0.05}
        mouth = _mouth(rng, darker(fur, 0.25), fur, **common, seam=0.035, gloss=0.0)
        return Character(skin=fur, mouth=mouth, **values)
    pale = mix(lighter(fur, 0.55), (255, 244, 230), 0.3)
    common |= {
        "lobes": rng.uniform(0.09, 0.14),
        "smile": rng.uniform(0.08, 0.18),
        "upper_lip": 0.0,
        "lower_lip": 0.13,
        "raised": 0.12,
    }
    mouth = _mouth(rng, pale, pale, **common, seam=0.045, gloss=0.0)
    return Character(skin=fur, mouth=mouth, **values)


def _robot(rng: np.random.Generator, family: str) -> Character:
    style = family.split("/")[1]
    metal, glow = _pick(rng, _METALS), _pick(rng, _GLOWS)
    values = _base(
        rng, family, head_width=rng.uniform(1.0, 1.12), taper=rng.uniform(-0.05, 0.12), head_top=rng.uniform(1.0, 1.12)
    )
    values |= {
        "iris": glow,
        "boxy": {"box": 6.0, "dome": 2.6, "screen": 4.5, "capsule": 3.0}[style],
        "eye_x": rng.uniform(0.42, 0.5),
    }
    led = style in ("screen", "capsule") or rng.random() < 0.3
    common = {
        "size": rng.uniform(0.74, 0.92),
        "center_y": rng.uniform(0.52, 0.57),
        "chin_y": 1.12,
        "jaw": 0.0,
        "gloss": 0.0,
    }
    common |= {
        "square": rng.uniform(3.0, 6.0),
        "smile": rng.uniform(0, 0.06),
        "bars": int(rng.integers(4, 8)),
        "raised": 0.35,
    }
    mouth = _mouth(
        rng, glow if led else darker(metal, 0.35), metal, upper_lip=0.05, lower_lip=0.05, seam=0.03, **common
    )
    colors: dict[str, Any]
    if led:
        colors = {
            "inside": mix(darker(glow, 0.55), (10, 20, 30), 0.25),
            "line": darker(glow, 0.8),
            "teeth": lighter(glow, 0.6),
            "tongue": glow,
        }
    else:
        colors = {"inside": (24, 26, 34), "line": darker(metal, 0.7), "teeth": lighter(metal, 0.45), "tongue": glow}
    mouth = replace(mouth, **colors)
    return Character(skin=metal, mouth=mouth, traits=frozenset({"led"} if led else ()), **values)


def _mouth(rng: np.random.Generator, lip: Color, skin: Color, **shape: Any) -> MouthStyle:
    tooth = mix((250, 246, 236), (238, 226, 200), rng.uniform(0, 0.8))
    tongue = mix((214, 92, 98), (190, 70, 84), rng.random())
    inside = mix((58, 16, 24), (32, 12, 20), rng.random())
    upper = darker(lip, 0.14)
    return MouthStyle(
        upper=upper,
        lower=lip,
        inside=inside,
        teeth=tooth,
        tongue=tongue,
        line=darker(mix(upper, skin, 0.2), 0.55),
        **shape,
    )


_WOMEN = ("long", "bun", "headscarf", "ponytail", "bob", "braids")
_MAKERS = {"person": _person, "cartoon": _cartoon, "animal": _animal, "robot": _robot}
