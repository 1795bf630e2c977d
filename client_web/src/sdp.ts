/** Which codecs the page asks for, and what an offer says. */

type Codec = Pick<RTCRtpCodec, "mimeType" | "sdpFmtpLine">;

const WANTED = ["video/h264", "video/vp8"];
const HELPERS = ["video/rtx", "video/red", "video/ulpfec", "video/flexfec-03"];

/**
 * The codecs to offer, best first: H264 (the server encodes it once for all viewers), then VP8, then the helpers for
 * lost packets. Of H264 the constrained baseline in packetization mode 1 leads, which is what the server sends.
 * Empty when the browser has neither codec.
 */
export function preferCodecs<T extends Codec>(codecs: readonly T[]): T[] {
  const kind = (codec: T) => codec.mimeType.toLowerCase();
  const wanted = codecs.filter((codec) => WANTED.includes(kind(codec)));
  if (!wanted.length) return [];
  const rank = (codec: T) => {
    if (kind(codec) === "video/vp8") return 2;
    const fmtp = codec.sdpFmtpLine ?? "";
    return /packetization-mode=1/.test(fmtp) && /profile-level-id=42/i.test(fmtp) ? 0 : 1;
  };
  const ranked = wanted.map((codec, order) => ({ codec, order }));
  ranked.sort((a, b) => rank(a.codec) - rank(b.codec) || a.order - b.order);
  return [...ranked.map(({ codec }) => codec), ...codecs.filter((codec) => HELPERS.includes(kind(codec)))];
}

/** True when the description carries at least one ICE candidate. */
export function hasCandidates(sdp: string): boolean {
  return /^a=candidate:/m.test(sdp);
}
