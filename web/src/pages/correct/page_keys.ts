/** Keys that work anywhere on the page but in fields. */
import { useEffect, useRef } from "preact/hooks";
import { isShortcut, isTyping } from "../../ui/single_keys";
import { nextSize, TOOLS, type ToolName } from "./tools";

export interface PageKeys {
  /** How many classes there are. */
  classes: number;
  onTool: (tool: ToolName) => void;
  onValue: (value: number) => void;
  size: number;
  onSize: (size: number) => void;
  onUndo: () => void;
  onRedo: () => void;
  onSave: () => void;
  onMask: () => void;
  onPatterns: () => void;
}

/** Listen while the page is shown. */
export function usePage(keys: PageKeys): void {
  const latest = useRef(keys);
  latest.current = keys;
  useEffect(() => {
    const pressed = (event: KeyboardEvent) => {
      const taken =
        event.ctrlKey || event.metaKey ? command(latest.current, event) : plain(latest.current, event);
      if (taken) event.preventDefault();
    };
    window.addEventListener("keydown", pressed);
    return () => window.removeEventListener("keydown", pressed);
  }, []);
}

function command(to: PageKeys, event: KeyboardEvent): boolean {
  const key = event.key.toLowerCase();
  if (key === "s") to.onSave();
  else if (isTyping(event.target)) return false;
  else if (key === "z" && !event.shiftKey) to.onUndo();
  else if (key === "y" || key === "z") to.onRedo();
  else return false;
  return true;
}

function plain(to: PageKeys, event: KeyboardEvent): boolean {
  if (!isShortcut(event)) return false;
  const key = event.key.toUpperCase();
  const tool = TOOLS.find((t) => t.key === key);
  if (tool) to.onTool(tool.name);
  else if (/^[0-9]$/.test(key) && Number(key) < to.classes) to.onValue(Number(key));
  else if (key === "[") to.onSize(nextSize(to.size, -1));
  else if (key === "]") to.onSize(nextSize(to.size, 1));
  else if (key === "V") to.onMask();
  else if (key === "P") to.onPatterns();
  else return false;
  return true;
}
