import { Link } from "wouter-preact";
import { sendJson } from "../../api/client";
import { useResource } from "../../api/resource";
import type { ModelVersion, Ranking } from "../../api/types";
import { formatNumber } from "../../pure/format";
import { Quantity } from "../../ui/Quantity";

/** A published model by the name that asks for it. */
export function nameOf(model: ModelVersion): string {
  return `${model.name}@${model.version}`;
}

/** All models with what one chooses by: tier in its benchmark, score, licence, cost. */
export function ModelChoice({
  models,
  chosen,
  onChoose,
}: {
  models: readonly ModelVersion[];
  chosen: string;
  onChoose: (name: string) => void;
}) {
  const tiers = useTiers(models);
  return (
    <fieldset class="card stack" style={{ margin: 0 }}>
      <legend>
        <h2>Model</h2>
      </legend>
      {models.map((model) => (
        <ModelLine
          key={nameOf(model)}
          model={model}
          tier={tiers[nameOf(model)]}
          checked={isChosen(model, chosen)}
          onChoose={() => onChoose(nameOf(model))}
        />
      ))}
    </fieldset>
  );
}

/** A model is chosen by its version, by an alias, or by its bare name. */
export function isChosen(model: ModelVersion, chosen: string): boolean {
  const [name, tag] = chosen.split("@");
  return name === model.name && (tag === undefined || tag === model.version || model.aliases.includes(tag));
}

interface LineProps {
  model: ModelVersion;
  tier: string | undefined;
  checked: boolean;
  onChoose: () => void;
}

function ModelLine({ model, tier, checked, onChoose }: LineProps) {
  const { card } = model;
  const score = card.scores.find((s) => s.metric === "dice/macro");
  return (
    <div class={`choice ${checked ? "chosen" : ""}`}>
      <label class="row" style={{ alignItems: "baseline" }}>
        <input type="radio" name="model" checked={checked} onChange={onChoose} />
        <strong>{model.name}</strong>
        <span class="mono small soft">{model.version}</span>
        {model.aliases.map((alias) => (
          <span class="badge" key={alias}>
            {alias}
          </span>
        ))}
        {card.synthetic ? <span class="badge warn">synthetic: not for tissue</span> : null}
      </label>
      <dl class="facts small">
        <Fact name="Tier">{tier ?? "not ranked: it comes from no benchmark here"}</Fact>
        <Fact name="Dice">
          {score ? (
            <>
              <Quantity value={score.mean} unit="" interval={score.ci95 as [number, number] | null} /> on{" "}
              {score.n_subjects} subjects ({score.protocol})
            </>
          ) : (
            "not measured"
          )}
        </Fact>
        <Fact name="Licence">
          weights {card.weights_licence}; data {card.dataset_licence}
        </Fact>
        <Fact name="Cost">{cost(model)}</Fact>
        <Fact name="Uncertainty">{card.calibration}</Fact>
        <Fact name="Card">
          <Link href={`/models/${encodeURIComponent(model.name)}/${encodeURIComponent(model.version)}`}>
            Model card
          </Link>
        </Fact>
      </dl>
    </div>
  );
}

function Fact({ name, children }: { name: string; children: preact.ComponentChildren }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{children}</dd>
    </div>
  );
}

function cost(model: ModelVersion): string {
  const { cost: work, latency, members, mpp, tile_px } = model.card;
  const first = latency.find((l) => l.precision === "fp32");
  const parts = [
    `${members.length} network${members.length === 1 ? "" : "s"}`,
    `tiles of ${tile_px} px at ${mpp === null ? "any pixel size" : `${formatNumber(mpp)} µm/px`}`,
  ];
  if (work) parts.push(`${formatNumber(work.flops / 1e9)} GFLOP a tile`);
  parts.push(
    first ? `${formatNumber(first.median_ms)} ms a tile measured on ${first.provider}` : "time not measured",
  );
  return parts.join(", ");
}

/** Return in which tier of its benchmark each model stands, for the benchmarks of these models. */
function useTiers(models: readonly ModelVersion[]): Record<string, string> {
  const benchmarks = [
    ...new Set(models.map((m) => m.card.benchmark).filter((b): b is string => Boolean(b))),
  ].sort();
  const found = useResource(benchmarks.length ? benchmarks.join() : null, async (signal) => {
    const rankings = await Promise.all(
      benchmarks.map(async (benchmark) => {
        const ranking = await sendJson<Ranking>("POST", "/v1/rankings", { benchmark }, { signal }).catch(
          () => null,
        );
        return [benchmark, ranking] as const;
      }),
    );
    return new Map(rankings);
  });
  return Object.fromEntries(
    models.flatMap((model) => {
      const ranking = found.data?.get(model.card.benchmark ?? "");
      const contender = model.card.architecture.label ?? model.card.architecture.name;
      const at = ranking ? ranking.tiers.findIndex((tier) => tier.includes(contender)) : -1;
      return ranking && at >= 0 ? [[nameOf(model), inWords(ranking, at)]] : [];
    }),
  );
}

function inWords(ranking: Ranking, at: number): string {
  const others = (ranking.tiers[at]?.length ?? 1) - 1;
  const beside = others ? `, not told apart from ${others} other${others === 1 ? "" : "s"}` : "";
  return `${at + 1} of ${ranking.tiers.length} in its benchmark${beside} (${ranking.n_units} subjects)`;
}
