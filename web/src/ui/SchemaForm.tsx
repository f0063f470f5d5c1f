/** A form made from a JSON Schema: its titles, descriptions, limits, choices and defaults are the form's. */
import type { ComponentChildren } from "preact";
import { useState } from "preact/hooks";
import {
  alternatives,
  type Definitions,
  describedBy,
  fresh,
  type Json,
  type JsonObject,
  numbersIn,
  type Schema,
  shapeOf,
  titleOf,
  withValue,
} from "../pure/schema";
import { Button } from "./Button";
import { Field, type FieldIds } from "./Field";
import "./schema_form.css";

/** What a part of the form is given. */
export interface PartProps {
  name: string;
  /** JSON pointer of the part: "/search/trials". */
  pointer: string;
  schema: Schema;
  nullable: boolean;
  required: boolean;
  value: Json | undefined;
  onChange: (value: Json | undefined) => void;
}

export interface FormContext {
  definitions: Definitions;
  /** Messages by the pointer of their field. */
  wrong: ReadonlyMap<string, string>;
  /** Parts that a page draws itself, by pointer. */
  custom?: Readonly<Record<string, (part: PartProps) => ComponentChildren>>;
}

export interface ObjectProps {
  schema: Schema;
  value: JsonObject;
  onChange: (value: JsonObject) => void;
  form: FormContext;
  pointer?: string;
  /** Which properties, in this order; all, in the order of the schema, where it is left out. */
  only?: readonly string[];
}

/** The fields of an object. */
export function SchemaFields({ schema, value, onChange, form, pointer = "", only }: ObjectProps) {
  const whole = shapeOf(schema, form.definitions).schema;
  const names = only ?? Object.keys(whole.properties ?? {});
  return (
    <>
      {names.map((name) => {
        const inner = whole.properties?.[name];
        if (!inner) return null;
        const shape = shapeOf(inner, form.definitions);
        const part: PartProps = {
          name,
          pointer: `${pointer}/${name}`,
          schema: shape.schema,
          nullable: shape.nullable,
          required: whole.required?.includes(name) ?? false,
          value: value[name] ?? (shape.schema.default as Json | undefined),
          onChange: (changed) => onChange(withValue(value, name, changed)),
        };
        const own = form.custom?.[part.pointer];
        return own ? (
          <div key={name} class={shape.kind === "list" ? "whole" : ""}>
            {own(part)}
          </div>
        ) : (
          <Part key={name} part={part} form={form} />
        );
      })}
    </>
  );
}

function Part({ part, form }: { part: PartProps; form: FormContext }) {
  const { kind } = shapeOf(part.schema, form.definitions);
  if (kind === "fixed") return null;
  if (kind === "object") return <ObjectPart part={part} form={form} />;
  if (kind === "list") return <ListPart part={part} form={form} />;
  if (kind === "several") return <SeveralPart part={part} form={form} />;
  if (kind === "flag") return <FlagPart part={part} form={form} />;
  return (
    <Field {...wordsOf(part, form)}>
      {(ids) => {
        if (kind === "choice") return <Choice part={part} ids={ids} />;
        if (kind === "number") return <NumberInput part={part} ids={ids} />;
        if (kind === "numbers") return <NumbersInput part={part} ids={ids} />;
        if (kind === "text") return <TextInput part={part} ids={ids} />;
        return <JsonInput part={part} ids={ids} />;
      }}
    </Field>
  );
}

/** Label, hint and error of a part, as Field takes them. */
export function wordsOf(part: PartProps, form: FormContext) {
  const unset = part.nullable ? "" : undefined;
  const hint = [describedBy(part.schema), limitsOf(part.schema)].filter(Boolean).join(" ");
  return {
    label: titleOf(part.name, part.schema),
    hint: hint || unset,
    wrong: form.wrong.get(part.pointer),
    required: part.required,
  };
}

function limitsOf(schema: Schema): string {
  const { minimum, maximum, multipleOf, exclusiveMinimum } = schema;
  const step = multipleOf ? `, in steps of ${multipleOf}` : "";
  if (minimum !== undefined && maximum !== undefined && maximum < 2 ** 31 - 1)
    return `${minimum} to ${maximum}${step}.`;
  if (exclusiveMinimum !== undefined) return `More than ${exclusiveMinimum}.`;
  return "";
}

function Choice({ part, ids }: { part: PartProps; ids: FieldIds }) {
  return (
    <select
      {...ids}
      value={part.value === null || part.value === undefined ? "" : String(part.value)}
      onChange={(event) => part.onChange(event.currentTarget.value || null)}
    >
      {part.nullable || part.value === undefined ? (
        <option value="">{part.nullable ? "default" : ""}</option>
      ) : null}
      {part.schema.enum?.map((option) => (
        <option key={String(option)} value={String(option)}>
          {String(option)}
        </option>
      ))}
    </select>
  );
}

function NumberInput({ part, ids }: { part: PartProps; ids: FieldIds }) {
  const { schema } = part;
  return (
    <input
      {...ids}
      type="number"
      min={schema.minimum}
      max={schema.maximum}
      step={schema.multipleOf ?? (schema.type === "integer" ? 1 : "any")}
      placeholder={part.nullable ? "default" : undefined}
      value={typeof part.value === "number" ? part.value : ""}
      onInput={(event) => {
        const { value, valueAsNumber } = event.currentTarget;
        if (value === "") part.onChange(part.nullable ? null : undefined);
        else if (Number.isFinite(valueAsNumber)) part.onChange(valueAsNumber);
      }}
    />
  );
}

function TextInput({ part, ids }: { part: PartProps; ids: FieldIds }) {
  const example = part.schema.examples?.[0];
  return (
    <input
      {...ids}
      type="text"
      maxLength={part.schema.maxLength}
      placeholder={typeof example === "string" ? `such as ${example}` : undefined}
      value={typeof part.value === "string" ? part.value : ""}
      onInput={(event) => part.onChange(event.currentTarget.value || (part.nullable ? null : ""))}
    />
  );
}

function NumbersInput({ part, ids }: { part: PartProps; ids: FieldIds }) {
  const given = Array.isArray(part.value) ? part.value.join(", ") : "";
  const [text, setText] = useState(given);
  return (
    <input
      {...ids}
      type="text"
      inputMode="numeric"
      value={text}
      placeholder="such as 0, 1, 2"
      onInput={(event) => {
        setText(event.currentTarget.value);
        const numbers = numbersIn(event.currentTarget.value);
        if (numbers) part.onChange(numbers);
      }}
      onBlur={() => setText(given)}
    />
  );
}

/** What has no fields of its own is written as JSON; what is not JSON stays in the box and says so. */
function JsonInput({ part, ids }: { part: PartProps; ids: FieldIds }) {
  const [text, setText] = useState(JSON.stringify(part.value ?? {}, null, 1));
  const [broken, setBroken] = useState("");
  const example = part.schema.examples?.[0];
  return (
    <>
      <textarea
        {...ids}
        class="mono"
        rows={4}
        value={text}
        aria-invalid={broken ? true : ids["aria-invalid"]}
        onInput={(event) => {
          setText(event.currentTarget.value);
          try {
            part.onChange(JSON.parse(event.currentTarget.value) as Json);
            setBroken("");
          } catch {
            setBroken("This is not JSON yet; the last that was is kept.");
          }
        }}
      />
      {broken ? <p class="wrong">{broken}</p> : null}
      {example ? (
        <p class="hint">
          Such as <code>{JSON.stringify(example)}</code>
        </p>
      ) : null}
    </>
  );
}

function FlagPart({ part, form }: { part: PartProps; form: FormContext }) {
  const words = wordsOf(part, form);
  return (
    <div class="field">
      <label class="row">
        <input
          type="checkbox"
          checked={part.value === true}
          onChange={(event) => part.onChange(event.currentTarget.checked)}
        />
        {words.label}
      </label>
      {words.hint ? <p class="hint">{words.hint}</p> : null}
      {words.wrong ? <p class="wrong">{words.wrong}</p> : null}
    </div>
  );
}

function SeveralPart({ part, form }: { part: PartProps; form: FormContext }) {
  const words = wordsOf(part, form);
  const chosen = Array.isArray(part.value) ? part.value : [];
  const options = shapeOf(part.schema.items ?? {}, form.definitions).schema.enum ?? [];
  return (
    <fieldset class="schema-part">
      <legend>{words.label}</legend>
      <div class="row">
        {options.map((option) => (
          <label class="row" key={String(option)}>
            <input
              type="checkbox"
              checked={chosen.includes(option)}
              onChange={(event) =>
                part.onChange(
                  options.filter((o) => (o === option ? event.currentTarget.checked : chosen.includes(o))),
                )
              }
            />
            {String(option)}
          </label>
        ))}
      </div>
      {words.hint ? <p class="hint">{words.hint}</p> : null}
      {words.wrong ? <p class="wrong">{words.wrong}</p> : null}
    </fieldset>
  );
}

function ObjectPart({ part, form }: { part: PartProps; form: FormContext }) {
  const words = wordsOf(part, form);
  return (
    <fieldset class="schema-part stack">
      <legend>{words.label}</legend>
      {words.hint ? <p class="hint">{words.hint}</p> : null}
      {words.wrong ? <p class="wrong">{words.wrong}</p> : null}
      <div class="schema-fields">
        <SchemaFields
          schema={part.schema}
          value={(part.value ?? {}) as JsonObject}
          onChange={part.onChange}
          form={form}
          pointer={part.pointer}
        />
      </div>
    </fieldset>
  );
}

function ListPart({ part, form }: { part: PartProps; form: FormContext }) {
  const words = wordsOf(part, form);
  const items = (Array.isArray(part.value) ? part.value : []) as JsonObject[];
  const kinds = alternatives(part.schema.items ?? {}, form.definitions);
  const replace = (at: number, changed: JsonObject | null) =>
    part.onChange(items.flatMap((old, n) => (n === at ? (changed ? [changed] : []) : [old])));
  return (
    <fieldset class="schema-part stack">
      <legend>{words.label}</legend>
      {words.hint ? <p class="hint">{words.hint}</p> : null}
      {words.wrong ? <p class="wrong">{words.wrong}</p> : null}
      {items.map((item, n) => (
        <div class="schema-item" key={n}>
          <Item
            item={item}
            kinds={kinds}
            form={form}
            pointer={`${part.pointer}/${n}`}
            onChange={(changed) => replace(n, changed)}
          />
          {items.length > (part.schema.minItems ?? 0) ? (
            <Button
              compact
              look="plain"
              onClick={() => replace(n, null)}
              aria-label={`Remove ${words.label} ${n + 1}`}
            >
              Remove
            </Button>
          ) : null}
        </div>
      ))}
      {items.length < (part.schema.maxItems ?? Number.POSITIVE_INFINITY) ? (
        <div>
          <Button
            compact
            onClick={() =>
              part.onChange([...items, fresh([...kinds.values()][0] ?? {}, form.definitions)] as Json)
            }
          >
            Add one more
          </Button>
        </div>
      ) : null}
    </fieldset>
  );
}

interface ItemProps {
  item: JsonObject;
  kinds: Map<string, Schema>;
  form: FormContext;
  pointer: string;
  onChange: (item: JsonObject) => void;
}

/** One item of a list; where items are of several kinds, its kind is chosen first. */
function Item({ item, kinds, form, pointer, onChange }: ItemProps) {
  const tag = [...kinds.values()][0]?.properties?.kind ? String(item.kind ?? "") : "";
  const schema = kinds.get(tag) ?? [...kinds.values()][0] ?? {};
  const wrong = form.wrong.get(pointer);
  return (
    <div class="schema-fields">
      {kinds.size > 1 ? (
        <Field label="Kind" hint={describedBy(schema)} wrong={wrong}>
          {(ids) => (
            <select
              {...ids}
              value={tag}
              onChange={(event) =>
                onChange(fresh(kinds.get(event.currentTarget.value) ?? {}, form.definitions))
              }
            >
              {[...kinds].map(([name, kind]) => (
                <option key={name} value={name}>
                  {kind.properties?.kind?.title ?? name}
                </option>
              ))}
            </select>
          )}
        </Field>
      ) : wrong ? (
        <p class="wrong">{wrong}</p>
      ) : null}
      <SchemaFields schema={schema} value={item} onChange={onChange} form={form} pointer={pointer} />
    </div>
  );
}
