import type { ApiShape, Segmentation } from "../../api/types";
import { formatNumber } from "../../pure/format";
import { Notice } from "../../ui/Notice";
import { Swatch } from "../../ui/Swatch";
import { SingleKeysSwitch } from "../../ui/single_keys";
import { classesOf } from "./shown";

type Uncertainty = ApiShape<"UncertaintySummary">;

export interface LayersPanelProps {
  segmentation: Segmentation;
  comparing: boolean;
  /** Percent by layer. */
  shown: Readonly<Record<string, number>>;
  onShow: (key: string, percent: number) => void;
  onToggle: (key: string) => void;
  patterns: boolean;
  onPatterns: (wanted: boolean) => void;
}

/** Which layers lie over the slide, and how strongly. */
export function LayersPanel(props: LayersPanelProps) {
  const { segmentation, comparing, patterns, onPatterns } = props;
  const maps = ["entropy", "disagreement"].filter((name) =>
    segmentation.artefacts.some((a) => a.name === `${name}.ome.tiff`),
  );
  return (
    <div class="stack">
      <section class="stack tight">
        <h2>Tissue classes</h2>
        {classesOf(segmentation).map((name, n) => (
          <LayerRow key={name} {...props} name={name} label={name} shortcut={String(n + 1)} swatch />
        ))}
        <label class="row">
          <input type="checkbox" checked={patterns} onChange={(e) => onPatterns(e.currentTarget.checked)} />
          Patterns <kbd>P</kbd>
        </label>
        <SingleKeysSwitch />
      </section>
      {comparing ? (
        <section class="stack tight">
          <h2>Where A and B differ</h2>
          <LayerRow {...props} name="difference" label="Difference" shortcut="X" />
        </section>
      ) : null}
      <section class="stack tight">
        <h2>Uncertainty</h2>
        {segmentation.uncertainty && maps.length ? (
          <>
            <LayerRow {...props} name="entropy" label="Entropy" shortcut="E" />
            {maps.includes("disagreement") ? (
              <LayerRow {...props} name="disagreement" label="Disagreement" shortcut="G" />
            ) : null}
            <MapLegend
              uncertainty={segmentation.uncertainty}
              synthetic={isMeasuredOnSynthetic(segmentation)}
            />
          </>
        ) : (
          <p class="soft small">
            Not measured: this segmentation was made with one pass. Segment again with a sampler to get a map.
          </p>
        )}
      </section>
    </div>
  );
}

function LayerRow({
  name,
  label,
  shortcut,
  swatch = false,
  shown,
  onShow,
  onToggle,
}: LayersPanelProps & { name: string; label: string; shortcut: string; swatch?: boolean }) {
  const percent = shown[name] ?? 0;
  const id = `layer-${name}`;
  return (
    <div class="layer-row">
      <label>
        <input type="checkbox" checked={percent > 0} onChange={() => onToggle(name)} />
        {swatch ? <Swatch name={name} /> : null}
        <span class="layer-name">{label}</span>
        <kbd>{shortcut}</kbd>
      </label>
      <div class="layer-slider">
        <label class="hidden-text" htmlFor={id}>
          Opacity of {label}
        </label>
        <input
          id={id}
          type="range"
          min={0}
          max={100}
          step={5}
          value={percent}
          aria-valuetext={`${percent} %`}
          onInput={(e) => onShow(name, Number(e.currentTarget.value))}
        />
        <span class="small mono">{percent} %</span>
      </div>
    </div>
  );
}

/** What the colours of the maps mean, and whether anybody measured that doubt goes with error. */
function MapLegend({ uncertainty, synthetic }: { uncertainty: Uncertainty; synthetic: boolean }) {
  return (
    <>
      <div class="cividis" aria-hidden="true" />
      <div class="cividis-numbers small">
        <span>0: sure</span>
        <span>0.5</span>
        <span>1: no idea</span>
      </div>
      <p class="small soft">
        Share of the largest possible value. Entropy: how undecided the mean answer is. Disagreement: how far
        the {uncertainty.passes} passes ({uncertainty.sampler}) contradict each other. Mean over the image:{" "}
        {formatNumber(uncertainty.mean_entropy)} and {formatNumber(uncertainty.mean_disagreement)}.
      </p>
      <CalibrationNote uncertainty={uncertainty} synthetic={synthetic} />
    </>
  );
}

/** Out-of-fold sections are those of the training data. */
function isMeasuredOnSynthetic({ uncertainty, provenance }: Segmentation): boolean {
  const said = uncertainty?.calibration ?? "";
  return (
    /synthetic|phantom/i.test(said) ||
    (/out-of-fold/i.test(said) && provenance.synthetic_training_data === true)
  );
}

function CalibrationNote({ uncertainty, synthetic }: { uncertainty: Uncertainty; synthetic: boolean }) {
  if (uncertainty.calibration === "not measured")
    return (
      <Notice tone="warn" title="Calibration not measured">
        <p class="small">
          Nobody has checked on held-out sections whether this model errs where it doubts. Read the map as a
          hint, not as a probability.
        </p>
      </Notice>
    );
  return (
    <Notice
      tone={synthetic ? "warn" : "good"}
      title={synthetic ? "Calibration measured on synthetic images only" : "Calibration measured"}
    >
      <p class="small">{uncertainty.calibration}.</p>
      <p class="small">
        ECE: how far, on average, the stated confidence is from how often it was right; 0 is best.
      </p>
      {synthetic ? <p class="small">It says nothing about real tissue.</p> : null}
    </Notice>
  );
}
