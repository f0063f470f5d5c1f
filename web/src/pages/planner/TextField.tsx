import { Field } from "../../ui/Field";
import type { Fields } from "./request";

export interface TextFieldProps {
  name: string;
  label: string;
  hint?: string;
  fields: Fields;
  wrong: Fields | null;
  onChange: (changed: Fields) => void;
  wide?: boolean;
}

/** One number, or several with commas; what is typed is kept as it is. */
export function TextField({ name, label, hint, fields, wrong, onChange, wide }: TextFieldProps) {
  return (
    <Field label={label} hint={hint} wrong={wrong?.[name]}>
      {(ids) => (
        <input
          {...ids}
          type="text"
          inputMode={wide ? "text" : "decimal"}
          style={{ width: wide ? "100%" : "8rem" }}
          value={fields[name] ?? ""}
          onInput={(e) => onChange({ [name]: e.currentTarget.value })}
        />
      )}
    </Field>
  );
}
