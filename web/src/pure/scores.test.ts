import { expect, test } from "vitest";
import { meanBySubject, parseCsv, parseScores, scoresByModel } from "./scores";

test("a csv keeps commas and quotes inside quotes, and drops empty lines", () => {
  expect(parseCsv('a,"b, ""c"""\r\n\r\n1,2\n')).toEqual([
    ["a", 'b, "c"'],
    ["1", "2"],
  ]);
});

test("semicolons and tabs separate too", () => {
  expect(parseCsv("m1;0.9\nm2;0.8")).toEqual([
    ["m1", "0.9"],
    ["m2", "0.8"],
  ]);
  expect(parseCsv("m1\t0.9")).toEqual([["m1", "0.9"]]);
});

test("pasted lines are scores, with or without a heading", () => {
  const wanted = { subjects: ["m1", "m2"], scores: [0.9, 0.8] };
  expect(parseScores("m1, 0.9\nm2, 0.8")).toEqual(wanted);
  expect(parseScores("subject,score\nm1,0.9\nm2,0.8\n")).toEqual(wanted);
  expect(parseScores("value,section,subject\n0.9,s1,m1\n0.8,s1,m2")).toEqual(wanted);
});

test.each([
  ["m1,0.9\nm2,good", "Line 2"],
  ["m1,0.9\nm2", "Line 2"],
  ["", "no score"],
  ["subject,score\n", "no score"],
  ["m1,NaN\nm2,0.8\nm3,", "Line 3"],
])("what is no score is named: %j", (text, message) => {
  expect(() => parseScores(text)).toThrow(message);
});

const CSV = `case,subject,protocol,model,class,metric,value
a,m1,loocv,unet,macro,dice,0.9
b,m1,loocv,unet,macro,dice,0.7
c,m2,loocv,unet,macro,dice,
d,m1,kfold3,unet,macro,dice,0.1
e,m1,loocv,deeplab,macro,dice,0.5
f,m1,loocv,deeplab,media,dice,0.2`;

test("scores.csv is read by protocol, metric and class; rows without a value are left out", () => {
  const found = scoresByModel(CSV, { protocol: "loocv", metric: "dice", class: "macro" });
  expect([...found.keys()]).toEqual(["unet", "deeplab"]);
  expect(found.get("unet")).toEqual({ subjects: ["m1", "m1"], scores: [0.9, 0.7] });
});

test("sections of a subject are averaged", () => {
  const means = meanBySubject({ subjects: ["m1", "m2", "m1"], scores: [1, 0.5, 0] });
  expect(means).toEqual([
    { subject: "m1", score: 0.5 },
    { subject: "m2", score: 0.5 },
  ]);
});
