/** Data of the api in components: read, read again while it changes, and keep what was shown when a later read fails. */
import { useCallback, useEffect, useRef, useState } from "preact/hooks";
import { getJson } from "./client";
import { asProblem, type Problem } from "./problem";
import { onSession } from "./session";

export interface Resource<T> {
  /** The newest answer; kept while the next is awaited. */
  data: T | null;
  problem: Problem | null;
  loading: boolean;
  /** Read again now. */
  reload: () => void;
}

export interface ResourceOptions<T> {
  /** Milliseconds until the next read, by what was read; null: no further one. */
  again?: (data: T) => number | null;
}

/** Read `path` (null: nothing yet) as JSON. */
export function useJson<T>(path: string | null, options: ResourceOptions<T> = {}): Resource<T> {
  const read = useCallback((signal: AbortSignal) => getJson<T>(path ?? "", signal), [path]);
  return useResource(path, read, options);
}

/** Read by a function of one's own whenever `key` changes (null: nothing yet). */
export function useResource<T>(
  key: string | null,
  read: (signal: AbortSignal) => Promise<T>,
  options: ResourceOptions<T> = {},
): Resource<T> {
  const [state, setState] = useState<{ key: string | null; data: T | null; problem: Problem | null }>({
    key,
    data: null,
    problem: null,
  });
  const [round, setRound] = useState(0);
  const latest = useRef({ read, again: options.again });
  latest.current = { read, again: options.again };
  const reload = useCallback(() => setRound((n) => n + 1), []);

  useEffect(() => onSession(reload), [reload]);
  // biome-ignore lint/correctness/useExhaustiveDependencies: `round` is what asks for another read
  useEffect(() => {
    if (key === null) return;
    const stop = new AbortController();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const later = (ms: number | null) => {
      if (ms !== null && !stop.signal.aborted) timer = setTimeout(() => void once(), ms);
    };
    const once = async () => {
      try {
        const data = await latest.current.read(stop.signal);
        if (stop.signal.aborted) return;
        setState({ key, data, problem: null });
        later(latest.current.again?.(data) ?? null);
      } catch (error) {
        if (stop.signal.aborted) return;
        const problem = asProblem(error);
        setState((old) => ({ key, data: old.key === key ? old.data : null, problem }));
        later(problem.askAgainMs);
      }
    };
    void once();
    return () => {
      stop.abort();
      clearTimeout(timer);
    };
  }, [key, round]);

  const mine = state.key === key;
  return {
    data: mine ? state.data : null,
    problem: mine ? state.problem : null,
    loading: key !== null && !(mine && (state.data !== null || state.problem !== null)),
    reload,
  };
}

/** Do something on request: running, its problem, and a function that starts it. */
export function useAction<Arguments extends unknown[], Result>(
  action: (...given: Arguments) => Promise<Result>,
) {
  const [running, setRunning] = useState(false);
  const [problem, setProblem] = useState<Problem | null>(null);
  const latest = useRef(action);
  latest.current = action;
  const run = useCallback(async (...given: Arguments): Promise<Result | undefined> => {
    setRunning(true);
    setProblem(null);
    try {
      return await latest.current(...given);
    } catch (error) {
      if (!(error instanceof DOMException && error.name === "AbortError")) setProblem(asProblem(error));
      return undefined;
    } finally {
      setRunning(false);
    }
  }, []);
  return { run, running, problem, clear: useCallback(() => setProblem(null), []) };
}
