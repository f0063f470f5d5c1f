import { useEffect, useRef, useState } from "preact/hooks";
import { useJob } from "../api/events";
import type { Problem } from "../api/problem";
import type { Job } from "../api/types";
import { type LogLine, logLine } from "../pure/board";
import "./job_log.css";

const MOST_LINES = 300;
const FLUSH_MS = 250;

export interface LiveJob {
  job: Job | null;
  problem: Problem | null;
  /** The newest lines of the log, oldest first. */
  lines: readonly LogLine[];
  /** Grows when units have started or ended; at most once in a while, so that pages can read again. */
  news: number;
}

/** Follow a job: its state, its log in words, and when its units change. */
export function useLiveJob(id: string | null): LiveJob {
  const kept = useRef<{ id: string | null; lines: LogLine[]; units: number }>({ id, lines: [], units: 0 });
  const [shown, setShown] = useState<{ lines: readonly LogLine[]; news: number }>({ lines: [], news: 0 });
  const dirty = useRef(false);
  if (kept.current.id !== id) kept.current = { id, lines: [], units: 0 };
  const live = useJob(id, (event) => {
    if (event.type === "job") return;
    const line = logLine(event.id ?? "", event.type, JSON.parse(event.data) as Record<string, unknown>);
    if (!line) return;
    kept.current.lines = [...kept.current.lines.slice(1 - MOST_LINES), line];
    if (event.type !== "progress") kept.current.units += 1;
    dirty.current = true;
  });
  useEffect(() => {
    const timer = setInterval(() => {
      if (!dirty.current) return;
      dirty.current = false;
      setShown({ lines: kept.current.lines, news: kept.current.units });
    }, FLUSH_MS);
    return () => clearInterval(timer);
  }, []);
  return { ...live, ...shown };
}

/** The newest lines of a job's log; it follows them unless one has scrolled up. */
export function JobLog({ lines }: { lines: readonly LogLine[] }) {
  const box = useRef<HTMLOListElement>(null);
  const following = useRef(true);
  // biome-ignore lint/correctness/useExhaustiveDependencies: new lines are what it scrolls for
  useEffect(() => {
    if (box.current && following.current) box.current.scrollTop = box.current.scrollHeight;
  }, [lines]);
  if (!lines.length) return <p class="soft">Nothing has happened yet.</p>;
  return (
    <ol
      class="log"
      ref={box}
      // biome-ignore lint/a11y/noNoninteractiveTabindex: scrolled by keyboard
      tabIndex={0}
      aria-label="Log"
      onScroll={(event) => {
        const { scrollTop, scrollHeight, clientHeight } = event.currentTarget;
        following.current = scrollHeight - scrollTop - clientHeight < 24;
      }}
    >
      {lines.map((line) => (
        <li key={line.id} class={line.tone}>
          {line.text}
        </li>
      ))}
    </ol>
  );
}
