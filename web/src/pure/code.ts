/** A request as the lines one would type: curl and Python. */
export interface Written {
  method: string;
  path: string;
  body?: unknown;
  form?: Record<string, string>;
  /** A file that is the whole body, and its media type. */
  file?: { name: string; type: string };
  saveAs?: string;
}

/** Return the curl line of a request. */
export function asCurl(call: Written, base: string, withToken: boolean): string {
  const parts = ["curl"];
  if (
    call.method !== "GET" &&
    !(call.method === "POST" && (call.body !== undefined || call.form || call.file))
  )
    parts.push(`-X ${call.method}`);
  if (withToken) parts.push(`-H "Authorization: Bearer $INTIMA_TOKEN"`);
  if (call.body !== undefined)
    parts.push(`-H 'Content-Type: application/json'`, `-d ${quoted(JSON.stringify(call.body))}`);
  for (const [name, value] of Object.entries(call.form ?? {})) parts.push(`-F ${quoted(`${name}=${value}`)}`);
  if (call.file)
    parts.push(
      `-H ${quoted(`Content-Type: ${call.file.type}`)}`,
      `--data-binary ${quoted(`@${call.file.name}`)}`,
    );
  if (call.saveAs) parts.push(`-o ${quoted(call.saveAs)}`);
  parts.push(quoted(base + call.path));
  return parts.join(" \\\n  ");
}

/** Return the Python lines of a request, with httpx. */
export function asPython(call: Written, base: string, withToken: boolean): string {
  const fields = Object.entries(call.form ?? {});
  const files = fields
    .filter(([, v]) => v.startsWith("@"))
    .map(([k, v]) => `${python(k)}: open(${python(v.slice(1))}, "rb")`);
  const data = fields.filter(([, v]) => !v.startsWith("@")).map(([k, v]) => `${python(k)}: ${python(v)}`);
  const given = [python(call.method), python(call.path)];
  if (call.body !== undefined) given.push(`json=${python(call.body)}`);
  if (data.length) given.push(`data={${data.join(", ")}}`);
  if (files.length) given.push(`files={${files.join(", ")}}`);
  if (call.file) {
    given.push(`content=open(${python(call.file.name)}, "rb").read()`);
    given.push(`headers={"Content-Type": ${python(call.file.type)}}`);
  }
  const token = withToken ? `, headers={"Authorization": f"Bearer {os.environ['INTIMA_TOKEN']}"}` : "";
  const lines = [
    ...(withToken ? ["import os", ""] : []),
    "import httpx",
    "",
    `intima = httpx.Client(base_url=${python(base)}${token}, timeout=300)`,
  ];
  lines.push(`answer = intima.request(${given.join(", ")})`, "answer.raise_for_status()");
  lines.push(
    call.saveAs ? `open(${python(call.saveAs)}, "wb").write(answer.content)` : "print(answer.json())",
  );
  return lines.join("\n");
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", `'\\''`)}'`;
}

/** Return a value as Python writes it. */
export function python(value: unknown): string {
  if (value === null || value === undefined) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value === "number") return String(value);
  if (typeof value === "string") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(python).join(", ")}]`;
  return `{${Object.entries(value)
    .map(([k, v]) => `${JSON.stringify(k)}: ${python(v)}`)
    .join(", ")}}`;
}
