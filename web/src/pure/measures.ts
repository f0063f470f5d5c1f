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

/** Return a warning with the measures it names written as the table writes them, set apart by semicolons. */
export function inWords(warning: string): string {
  const [, head, list] = /^(.*: )([a-z_]+(?:, [a-z_]+)*)\.$/.exec(warning) ?? [];
  if (head === undefined || list === undefined) return warning;
  const words = list.split(", ").map((name) => labelOf(name).replace(/^./, (letter) => letter.toLowerCase()));
  return `${head}${words.join("; ")}.`;
}
