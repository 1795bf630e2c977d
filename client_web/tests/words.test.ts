/** What the page says and the addresses it makes. */
import assert from "node:assert/strict";
import { test } from "node:test";
import { audioSocketUrl, failure, inWords, sentences } from "../src/api.ts";
import { backoff, sleep } from "../src/backoff.ts";
import { invitationLink, isLoopback, readInvitation } from "../src/invite.ts";
import { examine, microphoneTrouble, type Environment } from "../src/support.ts";
import { nameOf } from "../src/upload.ts";

const GOOD: Environment = { webrtc: true, codecs: ["video/VP8", "video/H264"], secure: true, microphone: true, worklet: true };

test("nothing is said of a browser that can do everything", () => {
  assert.deepEqual(examine(GOOD), []);
});

test("each lack is named, with what to do", () => {
  const ids = (environment: Partial<Environment>) => examine({ ...GOOD, ...environment }).map(({ id, severity }) => `${id} ${severity}`);
  assert.deepEqual(ids({ webrtc: false, codecs: [] }), ["webrtc stop"]);
  assert.deepEqual(ids({ codecs: ["video/AV1"] }), ["codec stop"]);
  assert.deepEqual(ids({ codecs: ["video/vp8"] }), ["h264 limit"]);
  assert.deepEqual(ids({ secure: false, microphone: false, worklet: false }), ["insecure limit"]);
  assert.deepEqual(ids({ microphone: false }), ["microphone limit"]);
  for (const finding of examine({ ...GOOD, webrtc: false, secure: false })) assert.ok(finding.remedy.length > 20);
});

test("a microphone that stays closed is explained", () => {
  assert.match(microphoneTrouble(new DOMException("", "NotAllowedError")), /allow it/i);
  assert.match(microphoneTrouble(new DOMException("", "NotFoundError")), /no microphone/i);
  assert.match(microphoneTrouble(new Error("odd")), /odd/);
});

test("the server's words become sentences", () => {
  assert.equal(sentences("there is no avatar 'x'", "choose another!"), "There is no avatar 'x'. Choose another!");
  assert.equal(sentences("", undefined, " done. "), "Done.");
  const refusal = failure(413, '{"error":"the photo is larger than 32 MB","remedy":"send a smaller one"}');
  assert.equal(inWords(refusal), "The photo is larger than 32 MB. Send a smaller one.");
  assert.equal(inWords(failure(502, "<html>Bad gateway</html>")), "The server answered with status 502.");
});

test("waiting doubles up to a limit and varies by a fifth", () => {
  assert.deepEqual([0, 1, 2, 3, 4, 5, 50].map((n) => backoff(n, 0.5)), [1000, 2000, 4000, 8000, 15000, 15000, 15000]);
  assert.equal(backoff(0, 0), 800);
  assert.equal(backoff(3, 0.999999), 9600);
});

test("sleep ends early when it is aborted", async () => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(new Error("enough")), 5);
  await assert.rejects(sleep(60_000, controller.signal), /enough/);
});

test("the microphone's address follows the page's", () => {
  const session = { id: "a", token: "t+1", whep: "/whep/a", audio: "/sessions/a/audio" };
  assert.equal(
    audioSocketUrl(session, 44_100, "https://talk.example/room/#avatar=x"),
    "wss://talk.example/room/sessions/a/audio?rate=44100&token=t%2B1",
  );
  assert.match(audioSocketUrl(session, 48_000, "http://localhost:8080/"), /^ws:\/\/localhost:8080\/sessions\/a\/audio/);
});

test("an invitation survives its link", () => {
  const link = invitationLink("https://talk.example/?x=1#avatar=demo", { id: "s/1", token: "k&y" });
  assert.ok(!link.includes("?"), "nothing of it is sent to a server");
  assert.deepEqual(readInvitation(new URL(link).hash), { id: "s/1", token: "k&y" });
  assert.equal(readInvitation("#avatar=demo"), null);
});

test("addresses of this computer alone are known", () => {
  assert.deepEqual(["localhost", "127.0.0.1", "[::1]", "192.168.1.5", "talk.example"].map(isLoopback), [true, true, true, false, false]);
});

test("a file's name gives a person's name only where it tells one", () => {
  assert.equal(nameOf("anna_maria.jpeg"), "Anna maria");
  for (const name of ["IMG_2041.HEIC", "DSC0001.jpg", "12345.png", "PXL_2026.jpg"]) assert.equal(nameOf(name), "Me");
});
