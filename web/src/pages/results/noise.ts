/** The audit of a search in words. */
import type { ApiShape } from "../../api/types";
import { formatNumber } from "../../pure/format";

/** Return what the gap of a search means, in one or two sentences. */
export function noiseSentence(noise: ApiShape<"HpoNoise">): string {
  const gap = noise.selection;
  if (!gap)
    return "Choosing cannot be told from training anew here: no net of the search was scored outside it.";
  const found = `On average over ${gap.splits} splits the winning trial scored ${formatNumber(Math.abs(gap.mean))} Dice ${gap.mean >= 0 ? "higher" : "lower"} in its own search than the same net on subjects it had not seen`;
  const limits = gap.ci95_corrected as [number, number] | null | undefined;
  if (!limits) return `${found}; one split alone says nothing about how sure that is.`;
  const between = `(95 % interval ${formatNumber(limits[0])} to ${formatNumber(limits[1])})`;
  if (limits[0] > 0) return `${found} ${between}: the search flatters its winners. Report outer scores only.`;
  if (limits[1] < 0) return `${found} ${between}: the search does not flatter here.`;
  return `${found} ${between}: these splits do not show whether the search flatters.`;
}
