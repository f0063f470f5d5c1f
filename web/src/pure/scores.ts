/** Scores as text: what people paste, and scores.csv. */
export interface Scores {
  subjects: string[];
  scores: number[];
}

/** Return the rows of a CSV text (RFC 4180; comma, semicolon or tab by what the first line has most of). */
export function parseCsv(text: string): string[][] {
  const separator = mostOf(text.split("\n", 1)[0] ?? "");
  const rows: string[][] = [];
  let row: string[] = [];
  let cell = "";
  let quoted = false;
  const endRow = () => {
    row.push(cell.trim());
    if (row.some((c) => c !== "")) rows.push(row);
    row = [];
    cell = "";
  };
  for (let at = 0; at < text.length; at += 1) {
    const sign = text[at] as string;
    if (quoted && sign === '"' && text[at + 1] === '"') {
      cell += '"';
      at += 1;
    } else if (sign === '"') quoted = !quoted;
    else if (quoted) cell += sign;
    else if (sign === separator) {
      row.push(cell.trim());
      cell = "";
    } else if (sign === "\n") endRow();
    else if (sign !== "\r") cell += sign;
  }
  endRow();
  return rows;
}

function mostOf(line: string): string {
  const counts = [",", ";", "\t"].map((s) => [line.split(s).length, s] as const);
  return counts.reduce((best, next) => (next[0] > best[0] ? next : best))[1];
}

/**
 * Return the scores of pasted lines "subject, score"; a heading is allowed. With a heading that names "subject" and
 * "score" (or "value") those columns are taken, else the first and the last. Throws an Error that says which line is wrong.
 */
export function parseScores(text: string): Scores {
  const rows = parseCsv(text);
  const head = (rows[0] ?? []).map((c) => c.toLowerCase());
  const hasHead = head.length > 1 && !isNumber(rows[0]?.[head.length - 1] ?? "");
  const subjectAt = hasHead && head.includes("subject") ? head.indexOf("subject") : 0;
  const named = hasHead ? head.findIndex((c) => c === "score" || c === "value") : -1;
  const found: Scores = { subjects: [], scores: [] };
  for (const [n, row] of rows.entries()) {
    if (n === 0 && hasHead) continue;
    if (row.length < 2)
      throw new Error(`Line ${n + 1} has no score: "${row.join(",")}". Write: subject, score.`);
    const value = row[named >= 0 ? named : row.length - 1] ?? "";
    if (!isNumber(value)) throw new Error(`Line ${n + 1}: "${value}" is no number.`);
    found.subjects.push(row[subjectAt] ?? "");
    found.scores.push(Number(value));
  }
  if (found.scores.length === 0)
    throw new Error("There is no score. Write one line per subject: subject, score.");
  return found;
}

function isNumber(text: string): boolean {
  return text.trim() !== "" && Number.isFinite(Number(text));
}

export interface Selection {
  protocol: string;
  metric: string;
  class: string;
}

/** Return the scores of each contender in scores.csv under a protocol, metric and class; rows without a value are left out. */
export function scoresByModel(csv: string, wanted: Selection): Map<string, Scores> {
  const [head, ...rows] = parseCsv(csv);
  const column = (name: string) => head?.indexOf(name) ?? -1;
  const at = {
    subject: column("subject"),
    protocol: column("protocol"),
    model: column("model"),
    class: column("class"),
    metric: column("metric"),
    value: column("value"),
  };
  const found = new Map<string, Scores>();
  for (const row of rows) {
    if (row[at.protocol] !== wanted.protocol || row[at.metric] !== wanted.metric) continue;
    if (row[at.class] !== wanted.class || !isNumber(row[at.value] ?? "")) continue;
    const model = row[at.model] ?? "";
    const scores = found.get(model) ?? { subjects: [], scores: [] };
    scores.subjects.push(row[at.subject] ?? "");
    scores.scores.push(Number(row[at.value]));
    found.set(model, scores);
  }
  return found;
}

/** Return the mean score of each subject, in the order in which they first come. */
export function meanBySubject(scores: Scores): { subject: string; score: number }[] {
  const sums = new Map<string, [number, number]>();
  scores.subjects.forEach((subject, n) => {
    const [sum, count] = sums.get(subject) ?? [0, 0];
    sums.set(subject, [sum + (scores.scores[n] ?? 0), count + 1]);
  });
  return [...sums].map(([subject, [sum, count]]) => ({ subject, score: sum / count }));
}
