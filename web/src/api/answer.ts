/** Answers of the stats service: a question is a POST without effect, so it can be read like a resource. */
import { useCallback, useEffect, useState } from "preact/hooks";
import { sendForBlob, sendJson } from "./client";
import { asProblem, type Problem } from "./problem";
import { type Resource, useResource } from "./resource";

/** Ask `path` with `body` (null: nothing yet) whenever either changes; a stale question is given up. */
export function useAnswer<T>(path: string, body: object | null): Resource<T> {
  const written = body === null ? null : JSON.stringify(body);
  const ask = useCallback(
    (signal: AbortSignal) => sendJson<T>("POST", path, JSON.parse(written ?? "{}"), { signal }),
    [path, written],
  );
  return useResource(written === null ? null : `${path} ${written}`, ask);
}

/** The figure that answers `body`, as the URL of an object that lives as long as it is shown. */
export function useFigure(
  path: string,
  body: object | null,
): { url: string | null; problem: Problem | null } {
  const key = body === null ? null : `${path} ${JSON.stringify(body)}`;
  const [shown, setShown] = useState<{ key: string | null; url: string | null; problem: Problem | null }>({
    key: null,
    url: null,
    problem: null,
  });
  useEffect(() => {
    if (key === null) return;
    const stop = new AbortController();
    let made: string | null = null;
    const written = key.slice(key.indexOf(" ") + 1);
    sendForBlob(key.slice(0, key.indexOf(" ")), JSON.parse(written), { signal: stop.signal })
      .then((blob) => {
        if (stop.signal.aborted) return;
        made = URL.createObjectURL(blob);
        setShown({ key, url: made, problem: null });
      })
      .catch((error: unknown) => {
        if (!stop.signal.aborted) setShown({ key, url: null, problem: asProblem(error) });
      });
    return () => {
      stop.abort();
      if (made) URL.revokeObjectURL(made);
    };
  }, [key]);
  return shown.key === key ? shown : { url: null, problem: null };
}

/** The newest data there was, while the next is awaited: curves do not vanish while one types. */
export function useKept<T>(resource: Resource<T>): T | null {
  const [kept, setKept] = useState<T | null>(null);
  useEffect(() => {
    if (resource.data !== null) setKept(resource.data);
  }, [resource.data]);
  return resource.data ?? kept;
}
