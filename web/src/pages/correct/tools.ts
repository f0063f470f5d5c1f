/** The tools, and every key of the page in one list. */
export type ToolName = "hand" | "brush" | "eraser" | "polygon" | "hole" | "area";

export interface Tool {
  name: ToolName;
  label: string;
  key: string;
  /** What a click does. */
  about: string;
}

export const TOOLS: readonly Tool[] = [
  { name: "hand", label: "Move", key: "M", about: "Drag to move the slide." },
  { name: "brush", label: "Brush", key: "B", about: "Drag, or press Space, to paint the class." },
  { name: "eraser", label: "Eraser", key: "E", about: "Drag, or press Space, to make background." },
  {
    name: "polygon",
    label: "Polygon",
    key: "G",
    about: "Click, or press Space, for each corner; Enter fills it, Backspace takes a corner back.",
  },
  {
    name: "hole",
    label: "Fill hole",
    key: "H",
    about: "Click, or press Space, inside an enclosed area to give it the class.",
  },
  {
    name: "area",
    label: "Change area",
    key: "A",
    about: "Click, or press Space, on a connected area to give it the class, also at the edge.",
  },
];

export const SIZES: readonly number[] = [1, 2, 3, 5, 8, 12, 20, 32, 50];

export const KEYS: readonly (readonly [string, string])[] = [
  ...TOOLS.map((t) => [t.key, t.label] as const),
  ["0 to 9", "Class, 0 is background"],
  ["[ and ]", "Brush smaller, larger"],
  ["Arrows, Shift + arrows", "Move the cursor by 1 or 10 pixels (on the slide)"],
  ["Space", "Apply the tool at the cursor (on the slide)"],
  ["D", "Pen down or up: while it is down, arrows paint (on the slide)"],
  ["Enter, Backspace, Escape", "Close the polygon, take a corner back, drop it"],
  ["Ctrl Z, Ctrl Shift Z", "Undo, redo"],
  ["Ctrl S", "Save as a new version"],
  ["V", "Mask on or off"],
  ["P", "Patterns on or off"],
  ["+ and -", "Zoom (on the slide)"],
];

/** Return the size of brush after, or before, this one. */
export function nextSize(size: number, step: 1 | -1): number {
  const at = SIZES.indexOf(size);
  return SIZES[Math.min(SIZES.length - 1, Math.max(0, at + step))] ?? size;
}
