/** What the measures of a vessel are called, and which a reader wants first. */
import { asWords } from "./format";

const LABELS: Record<string, string> = {
  lumen_area: "Lumen area",
  neointimal_area: "Neointima area",
  medial_area: "Media area",
  iel_area: "Area within the inner elastic lamina",
  eel_area: "Area within the outer elastic lamina",
  intima_media_ratio: "Intima/media ratio",
  stenosis: "Stenosis",
  intima_thickness_mean: "Intima thickness, mean",
  intima_thickness_min: "Intima thickness, smallest",
  intima_thickness_max: "Intima thickness, largest",
  media_thickness_mean: "Media thickness, mean",
  media_thickness_min: "Media thickness, smallest",
  media_thickness_max: "Media thickness, largest",
  iel_perimeter: "Length of the inner elastic lamina",
  eel_perimeter: "Length of the outer elastic lamina",
  lumen_area_circularised: "Lumen area, were it round",
  iel_area_circularised: "Area within the inner lamina, were it round",
};

const FIRST = [
  "lumen_area",
  "neointimal_area",
  "medial_area",
  "intima_media_ratio",
  "stenosis",
  "intima_thickness_mean",
  "media_thickness_mean",
];

export function labelOf(name: string): string {
  return LABELS[name] ?? asWords(name);
}

/** Return the measures that are reported most, in the order of the list, and the others. */
export function sorted<Measure extends { name: string }>(
  measures: readonly Measure[],
): [Measure[], Measure[]] {
  const first = FIRST.map((name) => measures.find((m) => m.name === name)).filter((m) => m !== undefined);
  return [first, measures.filter((m) => !FIRST.includes(m.name))];
}

/** A warning about measures: what it says, and the measures it names where those are many. */
export interface Warning {
  text: string;
  measures: string[];
}

const MANY = 3;

/** Return a warning with its measures by their names; a long list is set apart. */
export function worded(warning: string): Warning {
  const named = warning.replace(/\b[a-z]+(?:_[a-z]+)+\b/g, (name) => labelOf(name).toLowerCase());
  const colon = warning.lastIndexOf(": ");
  const list = warning
    .slice(colon + 2)
    .replace(/\.$/, "")
    .split(", ");
  if (colon < 0 || list.length <= MANY || !list.every((name) => /^[a-z_]+$/.test(name)))
    return { text: named, measures: [] };
  return { text: warning.slice(0, colon), measures: list.map(labelOf) };
}
