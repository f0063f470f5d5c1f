/** The tissue classes as they are shown: Okabe-Ito colours, which colour-blind people can tell apart, and a letter each. */
export interface TissueClass {
  index: number;
  name: string;
  label: string;
  color: string;
  letter: string;
}

export const TISSUE_CLASSES: readonly TissueClass[] = [
  { index: 0, name: "background", label: "Background", color: "#000000", letter: "B" },
  { index: 1, name: "lumen", label: "Lumen", color: "#56b4e9", letter: "L" },
  { index: 2, name: "neointima", label: "Neointima", color: "#e69f00", letter: "N" },
  { index: 3, name: "media", label: "Media", color: "#cc79a7", letter: "M" },
];

/** Return the colour of a class by name; grey for a class of another data set. */
export function colorOf(name: string): string {
  return TISSUE_CLASSES.find((c) => c.name === name.toLowerCase())?.color ?? "#8a8a8a";
}
