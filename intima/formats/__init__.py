"""The files of a segmentation: one writer per name."""

from typing import BinaryIO

from intima.contracts.segmentation import SegmentationResult
from intima.formats._result import Format, NotWritten, ResultArrays
from intima.formats.geojson import write_annotations, write_annotations_gzip
from intima.formats.imagej_roi import write_rois
from intima.formats.ome_tiff import write_disagreement, write_entropy, write_mask_pyramid
from intima.formats.png import write_mask, write_overlay, write_uncertainty
from intima.formats.tables import scores_csv, write_dictionary, write_measures_csv, write_measures_json
from intima.formats.thickness import write_profiles

__all__ = ["FORMATS", "Format", "NotWritten", "ResultArrays", "scores_csv"]


def _write_report(arrays: ResultArrays, result: SegmentationResult, out: BinaryIO) -> None:
    """Load the typesetter at first use: most who import this room only write tables."""
    from intima.formats.report import write_report

    write_report(arrays, result, out)


FORMATS: dict[str, Format] = {
    "mask.png": Format("image/png", write_mask),
    "mask.ome.tiff": Format("image/tiff", write_mask_pyramid),
    "entropy.ome.tiff": Format("image/tiff", write_entropy, of_uncertainty=True),
    "disagreement.ome.tiff": Format("image/tiff", write_disagreement, of_uncertainty=True),
    "overlay.png": Format("image/png", write_overlay),
    "uncertainty.png": Format("image/png", write_uncertainty, of_uncertainty=True),
    "annotations.geojson": Format("application/geo+json", write_annotations),
    "annotations.geojson.gz": Format("application/gzip", write_annotations_gzip),
    "rois.zip": Format("application/zip", write_rois),
    "measures.csv": Format("text/csv", write_measures_csv),
    "measures.json": Format("application/json", write_measures_json),
    "measures_dictionary.csv": Format("text/csv", write_dictionary),
    "thickness_profiles.csv": Format("text/csv", write_profiles),
    "report.pdf": Format("application/pdf", _write_report),
}
"""Artefact name to writer, in the order in which artefacts are written and listed."""
