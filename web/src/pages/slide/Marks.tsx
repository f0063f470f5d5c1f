import type { Segmentation } from "../../api/types";
import type { Rectangle } from "../../pure/slide_view";
import { useProfiles } from "./ThicknessPlot";

/** What is drawn over the slide: the region to look at again, frames of the vessels, and the ray of the thickness plot. */
export function Marks({
  segmentation,
  vessel,
  angle,
  region,
}: {
  segmentation: Segmentation;
  vessel: number;
  angle: number | null;
  region: Rectangle | null;
}) {
  const part = segmentation.result?.region ?? null;
  const chosen = segmentation.measures.find((v) => v.vessel === vessel);
  const several = segmentation.measures.length > 1;
  return (
    <>
      {part ? <Frame at={part} dashed /> : null}
      {several && chosen ? <Frame at={chosen.bounds} /> : null}
      {several
        ? segmentation.measures.map((v) => (
            <text key={v.vessel} x={v.bounds.x} y={v.bounds.y}>
              {v.vessel}
            </text>
          ))
        : null}
      {chosen && angle !== null ? (
        <Ray segmentation={segmentation} vessel={vessel} angle={angle} reach={reachOf(chosen.bounds)} />
      ) : null}
      {region ? <Frame at={region} dashed /> : null}
    </>
  );
}

function Frame({ at, dashed = false }: { at: Rectangle; dashed?: boolean }) {
  return (
    <>
      <rect class="halo" x={at.x} y={at.y} width={at.width} height={at.height} />
      <rect class={`line ${dashed ? "dashed" : ""}`} x={at.x} y={at.y} width={at.width} height={at.height} />
    </>
  );
}

function reachOf(bounds: Rectangle): number {
  return Math.hypot(bounds.width, bounds.height) / 2;
}

function Ray({
  segmentation,
  vessel,
  angle,
  reach,
}: {
  segmentation: Segmentation;
  vessel: number;
  angle: number;
  reach: number;
}) {
  const profile = useProfiles(segmentation).data?.find((p) => p.vessel === vessel);
  if (!profile) return null;
  const region = segmentation.result?.region;
  const [x, y] = [profile.centre.x + (region?.x ?? 0), profile.centre.y + (region?.y ?? 0)];
  const turn = (angle * Math.PI) / 180;
  const end = { x2: x + reach * Math.cos(turn), y2: y + reach * Math.sin(turn) };
  return (
    <>
      <line class="halo" x1={x} y1={y} {...end} />
      <line class="line" x1={x} y1={y} {...end} />
    </>
  );
}
