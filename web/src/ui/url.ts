/** What the URL says after the "?", as state that can be shared. */
import { useCallback, useMemo } from "preact/hooks";
import { useLocation, useSearch } from "wouter-preact";

export type SetParameters = (changed: Record<string, string | null>, how?: "push" | "replace") => void;

/** Return the query's values and a function that changes some of them (null removes one). */
export function useParameters(): [URLSearchParams, SetParameters] {
  const search = useSearch();
  const [path, navigate] = useLocation();
  const parameters = useMemo(() => new URLSearchParams(search), [search]);
  const set = useCallback<SetParameters>(
    (changed, how = "replace") => {
      const next = new URLSearchParams(window.location.search);
      for (const [name, value] of Object.entries(changed)) {
        if (value === null || value === "") next.delete(name);
        else next.set(name, value);
      }
      const text = next.toString();
      navigate(text ? `${path}?${text}` : path, { replace: how === "replace" });
    },
    [path, navigate],
  );
  return [parameters, set];
}
