import { Button } from "../../ui/Button";
import { Swatch } from "../../ui/Swatch";
import { SingleKeysSwitch } from "../../ui/single_keys";
import { KEYS, SIZES, TOOLS, type ToolName } from "./tools";

export interface ToolPanelProps {
  classes: readonly string[];
  tool: ToolName;
  onTool: (tool: ToolName) => void;
  value: number;
  onValue: (value: number) => void;
  over: number | null;
  onOver: (over: number | null) => void;
  size: number;
  onSize: (size: number) => void;
  percent: number;
  onPercent: (percent: number) => void;
  patterns: boolean;
  onPatterns: (wanted: boolean) => void;
  canUndo: boolean;
  canRedo: boolean;
  onUndo: () => void;
  onRedo: () => void;
  /** µm per pixel of the mask; null: not known. */
  mpp: number | null;
}

/** What one paints with. */
export function ToolPanel(props: ToolPanelProps) {
  const { classes, tool, value, over, size, percent, mpp } = props;
  const shown = TOOLS.find((t) => t.name === tool);
  return (
    <div class="stack">
      <fieldset class="choices">
        <legend>Tool</legend>
        {TOOLS.map((t) => (
          <label key={t.name} class="choice">
            <input type="radio" name="tool" checked={tool === t.name} onChange={() => props.onTool(t.name)} />
            <span>{t.label}</span>
            <kbd>{t.key}</kbd>
          </label>
        ))}
      </fieldset>
      <p class="small soft">{shown?.about}</p>
      <div class="row">
        <Button compact disabled={!props.canUndo} onClick={props.onUndo}>
          Undo
        </Button>
        <Button compact disabled={!props.canRedo} onClick={props.onRedo}>
          Redo
        </Button>
      </div>
      <fieldset class="choices">
        <legend>Class to give</legend>
        {classes.map((name, n) => (
          <label key={name} class="choice">
            <input type="radio" name="class" checked={value === n} onChange={() => props.onValue(n)} />
            <Swatch name={name} />
            <span>{name}</span>
            <kbd>{n}</kbd>
          </label>
        ))}
      </fieldset>
      <label class="field">
        <span class="label">Paint only over</span>
        <select
          value={over === null ? "" : String(over)}
          onChange={(e) => props.onOver(e.currentTarget.value === "" ? null : Number(e.currentTarget.value))}
        >
          <option value="">everything</option>
          {classes.map((name, n) => (
            <option key={name} value={String(n)}>
              {name}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span class="label">
          Brush <kbd>[</kbd> <kbd>]</kbd>
        </span>
        <select value={String(size)} onChange={(e) => props.onSize(Number(e.currentTarget.value))}>
          {SIZES.map((px) => (
            <option key={px} value={String(px)}>
              {px} px{mpp === null ? "" : ` (${(px * mpp).toFixed(1)} µm)`}
            </option>
          ))}
        </select>
      </label>
      <label class="field">
        <span class="label">
          Mask over the slide <kbd>V</kbd>
        </span>
        <input
          type="range"
          min={0}
          max={100}
          step={5}
          value={percent}
          aria-valuetext={`${percent} %`}
          onInput={(e) => props.onPercent(Number(e.currentTarget.value))}
        />
      </label>
      <label class="row">
        <input
          type="checkbox"
          checked={props.patterns}
          onChange={(e) => props.onPatterns(e.currentTarget.checked)}
        />
        Patterns <kbd>P</kbd>
      </label>
      <SingleKeysSwitch />
      <details>
        <summary>All keys</summary>
        <dl class="keys">
          {KEYS.map(([key, what]) => (
            <div key={key}>
              <dt>
                <kbd>{key}</kbd>
              </dt>
              <dd>{what}</dd>
            </div>
          ))}
        </dl>
      </details>
    </div>
  );
}
