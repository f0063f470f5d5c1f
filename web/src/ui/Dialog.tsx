import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef } from "preact/hooks";
import { Button } from "./Button";

export interface DialogProps {
  title: string;
  open: boolean;
  onClose: () => void;
  children: ComponentChildren;
  /** "drawer" comes from the right and takes the whole height. */
  look?: "dialog" | "drawer";
}

/** A modal dialog: focus stays inside, Escape closes, focus goes back to where it was. */
export function Dialog({ title, open, onClose, children, look = "dialog" }: DialogProps) {
  const element = useRef<HTMLDialogElement>(null);
  const id = useId();
  useEffect(() => {
    const dialog = element.current;
    if (!dialog) return;
    if (open && !dialog.open) dialog.showModal();
    if (!open && dialog.open) dialog.close();
  }, [open]);
  return (
    <dialog ref={element} class={look} aria-labelledby={id} onClose={onClose}>
      {open ? (
        <div class="stack">
          <div class="row">
            <h2 id={id} style={{ margin: 0 }}>
              {title}
            </h2>
            <Button compact look="plain" onClick={onClose} style={{ marginLeft: "auto" }}>
              Close
            </Button>
          </div>
          {children}
        </div>
      ) : null}
    </dialog>
  );
}
