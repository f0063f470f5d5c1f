import type { ComponentChildren } from "preact";
import { useId } from "preact/hooks";

export interface FieldIds {
  id: string;
  "aria-describedby"?: string;
  "aria-invalid"?: boolean;
  "aria-required"?: boolean;
}

export interface FieldProps {
  label: string;
  hint?: string | undefined;
  /** What is wrong with what was given. */
  wrong?: string | undefined;
  required?: boolean;
  /** The control; it takes the ids it is given. */
  children: (ids: FieldIds) => ComponentChildren;
}

/** A labelled control with hint and error, tied to it for screen readers. */
export function Field({ label, hint, wrong, required, children }: FieldProps) {
  const id = useId();
  const described = [hint ? `${id}-hint` : "", wrong ? `${id}-wrong` : ""].filter(Boolean).join(" ");
  const ids: FieldIds = {
    id,
    ...(described ? { "aria-describedby": described } : {}),
    ...(wrong ? { "aria-invalid": true } : {}),
    ...(required ? { "aria-required": true } : {}),
  };
  return (
    <div class="field">
      <label htmlFor={id}>
        {label}
        {required ? <span class="soft"> (required)</span> : null}
      </label>
      {children(ids)}
      {hint ? (
        <p class="hint" id={`${id}-hint`}>
          {hint}
        </p>
      ) : null}
      {wrong ? (
        <p class="wrong" id={`${id}-wrong`}>
          {wrong}
        </p>
      ) : null}
    </div>
  );
}
