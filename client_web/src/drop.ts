/** Files dropped anywhere on the page: a picture becomes an avatar, a sound is spoken. */
import { need } from "./dom.ts";
import { notice } from "./notice.ts";

export function acceptDrops(onPhoto: (file: File) => void, onSound: (file: File) => void): void {
  const hint = need<HTMLElement>("#drop");
  let depth = 0; // dragenter and dragleave come for every element on the way
  const hasFiles = (event: DragEvent) => event.dataTransfer?.types.includes("Files");
  const settle = (by: number) => {
    depth = Math.max(0, depth + by);
    hint.hidden = depth === 0;
  };
  document.addEventListener("dragenter", (event) => hasFiles(event) && settle(1));
  document.addEventListener("dragleave", (event) => hasFiles(event) && settle(-1));
  document.addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
  document.addEventListener("drop", (event) => {
    if (!hasFiles(event)) return;
    event.preventDefault();
    settle(-depth);
    const file = event.dataTransfer?.files[0];
    if (!file) return;
    if (file.type.startsWith("image/")) onPhoto(file);
    else if (/^(audio|video)\//.test(file.type)) onSound(file);
    else notice("That is neither a photo nor a sound file.", "error", "drop");
  });
}
