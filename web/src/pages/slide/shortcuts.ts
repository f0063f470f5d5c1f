/** Keys of the slide view: a number for each class, a letter for each map. */
import { useEffect, useRef } from "preact/hooks";
import { isShortcut } from "../../ui/single_keys";

export interface Shortcuts {
  classes: readonly string[];
  comparing: boolean;
  onToggle: (layer: string) => void;
  onPatterns: () => void;
  onEscape: () => void;
}

/** Listen while the page is shown; what is typed into a field stays there. */
export function useShortcuts(shortcuts: Shortcuts): void {
  const latest = useRef(shortcuts);
  latest.current = shortcuts;
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      if (isShortcut(event)) act(latest.current, event.key.toLowerCase());
    };
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, []);
}

function act(to: Shortcuts, key: string): void {
  const layer = to.classes[Number(key) - 1];
  if (/^[1-9]$/.test(key) && layer) to.onToggle(layer);
  else if (key === "e") to.onToggle("entropy");
  else if (key === "g") to.onToggle("disagreement");
  else if (key === "x" && to.comparing) to.onToggle("difference");
  else if (key === "p") to.onPatterns();
  else if (key === "escape") to.onEscape();
}
