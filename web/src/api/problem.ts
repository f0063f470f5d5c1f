/** What went wrong, as RFC 9457 says it, and where in the request. */
export interface FieldProblem {
  pointer: string;
  message: string;
  hint: string;
}

const AFTER_FAILURE_MS = 5000;

/** An answer that says no, or no answer at all (status 0). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    readonly title: string,
    readonly detail: string,
    readonly requestId: string,
    readonly errors: readonly FieldProblem[] = [],
    readonly retryAfterS: number | null = null,
    /** The whole body of the problem, for members that only some problems have. */
    readonly body: Readonly<Record<string, unknown>> = {},
  ) {
    super(detail || title);
    this.name = "Problem";
  }

  /** Milliseconds until the same question may find an answer; null where another one is needed. */
  get askAgainMs(): number | null {
    if (this.status !== 0 && this.status !== 503) return null;
    return this.retryAfterS === null ? AFTER_FAILURE_MS : 1000 * Math.max(1, this.retryAfterS);
  }

  /** What to do about it, as the service says it. */
  get hints(): string[] {
    return [...new Set(this.errors.map((e) => e.hint).filter(Boolean))];
  }
}

/** Return what an answer that is no success says. */
export async function problemOf(response: Response): Promise<Problem> {
  const text = await response.text().catch(() => "");
  const body = parsed(text);
  const retry = Number(response.headers.get("Retry-After") ?? "");
  return new Problem(
    response.status,
    String(body.code ?? `http_${response.status}`),
    String(body.title ?? response.statusText),
    String(body.detail ?? text.slice(0, 300)),
    String(body.request_id ?? response.headers.get("X-Request-Id") ?? ""),
    Array.isArray(body.errors) ? body.errors.map(asField) : [],
    response.headers.has("Retry-After") && Number.isFinite(retry) ? retry : null,
    body,
  );
}

/** Return the problem that anything thrown stands for. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error;
  if (error instanceof TypeError)
    return new Problem(0, "unreachable", "No answer", "Intima does not answer. Is it still running?", "", [
      {
        pointer: "",
        message: "",
        hint: "Start it again (make serve), or check the network; this page tries again by itself.",
      },
    ]);
  return new Problem(
    0,
    "defect",
    "A defect of the viewer",
    error instanceof Error ? error.message : String(error),
    "",
  );
}

function parsed(text: string): Record<string, unknown> {
  try {
    const found: unknown = JSON.parse(text);
    return typeof found === "object" && found !== null ? (found as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

function asField(found: unknown): FieldProblem {
  const field = (typeof found === "object" && found !== null ? found : {}) as Record<string, unknown>;
  return {
    ...field,
    pointer: String(field.pointer ?? ""),
    message: String(field.message ?? ""),
    hint: String(field.hint ?? ""),
  };
}
