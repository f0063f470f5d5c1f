/** Keys that work by themselves, without Ctrl: who speaks to the computer can turn them off (WCAG 2.1.4). */
import { useState } from "preact/hooks";

const KEY = "intima-single-keys";

/** Tell whether a key that was pressed stands for something: keys are on, and nothing is being typed. */
export function isShortcut(event: KeyboardEvent): boolean {
  const held = event.ctrlKey || event.metaKey || event.altKey;
  return !held && (event.key.length > 1 || areOn()) && !isTyping(event.target);
}

/** Tell whether what is pressed goes into a field, or to a dialog. */
export function isTyping(target: EventTarget | null): boolean {
  if (!(target instanceof HTMLElement)) return false;
  if (target instanceof HTMLInputElement) return !["checkbox", "radio", "range"].includes(target.type);
  return ["TEXTAREA", "SELECT"].includes(target.tagName) || target.closest("dialog") !== null;
}

/** Turn the keys of this browser on or off. */
export function SingleKeysSwitch() {
  const [on, setOn] = useState(areOn);
  const change = (wanted: boolean) => {
    localStorage.setItem(KEY, wanted ? "on" : "off");
    setOn(wanted);
  };
  return (
    <label class="row small">
      <input type="checkbox" checked={on} onChange={(e) => change(e.currentTarget.checked)} />
      Keys work by themselves
    </label>
  );
}

function areOn(): boolean {
  return localStorage.getItem(KEY) !== "off";
}
