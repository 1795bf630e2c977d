import assert from "node:assert/strict";
import { test } from "node:test";
import { figures, median, read } from "../src/stats.ts";

/** A report shaped as Chromium gives it, `t` seconds into a call at 30 pictures a second. */
function report(t: number) {
  return [
    { id: "T", type: "transport", selectedCandidatePairId: "P2" },
    { id: "P1", type: "candidate-pair", state: "succeeded", nominated: false, currentRoundTripTime: 0.9 },
    { id: "P2", type: "candidate-pair", state: "succeeded", nominated: true, currentRoundTripTime: 0.02 },
    { id: "C", type: "codec", mimeType: "video/H264" },
    {
      id: "V", type: "inbound-rtp", kind: "video", codecId: "C", bytesReceived: 100_000 * t, framesDecoded: 30 * t,
      framesDropped: 2, frameWidth: 512, frameHeight: 512, jitterBufferDelay: 0.6 * t, jitterBufferEmittedCount: 30 * t,
      packetsLost: t > 1 ? 5 : 0, packetsReceived: 95 * t, estimatedPlayoutTimestamp: 5000 + 1000 * t,
    },
    {
      id: "A", type: "inbound-rtp", kind: "audio", bytesReceived: 4000 * t, packetsReceived: 0, packetsLost: 0,
      estimatedPlayoutTimestamp: 4975 + 1000 * t, totalAudioEnergy: 0.04 * t, totalSamplesDuration: t,
    },
  ];
}

test("figures are those of the time between two readings", () => {
  const now = figures(read(report(1), 1000), read(report(2), 2000));
  assert.equal(now.fps, 30);
  assert.equal(now.bitrate, 832);
  assert.ok(Math.abs((now.latency ?? 0) - (20 + 10)) < 1e-9); // 20 ms in the buffer, half of a 20 ms round trip
  assert.equal(now.skew, -25);
  assert.deepEqual([now.resolution, now.codec, now.framesDropped], ["512 × 512", "H264", 2]);
  assert.equal(now.loss, 0.05);
  assert.ok(Math.abs(now.loudness - 0.2) < 1e-9);
});

test("what a browser does not report stays unknown", () => {
  const empty = figures(read([], 0), read([], 1000));
  assert.deepEqual(
    [empty.latency, empty.skew, empty.resolution, empty.codec, empty.loss, empty.loudness],
    [null, null, null, null, null, 0],
  );
  assert.equal(empty.fps, 0);
});

test("without a transport (Firefox) the nominated pair counts", () => {
  const stats = report(1).filter((stat) => stat.type !== "transport");
  assert.equal(read(stats, 0).roundTrip, 0.02);
});

test("the median ignores what is unknown", () => {
  assert.equal(median([null, 3, 100, 1]), 3);
  assert.equal(median([4, 2]), 3);
  assert.equal(median([null]), null);
});
