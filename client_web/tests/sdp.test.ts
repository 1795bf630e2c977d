import assert from "node:assert/strict";
import { test } from "node:test";
import { hasCandidates, preferCodecs } from "../src/sdp.ts";

const h264 = (profile: string, mode: number) => ({
  mimeType: "video/H264",
  sdpFmtpLine: `level-asymmetry-allowed=1;packetization-mode=${mode};profile-level-id=${profile}`,
});
const VP8 = { mimeType: "video/VP8" };
const RTX = { mimeType: "video/rtx" };

test("baseline H264 in mode 1 leads, then the other H264, then VP8, then the helpers", () => {
  const high = h264("64001f", 1);
  const mode0 = h264("42e01f", 0);
  const baseline = h264("42e01f", 1);
  const offered = [VP8, RTX, { mimeType: "video/VP9" }, high, mode0, baseline, { mimeType: "video/AV1" }];
  assert.deepEqual(preferCodecs(offered), [baseline, high, mode0, VP8, RTX]);
});

test("a browser without H264 offers VP8", () => {
  assert.deepEqual(preferCodecs([RTX, { mimeType: "video/AV1" }, VP8]), [VP8, RTX]);
});

test("a browser with neither offers nothing", () => {
  assert.deepEqual(preferCodecs([RTX, { mimeType: "video/AV1" }]), []);
});

test("candidates are told from their absence", () => {
  assert.equal(hasCandidates("v=0\r\na=candidate:1 1 udp 1 10.0.0.1 9 typ host\r\n"), true);
  assert.equal(hasCandidates("v=0\r\na=ice-ufrag:x\r\n"), false);
});
