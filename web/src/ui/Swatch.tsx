import { TISSUE_CLASSES } from "../pure/classes";

/** The colour of a tissue class with its letter, so that colour alone never carries it. */
export function Swatch({ name }: { name: string }) {
  const tissue = TISSUE_CLASSES.find((c) => c.name === name);
  return (
    <span
      class="swatch"
      aria-hidden="true"
      style={{ background: tissue?.color ?? "#8a8a8a", color: name === "background" ? "#fff" : "#000" }}
    >
      {tissue?.letter ?? ""}
    </span>
  );
}
