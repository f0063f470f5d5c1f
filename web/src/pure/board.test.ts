import { describe, expect, it } from "vitest";
import {
  byState,
  logLine,
  lossLines,
  meanOfFolds,
  messageInWords,
  progressByContender,
  type TrainingLike,
  trialPoints,
  unitInWords,
  workerName,
} from "./board";

function row(unit: string, more: Partial<TrainingLike> = {}): TrainingLike {
  const model = unit.split("/")[0] ?? "";
  const kind = unit.includes("trial") ? "trial" : "fold";
  return { unit, kind, state: "done", model, value: null, pruned: false, fold: null, losses: [], ...more };
}

describe("who is how far", () => {
  const units = [
    { key: "unet/loocv/r0/f0/s0/trial0", kind: "trial", state: "done" },
    { key: "unet/loocv/r0/f0/s0/trial1", kind: "trial", state: "running" },
    { key: "fpn/loocv/r0/f0/s0/fold", kind: "fold", state: "waiting" },
    { key: "collect", kind: "collect", state: "waiting" },
  ];

  it("is counted by contender and kind", () => {
    const found = progressByContender(units);
    expect([...found.keys()]).toEqual(["unet", "fpn"]);
    expect(found.get("unet")?.get("trial")).toEqual({ done: 1, total: 2 });
    expect(byState(units)).toEqual([
      ["done", 1],
      ["running", 1],
      ["waiting", 2],
    ]);
  });
});

describe("curves", () => {
  it("number the trials of each contender", () => {
    const rows = [row("a/trial0", { value: 0.5 }), row("b/trial0", { value: 0.6 }), row("a/trial1")];
    expect(
      trialPoints([...rows, row("a/trial2", { value: 0.7 })]).map((p) => [p.contender, p.place]),
    ).toEqual([
      ["a", 1],
      ["b", 1],
      ["a", 2],
    ]);
  });

  it("show what runs before what has ended, newest first", () => {
    const losses = [{ step: 1, loss: 1 }];
    const rows = [
      row("a/trial0", { losses }),
      row("a/trial1", { losses, state: "running" }),
      row("a/trial2", { losses }),
      row("a/trial3"),
    ];
    expect(lossLines(rows, 2).map((l) => l.unit)).toEqual(["a/trial1", "a/trial2"]);
  });

  it("mean the folds that have a score", () => {
    const rows = [row("a/fold", { value: 0.5 }), row("a/fold2", { value: 1 }), row("a/fold3")];
    expect(meanOfFolds(rows, "a")).toEqual({ mean: 0.75, folds: 2 });
    expect(meanOfFolds(rows, "b")).toBeNull();
  });
});

describe("words", () => {
  it.each([
    ["unet/loocv/r0/f3/s0/trial1", "unet: loocv, fold 3, trial 1"],
    ["unet/kfold3x5/r2/f0/s1/fold", "unet: kfold3x5, repeat 2, fold 0, seed 1, scored"],
    ["unet/final/member0", "unet: all data, member 0"],
    ["unet/final/publish", "unet: all data, published"],
    ["collect", "scores gathered"],
  ])("%s", (key, words) => {
    expect(unitInWords(key)).toBe(words);
  });

  it("of a log say what failed and that it is tried again", () => {
    const data = { unit: "unet/final/member0", state: "ready", attempt: 2, message: "no memory" };
    expect(logLine("7", "unit", data)).toEqual({
      id: "7",
      text: "unet: all data, member 0 failed and is tried again (attempt 2): no memory",
      tone: "bad",
    });
    expect(logLine("8", "job", {})).toBeNull();
  });

  it("of a job name its unit", () => {
    expect(messageInWords("unet/final/member0: step 1/2")).toBe("unet: all data, member 0: step 1/2");
    expect(messageInWords("waits for a GPU: all taken")).toBe("waits for a GPU: all taken");
  });

  it("name a worker by its process", () => {
    expect(workerName("3f2a1b4c-aaaa/pid:[4026531836]/77/123")).toBe("process 77 on 3f2a1b4c");
    expect(workerName("")).toBe("unnamed");
  });
});
