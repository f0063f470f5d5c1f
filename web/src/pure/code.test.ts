import { spawnSync } from "node:child_process";
import { expect, it } from "vitest";
import { asCurl, asPython, python } from "./code";

it("writes a reading as a bare line", () =>
  expect(asCurl({ method: "GET", path: "/v1/slides" }, "http://h", false)).toBe(
    "curl \\\n  'http://h/v1/slides'",
  ));

it("quotes what a shell would read", () => {
  const line = asCurl(
    { method: "POST", path: "/v1/x", body: { title: "it's $HOME `id`" } },
    "http://h",
    false,
  );
  const echoed = spawnSync("sh", ["-c", line.replace("curl", "printf '%s|'")], { encoding: "utf8" }).stdout;
  expect(echoed.split("|")).toContain(`{"title":"it's $HOME \`id\`"}`);
});

it("names a token but never shows one", () => {
  const call = { method: "DELETE", path: "/v1/slides/s" };
  expect(asCurl(call, "http://h", true)).toContain("$INTIMA_TOKEN");
  expect(asPython(call, "http://h", true)).toContain("os.environ['INTIMA_TOKEN']");
});

it("sends files as files", () => {
  const call = { method: "POST", path: "/v1/slides", form: { file: "@a.svs", mpp: "0.5" } };
  expect(asCurl(call, "http://h", false)).toContain("-F 'file=@a.svs'");
  expect(asPython(call, "http://h", false)).toContain(
    'data={"mpp": "0.5"}, files={"file": open("a.svs", "rb")}',
  );
});

it("writes Python's own words", () =>
  expect(python({ a: [true, null, "x\n"] })).toBe('{"a": [True, None, "x\\n"]}'));

it("sends a file that is the whole body", () => {
  const call = { method: "POST", path: "/v1/x", file: { name: "mask.png", type: "image/png" } };
  expect(asCurl(call, "http://h", false)).toContain(
    "-H 'Content-Type: image/png' \\\n  --data-binary '@mask.png'",
  );
  expect(asCurl(call, "http://h", false)).not.toContain("-X");
  expect(asPython(call, "http://h", false)).toContain(
    'content=open("mask.png", "rb").read(), headers={"Content-Type": "image/png"}',
  );
});
