import { expect, test } from "vitest";
import { problemOf } from "./problem";

async function said(status: number, headers: Record<string, string> = {}): Promise<number | null> {
  return (await problemOf(new Response("{}", { status, headers }))).askAgainMs;
}

test("what is not ready yet is asked for again when the service says so, and a refusal never", async () => {
  expect(await said(503, { "Retry-After": "3" })).toBe(3000);
  expect(await said(503, { "Retry-After": "0" })).toBe(1000);
  expect(await said(503, { "Retry-After": "Fri, 27 Nov 2026 00:00:00 GMT" })).toBe(5000);
  expect(await said(503)).toBe(5000);
  for (const status of [400, 404, 409, 422, 429, 500]) expect(await said(status)).toBeNull();
});
