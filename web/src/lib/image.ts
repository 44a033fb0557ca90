import { Failure } from "./problem.ts";
import { t } from "./strings.ts";

/** A picture cut to a square of 256 pixels, small enough for an avatar. */
export async function squareImage(file: Blob): Promise<Blob> {
  const bitmap = await createImageBitmap(file).catch(() => {
    throw new Failure("picture", t.err.picture);
  });
  const side = Math.min(bitmap.width, bitmap.height);
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = 256;
  const g = canvas.getContext("2d")!;
  g.imageSmoothingQuality = "high";
  g.drawImage(bitmap, (bitmap.width - side) / 2, (bitmap.height - side) / 2, side, side, 0, 0, 256, 256);
  bitmap.close();
  const make = (type: string, quality?: number) =>
    new Promise<Blob>((yes, no) => canvas.toBlob((b) => (b ? yes(b) : no(new Error("no picture"))), type, quality));
  const png = await make("image/png");
  if (png.size <= 60_000) return png;
  for (const quality of [0.9, 0.75, 0.5]) {
    const jpeg = await make("image/jpeg", quality);
    if (jpeg.size <= 64_000) return jpeg;
  }
  return make("image/jpeg", 0.3);
}
