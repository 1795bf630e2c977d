/** Captions in lines, and voices in order. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { lines } from "../src/captions.ts";
import { grouped } from "../src/typing.ts";

test("a sentence is shown in lines, each from its first word on", () => {
  const words: [string, number, number][] = [["One", 0, 0.3], ["two", 0.3, 0.5], ["three", 0.5, 0.9], ["four.", 0.9, 1.2]];
  assert.deepEqual(lines(words, 9), [
    { text: "One two", start: 0 },
    { text: "three", start: 0.5 },
    { text: "four.", start: 0.9 },
  ]);
  assert.deepEqual(lines(words), [{ text: "One two three four.", start: 0 }]);
  assert.deepEqual(lines([["Donaudampfschiff", 0, 1]], 5), [{ text: "Donaudampfschiff", start: 0 }]);
  assert.deepEqual(lines([]), []);
  const long = "This picture was made from one photo, and these words were typed.".split(" ");
  const [first, second] = lines(long.map((word, at) => [word, at, at + 1]));
  assert.ok(first!.text.length < 45 && second!.text.length > 20, "no word stands alone");
});

test("voices of the reader's languages lead", () => {
  const voices = ["en-us", "de", "fr-be", ""].map((language) => ({ id: language || "own", name: language, language }));
  const [own, others] = grouped(voices, ["fr-FR", "en"]);
  assert.deepEqual(own.map(({ id }) => id), ["en-us", "fr-be", "own"]);
  assert.deepEqual(others.map(({ id }) => id), ["de"]);
});
