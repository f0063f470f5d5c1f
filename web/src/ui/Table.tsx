import type { ComponentChildren } from "preact";

export interface Column<Row> {
  title: string;
  cell: (row: Row) => ComponentChildren;
  number?: boolean;
}

export interface TableProps<Row> {
  caption: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  keyOf: (row: Row) => string;
  /** Hide the caption from the eye where a heading says it already. */
  captionHidden?: boolean;
}

/** A table; the first column names the row. */
export function Table<Row>({ caption, columns, rows, keyOf, captionHidden }: TableProps<Row>) {
  return (
    // A box that scrolls sideways must take the keyboard's focus (axe: scrollable-region-focusable).
    // biome-ignore lint/a11y/noNoninteractiveTabindex: scrolled by keyboard
    <section class="table-box" tabIndex={0} aria-label={caption}>
      <table>
        <caption class={captionHidden ? "hidden-text" : ""}>{caption}</caption>
        <thead>
          <tr>
            {columns.map((c) => (
              <th key={c.title} scope="col" class={c.number ? "number" : ""}>
                {c.title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr key={keyOf(row)}>
              {columns.map((c, n) =>
                n === 0 ? (
                  <th key={c.title} scope="row">
                    {c.cell(row)}
                  </th>
                ) : (
                  <td key={c.title} class={c.number ? "number" : ""}>
                    {c.cell(row)}
                  </td>
                ),
              )}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
