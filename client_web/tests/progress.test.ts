import assert from "node:assert/strict";
import { test } from "node:test";
import type { Job } from "../src/api.ts";
import { building, isOver, sending, START } from "../src/progress.ts";

const job = (fields: Partial<Job>): Job => ({ id: "1", state: "running", ...fields });

test("sending fills the first tenth", () => {
  assert.equal(sending(START, 0.5).fraction, 0.05);
  assert.equal(sending(START, 7).fraction, 0.1);
});

test("the bar never runs backwards, and shows the server's words", () => {
  let progress = sending(START, 1);
  progress = building(progress, job({ state: "queued" }));
  assert.equal(progress.phase, "queued");
  assert.match(progress.words, /waiting/i);
  progress = building(progress, job({ fraction: 0.5, stage: "fit", message: "Fitting the head" }));
  assert.equal(progress.words, "Fitting the head");
  assert.ok(Math.abs(progress.fraction - 0.55) < 1e-9);
  progress = building(progress, job({ fraction: 0.2, stage: "texture" }));
  assert.equal(progress.words, "Texture");
  assert.ok(Math.abs(progress.fraction - 0.55) < 1e-9);
  assert.equal(isOver(progress), false);
});

test("done names the avatar, given by id or whole", () => {
  const done = building(START, job({ state: "done", avatar: "anna" }));
  assert.deepEqual([done.phase, done.fraction, done.avatar, isOver(done)], ["done", 1, "anna", true]);
  const avatar = { id: "anna", name: "Anna", framing: "bust", width: 1, height: 1, warnings: [] };
  assert.equal(building(START, job({ state: "done", avatar })).avatar, "anna");
});

test("a failure is told in whole sentences, with its remedy", () => {
  const failed = building(START, job({ state: "failed", error: "no face was found", remedy: "use a photo with one face" }));
  assert.equal(failed.words, "No face was found. Use a photo with one face.");
  assert.equal(isOver(failed), true);
  assert.match(building(START, job({ state: "failed" })).words, /no reason/);
});

test("a cancelled job is over", () => {
  assert.equal(isOver(building(START, job({ state: "cancelled" }))), true);
});
