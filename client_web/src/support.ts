/** What this browser and this connection can do, and what to do where something is missing. */

export interface Environment {
  webrtc: boolean;
  /** Mime types of the video codecs the browser can receive. */
  codecs: readonly string[];
  secure: boolean;
  microphone: boolean;
  worklet: boolean;
}

export interface Finding {
  id: "webrtc" | "codec" | "h264" | "insecure" | "microphone";
  /** `stop`: no call is possible; `limit`: the call works with less. */
  severity: "stop" | "limit";
  words: string;
  remedy: string;
}

export function readEnvironment(): Environment {
  const webrtc = typeof RTCPeerConnection === "function";
  return {
    webrtc,
    codecs: webrtc ? (RTCRtpReceiver.getCapabilities?.("video")?.codecs ?? []).map((codec) => codec.mimeType) : [],
    secure: window.isSecureContext,
    microphone: Boolean(navigator.mediaDevices?.getUserMedia),
    worklet: typeof AudioWorkletNode === "function",
  };
}

/** What is missing, worst first. */
export function examine(environment: Environment): Finding[] {
  const findings: Finding[] = [];
  const codecs = environment.codecs.map((codec) => codec.toLowerCase());
  if (!environment.webrtc) {
    findings.push({
      id: "webrtc",
      severity: "stop",
      words: "This browser has no WebRTC, which carries the picture and the sound.",
      remedy: "Use a current Chrome, Edge, Firefox or Safari, or switch off the extension or policy that blocks WebRTC.",
    });
  } else if (!codecs.includes("video/h264") && !codecs.includes("video/vp8")) {
    findings.push({
      id: "codec",
      severity: "stop",
      words: "This browser can show neither H.264 nor VP8 video.",
      remedy: "Use a current Chrome, Edge, Firefox or Safari.",
    });
  } else if (!codecs.includes("video/h264")) {
    findings.push({
      id: "h264",
      severity: "limit",
      words: "This browser has no H.264, so the call uses VP8. It looks the same and costs the server a little more.",
      remedy: "Nothing to do. In Firefox, the OpenH264 plug-in adds it.",
    });
  }
  if (!environment.secure) {
    findings.push({
      id: "insecure",
      severity: "limit",
      words: "This address is not secure, so the browser keeps the microphone closed.",
      remedy: "Open the page over https, or as localhost on the server's own computer. Sound files work here too.",
    });
  } else if (!environment.microphone || !environment.worklet) {
    findings.push({
      id: "microphone",
      severity: "limit",
      words: "This browser gives pages no microphone.",
      remedy: "Use a current Chrome, Edge, Firefox or Safari. Sound files work here too.",
    });
  }
  return findings;
}

/** Why the microphone did not open, from the error that `getUserMedia` threw. */
export function microphoneTrouble(error: unknown): string {
  switch (error instanceof DOMException ? error.name : "") {
    case "NotAllowedError":
    case "SecurityError":
      return (
        "The browser does not let this page use the microphone. " +
        "Allow it in the site settings (the icon beside the address) and press Microphone again."
      );
    case "NotFoundError":
      return "No microphone was found. Plug one in, or choose a sound file.";
    case "OverconstrainedError":
      return "The chosen microphone is gone. Choose another one.";
    case "NotReadableError":
    case "AbortError":
      return "The microphone is there but does not open. Another program may be using it: close that and try again.";
    default:
      return `The microphone did not open: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/** Shown when the page loads but no media path to the server opens. */
export const MEDIA_BLOCKED =
  "The page reaches the server, but the picture does not. Video travels over UDP, and a firewall, VPN or proxy on the " +
  "way seems to block it. Try without the VPN or on another network, or ask whoever runs the server to open its UDP ports.";
