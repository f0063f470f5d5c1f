/** Return heights at which labels of curves do not cover each other: each at least `gap` from the next, in their order. */
export function apart(heights: readonly number[], gap: number, top = 1): number[] {
  const order = heights.map((_, n) => n).sort((a, b) => (heights[b] as number) - (heights[a] as number));
  const placed = [...heights];
  let ceiling = top;
  for (const n of order) {
    placed[n] = Math.min(heights[n] as number, ceiling);
    ceiling = (placed[n] as number) - gap;
  }
  return placed;
}
