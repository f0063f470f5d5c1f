/** SHA-256 of what comes in pieces: crypto.subtle takes whole files only, and none outside https. */

const K = new Uint32Array(64);
const START = new Uint32Array(8);

for (let candidate = 2, found = 0; found < 64; candidate++) {
  if (!isPrime(candidate)) continue;
  K[found] = fraction(Math.cbrt(candidate));
  if (found < 8) START[found] = fraction(Math.sqrt(candidate));
  found++;
}

function isPrime(number: number): boolean {
  for (let d = 2; d * d <= number; d++) if (number % d === 0) return false;
  return true;
}

/** The first 32 bits behind the point. */
function fraction(value: number): number {
  return ((value - Math.floor(value)) * 2 ** 32) >>> 0;
}

export class Sha256 {
  private readonly state = START.slice();
  private readonly words = new Uint32Array(64);
  private readonly rest = new Uint8Array(64);
  private held = 0;
  private bytes = 0;

  /** Take the next bytes. */
  update(data: Uint8Array): this {
    this.bytes += data.length;
    let at = 0;
    if (this.held) {
      at = Math.min(64 - this.held, data.length);
      this.rest.set(data.subarray(0, at), this.held);
      this.held += at;
      if (this.held < 64) return this;
      this.block(this.rest, 0);
    }
    for (; at + 64 <= data.length; at += 64) this.block(data, at);
    this.held = data.length - at;
    this.rest.set(data.subarray(at));
    return this;
  }

  /** Return the hash in lower-case hex; nothing can be taken after it. */
  hex(): string {
    const bits = this.bytes * 8;
    const pad = new Uint8Array(this.held < 56 ? 64 - this.held : 128 - this.held);
    const view = new DataView(pad.buffer);
    pad[0] = 0x80;
    view.setUint32(pad.length - 8, Math.floor(bits / 2 ** 32));
    view.setUint32(pad.length - 4, bits >>> 0);
    this.update(pad);
    return [...this.state].map((word) => word.toString(16).padStart(8, "0")).join("");
  }

  private block(data: Uint8Array, from: number): void {
    const w = this.words;
    for (let n = 0, at = from; n < 16; n++, at += 4)
      w[n] =
        ((data[at] as number) << 24) |
        ((data[at + 1] as number) << 16) |
        ((data[at + 2] as number) << 8) |
        (data[at + 3] as number);
    for (let n = 16; n < 64; n++) {
      const early = w[n - 15] as number;
      const late = w[n - 2] as number;
      const first = turn(early, 7) ^ turn(early, 18) ^ (early >>> 3);
      const second = turn(late, 17) ^ turn(late, 19) ^ (late >>> 10);
      w[n] = ((w[n - 16] as number) + first + (w[n - 7] as number) + second) | 0;
    }
    this.rounds(w);
  }

  private rounds(w: Uint32Array): void {
    let [a, b, c, d, e, f, g, h] = this.state as unknown as Eight;
    for (let n = 0; n < 64; n++) {
      const choice = (e & f) ^ (~e & g);
      const one =
        (h + (turn(e, 6) ^ turn(e, 11) ^ turn(e, 25)) + choice + (K[n] as number) + (w[n] as number)) | 0;
      const majority = (a & b) ^ (a & c) ^ (b & c);
      const two = ((turn(a, 2) ^ turn(a, 13) ^ turn(a, 22)) + majority) | 0;
      h = g;
      g = f;
      f = e;
      e = (d + one) | 0;
      d = c;
      c = b;
      b = a;
      a = (one + two) | 0;
    }
    const added: Eight = [a, b, c, d, e, f, g, h];
    for (let n = 0; n < 8; n++) this.state[n] = ((this.state[n] as number) + (added[n] as number)) | 0;
  }
}

type Eight = [number, number, number, number, number, number, number, number];

function turn(word: number, by: number): number {
  return (word >>> by) | (word << (32 - by));
}
