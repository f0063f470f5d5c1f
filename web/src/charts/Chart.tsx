import * as Plot from "@observablehq/plot";
import type { ComponentChildren } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

export interface ChartProps {
  /** What it shows and how to read it. */
  caption: string;
  /** The same numbers as a table, for whoever cannot see the picture. */
  table: ComponentChildren;
  /** What Observable Plot draws; width is that of the place. Give a value that changes only with the data (useMemo). */
  options: Plot.PlotOptions;
}

/** A chart in the page's colours, with its numbers beside it. */
export function Chart({ caption, options, table }: ChartProps) {
  const place = useRef<HTMLDivElement>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const element = place.current;
    if (!element) return;
    const watcher = new ResizeObserver(([entry]) => setWidth(Math.round(entry?.contentRect.width ?? 0)));
    watcher.observe(element);
    return () => watcher.disconnect();
  }, []);
  useEffect(() => {
    const element = place.current;
    if (!element || width === 0) return;
    const drawn = Plot.plot({
      ...options,
      width,
      style: {
        background: "transparent",
        fontSize: "12px",
        ...(typeof options.style === "object" ? options.style : {}),
      },
    });
    drawn.setAttribute("role", "img");
    drawn.setAttribute("aria-label", caption);
    // Plot names its marks ("dot", "rule"), which a picture read as one must not.
    for (const part of drawn.querySelectorAll("g[aria-label]")) part.removeAttribute("aria-label");
    element.replaceChildren(drawn);
    return () => element.replaceChildren();
  }, [options, width, caption]);
  return (
    <figure class="chart">
      <div ref={place} />
      <figcaption>{caption}</figcaption>
      <details class="small">
        <summary>The numbers</summary>
        {table}
      </details>
    </figure>
  );
}
