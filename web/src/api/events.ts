/** Server-sent events by fetch, since EventSource sends no Authorization header. */
import { useEffect, useRef, useState } from "preact/hooks";
import { request } from "./client";
import { parseEvents, type ServerEvent } from "./event_stream";
import { asProblem, type Problem } from "./problem";
import type { Job } from "./types";

const RETRY_MS = 2000;
export const FINAL_STATES: readonly string[] = ["succeeded", "failed", "canceled"];

/** Follow a stream until it ends, taking it up again where it broke; refusals (4xx) are thrown. */
export async function followEvents(
  path: string,
  onEvent: (event: ServerEvent) => void,
  signal: AbortSignal,
): Promise<void> {
  let last = "";
  while (!signal.aborted) {
    try {
      const headers: Record<string, string> = last ? { "Last-Event-ID": last } : {};
      const response = await request(path, { signal, headers });
      for await (const event of parseEvents(response)) {
        if (event.id) last = event.id;
        onEvent(event);
      }
      return;
    } catch (error) {
      if (signal.aborted) return;
      const problem = asProblem(error);
      if (problem.status >= 400 && problem.status < 500 && problem.status !== 429) throw problem;
      await new Promise((done) => setTimeout(done, RETRY_MS));
    }
  }
}

/** The job as it is now, live until it is final; `onEvent` gets every event in order. */
export function useJob(
  id: string | null,
  onEvent?: (event: ServerEvent) => void,
): { job: Job | null; problem: Problem | null } {
  const [shown, setShown] = useState<{ id: string | null; job: Job | null; problem: Problem | null }>({
    id,
    job: null,
    problem: null,
  });
  const latest = useRef(onEvent);
  latest.current = onEvent;
  useEffect(() => {
    if (id === null) return;
    const stop = new AbortController();
    const take = (event: ServerEvent) => {
      if (event.type === "job") setShown({ id, job: JSON.parse(event.data) as Job, problem: null });
      latest.current?.(event);
    };
    followEvents(`/v1/jobs/${encodeURIComponent(id)}/events`, take, stop.signal).catch((error: unknown) =>
      setShown((old) => ({ ...old, id, problem: asProblem(error) })),
    );
    return () => stop.abort();
  }, [id]);
  return shown.id === id ? shown : { job: null, problem: null };
}
