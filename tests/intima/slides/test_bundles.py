"""Slides of several files in a zip: read exactly, or refused, and nothing of the zip reaches the disk unasked."""

import contextlib
import multiprocessing
import stat
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from openslide import OpenSlide

from intima.errors import Invalid, Unavailable
from intima.geometry import Region
from intima.slides import _archive, _scratch, open_slide, read_image, read_working
from intima.slides._bundle import named_files
from intima.slides.isolation import decode_image_isolated, inspect_isolated
from tests.slide_files import as_other_kind, dicom_files, dicom_instance, mirax_files, png, texture, zipped

PICTURE = texture(256, 384)


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Temporary files of this process go to a folder that must be empty at the end."""
    folder = tmp_path / "scratch"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    assert list(folder.iterdir()) == []


def refused(path: Path) -> Invalid:
    with pytest.raises(Invalid) as caught:
        inspect_isolated(path, name=path.name)
    return caught.value


def packed(folder: Path, files: dict[str, bytes], name: str = "slide.zip") -> Path:
    return zipped(files, folder / name)


def test_mirax_is_read_exactly_with_levels_label_and_pixel_size(tmp_path: Path) -> None:
    path = packed(tmp_path, mirax_files(PICTURE))
    with open_slide(path, name="a.zip") as slide:
        info = slide.info
        assert np.array_equal(read_image(slide), PICTURE)
        assert np.array_equal(slide.read_level(1, Region(0, 0, 192, 128)), PICTURE[::2, ::2])
        assert np.array_equal(slide.read(Region(61, 63, 70, 70)), PICTURE[63:133, 61:131])
    assert (info.format, info.vendor, info.levels, info.mpp) == ("mrxs", "mirax", 2, 0.25)
    assert info.associated == ("label",)
    assert info.scanner == {"make": "mirax", "objective_power": "20"}
    assert "Jane" not in info.model_dump_json()
    assert inspect_isolated(path, name="a.zip") == info
    assert np.array_equal(decode_image_isolated(path), PICTURE)


def test_mirax_in_a_folder_with_litter_of_an_operating_system(tmp_path: Path) -> None:
    files = {f"deep/er/{name}": data for name, data in mirax_files(PICTURE, name="Fall 7 (HE)").items()}
    litter = {"__MACOSX/deep/._x.mrxs": b"x", "deep/.DS_Store": b"x", "deep/notes.txt": b"n"}
    assert inspect_isolated(packed(tmp_path, files | litter), name="x").width == 384


def test_dicom_has_levels_label_overview_and_pixel_size(tmp_path: Path) -> None:
    path = packed(tmp_path, dicom_files(PICTURE))
    with open_slide(path) as slide:
        info = slide.info
        assert [(size.width, size.height) for size in slide.levels] == [(384, 256), (192, 128), (96, 64)]
        assert np.abs(read_image(slide).astype(int) - PICTURE).mean() < 1
        half = slide.read_level(1, Region(10, 5, 100, 90))
        assert np.abs(half.astype(int) - PICTURE[::2, ::2][5:95, 10:110]).mean() < 1.5
    assert (info.format, info.mpp, info.associated) == ("dicom", pytest.approx(0.5), ("label", "overview"))
    assert info.scanner == {"make": "Acme", "model": "Scan 9", "objective_power": "20"}
    assert "Doe" not in info.model_dump_json()
    assert inspect_isolated(path, name="x") == info


def test_a_level_of_dicom_serves_a_coarser_working_resolution(tmp_path: Path) -> None:
    with open_slide(packed(tmp_path, dicom_files(PICTURE))) as slide:
        read = slide.read_level
        asked: list[int] = []
        slide.read_level = lambda level, region: asked.append(level) or read(level, region)  # type: ignore[method-assign]
        working = read_working(slide, Region(0, 0, 96, 64), scale=0.25)
    assert asked == [2]
    assert np.abs(working.astype(int) - PICTURE[::4, ::4]).mean() < 2


def test_a_single_dicom_file_is_a_slide_and_equals_openslide(tmp_path: Path) -> None:
    path = tmp_path / "one.dcm"
    path.write_bytes(dicom_instance(PICTURE, mpp=0.5))
    with open_slide(path) as slide, OpenSlide(path) as reference:
        expected = np.asarray(reference.read_region((0, 0), 0, reference.dimensions).convert("RGB"))
        assert np.array_equal(read_image(slide), expected)
        assert slide.info.mpp == pytest.approx(float(reference.properties["openslide.mpp-x"]))


def test_real_dicom_equals_openslide(shared_data: Path) -> None:
    for name in ("camelyon-jpeg", "camelyon-jpeg2000", "sm-image"):
        (path,) = (shared_data / "wsi" / "dicom-wsi" / name).iterdir()
        with open_slide(path) as slide, OpenSlide(path) as reference:
            expected = np.asarray(reference.read_region((0, 0), 0, reference.dimensions).convert("RGB"))
            assert np.array_equal(read_image(slide), expected), name


def test_dicom_files_of_other_kinds_are_passed_over_and_refused_alone(tmp_path: Path) -> None:
    files = dicom_files(PICTURE)
    other = as_other_kind(files["s1/0.dcm"])
    assert inspect_isolated(packed(tmp_path, files | {"report.dcm": other}), name="x").levels == 3
    alone = tmp_path / "report.dcm"
    alone.write_bytes(other)
    assert refused(alone).code == "unsupported_image"
    assert refused(packed(tmp_path, {"report.dcm": other}, "b.zip")).code == "unsupported_image"


@pytest.mark.parametrize(
    "files",
    [
        dicom_files(PICTURE, levels=1) | dicom_files(PICTURE, slide=2, levels=1),
        mirax_files(PICTURE, name="a") | mirax_files(PICTURE, name="b"),
    ],
    ids=["dicom", "mirax"],
)
def test_several_slides_in_one_zip_are_refused(tmp_path: Path, files: dict[str, bytes]) -> None:
    error = refused(packed(tmp_path, files))
    assert error.code == "several_slides"
    assert "one zip for each slide" in error.hint


@pytest.mark.parametrize("missing", ["case/Slidedat.ini", "case/Index.dat", "case/Data0000.dat"])
def test_mirax_that_lacks_a_file_says_which(tmp_path: Path, missing: str) -> None:
    files = mirax_files(PICTURE)
    del files[missing]
    error = refused(packed(tmp_path, files))
    assert error.code == "incomplete_slide"
    assert missing.rpartition("/")[2] in error.message


def test_a_damaged_level_of_dicom_is_no_slide_without_it(tmp_path: Path) -> None:
    files = dicom_files(PICTURE)
    files["s1/1.dcm"] = files["s1/1.dcm"][:2500]
    assert refused(packed(tmp_path, files)).code == "unreadable_image"


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9])
def test_cut_files_end_as_invalid(tmp_path: Path, keep: float) -> None:
    for files in (mirax_files(PICTURE, levels=1), dicom_files(PICTURE, levels=1)):
        name = max(files, key=lambda n: len(files[n]))
        cut = files | {name: files[name][: int(len(files[name]) * keep)]}
        with pytest.raises(Invalid) as caught:
            decode_image_isolated(packed(tmp_path, cut), name="cut")
        assert caught.value.code == "unreadable_image"


def test_zips_without_a_slide_are_refused_with_a_hint(tmp_path: Path) -> None:
    for files in ({}, {"a.txt": b"x"}, {"a.png": png(PICTURE)}):
        path = packed(tmp_path, files)
        if not files:
            path.write_bytes(b"PK\x03\x04" + bytes(50))
        error = refused(path)
        assert error.code == ("unknown_format" if files else "bad_zip")
        assert error.hint


def test_slidedat_cannot_show_another_file_of_the_machine(tmp_path: Path) -> None:
    """OpenSlide itself follows the name out of the folder: the check is what stands between."""
    secret = tmp_path / "secret.dat"
    files = mirax_files(PICTURE, levels=1, label=False)
    secret.write_bytes(files["case/Data0000.dat"])
    for name in (str(secret), "../../../secret.dat", "..\\secret.dat", "..", "", "case/../Data0000.dat"):
        altered = files["case/Slidedat.ini"].replace(b"FILE_0 = Data0000.dat", b"FILE_0 = " + name.encode())
        error = refused(packed(tmp_path, files | {"case/Slidedat.ini": altered}))
        assert (error.code, "plain name" in error.message) == ("unreadable_image", True), name
    home = tmp_path / "bare" / "case"
    home.mkdir(parents=True)
    (home.parent / "case.mrxs").touch()
    (home / "Index.dat").write_bytes(files["case/Index.dat"])
    altered = files["case/Slidedat.ini"].replace(b"Data0000.dat", b"../../secret.dat")
    (home / "Slidedat.ini").write_bytes(altered)
    with OpenSlide(home.parent / "case.mrxs") as unguarded:
        assert np.asarray(unguarded.read_region((0, 0), 0, (8, 8)))[:, :, :3].tolist() == PICTURE[:8, :8].tolist()


@pytest.mark.parametrize(
    "line",
    [
        b" \tFILE_0=/etc/passwd",
        b"FILE_0\t= ../x",
        b"file_1=a/b",
        b"INDEXFILE = ..",
        b"FILE_0=a\0b",
        b"FILE_2 = .hidden",
        b"FILE_3 = " + b"a" * 300,
        b"FILE_4=\xc3\xa4.dat",
        b"FILE_5 = Slidedat.ini",
        b"\x0bFILE_0=/etc/passwd",
        b"FILE_0\x00=x",
    ],
)
def test_only_plain_names_are_taken_from_the_index(line: bytes) -> None:
    with pytest.raises(Invalid, match="plain name"):
        named_files(b"[DATAFILE]\r\n" + line + b"\r\n")


def test_names_are_read_whatever_the_line_ends() -> None:
    text = (
        b"\xef\xbb\xbf[DATAFILE]\nFILE_COUNT = 2\r\nFILE_0 = Data0000.dat  \r\nFILE_1=Data (1).dat\nINDEXFILE = I.dat"
    )
    assert named_files(text) == {"Data0000.dat", "Data (1).dat", "I.dat"}


def test_names_of_the_zip_never_become_paths(tmp_path: Path) -> None:
    files = {f"../../{name}": data for name, data in dicom_files(PICTURE, levels=1).items()}
    files |= {"/etc/intima-evil": b"x", "C:\\evil": b"x"}
    before = sorted(p.name for p in tmp_path.parent.iterdir())
    assert inspect_isolated(packed(tmp_path, files), name="x").width == 384
    assert sorted(p.name for p in tmp_path.parent.iterdir()) == before
    assert not Path("/etc/intima-evil").exists()


def entry(name: str, *, mode: int = 0o644 | stat.S_IFREG, form: int = zipfile.ZIP_STORED) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.external_attr, info.compress_type = mode << 16, form
    return info


@pytest.mark.parametrize(
    ("kind", "code"),
    [("link", "bad_zip"), ("bzip2", "bad_zip"), ("twice", "bad_zip"), ("bomb", "too_large"), ("many", "too_large")],
)
def test_hostile_zips_are_refused(tmp_path: Path, kind: str, code: str) -> None:
    path = packed(tmp_path, mirax_files(PICTURE, levels=1))
    with zipfile.ZipFile(path, "a") as bundle:
        if kind == "link":
            bundle.writestr(entry("case/x.dat", mode=0o777 | stat.S_IFLNK), "/etc/passwd")
        elif kind == "bzip2":
            bundle.writestr(entry("case/x.dat", form=zipfile.ZIP_BZIP2), bytes(100))
        elif kind == "twice":
            with pytest.warns(UserWarning, match="Duplicate"):
                bundle.writestr("case/Index.dat", b"other")
        elif kind == "bomb":
            bundle.writestr(entry("case/x.dat", form=zipfile.ZIP_DEFLATED), bytes(2**26))
        else:
            for number in range(_archive.MAX_FILES):
                bundle.writestr(f"n{number}", b"")
    start = time.monotonic()
    assert refused(path).code == code
    assert time.monotonic() - start < 10


def test_a_zip_that_lies_about_a_size_is_refused(tmp_path: Path) -> None:
    files = mirax_files(PICTURE, levels=1)
    path = zipped(files, tmp_path / "a.zip", compression=zipfile.ZIP_STORED)
    size = len(files["case/Index.dat"])
    raw = path.read_bytes()
    assert raw.count(size.to_bytes(4, "little") * 2) == 2
    path.write_bytes(raw.replace(size.to_bytes(4, "little") * 2, (size - 8).to_bytes(4, "little") * 2))
    assert refused(path).code == "bad_zip"


def test_a_full_volume_is_not_the_files_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_archive, "FLOOR_BYTES", 2**60)
    with pytest.raises(Unavailable) as caught, open_slide(packed(tmp_path, mirax_files(PICTURE))):
        pass
    assert caught.value.code == "storage_full"


def test_a_killed_decoder_leaves_nothing_unpacked(tmp_path: Path, scratch: Path) -> None:
    files = mirax_files(PICTURE) | {"case/Data0000.dat": bytes(200_000_000)}
    path = zipped(files, tmp_path / "a.zip", compression=zipfile.ZIP_STORED)
    unpacked = threading.Event()

    def kill_in_the_middle() -> None:
        deadline = time.monotonic() + 30
        while not unpacked.is_set() and time.monotonic() < deadline:
            if any(each.is_file() and each.stat().st_size for each in scratch.rglob("*.dat")):
                unpacked.set()
                for child in multiprocessing.active_children():
                    child.kill()

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    with pytest.raises(Invalid) as caught:
        inspect_isolated(path, name="x")
    killer.join()
    assert unpacked.is_set()
    assert "stopped" in caught.value.message


def test_folders_of_killed_processes_are_removed_and_living_ones_kept(scratch: Path) -> None:
    abandoned = scratch / "intima-slide-dead"
    (abandoned / "inside").mkdir(parents=True)
    stranger = scratch / "other-folder"
    stranger.mkdir()
    link = scratch / "intima-slide-link"
    link.symlink_to(stranger)
    with _scratch.scratch_folder() as held:
        assert _scratch.remove_abandoned(older_than_s=3600.0) == 0
        assert abandoned.is_dir()
        assert _scratch.remove_abandoned(older_than_s=-1.0) == 1
        assert held.is_dir()
        assert stranger.is_dir()
    assert not abandoned.exists()
    link.unlink()
    stranger.rmdir()


def test_mutated_zips_end_as_info_or_as_invalid(tmp_path: Path) -> None:
    rng = np.random.default_rng(8)
    for files in (mirax_files(PICTURE), dicom_files(PICTURE, levels=2)):
        for _ in range(12):
            name = list(files)[int(rng.integers(1, len(files)))]
            data = bytearray(files[name])
            for position in rng.integers(0, min(len(data), 1500), 4):
                data[position] = int(rng.integers(0, 256))
            path = packed(tmp_path, files | {name: bytes(data)})
            with contextlib.suppress(Invalid):
                assert inspect_isolated(path, name="mutant").width > 0


def test_a_picture_with_a_zip_behind_it_stays_a_picture(tmp_path: Path) -> None:
    path = tmp_path / "both.png"
    path.write_bytes(png(PICTURE) + packed(tmp_path, mirax_files(PICTURE)).read_bytes())
    assert inspect_isolated(path, name="both.png").format == "png"


def test_bounds_say_what_was_scanned_and_the_rest_is_white(tmp_path: Path) -> None:
    with open_slide(packed(tmp_path, mirax_files(PICTURE, first_tile=(2, 2)))) as slide:
        bounds = slide.info.bounds
        assert bounds is not None
        assert (bounds.x, bounds.y, bounds.width, bounds.height) == (128, 128, 256, 128)
        expected = PICTURE.copy()
        expected[:128], expected[:, :128] = 255, 255
        assert np.array_equal(read_image(slide), expected)


def test_many_may_open_one_zip_at_once(tmp_path: Path) -> None:
    path, bad = packed(tmp_path, mirax_files(PICTURE)), packed(tmp_path, {"a.txt": b"x"}, "bad.zip")

    def ask(number: int) -> str:
        try:
            return inspect_isolated(bad if number % 3 == 0 else path, name="x").format
        except Invalid as error:
            return error.code

    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(ask, range(12)))
    assert found == ["unknown_format", "mrxs", "mrxs"] * 4
