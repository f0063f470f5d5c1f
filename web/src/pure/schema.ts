/** JSON Schema as OpenAPI has it, read for a form: what a field is, what it holds, and which field an error means. */

export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

export interface Schema {
  $ref?: string;
  type?: string;
  title?: string;
  description?: string;
  default?: Json;
  examples?: Json[];
  enum?: Json[];
  const?: Json;
  anyOf?: Schema[];
  oneOf?: Schema[];
  discriminator?: { propertyName: string; mapping?: Record<string, string> };
  properties?: Record<string, Schema>;
  patternProperties?: Record<string, Schema>;
  additionalProperties?: boolean | Schema;
  required?: string[];
  items?: Schema;
  minimum?: number;
  maximum?: number;
  exclusiveMinimum?: number;
  multipleOf?: number;
  minLength?: number;
  maxLength?: number;
  minItems?: number;
  maxItems?: number;
}

export type Definitions = Record<string, Schema>;

/** What a form shows for a schema. */
export type Kind =
  | "choice"
  | "number"
  | "text"
  | "flag"
  | "several"
  | "numbers"
  | "list"
  | "object"
  | "json"
  | "fixed";

export interface FieldShape {
  kind: Kind;
  schema: Schema;
  /** Null may be sent: "take the default". */
  nullable: boolean;
}

/** Return a schema with its reference followed; what stands beside the reference wins. */
export function resolved(schema: Schema, definitions: Definitions): Schema {
  const { $ref, ...beside } = schema;
  if (!$ref) return schema;
  const name = $ref.slice($ref.lastIndexOf("/") + 1);
  const { title, ...found } = resolved(definitions[name] ?? {}, definitions);
  return { ...found, ...(title === undefined || title === name ? {} : { title }), ...beside };
}

/** Return what a form shows for a schema. */
export function shapeOf(schema: Schema, definitions: Definitions): FieldShape {
  const whole = resolved(schema, definitions);
  const options = whole.anyOf?.filter((s) => s.type !== "null");
  const nullable = whole.anyOf !== undefined && options?.length !== whole.anyOf.length;
  if (options?.length === 1 && options[0]) {
    const { anyOf: _, ...beside } = whole;
    const inner = resolved(options[0], definitions);
    return { ...shapeOf({ ...inner, ...beside }, definitions), nullable };
  }
  return { kind: kindOf(whole, definitions), schema: whole, nullable };
}

function kindOf(schema: Schema, definitions: Definitions): Kind {
  if (schema.const !== undefined) return "fixed";
  if (schema.enum) return "choice";
  if (schema.type === "boolean") return "flag";
  if (schema.type === "integer" || schema.type === "number") return "number";
  if (schema.type === "string") return "text";
  if (schema.type === "array" && schema.items) return kindOfList(resolved(schema.items, definitions));
  return schema.type === "object" && schema.properties ? "object" : "json";
}

function kindOfList(items: Schema): Kind {
  if (items.enum) return "several";
  if (items.type === "integer" || items.type === "number") return "numbers";
  return items.oneOf || items.properties ? "list" : "json";
}

/** Return the alternatives of a list's items by the value of their discriminator; one without a name where there are none. */
export function alternatives(items: Schema, definitions: Definitions): Map<string, Schema> {
  const whole = resolved(items, definitions);
  const by = whole.discriminator;
  if (!by) return new Map([["", whole]]);
  const named = Object.entries(by.mapping ?? {});
  return new Map(named.map(([name, ref]) => [name, resolved({ $ref: ref }, definitions)]));
}

/** Return what a new item of a schema holds: constants, defaults, and null or "" for the rest that is required. */
export function fresh(schema: Schema, definitions: Definitions): JsonObject {
  const whole = resolved(schema, definitions);
  return Object.fromEntries(
    Object.entries(whole.properties ?? {}).flatMap(([name, inner]): [string, Json][] => {
      const field = resolved(inner, definitions);
      if (field.const !== undefined) return [[name, field.const]];
      if (field.default !== undefined) return [[name, field.default]];
      return whole.required?.includes(name) ? [[name, ""]] : [];
    }),
  );
}

/** Return the name a field goes by: its title, without the machine's capitals. */
export function titleOf(name: string, schema: Schema): string {
  const words = name.replaceAll("_", " ");
  const made = words.replace(/\b\w/g, (letter) => letter.toUpperCase());
  if (schema.title && schema.title !== made) return schema.title;
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/** Return a description as plain text: one line, code marks gone, and what is null said as a form has it: empty. */
export function describedBy(schema: Schema): string {
  const text = (schema.description ?? "").replaceAll("``", "").replace(/\s+/g, " ").trim();
  return text.replace(/\bNull\b/g, "Empty").replace(/\bnull\b/g, "empty");
}

/** Return errors by the field they mean; one of a list that only follows from those of its items is left out. */
export function errorsByField(
  errors: readonly { pointer: string; message: string }[],
  schema: Schema,
  definitions: Definitions,
): { placed: Map<string, string>; left: string[] } {
  const found = new Map<string, string>();
  const left: string[] = [];
  for (const { pointer, message } of errors) {
    const field = fieldOf(pointer, schema, definitions);
    if (!field) left.push(pointer ? `${pointer}: ${message}` : message);
    else if (!found.has(field)) found.set(field, message);
  }
  const fields = [...found.keys()];
  const own = fields.filter((f) => !fields.some((other) => other.startsWith(`${f}/`)));
  return { placed: new Map(own.map((f) => [f, found.get(f) ?? ""])), left };
}

/** Return a value with one place changed; undefined removes it. */
export function withValue(value: JsonObject, name: string, changed: Json | undefined): JsonObject {
  const { [name]: _, ...rest } = value;
  return changed === undefined ? rest : { ...value, [name]: changed };
}

/** Return a value without what is as the schema's default: what a request needs to say. */
export function spoken(value: JsonObject, schema: Schema, definitions: Definitions): JsonObject {
  const whole = resolved(schema, definitions);
  return Object.fromEntries(
    Object.entries(value).filter(([name, inner]) => {
      const usual = whole.properties?.[name]
        ? resolved(whole.properties[name], definitions).default
        : undefined;
      return usual === undefined || JSON.stringify(inner) !== JSON.stringify(usual);
    }),
  );
}

/** Return whole numbers written with commas or spaces; null where something else stands there. */
export function numbersIn(text: string): number[] | null {
  const parts = text.split(/[\s,;]+/).filter(Boolean);
  const found = parts.map(Number);
  return found.every(Number.isFinite) ? found : null;
}

/** Return the field that an error's pointer means: alternatives that were tried stand in pointers, but are no fields. */
export function fieldOf(pointer: string, schema: Schema, definitions: Definitions): string {
  const parts = pointer
    .split("/")
    .slice(1)
    .map((p) => p.replaceAll("~1", "/").replaceAll("~0", "~"));
  let here: Schema[] = [resolved(schema, definitions)];
  const path: string[] = [];
  for (const part of parts) {
    const next = here.flatMap((one) => below(one, part, definitions));
    if (!next.length) continue;
    path.push(part);
    here = next.flatMap((one) => unfolded(one, definitions));
  }
  return path.map((p) => `/${p.replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");
}

function below(schema: Schema, part: string, definitions: Definitions): Schema[] {
  const found = schema.properties?.[part];
  if (found) return [resolved(found, definitions)];
  if (schema.items && /^\d+$/.test(part)) return [resolved(schema.items, definitions)];
  return [];
}

function unfolded(schema: Schema, definitions: Definitions): Schema[] {
  const inner = [...(schema.anyOf ?? []), ...(schema.oneOf ?? [])].map((s) => resolved(s, definitions));
  return [schema, ...inner];
}
