import type { ComponentChildren } from "preact";
import type { Problem } from "../api/problem";
import { Button } from "./Button";

/** A remark that stands out; "bad" and "warn" are read aloud when they appear. */
export function Notice({
  tone = "info",
  title,
  children,
}: {
  tone?: "info" | "good" | "warn" | "bad";
  title?: string;
  children?: ComponentChildren;
}) {
  const role = tone === "bad" ? "alert" : tone === "info" ? undefined : "status";
  return (
    <div class={`notice ${tone}`} role={role}>
      {title ? <strong>{title}</strong> : null}
      {children}
    </div>
  );
}

/** What went wrong and what to do, as the service says it; nothing if nothing did. */
export function ProblemNote({
  problem,
  onRetry,
}: {
  problem: Problem | null | undefined;
  onRetry?: (() => void) | undefined;
}) {
  if (!problem) return null;
  const fields = problem.errors.filter((e) => e.message && !problem.detail.startsWith(e.message));
  return (
    <Notice tone="bad" title={problem.title}>
      <p>{withoutHints(problem)}</p>
      {fields.length ? (
        <ul>
          {fields.map((e) => (
            <li key={e.pointer + e.message}>
              {e.pointer ? <code>{e.pointer}</code> : null} {e.message}
            </li>
          ))}
        </ul>
      ) : null}
      {problem.hints.map((hint) => (
        <p key={hint}>
          <strong>What to do:</strong> {hint}
        </p>
      ))}
      {problem.requestId ? <p class="small soft">Request {problem.requestId}</p> : null}
      {onRetry ? (
        <div>
          <Button compact onClick={onRetry}>
            Try again
          </Button>
        </div>
      ) : null}
    </Notice>
  );
}

/** The detail; what the service adds to it of what to do stands below by itself. */
function withoutHints(problem: Problem): string {
  return problem.hints.reduce(
    (said, hint) => (said.endsWith(hint) ? said.slice(0, -hint.length).trimEnd() : said),
    problem.detail,
  );
}
