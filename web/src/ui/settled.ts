import { useEffect, useState } from "preact/hooks";

/** Return a text once it has not changed for `ms` milliseconds, so that typing asks once. */
export function useSettled(text: string, ms = 350): string {
  const [settled, setSettled] = useState(text);
  useEffect(() => {
    const timer = setTimeout(() => setSettled(text), ms);
    return () => clearTimeout(timer);
  }, [text, ms]);
  return settled;
}
