import * as Plot from "@observablehq/plot";
import { useId, useMemo } from "preact/hooks";
import { getText } from "../../api/client";
import { useResource } from "../../api/resource";
import type { Segmentation } from "../../api/types";
import { Chart } from "../../charts/Chart";
import { formatQuantity } from "../../pure/format";
import { directionOf, type Profile, parseProfiles, rayAt } from "../../pure/thickness";
import { Loaded } from "../../ui/Loading";
import { Table } from "../../ui/Table";

/** The profiles of a segmentation; null while it has none. */
export function useProfiles(segmentation: Segmentation | null) {
  const file = segmentation?.artefacts.find((a) => a.name === "thickness_profiles.csv");
  return useResource(file ? `${file.url} ${file.sha256}` : null, async (signal) =>
    parseProfiles(await getText(file?.url ?? "", signal)),
  );
}

/** Thickness of intima and media around a vessel; the chosen angle is drawn on the slide too. */
export function ThicknessPlot({
  segmentation,
  vessel,
  angle,
  onAngle,
}: {
  segmentation: Segmentation;
  vessel: number;
  angle: number | null;
  onAngle: (angle: number | null) => void;
}) {
  const profiles = useProfiles(segmentation);
  return (
    <Loaded of={profiles} what="the thickness profile">
      {(found) => {
        const profile = found.find((p) => p.vessel === vessel);
        return profile ? <Drawn profile={profile} angle={angle} onAngle={onAngle} /> : null;
      }}
    </Loaded>
  );
}

function Drawn({
  profile,
  angle,
  onAngle,
}: {
  profile: Profile;
  angle: number | null;
  onAngle: (angle: number | null) => void;
}) {
  const id = useId();
  const options = useMemo(() => optionsFor(profile, angle), [profile, angle]);
  const ray = angle === null ? undefined : rayAt(profile, angle);
  const said = (value: number | null) =>
    value === null ? "not measured" : formatQuantity(value, profile.unit);
  return (
    <section class="stack tight">
      <h3>Thickness around vessel {profile.vessel}</h3>
      <Chart
        caption="Along rays from the centre of the vessel: 0° to the right, 90° down. Blue solid: intima; orange dashed: media."
        options={options}
        table={<ProfileTable profile={profile} />}
      />
      <label htmlFor={id}>Show an angle on the slide</label>
      <div class="row">
        <input
          id={id}
          type="range"
          min={0}
          max={359}
          value={angle ?? 0}
          aria-valuetext={`${angle ?? 0} degrees, ${directionOf(angle ?? 0)}`}
          onInput={(e) => onAngle(Number(e.currentTarget.value))}
        />
        {ray ? (
          <span class="small" aria-live="polite">
            {Math.round(ray.angle)}° ({directionOf(ray.angle)}): intima {said(ray.intima)}, media{" "}
            {said(ray.media)}
          </span>
        ) : null}
      </div>
    </section>
  );
}

function optionsFor(profile: Profile, angle: number | null): Plot.PlotOptions {
  const line = (key: "intima" | "media", stroke: string, dash: string) =>
    Plot.line(profile.rays, { x: "angle", y: key, stroke, strokeWidth: 2, strokeDasharray: dash });
  return {
    height: 190,
    marginLeft: 46,
    marginBottom: 40,
    x: { label: "Angle (°)", ticks: [0, 90, 180, 270, 360], domain: [0, 360] },
    y: { label: `Thickness (${profile.unit})`, zero: true, grid: true, nice: true },
    marks: [
      line("intima", "var(--series-1)", "none"),
      line("media", "var(--series-2)", "6 4"),
      ...(angle === null ? [] : [Plot.ruleX([angle], { stroke: "currentColor", strokeDasharray: "2 3" })]),
    ],
  };
}

function ProfileTable({ profile }: { profile: Profile }) {
  const rows = profile.rays.filter((ray) => ray.angle % 30 === 0);
  const cell = (value: number | null) =>
    value === null ? "not measured" : formatQuantity(value, profile.unit);
  return (
    <Table
      caption="Every 30°; all rays are in thickness_profiles.csv"
      rows={rows}
      keyOf={(ray) => String(ray.angle)}
      columns={[
        { title: "Angle", cell: (ray) => `${ray.angle}° ${directionOf(ray.angle)}` },
        { title: "Intima", number: true, cell: (ray) => cell(ray.intima) },
        { title: "Media", number: true, cell: (ray) => cell(ray.media) },
      ]}
    />
  );
}
