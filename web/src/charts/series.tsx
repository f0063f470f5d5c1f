/** Colours and marks of series: each contender keeps one of both, so that colour alone never carries it. */
import type { SymbolType } from "@observablehq/plot";

const COLORS = 6;
const SYMBOLS = ["circle", "square", "triangle", "diamond", "plus", "times"] as const;
const DASHES = ["", "6 3", "2 3", "8 3 2 3", "1 4", "10 4"] as const;

export function seriesColor(at: number): string {
  return `var(--series-${(at % COLORS) + 1})`;
}

export function seriesSymbol(at: number): SymbolType {
  return SYMBOLS[at % SYMBOLS.length] ?? "circle";
}

export function seriesDash(at: number): string {
  return DASHES[at % DASHES.length] ?? "";
}

const SIGNS = ["●", "■", "▲", "◆", "＋", "✕"];

/** Which colour and mark each series has. */
export function SeriesLegend({ names }: { names: readonly string[] }) {
  return (
    <ul class="row small" style={{ listStyle: "none", margin: 0, padding: 0 }} aria-label="Series">
      {names.map((name, n) => (
        <li key={name} class="row" style={{ gap: "0.3rem" }}>
          <span aria-hidden="true" style={{ color: seriesColor(n) }}>
            {SIGNS[n % SIGNS.length]}
          </span>
          {name}
        </li>
      ))}
    </ul>
  );
}
