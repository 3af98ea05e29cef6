"""The models that contenders are compared on: hosts and mechanisms of the zoo, and what is shipped.

Sizes are the papers': 300 pixels for SSD, 224 for the classifiers, pictures of 800 x 1333 for the
detectors on ResNet-50 as LA's authors train them (896 x 1408, as xedge pads them), and 640 x 640
for the same, which is what the goals are about.
Weights are drawn, not trained: a graph takes as long with them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

from xedge.bundle import open_bundle
from xedge.errors import ConfigError

if TYPE_CHECKING:
    from xedge_benchmarks.speed_graphs import Subject

SHIPPED: Final = "bundle"
QUICK: Final = (SHIPPED,)


@dataclass(frozen=True)
class Host:
    """A model that contenders run.

    Attributes:
        title: For people.
        recipe: Of a model in PyTorch, by its name.
        changes: To it, ``key=value`` each; nothing is downloaded with ``pretrained`` off.
        label_aware: Whether LA's gradient is part of it.
        shipped: The graph is that of the shipped bundle, with its weights; in PyTorch the bundle's
            recipe runs with drawn ones.
    """

    title: str
    recipe: str
    changes: tuple[str, ...] = ()
    label_aware: bool = False
    shipped: bool = False

    @property
    def subject(self) -> Subject:
        """The model in PyTorch, weights drawn; imports it."""
        from xedge_benchmarks.speed_graphs import Subject

        return Subject(self.recipe, self.changes)

    def graph(self) -> bytes:
        """The float32 graph as xedge exports it."""
        return open_bundle(None).model() if self.shipped else self.subject.graph()


_PYRAMID: Final = "model.pyramid.pretrained=false"
_TRUNK: Final = "model.trunk.pretrained=false"
_SQUARE: Final = ("data.height=640", "data.width=640")
_LA: Final = "model.label_aware=true"


def _r50(title: str, recipe: str, *more: str, square: bool = True) -> Host:
    size = _SQUARE if square else ()
    text = "640 x 640" if square else "896 x 1408"
    changes = (*size, _PYRAMID, *more)
    return Host(f"{title}, ResNet-50, {text}", recipe, changes, label_aware=_LA in more)


def _trunk(title: str, recipe: str, *more: str) -> Host:
    return Host(title, recipe, (_TRUNK, *more))


def _attentions(name: str, title: str, backbone: str, recipe: str) -> dict[str, Host]:
    """A host with each of the mechanisms that DOAM's paper compares it with."""
    return {
        f"{name}-{key}": _trunk(f"{title} + {mechanism}, {backbone}", recipe,
                                f"model.trunk.attention={key}")
        for key, mechanism in (("se", "SE"), ("non-local", "Non-local"), ("da", "DA"),
                               ("cbam", "CBAM"))
    }  # fmt: skip


HOSTS: Final[Mapping[str, Host]] = MappingProxyType(
    {
        "atss": _r50("ATSS", "atss-r50"),
        "atss-la": _r50("ATSS + LA", "atss-r50", _LA),
        "atss-paper": _r50("ATSS", "atss-r50", square=False),
        "atss-la-paper": _r50("ATSS + LA", "atss-r50", _LA, square=False),
        "fcos": _r50("FCOS", "fcos-r50"),
        "fcos-doam": _r50("FCOS + DOAM", "fcos-r50-doam"),
        "paa": _r50("PAA", "paa-r50"),
        "ssd": _trunk("SSD300, VGG16", "ssd300-vgg16"),
        **_attentions("ssd", "SSD300", "VGG16", "ssd300-vgg16"),
        "ssd-doam": _trunk("SSD300 + DOAM, VGG16", "ssd300-vgg16-doam"),
        "yolov3": _trunk("YOLOv3, Darknet-53", "yolov3-darknet53"),
        "yolov3-doam": _trunk("YOLOv3 + DOAM, Darknet-53", "yolov3-darknet53-doam"),
        "resnet34": _trunk("ResNet-34, 224 x 224", "backbone-resnet34"),
        "chr-resnet34": _trunk("CHR, ResNet-34, 224 x 224", "chr-resnet34"),
        "chr-resnet50": _trunk("CHR, ResNet-50, 224 x 224", "chr-resnet50"),
        "sxmnet": Host("SXMNet, ResNet-50, 224 x 224", "sxmnet-r50", (_PYRAMID,)),
        SHIPPED: Host("the shipped bundle, 416 x 416", "atss-la-r18half", (), True, True),
    }
)
"""Name of a host to what it is."""


def chosen_hosts(names: Sequence[str]) -> tuple[str, ...]:
    """The names, each once; all where there are none.

    Raises:
        ConfigError: When there is no such host.
    """
    unknown = [name for name in names if name not in HOSTS]
    if unknown:
        raise ConfigError("there is no such host", expected=", ".join(HOSTS), found=unknown[0])
    return tuple(dict.fromkeys(names)) or tuple(HOSTS)
