/** The calls a page is made of, so that "Same by API" can show them. */
import { useEffect, useState } from "preact/hooks";

export interface ApiCall {
  /** What it is for: "The mask as an image". */
  title: string;
  method: "GET" | "POST" | "PUT" | "PATCH" | "DELETE";
  path: string;
  /** JSON that is sent. */
  body?: unknown;
  /** Form fields that are sent; "@name.svs" is a file. */
  form?: Record<string, string>;
  /** A file that is the whole body, and its media type. */
  file?: { name: string; type: string };
  /** The file an answer is saved as. */
  saveAs?: string;
}

let shown: readonly ApiCall[] = [];
const listeners = new Set<(calls: readonly ApiCall[]) => void>();

/** Say which calls this page is made of, while it is shown. */
export function useApiCalls(calls: readonly ApiCall[]): void {
  const key = JSON.stringify(calls);
  useEffect(() => {
    const mine = JSON.parse(key) as ApiCall[];
    publish(mine);
    return () => {
      if (shown === mine) publish([]);
    };
  }, [key]);
}

/** The calls of the page that is shown. */
export function useShownCalls(): readonly ApiCall[] {
  const [calls, setCalls] = useState(shown);
  useEffect(() => {
    setCalls(shown);
    listeners.add(setCalls);
    return () => void listeners.delete(setCalls);
  }, []);
  return calls;
}

function publish(calls: readonly ApiCall[]): void {
  shown = calls;
  for (const listener of listeners) listener(calls);
}
