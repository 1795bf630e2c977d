import assert from "node:assert/strict";
import { test } from "node:test";
import { Chunker, floatToInt16, meter, rms } from "../src/pcm.ts";

test("floats become full-scale integers and are clipped, not wrapped", () => {
  const samples = new Float32Array([0, 1, -1, 0.5, -0.5, 1.7, -3]);
  assert.deepEqual([...floatToInt16(samples)], [0, 32767, -32768, 16384, -16384, 32767, -32768]);
});

test("the bytes on the wire are little-endian", () => {
  const bytes = new Uint8Array(floatToInt16(new Float32Array([0.5])).buffer);
  assert.deepEqual([...bytes], [0x00, 0x40]);
});

test("blocks of any size become 20 ms chunks, in order and without loss", () => {
  const chunks: number[][] = [];
  const chunker = new Chunker(8000, (chunk) => chunks.push([...chunk])); // 160 samples
  const samples = Float32Array.from({ length: 500 }, (_, i) => i);
  for (let at = 0, size = 1; at < 500; at += size, size = (size * 7) % 131) chunker.push(samples.slice(at, at + size));
  assert.deepEqual(chunks.map((chunk) => chunk.length), [160, 160, 160]);
  assert.deepEqual(chunks.flat(), [...samples.slice(0, 480)]);
});

test("one block may fill several chunks", () => {
  let count = 0;
  new Chunker(48_000, () => count++).push(new Float32Array(2900));
  assert.equal(count, 3);
});

test("the level of a sine is its amplitude over the root of two", () => {
  const sine = Float32Array.from({ length: 4800 }, (_, i) => 0.5 * Math.sin((2 * Math.PI * 100 * i) / 48_000));
  assert.ok(Math.abs(rms(sine) - 0.5 / Math.SQRT2) < 1e-4);
  assert.equal(rms(new Float32Array(0)), 0);
});

test("the meter spans 60 dB", () => {
  assert.equal(meter(0), 0);
  assert.equal(meter(1), 1);
  assert.ok(Math.abs(meter(0.0316) - 0.5) < 0.01);
});
