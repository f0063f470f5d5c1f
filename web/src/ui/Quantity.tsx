import { formatInterval, formatQuantity } from "../pure/format";

export interface QuantityProps {
  value: number | null | undefined;
  unit: string;
  interval?: { low: number; high: number } | readonly [number, number] | null | undefined;
  /** Why there is no value, or no interval. */
  reason?: string | undefined;
}

/** A number with its unit and its interval; without one it says so. */
export function Quantity({ value, unit, interval, reason }: QuantityProps) {
  if (value === null || value === undefined)
    return <span class="soft">not measured{reason ? `: ${reason}` : ""}</span>;
  const [low, high] = interval
    ? "low" in interval
      ? [interval.low, interval.high]
      : interval
    : [null, null];
  return (
    <span class="quantity">
      {formatQuantity(value, unit)}{" "}
      {low !== null && high !== null ? (
        <span class="interval">({formatInterval(low, high, unit, value)})</span>
      ) : reason ? (
        <span class="interval">({reason})</span>
      ) : null}
    </span>
  );
}
