import { createHash } from "node:crypto";
import { expect, test } from "vitest";
import { Sha256 } from "./sha256";

const text = (words: string) => new TextEncoder().encode(words);
const known = (data: Uint8Array) => createHash("sha256").update(data).digest("hex");

test("the examples of FIPS 180-4", () => {
  expect(new Sha256().hex()).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  expect(new Sha256().update(text("abc")).hex()).toBe(
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
  );
});

test("every length around a block, in pieces of every size", () => {
  const data = Uint8Array.from({ length: 260 }, (_, n) => (n * 37) % 256);
  for (let length = 0; length <= data.length; length++) {
    const whole = data.subarray(0, length);
    expect(new Sha256().update(whole).hex()).toBe(known(whole));
  }
  for (const size of [1, 3, 55, 56, 63, 64, 65, 127, 128, 200]) {
    const hash = new Sha256();
    for (let at = 0; at < data.length; at += size) hash.update(data.subarray(at, at + size));
    expect(hash.hex()).toBe(known(data));
  }
});

test("a few megabytes", () => {
  const data = Uint8Array.from({ length: 3_000_001 }, (_, n) => (n * n) % 251);
  expect(new Sha256().update(data).hex()).toBe(known(data));
});
