/** Requests to the api of the page's own origin: token in the header, answers checked, problems thrown. */
import { problemOf } from "./problem";
import { askForToken, authorization } from "./session";
import type { Page } from "./types";

export interface RequestOptions {
  signal?: AbortSignal | undefined;
  headers?: Record<string, string>;
  body?: BodyInit;
  method?: string;
}

/** Ask, and return the answer if it is a success. Throws Problem. */
export async function request(path: string, options: RequestOptions = {}): Promise<Response> {
  const { signal, headers, body, method } = options;
  const response = await fetch(path, {
    method: method ?? "GET",
    headers: { ...authorization(), ...headers },
    ...(body === undefined ? {} : { body }),
    ...(signal ? { signal } : {}),
  });
  if (response.ok) return response;
  if (response.status === 401) askForToken();
  throw await problemOf(response);
}

export async function getJson<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await request(path, { signal })).json() as Promise<T>;
}

export async function getText(path: string, signal?: AbortSignal): Promise<string> {
  return (await request(path, { signal })).text();
}

export async function getBlob(path: string, signal?: AbortSignal): Promise<Blob> {
  return (await request(path, { signal })).blob();
}

/** Send JSON and return the answer's JSON. */
export async function sendJson<T>(
  method: "POST" | "PUT" | "PATCH",
  path: string,
  body: unknown,
  options: RequestOptions = {},
): Promise<T> {
  const headers = { "Content-Type": "application/json", ...options.headers };
  const response = await request(path, { ...options, method, headers, body: JSON.stringify(body) });
  return (await response.json()) as T;
}

/** Send JSON and return what comes back as bytes: a figure, a report. */
export async function sendForBlob(path: string, body: unknown, options: RequestOptions = {}): Promise<Blob> {
  const headers = { "Content-Type": "application/json", ...options.headers };
  const response = await request(path, { ...options, method: "POST", headers, body: JSON.stringify(body) });
  return response.blob();
}

/** Do what takes no body: cancel, retry. */
export async function post<T>(path: string, signal?: AbortSignal): Promise<T> {
  return (await request(path, { method: "POST", signal })).json() as Promise<T>;
}

export async function remove(path: string): Promise<void> {
  await request(path, { method: "DELETE" });
}

/** Return a query string of what is given; null and "" are left out. */
export function query(values: Record<string, string | number | boolean | null | undefined>): string {
  const given = Object.entries(values).filter(([, v]) => v !== null && v !== undefined && v !== "");
  return given.length ? `?${new URLSearchParams(given.map(([k, v]) => [k, String(v)]))}` : "";
}

/** Return all items of a list, page by page, up to `most`. */
export async function getAll<Item>(path: string, signal?: AbortSignal, most = 1000): Promise<Item[]> {
  const found: Item[] = [];
  let token = "";
  do {
    const joint = path.includes("?") ? "&" : "?";
    const page = await getJson<Page<Item>>(
      `${path}${joint}page_size=200${token ? `&page_token=${encodeURIComponent(token)}` : ""}`,
      signal,
    );
    found.push(...page.items);
    token = page.next_page_token;
  } while (token && found.length < most);
  return found;
}

/** Save an answer of the api as a file, with the token in the header. */
export async function download(path: string, name: string): Promise<void> {
  saveBlob(await getBlob(path), name);
}

export function saveBlob(blob: Blob, name: string): void {
  const url = URL.createObjectURL(blob);
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 10_000);
}
