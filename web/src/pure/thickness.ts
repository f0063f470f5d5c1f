/** thickness_profiles.csv: how thick intima and media are along rays from the centre of each vessel. */
export interface Ray {
  angle: number;
  intima: number | null;
  media: number | null;
}

export interface Profile {
  vessel: number;
  unit: string;
  /** Where the rays start, in pixels of the mask. */
  centre: { x: number; y: number };
  rays: Ray[];
}

/** Return the profile of every vessel in the file, in its order. */
export function parseProfiles(csv: string): Profile[] {
  const [head = "", ...lines] = csv.trim().split(/\r?\n/);
  const columns = head.split(",");
  const found = new Map<number, Profile>();
  for (const line of lines) {
    const cells = line.split(",");
    const text = (name: string) => cells[columns.indexOf(name)] ?? "";
    const number = (name: string) => (text(name) === "" ? null : Number(text(name)));
    const vessel = number("vessel");
    if (vessel === null) continue;
    const profile = found.get(vessel) ?? {
      vessel,
      unit: text("unit"),
      centre: { x: number("center_x_px") ?? 0, y: number("center_y_px") ?? 0 },
      rays: [],
    };
    profile.rays.push({ angle: number("angle_deg") ?? 0, intima: number("intima"), media: number("media") });
    found.set(vessel, profile);
  }
  return [...found.values()];
}

/** Return the ray nearest to an angle in degrees. */
export function rayAt(profile: Profile, angle: number): Ray | undefined {
  const apart = (ray: Ray) => Math.abs(((ray.angle - angle + 540) % 360) - 180);
  return profile.rays.reduce<Ray | undefined>(
    (best, ray) => (best === undefined || apart(ray) < apart(best) ? ray : best),
    undefined,
  );
}

/** Return what a direction is called: 0 is to the right, 90 down. */
export function directionOf(angle: number): string {
  const names = ["right", "lower right", "bottom", "lower left", "left", "upper left", "top", "upper right"];
  return names[Math.round((((angle % 360) + 360) % 360) / 45) % 8] ?? "right";
}
