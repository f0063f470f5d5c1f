/** Which layers a segmentation offers, and how the window is to draw them. */
import { useMemo } from "preact/hooks";
import { useJson } from "../../api/resource";
import type { ModelVersion, Segmentation, Slide } from "../../api/types";
import type { Hatch } from "../../pure/class_pixels";
import { TISSUE_CLASSES } from "../../pure/classes";
import type { Rectangle } from "../../pure/slide_view";
import type { Layer } from "../../slide/DeepZoomView";

export const CLASS_DEFAULT = 55;
const HATCHES: readonly Hatch[] = ["none", "diagonal", "dots", "cross"];

/** Return the foreground classes of a result. */
export function classesOf(segmentation: Segmentation | null): string[] {
  return (segmentation?.areas ?? []).slice(1).map((area) => area.name);
}

/** Return opacities in percent that a layer has unless the URL says otherwise. */
export function defaultsFor(classes: readonly string[]): Record<string, number> {
  return {
    ...Object.fromEntries(classes.map((name) => [name, CLASS_DEFAULT])),
    entropy: 0,
    disagreement: 0,
    difference: 0,
  };
}

/** The colours in which the server draws the classes of a model: those of its card. */
export function useStoredColors(model: string | null): Record<string, string> {
  const [name, version] = (model ?? "").split("@");
  const path =
    name && version ? `/v1/models/${encodeURIComponent(name)}/versions/${encodeURIComponent(version)}` : null;
  const card = useJson<ModelVersion>(path);
  return useMemo(() => {
    const known = Object.fromEntries(TISSUE_CLASSES.map((c) => [c.name, c.color]));
    const said = (card.data?.card.classes ?? []).map((c) => [c.name, c.color]);
    return { ...known, ...Object.fromEntries(said) };
  }, [card.data]);
}

/** Return what of the slide a result covers, in slide pixels. */
export function placeOf(segmentation: Segmentation, slide: Slide): Rectangle {
  const region = segmentation.result?.region;
  return region ?? { x: 0, y: 0, width: slide.width, height: slide.height };
}

/** Return the layers of a segmentation, from below to above. */
export function layersOf(
  segmentation: Segmentation,
  slide: Slide,
  shown: Readonly<Record<string, number>>,
  looks: { colors: Record<string, string>; patterns: boolean },
): Layer[] {
  const place = placeOf(segmentation, slide);
  const files = Object.fromEntries(segmentation.artefacts.map((a) => [a.name, a.sha256]));
  const base = `/v1/segmentations/${encodeURIComponent(segmentation.id)}/layers`;
  const opacity = (key: string) => (shown[key] ?? 0) / 100;
  const maps = ["entropy", "disagreement"]
    .filter((name) => files[`${name}.ome.tiff`])
    .map((name) => ({
      key: `${segmentation.id}/${name}`,
      url: `${base}/${name}.dzi?sha256=${files[`${name}.ome.tiff`]}`,
      place,
      opacity: opacity(name),
      look: null,
    }));
  const classes = classesOf(segmentation).map((name, n) => {
    const stored = looks.colors[name] ?? "#8a8a8a";
    const hatch: Hatch = looks.patterns ? (HATCHES[n % HATCHES.length] ?? "none") : "none";
    return {
      key: `${segmentation.id}/${name}/${stored}/${hatch}`,
      url: `${base}/mask.dzi?sha256=${files["mask.ome.tiff"]}`,
      place,
      opacity: opacity(name),
      look: { stored, shown: stored, hatch },
    };
  });
  return [...maps, ...classes];
}

/** Return the layer that shows where two segmentations differ. */
export function differenceLayer(a: Segmentation, b: Segmentation, slide: Slide, percent: number): Layer {
  const mask = (s: Segmentation) => s.artefacts.find((f) => f.name === "mask.ome.tiff")?.sha256 ?? "";
  return {
    key: `${a.id}/difference/${b.id}`,
    url: `/v1/segmentations/${encodeURIComponent(a.id)}/differences/${encodeURIComponent(b.id)}.dzi?sha256=${mask(a)}&other_sha256=${mask(b)}`,
    place: placeOf(a, slide),
    opacity: percent / 100,
    look: null,
  };
}
