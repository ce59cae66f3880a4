"""Registration is atomic, lazy, and names what is wrong."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest
from builders import descriptor, released
from pydantic import ValidationError

from esrbench.entries import registry as registry_module
from esrbench.entries.descriptor import ModelDescriptor, PublishedFigure
from esrbench.entries.registry import Registry, default_registry, register_model
from esrbench.entries.targets import resolve_factory
from esrbench.errors import RegistrationError, UsageError
from esrbench.metrics import METRICS


@pytest.fixture
def registry(monkeypatch):
    """A registry that stands in for the default one."""
    fresh = Registry()
    monkeypatch.setattr(registry_module, "default_registry", lambda: fresh)
    return fresh


def test_added_networks_are_found_in_order_with_their_origin():
    registry = Registry()
    registry.add((descriptor("b"), descriptor("a")), origin="dist")
    assert [entry.name for entry in registry] == ["b", "a"]
    assert len(registry) == 2
    assert "a" in registry
    assert "c" not in registry
    assert registry.get("a").origin == "dist"


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        ((descriptor("new"), descriptor("old")), "'old' is already registered by first"),
        ((descriptor("new"), descriptor("new")), "'new' is already registered by second"),
        ((descriptor("new"), "no descriptor"), "expected a ModelDescriptor, got str"),
        (
            (descriptor("new"), descriptor("w", weights=(released(4), released(4)))),
            r"w declares weights for scales \[4, 4\]",
        ),
        (
            (descriptor("new"), descriptor("w", weights=(released(2),))),
            r"w declares weights for scales \[2\]",
        ),
    ],
)
def test_a_failed_batch_leaves_the_registry_unchanged(batch, said):
    registry = Registry()
    registry.add((descriptor("old"),), origin="first")
    before = list(registry)
    with pytest.raises(RegistrationError, match=said):
        registry.add(batch, origin="second")
    assert list(registry) == before


def test_an_unknown_name_is_answered_with_near_ones_and_origins():
    registry = Registry()
    registry.add((descriptor("rfdn"), descriptor("imdn")), origin="esrbench")
    with pytest.raises(UsageError, match="no network is registered as 'RFDM'") as caught:
        registry.get("RFDM")
    assert caught.value.advice is not None
    assert caught.value.advice.startswith("Did you mean rfdn")
    assert "install its package" in caught.value.advice
    assert caught.value.advice.endswith("Known from esrbench: imdn, rfdn.")


def test_a_scale_without_definition_is_refused():
    entry = descriptor("net", scales=(2, 3))
    entry.require_scale(3)
    with pytest.raises(UsageError, match="net is not defined at x4") as caught:
        entry.require_scale(4)
    assert caught.value.advice == "Use one of its scales: x2, x3."


@pytest.mark.parametrize(
    "fields",
    [
        {"name": "Upper"},
        {"name": "../up"},
        {"scales": ()},
        {"scales": (0,)},
        {"factory": "no_attribute"},
        {"data_range": 0.0},
        {"min_lr_size": 0},
        {"unknown": 1},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_wrong_fields_are_refused(fields):
    with pytest.raises(ValidationError):
        descriptor(**{"name": "net", **fields})


def test_descriptors_are_frozen():
    with pytest.raises(ValidationError, match="frozen"):
        descriptor("net").name = "other"


def build(scale, width):
    """A network of mine.

    More of it.
    """
    return scale * width


def test_decorator_registers_and_returns_its_argument(registry):
    register = register_model("mine", scales=[2, 4], options={"width": 8}, data_range=255.0)
    assert register(build) is build
    entry = registry.get("mine")
    assert entry.scales == (2, 4)
    assert entry.summary == "A network of mine."
    assert entry.options == {"width": 8}
    assert entry.data_range == 255.0
    # By its file where pytest imported this module under a name that a worker would not find.
    assert entry.origin in {__name__, __file__}
    assert entry.factory == f"{entry.origin}:build"
    with pytest.raises(RegistrationError, match="'mine' is already registered"):
        register(loaded)


def test_decorator_refuses_what_cannot_be_imported_again(registry):
    def local(scale):
        return scale

    with pytest.raises(RegistrationError, match="a worker process cannot import it") as caught:
        register_model("mine", scales=[4])(local)
    assert "top level of a file" in (caught.value.advice or "")
    assert len(registry) == 0


def test_decorator_refuses_wrong_fields_by_name(registry):
    with pytest.raises(RegistrationError, match=r"scales.0: .*; min_lr: no such field") as caught:
        register_model("mine", scales=[0], min_lr=3)(dict)
    assert caught.value.advice == "Correct these fields of ModelDescriptor."
    assert len(registry) == 0


@dataclass
class Distribution:
    name: str


@dataclass
class EntryPoint:
    """What ``importlib.metadata`` gives for one entry point."""

    offered: Any
    dist: Distribution | None = None
    value: str = "package:ENTRIES"

    def load(self):
        if isinstance(self.offered, BaseException):
            raise self.offered
        if self.offered == "noise":
            sys.stdout.write("hello from a stranger\n")
            return descriptor("noisy")
        return self.offered


def loaded(monkeypatch, *points):
    def entry_points(*, group):
        assert group == "esrbench.models"
        return points

    monkeypatch.setattr("importlib.metadata.entry_points", entry_points)
    monkeypatch.setattr("esrbench.entries.registry.find_submissions", lambda _root: ())
    return default_registry.__wrapped__()


def test_entry_points_offer_one_descriptor_or_several(monkeypatch):
    registry = loaded(
        monkeypatch,
        EntryPoint(descriptor("one"), Distribution("first")),
        EntryPoint([descriptor("two"), descriptor("three")]),
    )
    assert [(entry.name, entry.origin) for entry in registry] == [
        ("one", "first"),
        ("two", "package:ENTRIES"),
        ("three", "package:ENTRIES"),
    ]
    assert registry.notices == []


@pytest.mark.parametrize(
    ("offered", "said"),
    [
        (ImportError("no module named theirs"), "no module named theirs"),
        ([descriptor("fine"), descriptor("good")], "'good' is already registered"),
        (3, "not iterable"),
        (SystemExit("bye"), "bye"),
    ],
)
def test_a_broken_entry_point_leaves_a_notice_and_nothing_else(monkeypatch, offered, said):
    registry = loaded(
        monkeypatch,
        EntryPoint(descriptor("good"), Distribution("healthy")),
        EntryPoint(offered, Distribution("broken")),
    )
    assert [entry.name for entry in registry] == ["good"]
    (notice,) = registry.notices
    assert notice.code == "broken-entry-point"
    assert notice.message.startswith("broken: package:ENTRIES did not load")
    assert said in notice.message


def test_a_wrong_field_of_a_descriptor_is_named(monkeypatch):
    class Wrong:
        def __iter__(self):
            yield ModelDescriptor(name="wrong", summary="", scales=(4,), factory="m:N", kwargs={})

    registry = loaded(monkeypatch, EntryPoint(Wrong(), Distribution("broken")))
    (notice,) = registry.notices
    assert notice.message.endswith("package:ENTRIES did not load: kwargs: no such field")
    assert "Correct package:ENTRIES" in (notice.advice or "")


def test_a_stranger_cannot_take_our_names(monkeypatch):
    registry = loaded(
        monkeypatch,
        EntryPoint([descriptor("rfdn"), descriptor("theirs")], Distribution("stranger")),
        EntryPoint([descriptor("rfdn"), descriptor("imdn")], Distribution("esrbench")),
    )
    assert [(entry.name, entry.origin) for entry in registry] == [
        ("rfdn", "esrbench"),
        ("imdn", "esrbench"),
    ]
    assert "'rfdn' is already registered by esrbench" in registry.notices[0].message


def test_what_a_stranger_prints_goes_to_stderr(monkeypatch, capsys):
    loaded(monkeypatch, EntryPoint("noise", Distribution("noisy")))
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err == "hello from a stranger\n"


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValidationError, match="there is no metric 'parameters'"):
        PublishedFigure(metric="parameters", scale=4, value=1.0, source="a table")


def test_listing_imports_no_torch():
    code = (
        "import sys\n"
        "import esrbench.entries.networks\n"
        "import esrbench_models.rfdn\n"
        "from esrbench.entries.registry import default_registry\n"
        "registry = default_registry()\n"
        "assert not registry.notices, registry.notices\n"
        "print(','.join(entry.name for entry in registry))\n"
        "heavy = {'torch', 'cv2', 'pandas', 'numpy', 'fvcore'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    names = set(done.stdout.strip().split(","))
    assert {"aidn", "aidn-challenge", "rfdn", "imdn", "imdn-challenge", "srresnet"} <= names
    assert "bicubic" in names


def test_every_registered_descriptor_survives_json():
    for entry in default_registry():
        again = ModelDescriptor.model_validate(
            json.loads(json.dumps(entry.model_dump(mode="json")))
        )
        assert again == entry
        assert ModelDescriptor.model_validate_json(entry.model_dump_json()) == entry


def test_published_figures_name_known_metrics_scales_and_sources():
    figures = [(entry, figure) for entry in default_registry() for figure in entry.published]
    assert len(figures) > 30
    for entry, figure in figures:
        assert figure.metric in METRICS, (entry.name, figure)
        assert figure.scale in entry.scales, (entry.name, figure)
        is_quality = figure.metric.startswith(("psnr", "ssim"))
        assert (figure.data is not None) == is_quality, (entry.name, figure)
    found = {
        (entry.name, figure.metric, figure.scale): METRICS[figure.metric].format(figure.value)
        for entry, figure in figures
        if figure.data in (None, "div2k-valid")
    }
    # Rows of the NTIRE 2022 results table, as printed.
    table = {
        "aidn-challenge": ("29.00", "47.75", "0.242", "14.51", "151.36", "861.84", "100"),
        "rfdn": ("29.04", "41.97", "0.433", "27.10", "112.03", "788.13", "64"),
        "imdn-challenge": ("29.13", "50.86", "0.894", "58.53", "154.14", "471.76", "43"),
    }
    columns = (
        "psnr_rgb",
        "runtime_images",
        "params",
        "macs_ntire2022",
        "activations_ntire2022",
        "peak_bytes",
        "conv_calls_ntire2022",
    )
    for name, row in table.items():
        assert tuple(found[name, column, 4] for column in columns) == row


def test_published_figure_refuses_infinity():
    with pytest.raises(ValidationError, match="finite"):
        PublishedFigure(metric="psnr_rgb", scale=4, value=float("inf"), source="table")


def test_released_files_are_those_of_the_manifest(shared):
    import csv

    with (shared / "facts" / "manifest.csv").open(newline="") as file:
        rows = {row["path"]: row for row in csv.DictReader(file)}
    for entry in default_registry():
        for weights in entry.weights:
            row = rows[f"weights/{weights.filename}"]
            assert weights.bytes == int(row["bytes"])
            assert weights.sha256 == row["sha256"]
            origin = "/".join((row["origin_repo"], row["origin_commit"], row["origin_path"]))
            assert weights.url == f"https://raw.githubusercontent.com/{origin}"


def test_factories_resolve_from_modules_and_files(tmp_path):
    assert resolve_factory("json:JSONDecoder.decode") is json.JSONDecoder.decode
    path = tmp_path / "net.py"
    path.write_text("def build(scale):\n    return scale + 1\n")
    assert resolve_factory(f"{path}:build")(4) == 5


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("no_such_package.net:build", "there is no module 'no_such_package'"),
        ("json:build", "json has no attribute 'build'"),
        ("json:__doc__", "expected a class or function, got str"),
        ("nowhere/net.py:build", "there is no file"),
    ],
)
def test_targets_that_do_not_resolve(target, said):
    with pytest.raises(RegistrationError, match=said):
        resolve_factory(target)


def test_errors_of_the_imported_code_pass_through(tmp_path):
    path = tmp_path / "net.py"
    path.write_text("import no_such_dependency\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        resolve_factory(f"{path}:build")


def test_a_file_is_imported_once_and_again_only_after_it_failed(tmp_path):
    file = tmp_path / "net.py"
    file.write_text("raise ValueError('not yet')")
    with pytest.raises(ValueError, match="not yet"):
        resolve_factory(f"{file}:build")
    file.write_text("def build(scale):\n    return scale\n")
    build = resolve_factory(f"{file}:build")
    assert build(scale=3) == 3
    assert resolve_factory(f"{file}:build") is build


def test_files_of_one_name_in_two_folders_do_not_mix(tmp_path):
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "net.py").write_text(f"def build(scale):\n    return {folder!r}\n")
    assert [resolve_factory(f"{tmp_path / name / 'net.py'}:build")(scale=4) for name in "ab"] == [
        "a",
        "b",
    ]


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"tile": 20, "pad_multiple": 8}, "tile: 20 is no multiple of pad_multiple, which is 8"),
        ({"tile": 16, "tile_overlap": 9}, "tile_overlap: 9 is more than half of tile"),
        ({"tile_overlap": 1}, "tile_overlap: 1 is more than half of tile, which is None"),
    ],
)
def test_tiles_and_padding_must_go_together(fields, says):
    with pytest.raises(ValidationError, match=says):
        descriptor("tiled", **fields)
    assert descriptor("tiled", tile=16, pad_multiple=8, tile_overlap=8).tile == 16


def test_submitted_weights_are_at_most_one_a_scale_and_no_release():
    registry = Registry()
    twice = descriptor("twice", submitted=(released(4), released(4)))
    with pytest.raises(RegistrationError, match=r"weights for scales \[4, 4\]"):
        registry.add((twice,), origin="dist")
    once = descriptor("once", submitted=(released(4),))
    assert once.submitted_weights(4) == released(4)
    assert once.submitted_weights(2) is None
    assert once.released_weights(4) is None


def test_a_module_that_is_loaded_again_registers_again(registry):
    for summary in ("first", "second"):
        register_model("mine", scales=[2], summary=summary)(build)
    assert registry.get("mine").summary == "second"
    twice = descriptor("new", factory="here:Net")
    with pytest.raises(RegistrationError, match="'new' is already registered by here"):
        registry.add((twice, twice), origin="here")
