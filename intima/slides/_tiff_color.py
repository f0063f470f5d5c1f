"""Colour models of TIFF pages: which are accepted, and how they become RGB."""

from tifffile import COMPRESSION, PHOTOMETRIC, TiffPage, TiffPageSeries

from intima.arrays import RgbImage
from intima.slides import _pixels
from intima.slides._guard import unsupported
from intima.slides._pixels import Samples

_GREY = (PHOTOMETRIC.MINISWHITE, PHOTOMETRIC.MINISBLACK)
_CHANNELS = {
    PHOTOMETRIC.MINISWHITE: 1,
    PHOTOMETRIC.MINISBLACK: 1,
    PHOTOMETRIC.PALETTE: 1,
    PHOTOMETRIC.RGB: 3,
    PHOTOMETRIC.YCBCR: 3,
    PHOTOMETRIC.SEPARATED: 4,
}
_JPEG = (COMPRESSION.OJPEG, COMPRESSION.JPEG)
_ASSOCIATED, _STRAIGHT = 1, 2
_MAX_SAMPLE_VALUE = 281


def check_axes(series: TiffPageSeries) -> None:
    """Refuse several colour channels stored as pages: which stain is which is not known. Raises Invalid."""
    if "C" in series.axes and series.shape[series.axes.index("C")] > 1:
        raise unsupported(
            f"a TIFF with {series.shape[series.axes.index('C')]} separate channels",
            "Fluorescence channels have no RGB meaning; export the view you want as RGB.",
        )


def check(page: TiffPage) -> None:
    """Refuse colour models without a single right 8-bit RGB meaning. Raises Invalid."""
    if page.dtype is None or page.dtype.kind not in "ub" or not 1 <= page.bitspersample <= 16:
        raise unsupported(
            f"a TIFF of {page.bitspersample}-bit {_kind(page)} samples",
            "Float, signed and 32-bit images have no stated white; scale them to 8 bits first.",
        )
    if page.photometric not in _CHANNELS:
        raise unsupported(f"a TIFF in {photometric(page)} colours", "Save it as RGB.")
    _check_channels(page)


def _check_channels(page: TiffPage) -> None:
    channels, found = _CHANNELS[PHOTOMETRIC(page.photometric)], page.samplesperpixel
    if page.photometric == PHOTOMETRIC.PALETTE and page.colormap is None:
        raise unsupported("a palette TIFF without a palette", "Save it as RGB.")
    if found < channels or page.imagedepth > 1:
        raise unsupported(f"a {photometric(page)} TIFF of {found} samples per pixel", "Save it as RGB.")
    if page.photometric in _GREY and found > 2:
        raise unsupported(
            f"a grey TIFF of {found} channels", "Channels have no RGB meaning; export the view you want as RGB."
        )


def warnings(page: TiffPage) -> tuple[str, ...]:
    """Say what is lost on the way to 8-bit RGB."""
    found = []
    if white(page) > 255:
        found.append(f"{page.bitspersample}-bit samples are reduced to 8 bits (0..{white(page)} to 0..255).")
    if page.photometric == PHOTOMETRIC.SEPARATED:
        found.append("CMYK is converted to RGB without a colour profile.")
    if len(_extras(page)) > len(_alpha(page)):
        found.append("Extra samples of unknown meaning are ignored.")
    return tuple(found)


def white(page: TiffPage) -> int:
    """Return the sample value of full intensity: from the bits, or MaxSampleValue where 16 bits are partly used."""
    full = 2 ** int(page.bitspersample) - 1
    tag = page.tags.get(_MAX_SAMPLE_VALUE)
    stated = int(max(tag.value) if isinstance(tag.value, tuple) else tag.value) if tag else full
    return stated if full > 255 and 255 <= stated < full else full


def to_rgb(page: TiffPage, samples: Samples) -> RgbImage:
    """Convert (height, width, samples) as stored to RGB, transparent parts over white."""
    if page.photometric == PHOTOMETRIC.PALETTE and page.colormap is not None:
        return _pixels.palette_to_rgb(samples[:, :, 0], page.colormap)
    eight = _pixels.to_eight_bits(samples, white=white(page))
    channels = _CHANNELS[PHOTOMETRIC(page.photometric)]
    base = eight[:, :, :channels]
    if page.photometric == PHOTOMETRIC.MINISWHITE:
        base = 255 - base
    if page.photometric == PHOTOMETRIC.YCBCR and page.compression not in _JPEG:
        base = _pixels.ycbcr_to_rgb(base)
    if page.photometric == PHOTOMETRIC.SEPARATED:
        return _pixels.cmyk_to_rgb(base)
    for position, kind in _alpha(page):
        blend = _pixels.premultiplied_over_white if kind == _ASSOCIATED else _pixels.over_white
        base = blend(base, eight[:, :, channels + position])
    return _pixels.grey_to_rgb(base[:, :, 0]) if channels == 1 else base.copy()


def _extras(page: TiffPage) -> tuple[int, ...]:
    stated = tuple(int(e) for e in page.extrasamples)
    missing = page.samplesperpixel - _CHANNELS[PHOTOMETRIC(page.photometric)] - len(stated)
    return stated + (0,) * max(0, missing)


def _alpha(page: TiffPage) -> tuple[tuple[int, int], ...]:
    """Return position among the extra samples and kind of the first alpha channel, if there is one."""
    found = [(i, kind) for i, kind in enumerate(_extras(page)) if kind in (_ASSOCIATED, _STRAIGHT)]
    return tuple(found[:1])


def photometric(page: TiffPage) -> str:
    """Return the name of the colour model."""
    return str(getattr(page.photometric, "name", page.photometric))


def _kind(page: TiffPage) -> str:
    names = {"f": "float", "i": "signed", "u": "unsigned", "b": "binary", "c": "complex"}
    return names.get(page.dtype.kind, "unknown") if page.dtype is not None else "unknown"
