/** How numbers are written: always with their unit, never with digits that were not measured. */

const UNITS: Record<string, string> = {
  "um^2": "µm²",
  um2: "µm²",
  "µm^2": "µm²",
  um: "µm",
  "mm^2": "mm²",
  fraction: "",
  ratio: "",
};

/** Return a number with three significant digits, and thousands set apart. */
export function formatNumber(value: number, digits = 3): string {
  if (!Number.isFinite(value)) return "not a number";
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(1);
  return new Intl.NumberFormat("en", {
    maximumSignificantDigits: Math.max(digits, integerDigits(value)),
  }).format(value);
}

function integerDigits(value: number): number {
  return Math.min(21, Math.max(1, Math.floor(Math.log10(Math.abs(value) || 1)) + 1));
}

/** Return how a unit is written: "um^2" as "µm²". */
export function formatUnit(unit: string): string {
  return UNITS[unit] ?? unit;
}

/** Return a number with its unit; areas from 0.1 mm² on in mm², fractions in percent where asked. */
export function formatQuantity(value: number, unit: string): string {
  const [shown, shownUnit] = inReadableUnit(value, formatUnit(unit));
  return shownUnit ? `${formatNumber(shown)}\u202f${shownUnit}` : formatNumber(shown);
}

/** Return value and unit as one reads them: 1,250,000 µm² is 1.25 mm². */
export function inReadableUnit(value: number, unit: string): [number, string] {
  return unit === "µm²" && Math.abs(value) >= 1e5 ? [value / 1e6, "mm²"] : [value, unit];
}

/** Return "low to high" in the unit in which `value` itself is shown. */
export function formatInterval(low: number, high: number, unit: string, value: number): string {
  const written = formatUnit(unit);
  const scale = inReadableUnit(value, written)[1] === "mm²" && written === "µm²" ? 1e-6 : 1;
  return `${formatNumber(low * scale)} to ${formatNumber(high * scale)}`;
}

/** Return a share of one in percent. */
export function formatPercent(share: number, digits = 2): string {
  return `${formatNumber(100 * share, digits)}\u202f%`;
}

const STEPS: [number, string][] = [
  [86400, "day"],
  [3600, "h"],
  [60, "min"],
];

/** Return a time span in words: "3 min 20 s". */
export function formatDuration(seconds: number): string {
  if (seconds < 1) return "less than 1 s";
  const rest = Math.round(seconds);
  const step = STEPS.find(([size]) => rest >= size);
  if (!step) return `${rest} s`;
  const [size, name] = step;
  const smaller = size === 86400 ? [3600, "h"] : size === 3600 ? [60, "min"] : [1, "s"];
  const whole = Math.floor(rest / size);
  const part = Math.floor((rest - whole * size) / (smaller[0] as number));
  const unit = name === "day" && whole > 1 ? "days" : name;
  return part ? `${whole} ${unit} ${part} ${smaller[1]}` : `${whole} ${unit}`;
}

/** Return bytes as one reads them, in steps of 1,000. */
export function formatBytes(bytes: number): string {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const step = bytes < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3));
  return `${formatNumber(bytes / 1000 ** step)}\u202f${units[step]}`;
}

/** Return a moment in the reader's own time zone. */
export function formatMoment(rfc3339: string): string {
  return new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" }).format(
    new Date(rfc3339),
  );
}

/** Return a word with its number: "1 slide", "3 slides". */
export function count(number: number, singular: string, plural = `${singular}s`): string {
  return `${formatNumber(number)} ${number === 1 ? singular : plural}`;
}

/** Return a name of the api as words: "intima_media_ratio" as "Intima media ratio". */
export function asWords(name: string): string {
  const words = name.replaceAll("_", " ").trim();
  return words.charAt(0).toUpperCase() + words.slice(1);
}
